//! `godwit chat`: a client for people at a terminal, on the client library. Full screen, or line by line for pipes. Works
//! offline: what is written waits in the store, and what was received is there.
//!
//! - `shown`: text that a terminal may be given, which is all that is ever printed or drawn.
//! - `session`: what both modes do with the client; `command`: what a person may type; `words`: what happened, in words.
//! - `files`: files in words. `lines`: the line mode. `end`: how it ends.
//! - `password`: asks for one. `aside`: stores of other servers.
//! - `screen`: the full screen; `view`: what it shows; `draw`, `age`: how; `input`: the line being typed.

mod age;
mod aside;
mod command;
mod draw;
mod encryption;
mod end;
mod files;
mod input;
mod lines;
mod password;
mod screen;
mod session;
mod shown;
mod view;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use godwit_client::Client;
use godwit_client::ids::{DeviceName, UserId};
use tokio::runtime::Builder;

pub use end::ChatFailure;
pub use password::ask as ask_password;

/// Between two attempts to connect: a person waits.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long a screen stays empty until it is known which server answers.
const GLANCE: Duration = Duration::from_secs(2);

/// Who chats, and how. Not `Debug`: it has a password.
#[derive(Clone)]
pub struct Options {
    /// `mqtt://host:port`, or another scheme of the client library.
    pub address: String,
    /// The user.
    pub user: UserId,
    /// The user's device.
    pub device: DeviceName,
    /// The device's password.
    pub password: String,
    /// A SQLite file, made if it is not there.
    pub store: PathBuf,
    /// Certificates to trust (PEM) rather than the system's.
    pub trusted: Option<Vec<u8>>,
    /// Line by line rather than full screen.
    pub lines: bool,
    /// In line mode: goes on when the input has ended.
    pub follow: bool,
    /// In line mode, when the input has ended: how long what was written may wait for a connection.
    pub wait: Duration,
}

/// Chats until the person ends it.
///
/// # Errors
/// See [`ChatFailure`]; most of them end the line mode only.
pub fn run(options: Options) -> Result<(), ChatFailure> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start")?;
    let ended = runtime.block_on(async {
        if let Some(folder) = options.store.parent() {
            make_private(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let mut client = open(&options).await?;
        if let Some((expected, found)) =
            aside::other_server(&client, if options.lines { options.wait } else { GLANCE }).await
        {
            client.close().await?;
            let moved = aside::exchange(&options.store, &expected, &found);
            moved.with_context(|| format!("put {} aside, which is of another server", options.store.display()))?;
            client = open(&options).await?;
        }
        let session = session::ChatSession::new(client.clone());
        let ended = if options.lines {
            lines::run(&session, options.follow, options.wait).await
        } else {
            screen::run(&session, options.device.as_str()).await.map_err(ChatFailure::from)
        };
        client.close().await?;
        ended
    });
    // A read of standard input cannot be called off.
    runtime.shutdown_background();
    ended
}

async fn open(options: &Options) -> Result<Client, ChatFailure> {
    let device = options.device.clone();
    let mut builder = Client::builder(&options.address, options.user.clone(), device, &options.password);
    builder = builder.sqlite(&options.store).longest_wait(LONGEST_WAIT).encryption(true);
    if let Some(pem) = &options.trusted {
        builder = builder.trust(pem.clone());
    }
    match builder.open().await {
        Err(error @ godwit_client::Error::Address(_)) => Err(error.into()),
        opened => Ok(opened.with_context(|| format!("open {}", options.store.display()))?),
    }
}

/// Makes a folder, and those above it, that nobody else may look into. One that is there already stays as it is: it may be
/// anybody's.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
