//! TLS of the listeners: certificates from files, looked at again every minute, and handshakes beside the accept loop.
//! The only module that names rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Where a certificate and its key are, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, followed by those that lead to a root.
    pub certificates: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The certificate and the key do not fit, or are of a kind that is not supported.
    #[error("{0}: {1}")]
    Unusable(PathBuf, #[source] rustls::Error),
}

/// What listeners with TLS share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    current: RwLock<Current>,
}

struct Current {
    certificates: Vec<CertificateDer<'static>>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub(crate) fn open(files: Files) -> Result<Self, TlsError> {
        let current = RwLock::new(Current::read(&files)?);
        Ok(Self(Arc::new(Shared { files, current })))
    }

    /// Takes up new certificates for ever. Files that cannot be used leave the old ones in force.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let read = {
                let tls = self.clone();
                tokio::task::spawn_blocking(move || Current::read(&tls.0.files)).await
            };
            match read {
                Ok(Ok(current)) if current.certificates != self.0.current.read().certificates => {
                    *self.0.current.write() = current;
                    tracing::info!(file = %self.0.files.certificates.display(), "took up new certificates");
                }
                Ok(Err(error)) => tracing::error!(%error, "new certificates are refused, the old ones stay in force"),
                _ => {}
            }
        }
    }

    /// The handshake of one client. `None`: it failed. A handshake holds up to 40 KB.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let acceptor = self.0.current.read().acceptor.clone();
        acceptor.accept(stream).await.ok()
    }
}

impl Current {
    fn read(files: &Files) -> Result<Self, TlsError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| TlsError::File(path, error)
        };
        let read = CertificateDer::pem_file_iter(&files.certificates).map_err(at(&files.certificates))?;
        let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(at(&files.certificates))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(at(&files.key))?;
        let unusable = |error| TlsError::Unusable(files.certificates.clone(), error);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(certificates.clone(), key)
            .map_err(unusable)?;
        // Sessions are resumed by tickets: the server keeps nothing for a client that is away.
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        config.send_tls13_tickets = 1;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self { certificates, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn write(folder: &TempDir) -> Files {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = Files { certificates: folder.path().join("certificates"), key: folder.path().join("key") };
        fs::write(&files.certificates, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[tokio::test(start_paused = true)]
    async fn new_certificates_are_taken_up_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(&folder);
        let tls = Tls::open(files.clone()).unwrap();
        let in_force = || tls.0.current.read().certificates.clone();
        let first = in_force();
        let watch = tokio::spawn(tls.clone().watch());
        fs::write(&files.key, "no key").unwrap();
        tokio::time::sleep(3 * LOOK_AGAIN).await;
        assert_eq!(in_force(), first);
        write(&folder);
        tokio::time::sleep(3 * LOOK_AGAIN).await;
        assert_ne!(in_force(), first);
        watch.abort();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = write(&folder);
        fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
        let refused = Tls::open(files.clone());
        assert!(matches!(refused, Err(TlsError::Unusable(..))), "{refused:?}");
        fs::remove_file(&files.key).unwrap();
        let refused = Tls::open(files);
        assert!(matches!(refused, Err(TlsError::File(..))), "{refused:?}");
    }
}
