//! `godwit chat`: a client for people at a terminal, on the client library. Full screen, or line by line for pipes. Works
//! offline: what is written waits in the store, and what was received is there.
//!
//! - `session`: what both modes do with the client; `command`: what a person may type.
//! - `files`: files in words. `lines`: the line mode.
//! - `password`: asks for one.
//! - `screen`: the full screen; `view`: what it shows; `draw`, `text`: how; `input`: the line being typed.

mod command;
mod draw;
mod files;
mod input;
mod lines;
mod password;
mod screen;
mod session;
mod text;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use godwit_client::Client;
use godwit_client::ids::{DeviceName, UserId};
use tokio::runtime::Builder;

pub use password::ask as ask_password;

/// Between two attempts to connect: a person waits.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

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
}

/// Chats until the person ends it.
///
/// # Errors
/// The store cannot be opened, the address is none, or the terminal does not work.
pub fn run(options: Options) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start")?;
    let ended = runtime.block_on(async {
        if let Some(folder) = options.store.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let device = options.device.clone();
        let mut builder = Client::builder(&options.address, options.user.clone(), device, &options.password);
        builder = builder.sqlite(&options.store).longest_wait(LONGEST_WAIT);
        if let Some(pem) = options.trusted {
            builder = builder.trust(pem);
        }
        let client = builder.open().await.with_context(|| format!("open {}", options.store.display()))?;
        let session = session::Session::new(client.clone());
        let ended = if options.lines {
            lines::run(&session, options.follow).await
        } else {
            screen::run(&session, options.device.as_str()).await
        };
        client.close().await?;
        ended
    });
    // A read of standard input cannot be called off.
    runtime.shutdown_background();
    ended
}
