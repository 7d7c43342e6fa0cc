//! MQTT over TLS, with mosquitto's clients and a certificate made for the test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::clients::{Subscriber, VERSIONS, publish_with_tls};
use crate::server::Server;

/// A server with all kinds of listeners, and the certificate that its clients trust.
pub(crate) fn start() -> (Server, PathBuf, TempDir) {
    start_with(&[])
}

/// Like [`start`], with more settings.
pub(crate) fn start_with(more: &[(&str, &str)]) -> (Server, PathBuf, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    fs::write(&certificate, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let settings = [
        ("mqtt.tls_listen", "127.0.0.1:0"),
        ("mqtt.websocket_listen", "127.0.0.1:0"),
        ("mqtt.websocket_tls_listen", "127.0.0.1:0"),
        ("mqtt.websocket_origins", "https://chat.example.org"),
        ("tls.certificates", certificate.to_str().expect("text")),
        ("tls.key", key.to_str().expect("text")),
        ("limits.connect_deadline_s", "2"),
    ];
    (Server::with(&[&settings[..], more].concat()), certificate, folder)
}

#[test]
fn messages_go_through_tls_and_strangers_certificates_are_not_taken() {
    let (server, root, folder) = start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    // Hellos that never finish stand in nobody's way.
    let mut silent: Vec<_> = (0..50).map(|_| TcpStream::connect(server.mqtts()).expect("accepted")).collect();
    for stream in &mut silent {
        stream.write_all(&[0x16, 3, 1, 2, 0, 1]).expect("the beginning of a hello");
    }
    for version in VERSIONS {
        let mut inbox = Subscriber::start(&server, &bob, version, 1);
        let sent = publish_with_tls(&server, &root, &alice, version, ("to/bob", "over TLS"));
        assert_eq!(sent, (true, String::new()));
        assert_eq!(inbox.next().1, "over TLS");
        inbox.end();
    }
    let stranger = folder.path().join("stranger.pem");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    fs::write(&stranger, made.cert.pem()).expect("written");
    assert!(!publish_with_tls(&server, &stranger, &alice, "5", ("to/bob", "not sent")).0);
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0, "closed at limits.connect_deadline_s");
    }
}
