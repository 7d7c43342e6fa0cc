//! `godwit-chat`: finds out who chats and with which store, and hands over.

use std::env;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Parser;
use godwit_chat::Options;

use crate::admin::{device_name, user_name};
use crate::exit::{CommandFailure, DATA, FAILED, NOT_ADMITTED, PROTOCOL, UNREACHABLE, USAGE};

const PASSWORD: &str = "GODWIT_PASSWORD";

const EXAMPLES: &str = "\
Examples:
  godwit chat --user alice --device phone                      full screen, asks for the password
  GODWIT_PASSWORD=... godwit chat --user alice --device phone  or takes it from the environment
  echo '@bob hello' | godwit chat --user alice --device phone --lines
                                                               sends, and ends when it is stored
  godwit chat --user bob --device laptop --lines --follow      prints what comes, a line each

With --lines it ends with
  0   all was done
  1   something was refused, or not done: its line says what
  64  the command line, the address or the settings make no sense
  65  a line was not UTF-8; the others were done
  69  there was no connection within --wait seconds; what was written is kept, and sent next time
  76  what answers is no MQTT server, or its certificate is not trusted
  77  the server does not let the device in: user, device or password

Keys: Enter sends, Tab and arrows choose the conversation, PageUp scrolls, Ctrl-C ends; /help for commands";

/// Chat at the terminal, as one of a user's devices
#[derive(Debug, Parser)]
#[command(name = "godwit-chat", bin_name = "godwit chat", version, after_help = EXAMPLES)]
pub(crate) struct ChatArgs {
    /// The server: mqtt://, mqtts://, ws:// or wss://
    #[arg(long, value_name = "ADDRESS", default_value = "mqtt://127.0.0.1:1883")]
    server: String,
    /// The user
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The user's device
    #[arg(long, value_name = "NAME")]
    device: String,
    /// A file with the device's password; otherwise it is $GODWIT_PASSWORD, or is asked for
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Where messages are kept; otherwise godwit/USER.DEVICE.sqlite in $XDG_DATA_HOME or ~/.local/share
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Certificates (PEM) to trust rather than the system's
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Line by line, for pipes; taken for granted when standard output is none of a terminal
    #[arg(long)]
    lines: bool,
    /// With --lines: goes on when the input has ended
    #[arg(long)]
    follow: bool,
    /// With --lines, without --follow: how long to wait for a connection when the input has ended
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

/// Chats until the person ends it.
pub(crate) fn run(args: ChatArgs) -> Result<(), CommandFailure> {
    let (user, device) = (user_name(&args.user)?, device_name(&args.device)?);
    let lines = args.lines || args.follow || !io::stdout().is_terminal();
    let trusted = args.trust.as_deref().map(read).transpose()?;
    let store = match args.store {
        Some(store) => store,
        None => private(data_folder()?)?.join(format!("{user}.{device}.sqlite")),
    };
    let password = password(args.password_file.as_deref())?;
    let (address, follow, wait) = (args.server, args.follow, Duration::from_secs(args.wait));
    let options = Options { address, user, device, password, store, trusted, lines, follow, wait };
    godwit_chat::run(options).map_err(|failure| CommandFailure::new(code(&failure), failure))
}

fn code(failure: &godwit_chat::ChatFailure) -> u8 {
    match failure {
        godwit_chat::ChatFailure::NotAdmitted(_) => NOT_ADMITTED,
        godwit_chat::ChatFailure::Unreachable(_) => UNREACHABLE,
        godwit_chat::ChatFailure::Protocol(_) => PROTOCOL,
        godwit_chat::ChatFailure::NotText => DATA,
        godwit_chat::ChatFailure::Usage(_) => USAGE,
        godwit_chat::ChatFailure::NotDone | godwit_chat::ChatFailure::Other(_) => FAILED,
    }
}

/// A folder of this program's own, which others cannot look into, whatever it was before.
fn private(folder: PathBuf) -> Result<PathBuf, CommandFailure> {
    let made = fs::create_dir_all(&folder);
    #[cfg(unix)]
    let made = made.and_then(|()| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
    });
    made.with_context(|| format!("make {} private", folder.display()))?;
    Ok(folder)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn data_folder() -> Result<PathBuf, CommandFailure> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".local/share"));
    let folder = set("XDG_DATA_HOME").or_else(home).map(|folder| folder.join("godwit"));
    folder.ok_or_else(|| CommandFailure::new(USAGE, "there is no $HOME to keep messages in: say where with --store"))
}

fn password(file: Option<&Path>) -> Result<String, CommandFailure> {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    if let Some(file) = file {
        return Ok(first_line(&String::from_utf8_lossy(&read(file)?)));
    }
    if let Ok(password) = env::var(PASSWORD) {
        return Ok(password);
    }
    if !io::stdin().is_terminal() {
        return Err(CommandFailure::new(USAGE, format!("nobody can be asked for a password: set ${PASSWORD}")));
    }
    let answer = godwit_chat::ask_password("Password of the device: ").map_err(anyhow::Error::from)?;
    Ok(answer.ok_or_else(|| anyhow!("no password was given"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_needs_user_and_device() {
        let parse = |line: &str| ChatArgs::try_parse_from(line.split(' '));
        assert!(parse("godwit-chat --user alice --device phone --lines --server ws://x/mqtt").is_ok());
        assert!(parse("godwit-chat --device phone").is_err());
    }

    #[test]
    fn a_chat_goes_where_the_server_listens_unless_told_otherwise() {
        let args = ChatArgs::try_parse_from("godwit-chat --user alice --device phone".split(' ')).expect("good");
        let settings: toml::Table = include_str!("../../deploy/godwit.toml").parse().expect("TOML");
        assert_eq!(args.server, format!("mqtt://{}", settings["mqtt"]["listen"].as_str().expect("an address")));
    }
}
