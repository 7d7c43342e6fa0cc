//! TLS of the listeners: certificates from files, looked at again every minute, and handshakes beside the accept loop.
//! The only module that names rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use godwit_schemas::ids::{DeviceName, UserId};
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

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

/// What listeners with TLS show, and whom they want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The server's own certificate.
    pub files: Files,
    /// Whether clients may, or must, show one.
    pub clients: Option<Clients>,
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// PEM file with the certificates that theirs lead to.
    pub roots: PathBuf,
    /// Who shows none is not let in.
    pub required: bool,
}

/// The device that a client's certificate names, in a URI of its alternative names: `godwit:<user>/<device>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: UserId,
    pub(crate) device: DeviceName,
}

impl Identity {
    /// `None`: it names none, or several.
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let mut names = certificate.valid_uri_names().filter_map(|uri| uri.strip_prefix("godwit:"));
        let (Some(name), None) = (names.next(), names.next()) else { return None };
        let (user, device) = name.split_once('/')?;
        Some(Self { user: UserId::new(user).ok()?, device: DeviceName::new(device).ok()? })
    }
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
    /// What clients' certificates are to lead to is no such thing.
    #[error("{0}: {1}")]
    Roots(PathBuf, #[source] VerifierBuilderError),
}

/// What listeners with TLS share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    current: RwLock<Current>,
}

struct Current {
    certificates: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub(crate) fn open(settings: Settings) -> Result<Self, TlsError> {
        let current = RwLock::new(Current::read(&settings)?);
        Ok(Self(Arc::new(Shared { settings, current })))
    }

    /// Takes up new certificates for ever. Files that cannot be used leave the old ones in force.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let read = {
                let tls = self.clone();
                tokio::task::spawn_blocking(move || Current::read(&tls.0.settings)).await
            };
            match read {
                Ok(Ok(current)) if self.0.current.read().differs(&current) => {
                    *self.0.current.write() = current;
                    tracing::info!(file = %self.0.settings.files.certificates.display(), "took up new certificates");
                }
                Ok(Err(error)) => tracing::error!(%error, "new certificates are refused, the old ones stay in force"),
                _ => {}
            }
        }
    }

    /// The handshake of one client, and the device that its certificate names. `None`: it failed. A handshake holds up to
    /// 40 KB.
    pub(crate) async fn accept<S>(&self, stream: S) -> Option<(TlsStream<S>, Option<Identity>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.0.current.read().acceptor.clone();
        let stream = acceptor.accept(stream).await.ok()?;
        // A resumed session brings the certificate of the first along, sealed in its ticket.
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity = certificate.and_then(Identity::of);
        Some((stream, identity))
    }
}

impl Current {
    fn read(Settings { files, clients }: &Settings) -> Result<Self, TlsError> {
        let certificates = read_certificates(&files.certificates)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File(files.key.clone(), error))?;
        let roots = clients.as_ref().map(|clients| read_certificates(&clients.roots)).transpose()?.unwrap_or_default();
        let unusable = |error| TlsError::Unusable(files.certificates.clone(), error);
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => config.with_client_cert_verifier(verifier(clients, &roots, provider)?),
        };
        let mut config = config.with_single_cert(certificates.clone(), key).map_err(unusable)?;
        // Sessions are resumed by tickets: the server keeps nothing for a client that is away.
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        config.send_tls13_tickets = 1;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self { certificates, roots, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    fn differs(&self, other: &Self) -> bool {
        self.certificates != other.certificates || self.roots != other.roots
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let at = |error| TlsError::File(path.to_owned(), error);
    CertificateDer::pem_file_iter(path).map_err(at)?.collect::<Result<_, _>>().map_err(at)
}

fn verifier(
    clients: &Clients,
    roots: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| TlsError::Unusable(clients.roots.clone(), error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| TlsError::Roots(clients.roots.clone(), error))
}

#[cfg(test)]
mod tests;
