//! TLS for listeners: those of MQTT here, and those of HTTP in the server. Certificates are read from files, and again every minute. The
//! only module that names rustls.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use godwit_schemas::ids::{DeviceName, UserId};
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

/// The files are read this often.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// The files of a certificate and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate, followed by the intermediate certificates.
    pub certificates: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// The server's certificate, and what is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's own certificate.
    pub files: CertificateFiles,
    /// Whether clients may, or must, show a certificate. `None`: they are not asked for one.
    pub clients: Option<ClientCertificates>,
}

impl TlsSettings {
    /// Reads the files, as a broker does when it starts.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn check(&self) -> Result<(), TlsError> {
        LoadedCertificates::read(self).map(drop)
    }
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file with the roots of their certificates.
    pub roots: PathBuf,
    /// A client without a certificate fails the handshake.
    pub required: bool,
}

/// The device that a client's certificate names, in a URI of its alternative names: `godwit:<user>/<device>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateIdentity {
    pub(crate) user: UserId,
    pub(crate) device: DeviceName,
}

impl CertificateIdentity {
    /// `None`: the certificate names no device, or several.
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
    /// A file cannot be read, or is not PEM of the right kind.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The certificate and the key do not belong together, or are not supported.
    #[error("{0}: {1}")]
    Unusable(PathBuf, #[source] rustls::Error),
    /// The roots of clients' certificates cannot be used.
    #[error("{0}: {1}")]
    Roots(PathBuf, #[source] VerifierBuilderError),
}

impl TlsError {
    /// The file with the problem. (For a certificate and a key that do not belong together: the certificate's.)
    pub fn file(&self) -> &Path {
        match self {
            Self::File(file, _) | Self::Unusable(file, _) | Self::Roots(file, _) => file,
        }
    }
}

/// The certificates in force, shared by all listeners with TLS. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls(Arc<TlsShared>);

#[derive(Debug)]
struct TlsShared {
    settings: TlsSettings,
    current: RwLock<LoadedCertificates>,
    /// Notified when the files are to be read at once.
    reload: Notify,
}

struct LoadedCertificates {
    certificates: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for LoadedCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(settings: TlsSettings) -> Result<Self, TlsError> {
        let current = RwLock::new(LoadedCertificates::read(&settings)?);
        Ok(Self(Arc::new(TlsShared { settings, current, reload: Notify::new() })))
    }

    /// Has [`Self::watch`] read the files at once. Returns before it has.
    pub fn reload(&self) {
        self.0.reload.notify_one();
    }

    /// Reads the files every minute, for ever. If they cannot be used, the old certificates stay in force.
    pub async fn watch(self) {
        loop {
            _ = timeout(RELOAD_INTERVAL, self.0.reload.notified()).await;
            let read = {
                let tls = self.clone();
                tokio::task::spawn_blocking(move || LoadedCertificates::read(&tls.0.settings)).await
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

    /// Does the handshake of one client, without regard to its certificate. `None`: it failed. The caller bounds its time. If it is
    /// cancelled, the stream is dropped.
    pub async fn handshake<S>(&self, stream: S) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept(stream).await.ok().map(|(stream, _)| stream)
    }

    /// Does the handshake of one client. Returns the stream, and the device that the client's certificate names. It holds up to 40 KB of
    /// memory.
    ///
    /// # Errors
    /// The handshake failed.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Option<CertificateIdentity>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.0.current.read().acceptor.clone();
        let stream = acceptor.accept(stream).await?;
        // A resumed session brings the certificate of the first along, sealed in its ticket.
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity = certificate.and_then(CertificateIdentity::of);
        Ok((stream, identity))
    }
}

impl LoadedCertificates {
    fn read(TlsSettings { files, clients }: &TlsSettings) -> Result<Self, TlsError> {
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
    clients: &ClientCertificates,
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
