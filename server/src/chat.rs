//! `godwit chat`: finds out who chats and with which store, and hands over.

use std::env;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use godwit_chat::Options;

use crate::admin::{device_name, user_name};
use crate::exit::{Failure, USAGE};

const PASSWORD: &str = "GODWIT_PASSWORD";

const EXAMPLES: &str = "\
Examples:
  godwit chat --user alice --device phone                      full screen, asks for the password
  GODWIT_PASSWORD=... godwit chat --user alice --device phone  or takes it from the environment
  echo '@bob hello' | godwit chat --user alice --device phone --lines
                                                               sends, and ends when it is stored
  godwit chat --user bob --device laptop --lines --follow      prints what comes, a line each

Keys: Enter sends, Tab and arrows choose the conversation, PageUp scrolls, Ctrl-C ends; /help for commands";

/// Who, where, how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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
}

/// Chats until the person ends it.
pub(crate) fn run(args: ChatArgs) -> Result<(), Failure> {
    let (user, device) = (user_name(&args.user)?, device_name(&args.device)?);
    let lines = args.lines || args.follow || !io::stdout().is_terminal();
    let trusted = args.trust.as_deref().map(read).transpose()?;
    let store = match args.store {
        Some(store) => store,
        None => data_folder()?.join(format!("{user}.{device}.sqlite")),
    };
    let password = password(args.password_file.as_deref())?;
    let (address, follow) = (args.server, args.follow);
    let options = Options { address, user, device, password, store, trusted, lines, follow };
    Ok(godwit_chat::run(options)?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn data_folder() -> Result<PathBuf, Failure> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".local/share"));
    let folder = set("XDG_DATA_HOME").or_else(home).map(|folder| folder.join("godwit"));
    folder.ok_or_else(|| Failure::new(USAGE, "there is no $HOME to keep messages in: say where with --store"))
}

fn password(file: Option<&Path>) -> Result<String, Failure> {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    if let Some(file) = file {
        return Ok(first_line(&String::from_utf8_lossy(&read(file)?)));
    }
    if let Ok(password) = env::var(PASSWORD) {
        return Ok(password);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(USAGE, format!("nobody can be asked for a password: set ${PASSWORD}")));
    }
    let answer = godwit_chat::ask_password("Password of the device: ").map_err(anyhow::Error::from)?;
    Ok(answer.ok_or_else(|| anyhow!("no password was given"))?)
}
