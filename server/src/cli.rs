//! The command line of `godwit`, as people read it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::sibling::PassedArgs;

const EXAMPLES: &str = "\
Examples:
  godwit serve                              everything in one process, data in ./godwit-data
  godwit user add alice --device phone      prints the password that alice's phone connects with
  godwit device add alice laptop            a second device
  godwit chat --user alice --device phone   chats as that device; asks for its password
  godwit serve --config /etc/godwit.toml    settings from a file
  GODWIT__LOG__LEVEL=debug godwit serve     or from the environment, key by key

Exit codes: 0 done, 1 failed or refused, 64 wrong usage or settings, 65 damaged backup,
69 server not reachable, 75 another bridge leads the cluster";

/// Messaging backend over MQTT: what is acknowledged is on disk.
#[derive(Debug, Parser)]
#[command(name = "godwit", version, about, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run the whole server in one process
    Serve(SettingsArgs),
    /// Run only the doors: MQTT listeners and the private service listener for `godwit bridge`
    Broker(SettingsArgs),
    /// Run only the memory: conversations, inboxes and the HTTP API, behind a `godwit broker`
    Bridge(SettingsArgs),
    /// Manage users of the running server
    #[command(subcommand)]
    User(UserCommand),
    /// Manage devices of users of the running server
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Watch what the server does: rates, queues, times, refusals as they happen
    Top(TopArgs),
    /// See who is connected, and end connections
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// See what waits for a device
    #[command(subcommand)]
    Inbox(InboxCommand),
    /// See who is in a conversation
    #[command(subcommand)]
    Conversation(ConversationCommand),
    /// Manage operators' tokens for the HTTP API, which have a name, a scope and an end
    #[command(subcommand)]
    AdminToken(AdminTokenCommand),
    /// Show the running server's time, or say that the wall clock is right
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Look at a cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Back up the data of the running server into a folder; only what is new is copied
    Backup(BackupArgs),
    /// Put a backup into a data folder that has no store, or check one
    Restore(RestoreArgs),
    /// Say that the data folder was put back from a backup, before the next start
    Restored(SettingsArgs),
    /// Change settings of the running server
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Check the settings and print what is in force
    CheckConfig(SettingsArgs),
    /// Chat at the terminal, as one of a user's devices (runs godwit-chat)
    Chat(PassedArgs),
    /// Measure a running server, or any MQTT broker (runs godwit-bench)
    Bench(PassedArgs),
}

/// Which settings and which data.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SettingsArgs {
    /// Settings file (TOML); without it the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder: shorthand for the key data.dir
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// How often.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Seconds from one screen to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) interval: u64,
    /// Print one screen, of so many seconds, and end
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) place: SettingsArgs,
}

/// Where to, and how many stay.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The folder of backups, which is made if it is not there
    pub(crate) folder: PathBuf,
    /// Remove all but so many of the newest backups
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep: Option<usize>,
    #[command(flatten)]
    pub(crate) place: SettingsArgs,
}

/// Which backup.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The folder of backups
    pub(crate) folder: PathBuf,
    /// Which of them, by its number; without it the newest
    #[arg(long, value_name = "NUMBER")]
    pub(crate) backup: Option<u64>,
    /// Only read all of it, and see whether it is what was backed up
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) place: SettingsArgs,
}

/// Commands on users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user with a first device; prints JSON with its password
    #[command(after_help = "Example:\n  godwit user add alice --device phone")]
    Add {
        /// The user's name: the MQTT user name; with `--phone` the server can choose it
        #[arg(required_unless_present = "phone")]
        name: Option<String>,
        /// The device's name: the MQTT client id
        #[arg(long, value_name = "NAME")]
        device: String,
        /// Its phone number, like +4930123456: what was sent to the number is delivered
        #[arg(long, value_name = "NUMBER")]
        phone: Option<String>,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Set the phone number of a user; without a number take it away
    Phone {
        /// The user's name
        name: String,
        /// Like +4930123456
        number: Option<String>,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// List users with their devices, one JSON object a line, by name
    List {
        /// Begin after this name
        #[arg(long, value_name = "NAME")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = usize::MAX, hide_default_value = true)]
        limit: usize,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Print everything that is kept of a user, one JSON object a line; the last has the type "end"
    Export {
        /// The user's name
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Shut a user out: its connections are cut and none of its devices gets in. Nothing of it is lost
    Suspend {
        /// The user's name
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Let a suspended user in again
    Resume {
        /// The user's name
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Remove a user, its devices and their inboxes
    Remove {
        /// The user's name
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
}

/// Commands on connections.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// List connected devices, one JSON object a line, by the names of their users
    List {
        /// Begin after this user
        #[arg(long, value_name = "USER")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = usize::MAX, hide_default_value = true)]
        limit: usize,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Print a device's connection and how much waits for it, as JSON
    Show(DevicePlace),
    /// End a device's connection; it may come again
    Kick(DevicePlace),
}

/// Commands on inboxes.
#[derive(Debug, Subcommand)]
pub(crate) enum InboxCommand {
    /// List what waits for a device, one JSON object a line: where it stands and how large it is, never what it says
    Show {
        #[command(flatten)]
        of: DevicePlace,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = usize::MAX, hide_default_value = true)]
        limit: usize,
    },
}

/// Commands on conversations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConversationCommand {
    /// Print the members of a conversation and how far each is, as JSON; never what was said
    Show {
        /// Its number
        conversation: u64,
        #[command(flatten)]
        place: SettingsArgs,
    },
}

/// A device, and where its server is.
#[derive(Debug, Args)]
pub(crate) struct DevicePlace {
    /// The user's name
    pub(crate) user: String,
    /// The device's name
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) place: SettingsArgs,
}

/// Commands on devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Add a device to a user; prints JSON with its password
    #[command(after_help = "Example:\n  godwit device add alice laptop")]
    Add {
        /// The user's name
        user: String,
        /// The device's name: the MQTT client id
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Give a device a new password; prints JSON with it. The one before is void, its connection is cut
    Password {
        /// The user's name
        user: String,
        /// The device's name
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// List a user's devices, one name a line
    List {
        /// The user's name
        user: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Remove a device and its inbox
    Remove {
        /// The user's name
        user: String,
        /// The device's name
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
}

/// Commands on operators' tokens. They change a file, which a running server reads again.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminTokenCommand {
    /// Make a token; prints JSON with it, which is shown once
    #[command(after_help = "Example:\n  godwit admin-token add on-call --scope support --days 90")]
    Add {
        /// Its name, which the audit log has: 1 to 32 of the characters a-z A-Z 0-9 . _ -
        name: String,
        /// What it allows: read (to look), support (also to cut connections, to suspend users), admin (everything)
        #[arg(long, value_name = "SCOPE")]
        scope: String,
        /// It ends after so many days; without it never
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: Option<u64>,
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// List tokens, one JSON object a line, without what opens
    List {
        #[command(flatten)]
        place: SettingsArgs,
    },
    /// Take a token away: within ten seconds it opens nothing more
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        place: SettingsArgs,
    },
}

/// Commands on the server's time.
#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Print the server's time, and by how much the wall clock has leapt, as JSON
    Show(SettingsArgs),
    /// The wall clock is right: as much time has passed as it has leapt forward, and what has expired by that is gone
    Follow(SettingsArgs),
}

/// Commands on settings.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Have the server read its settings file, certificates and tokens again; prints which keys have changed, as JSON
    Reload(SettingsArgs),
}

/// Commands on a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Print which bridge leads, which stand by, and how far the store is. Asks the store, so no bridge needs to run
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: SettingsArgs,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_are_understood() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("godwit serve --config a.toml --data b").is_ok());
        assert!(parse("godwit user add alice --device phone --data b").is_ok());
        assert!(parse("godwit user add --device phone --phone +4930123456").is_ok());
        assert!(parse("godwit user phone alice +4930123456").is_ok());
        assert!(parse("godwit user list --after alice --limit 3").is_ok());
        assert!(parse("godwit user export alice --data b").is_ok());
        assert!(parse("godwit device remove alice phone").is_ok());
        assert!(parse("godwit device password alice phone").is_ok());
        assert!(parse("godwit settings reload --data b").is_ok());
        assert!(parse("godwit backup /backups --keep 7 --data b").is_ok());
        assert!(parse("godwit restore /backups --check").is_ok());
        assert!(parse("godwit restored --data b").is_ok());
        assert!(parse("godwit chat --user alice -h --help").is_ok());
        assert!(parse("godwit bench").is_ok());
        assert!(parse("godwit clock show --data b").is_ok());
        assert!(parse("godwit clock follow").is_ok());
        assert!(parse("godwit cluster status --json --config a.toml").is_ok());
        assert!(parse("godwit top --once --interval 5 --data b").is_ok());
        assert!(parse("godwit clients list --after alice --limit 3").is_ok());
        assert!(parse("godwit clients kick alice phone --data b").is_ok());
        assert!(parse("godwit inbox show alice phone --limit 3").is_ok());
        assert!(parse("godwit conversation show 65").is_ok());
        assert!(parse("godwit user suspend alice").is_ok());
        assert!(parse("godwit admin-token add on-call --scope support --days 90").is_ok());
        assert!(parse("godwit admin-token add on-call --scope support --days 0").is_err());
        assert!(parse("godwit admin-token list --data b").is_ok());
        assert!(parse("godwit user add alice").is_err());
        assert!(parse("godwit user add --device phone").is_err());
        assert!(parse("godwit").is_err());
    }
}
