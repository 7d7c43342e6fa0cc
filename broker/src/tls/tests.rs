use std::fs;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use super::*;

fn write(folder: &TempDir) -> CertificateFiles {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = CertificateFiles { certificates: folder.path().join("certificates"), key: folder.path().join("key") };
    fs::write(&files.certificates, made.cert.pem()).unwrap();
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

fn open(files: &CertificateFiles, clients: Option<ClientCertificates>) -> Result<Tls, TlsError> {
    Tls::open(TlsSettings { files: files.clone(), clients })
}

/// A root, as PEM, and what signs with it.
fn root() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

/// A client that trusts the server's certificate, and shows one with these URIs.
fn client(server: &CertificateFiles, uris: &[&str], issuer: &Issuer<'static, KeyPair>) -> TlsConnector {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, issuer).unwrap().der().clone();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = builder(server).with_client_auth_cert(vec![certificate], key).unwrap();
    TlsConnector::from(Arc::new(config))
}

fn builder(server: &CertificateFiles) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    read_certificates(&server.certificates).unwrap().into_iter().for_each(|root| roots.add(root).unwrap());
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}

/// Who the server thinks it is, and whether the handshake was a short one. `None`: it failed.
async fn shake_hands(tls: &Tls, client: &TlsConnector) -> Option<(Option<CertificateIdentity>, bool)> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serve = async {
        let (mut stream, identity) = tls.accept(near).await.ok()?;
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        Some(identity)
    };
    let ask = async {
        let mut stream = client.connect(ServerName::try_from("localhost").unwrap(), far).await.ok()?;
        // With what it reads comes the ticket for the next time, or that the server does not want it.
        stream.read_u8().await.ok()?;
        Some(stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed))
    };
    let (identity, resumed) = tokio::join!(serve, ask);
    Some((identity?, resumed?))
}

#[tokio::test]
async fn a_certificate_names_its_device_also_when_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (files, roots) = (write(&folder), folder.path().join("roots"));
    let (pem, issuer) = root();
    fs::write(&roots, pem).unwrap();
    let tls = open(&files, Some(ClientCertificates { roots: roots.clone(), required: false })).unwrap();
    let alice = client(&files, &["https://example.org", "godwit:alice/phone"], &issuer);
    let expected =
        CertificateIdentity { user: UserId::new("alice").unwrap(), device: DeviceName::new("phone").unwrap() };
    assert_eq!(shake_hands(&tls, &alice).await, Some((Some(expected.clone()), false)));
    assert_eq!(shake_hands(&tls, &alice).await, Some((Some(expected), true)));
    for uris in [&[][..], &["godwit:alice"], &["godwit:/phone"], &["godwit:a/b/c"], &["godwit:a/b", "godwit:c/d"]] {
        assert_eq!(shake_hands(&tls, &client(&files, uris, &issuer)).await, Some((None, false)), "{uris:?}");
    }
    let nobody = TlsConnector::from(Arc::new(builder(&files).with_no_client_auth()));
    assert_eq!(shake_hands(&tls, &nobody).await, Some((None, false)));
    let others = client(&files, &["godwit:alice/phone"], &root().1);
    assert_eq!(shake_hands(&tls, &others).await, None, "another root");
    let required = open(&files, Some(ClientCertificates { roots, required: true })).unwrap();
    assert_eq!(shake_hands(&required, &nobody).await, None);
    assert!(shake_hands(&required, &alice).await.is_some());
}

#[tokio::test]
async fn tickets_are_void_when_the_roots_have_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (files, roots) = (write(&folder), folder.path().join("roots"));
    let (pem, issuer) = root();
    fs::write(&roots, pem).unwrap();
    let settings = TlsSettings {
        files: files.clone(),
        clients: Some(ClientCertificates { roots: roots.clone(), required: true }),
    };
    let tls = Tls::open(settings.clone()).unwrap();
    let alice = client(&files, &["godwit:alice/phone"], &issuer);
    assert!(shake_hands(&tls, &alice).await.is_some());
    fs::write(&roots, root().0).unwrap();
    let new = LoadedCertificates::read(&settings).unwrap();
    assert!(tls.0.current.read().differs(&new));
    *tls.0.current.write() = new;
    assert_eq!(shake_hands(&tls, &alice).await, None);
}

#[tokio::test(start_paused = true)]
async fn good_new_certificates_are_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(&folder);
    let tls = open(&files, None).unwrap();
    let in_force = || tls.0.current.read().certificates.clone();
    let first = in_force();
    let watch = tokio::spawn(tls.clone().watch());
    fs::write(&files.key, "no key").unwrap();
    tokio::time::sleep(3 * RELOAD_INTERVAL).await;
    assert_eq!(in_force(), first);
    write(&folder);
    tokio::time::sleep(3 * RELOAD_INTERVAL).await;
    assert_ne!(in_force(), first);
    watch.abort();
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = write(&folder);
    fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
    let refused = open(&files, None);
    assert!(matches!(refused, Err(TlsError::Unusable(..))), "{refused:?}");
    fs::remove_file(&files.key).unwrap();
    let refused = open(&files, None);
    assert!(matches!(refused, Err(TlsError::File(..))), "{refused:?}");
}
