//! What a running server leaves in its data folder for those who look for it: where it listens, and how an operator
//! on the same machine proves to be one. Renewed at each start, once the folder is known to be this server's alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::{CommandFailure, FAILED, UNREACHABLE};

/// Readable by the server's user only.
const MODE: u32 = 0o600;

/// `admin.json`: the HTTP API and its token.
#[derive(Serialize, Deserialize)]
pub(crate) struct AdminNotice {
    /// Like `http://127.0.0.1:8080`.
    pub(crate) url: String,
    /// Bearer token.
    pub(crate) token: String,
}

/// `listeners.json`: addresses with the ports that were really taken. It appears when the server is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listeners {
    /// Process id: tells a running server's file from the one before.
    pub(crate) pid: u32,
    /// MQTT for clients.
    pub(crate) mqtt: Vec<SocketAddr>,
    /// MQTT with TLS for clients.
    pub(crate) mqtts: Option<SocketAddr>,
    /// MQTT over WebSocket.
    pub(crate) ws: Option<SocketAddr>,
    /// MQTT over WebSocket with TLS.
    pub(crate) wss: Option<SocketAddr>,
    /// The HTTP API.
    pub(crate) http: Option<SocketAddr>,
    /// The HTTP API with TLS.
    pub(crate) https: Option<SocketAddr>,
    /// The service listener between broker and bridge.
    pub(crate) service: Option<SocketAddr>,
    /// The embedded object store.
    pub(crate) media: Option<SocketAddr>,
    /// The embedded object store with TLS.
    pub(crate) media_tls: Option<SocketAddr>,
    /// The page.
    #[serde(default)]
    pub(crate) web: Option<SocketAddr>,
    /// The page with TLS.
    #[serde(default)]
    pub(crate) web_tls: Option<SocketAddr>,
    /// For Prometheus.
    #[serde(default)]
    pub(crate) metrics: Option<SocketAddr>,
}

impl AdminNotice {
    const FILE: &str = "admin.json";

    /// Leaves the notice.
    pub(crate) fn write(&self, data: &Path) -> anyhow::Result<()> {
        write(&data.join(Self::FILE), self)
    }

    /// Finds the server of a data folder.
    ///
    /// # Errors
    /// There is none, or this user may not command it.
    pub(crate) fn read(data: &Path) -> Result<Self, CommandFailure> {
        read(&data.join(Self::FILE)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let text = format!("no server has run in {}: start one, or say --data DIR", data.display());
                CommandFailure::new(UNREACHABLE, text)
            }
            _ => CommandFailure::new(FAILED, format!("read {}: {error}", data.join(Self::FILE).display())),
        })
    }
}

impl Listeners {
    /// Of a bridge that stands by: it answers on HTTP alone.
    pub(crate) fn of_standby(http: SocketAddr, https: Option<SocketAddr>) -> Self {
        let pid = std::process::id();
        let (mqtt, none) = (Vec::new(), None);
        let http = Some(http);
        Self {
            pid,
            mqtt,
            mqtts: none,
            ws: none,
            wss: none,
            http,
            https,
            service: none,
            media: none,
            media_tls: none,
            web: none,
            web_tls: none,
            metrics: none,
        }
    }

    /// Leaves the notice in the file of this name.
    pub(crate) fn write(&self, data: &Path, file: &str) -> anyhow::Result<()> {
        write(&data.join(file), self)
    }

    /// What the server of a data folder listens on.
    pub(crate) fn read(data: &Path, file: &str) -> io::Result<Self> {
        read(&data.join(file))
    }

    /// Takes the notice away: the server is not ready any more, or not yet.
    pub(crate) fn remove(data: &Path, file: &str) -> anyhow::Result<()> {
        match fs::remove_file(data.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(format!("remove {file}")),
            _ => Ok(()),
        }
    }
}

/// Replaces a file in one step: who reads it sees the old one or the new one, also after a power cut, and never with wider
/// permissions.
pub(crate) fn write(path: &Path, content: &impl Serialize) -> anyhow::Result<()> {
    let beside = PathBuf::from(format!("{}.{}.new", path.display(), std::process::id()));
    let written = create(&beside).and_then(|mut file| {
        serde_json::to_writer(&mut file, content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    let Err(error) = written else { return Ok(()) };
    _ = fs::remove_file(&beside);
    let failed = format!("write {}", path.display());
    Err(match error.kind() {
        io::ErrorKind::StorageFull => {
            anyhow::Error::new(error).context(format!("{failed} (make room and start again)"))
        }
        _ => anyhow::Error::new(error).context(failed),
    })
}

fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

/// Reads what [`write()`] has written.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_is_for_its_owner_only_and_is_renewed() {
        let data = tempfile::tempdir().expect("a folder");
        for token in ["first", "second"] {
            let notice = AdminNotice { url: "http://127.0.0.1:1".to_owned(), token: token.to_owned() };
            notice.write(data.path()).expect("written");
            assert_eq!(AdminNotice::read(data.path()).expect("read").token, token);
        }
        let mode = fs::metadata(data.path().join("admin.json")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }
}
