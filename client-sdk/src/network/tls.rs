//! What a server's certificate is checked against, and an object store's. rustls with ring; nothing of the system but its
//! certificates.

use std::sync::Arc;

#[cfg(feature = "media")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// What certificates are checked against.
pub(crate) type Trust = Arc<ClientConfig>;

/// Trusts these certificates (PEM), or those of the system.
///
/// # Errors
/// [`Error::Address`]: there is none in the PEM.
pub(crate) fn trusting(pem: Option<&[u8]>) -> Result<Trust, Error> {
    let mut roots = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'_>> = match pem {
        Some(pem) => CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    if pem.is_some() && certificates.is_empty() {
        return Err(Error::Address("no certificate in what is to be trusted".to_owned()));
    }
    roots.add_parsable_certificates(certificates);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| Error::Address(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Speaks TLS with this host, which must have a certificate of that name.
///
/// # Errors
/// The network's, or it has none that is trusted.
#[cfg(feature = "media")]
pub(crate) async fn secured<S>(
    trust: &Trust,
    host: &str,
    stream: S,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let name = host.to_owned().try_into().map_err(std::io::Error::other)?;
    tokio_rustls::TlsConnector::from(trust.clone()).connect(name, stream).await
}
