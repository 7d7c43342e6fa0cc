//! Certificates of clients, with mosquitto's client: the one that a certificate names needs no password, nobody else gets
//! in with it, and a device that was removed does not either.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

use crate::clients::{Subscriber, publish_with_certificate};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::Server;

struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Not the default one of rcgen, which would be its devices' as well: OpenSSL takes those for their own issuers.
        params.distinguished_name.push(DnType::CommonName, "devices");
        let root = folder.path().join("root.pem");
        fs::write(&root, params.self_signed(&key).expect("signed").pem()).expect("written");
        Self { issuer: Issuer::new(params, key), root, folder }
    }

    /// A certificate and its key.
    fn sign(&self, name: &str, subject: SanType) -> [PathBuf; 2] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![subject];
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let files = ["pem", "key"].map(|end| self.folder.path().join(format!("{name}.{end}")));
        fs::write(&files[0], certificate.pem()).expect("written");
        fs::write(&files[1], key.serialize_pem()).expect("written");
        files
    }

    fn device(&self, name: &str) -> [PathBuf; 2] {
        self.sign(&name.replace('/', "-"), SanType::URI(format!("godwit:{name}").try_into().expect("ASCII")))
    }
}

#[test]
fn a_device_is_who_its_certificate_says() {
    let authority = Authority::new();
    let [certificate, key] = authority.sign("server", SanType::IpAddress([127, 0, 0, 1].into()));
    let file = |path: &PathBuf| path.to_str().expect("text").to_owned();
    let server = Server::with(&[
        ("mqtt.tls_listen", "127.0.0.1:0"),
        ("tls.certificates", &file(&certificate)),
        ("tls.key", &file(&key)),
        ("tls.client_ca", &file(&authority.root)),
        ("tls.client_certificates", "optional"),
    ]);
    let (_, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let publish = |[certificate, key]: &[PathBuf; 2], device: &str| {
        publish_with_certificate(&server, [&authority.root, certificate, key], device)
    };
    let alice = authority.device("alice/phone");
    let mut inbox = Subscriber::start(&server, &bob, "5", 1);
    assert!(publish(&alice, "phone"));
    assert_eq!(inbox.next().1, "with a certificate");
    assert!(!publish(&alice, "laptop"), "it is not that device");
    assert!(!publish(&authority.device("carol/phone"), "phone"), "there is no such user");
    assert!(!publish(&authority.sign("nobody", SanType::DnsName("x".try_into().expect("a name"))), "phone"));
    assert!(!publish(&Authority::new().device("alice/phone"), "phone"), "of another authority");
    assert_eq!(server.run(&["device", "remove", "alice", "phone"]).code, Some(0));
    assert!(!publish(&alice, "phone"), "it was removed");
    Client::connect(server.mqtt(), &bob, Version::V5, RESUME).settle();
}
