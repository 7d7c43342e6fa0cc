//! MQTT over TLS with mosquitto's clients, HTTP over TLS with curl, and a certificate made for the test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::clients::{Subscriber, VERSIONS, publish_with_tls};
use crate::documents::run_http_page;
use crate::server::Server;
use crate::until;

/// A server with all kinds of listeners, and the certificate that its clients trust.
pub(crate) fn start() -> (Server, PathBuf, TempDir) {
    start_with(&[])
}

/// Like [`start`], with more settings.
pub(crate) fn start_with(more: &[(&str, &str)]) -> (Server, PathBuf, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    make_certificate(&certificate, &key);
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

/// A certificate for 127.0.0.1, and its key.
pub(crate) fn make_certificate(certificate: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    fs::write(certificate, made.cert.pem()).expect("written");
    fs::write(key, made.signing_key.serialize_pem()).expect("written");
}

/// Whether curl trusts the server with this root.
fn is_trusted(url: &str, root: &Path) -> bool {
    let curl =
        Command::new("curl").args(["-sS", "--noproxy", "*", "-o", "/dev/null", "--cacert"]).arg(root).arg(url).output();
    curl.expect("curl starts").status.success()
}

#[test]
fn the_http_api_and_files_go_through_tls_and_a_renewed_certificate_is_shown_at_once() {
    // Where links lead; the port is not known before.
    const PUBLIC: &str = "127.0.0.1:8445";
    let (server, root, folder) = start_with(&[
        ("http.tls_listen", "127.0.0.1:0"),
        ("media.tls_listen", "127.0.0.1:0"),
        ("media.public_url", &format!("https://{PUBLIC}")),
    ]);
    let (api, files) = (format!("https://{}", server.https()), server.media_tls());
    run_http_page(&server, &api, &format!("--cacert {} --connect-to {PUBLIC}:{files}", root.display()));

    // A hello that never finishes stands in nobody's way, and neither does who speaks no TLS.
    let mut silent = TcpStream::connect(server.https()).expect("accepted");
    silent.write_all(&[0x16, 3, 1, 2, 0, 1]).expect("the beginning of a hello");
    let mut plain = TcpStream::connect(server.https()).expect("accepted");
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
    let mut answer = Vec::new();
    _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "closed, by an alert at the most");

    let (api, files) = (format!("{api}/healthz"), format!("https://{files}/"));
    let before = folder.path().join("before.pem");
    fs::copy(&root, &before).expect("copied");
    make_certificate(&root, &folder.path().join("key.pem"));
    server.signal("-HUP");
    for url in [&api, &files] {
        until("the new certificate is shown", || is_trusted(url, &root));
        assert!(!is_trusted(url, &before), "{url}");
    }
    assert_eq!(silent.read(&mut [0; 64]).unwrap_or(0), 0, "closed after a while");
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
    server.wait_for_log(&["turned away", "setting=\"tls\"", "addr=127.0.0.1"]);
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0, "closed at limits.connect_deadline_s");
    }
}
