//! The listener of the page: what is there, what is not, and MQTT over WebSocket beside it. `web/test` has the page in a browser.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::PATIENCE;
use crate::mqtt::{CLEAN, Version, connect};
use crate::server::Server;
use crate::websocket::{frame, upgraded};

/// Sends a request whose connection ends with the answer, and returns that.
fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.web()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    write!(stream, "{request}\r\nHost: {}\r\nConnection: close\r\n\r\n", server.web()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn the_page_is_guarded_and_operators_routes_are_elsewhere() {
    let server = Server::start();
    let page = ask(&server, "GET / HTTP/1.1");
    assert_eq!(status(&page), "200", "{page}");
    for header in [
        "content-type: text/html",
        "content-security-policy: default-src 'none'; script-src 'self';",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "x-content-type-options: nosniff",
    ] {
        assert!(page.to_lowercase().contains(header), "{header}: {page}");
    }
    assert!(page.contains(&format!("connect-src 'self' http://{};", server.media())), "{page}");
    for (request, wanted) in [
        ("GET /v1/openapi.json HTTP/1.1", "200"),
        ("GET /v1/users/alice/profile HTTP/1.1", "401"),
        ("POST /v1/registrations HTTP/1.1", "415"),
        ("GET /v1/admin/users HTTP/1.1", "404"),
        ("POST /v1/admin/users HTTP/1.1", "404"),
        ("GET /v1/admin/clock HTTP/1.1", "404"),
        ("GET /healthz HTTP/1.1", "404"),
        ("GET /readyz HTTP/1.1", "404"),
        ("GET /assets/../index.html HTTP/1.1", "404"),
        ("GET /nothing HTTP/1.1", "404"),
        ("POST / HTTP/1.1", "405"),
        ("GET /mqtt HTTP/1.1", "426"),
    ] {
        let answer = ask(&server, request);
        assert_eq!(status(&answer), wanted, "{request}: {answer}");
    }
    let upgrade = "GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nConnection: Upgrade";
    let foreign = ask(&server, &format!("{upgrade}\r\nOrigin: https://evil.example.org"));
    assert_eq!(status(&foreign), "403", "{foreign}");
}

#[test]
fn mqtt_goes_over_the_listener_of_the_page() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let mut stream = upgraded(server.web());
    stream.write_all(&frame(0x82, &connect(Version::V5, &alice, CLEAN))).expect("sent");
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    let mut connack = vec![0; head[1].into()];
    stream.read_exact(&mut connack).expect("its payload");
    assert_eq!((head[0], connack[0], connack[3]), (0x82, 0x20, 0), "welcome");
}
