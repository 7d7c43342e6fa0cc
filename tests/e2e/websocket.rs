//! MQTT over WebSocket, frame by frame: what a client may do, and what it is closed for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;
use crate::mqtt::{CLEAN, Client, RESUME, Version, connect};
use crate::server::{Account, Server};

/// An upgrade that is as it must be.
const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: chat\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fn server() -> (Server, Account) {
    let server = Server::with(&[("mqtt.websocket_listen", "127.0.0.1:0"), ("limits.connect_deadline_s", "2")]);
    let account = server.add_user("alice", "phone");
    (server, account)
}

/// A frame as clients send it, with this first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let size = match payload.len() {
        len @ 0..126 => vec![0x80 | len as u8],
        len => [&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat(),
    };
    let masked: Vec<_> = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    [&[first][..], &size, &MASK, &masked].concat()
}

fn dial(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

/// Sends a request; returns the answer's head.
fn request(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// A WebSocket.
pub(crate) fn upgraded(addr: SocketAddr) -> TcpStream {
    let mut stream = dial(addr);
    let head = request(&mut stream, REQUEST);
    let named = head.to_lowercase();
    assert!(head.starts_with("HTTP/1.1 101 ") && named.contains("\r\nsec-websocket-protocol: mqtt\r\n"), "{head}");
    stream
}

/// The server's next frame, if it is short.
fn next(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    let mut payload = vec![0; head[1].into()];
    stream.read_exact(&mut payload).expect("its payload");
    (head[0], payload)
}

/// The server closes with this code and hangs up.
fn closed(mut stream: TcpStream, code: u16, what: &str) {
    assert_eq!(next(&mut stream), (0x88, code.to_be_bytes().to_vec()), "{what}");
    assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)), "{what}: hung up");
}

#[test]
fn packets_may_span_frames_and_frames_packets() {
    let (server, alice) = server();
    for version in [Version::V4, Version::V5] {
        let mut stream = upgraded(server.ws());
        let connect = connect(version, &alice, CLEAN);
        // Byte by byte in fragments, with pings in between; the last one comes with two packets more.
        for (n, byte) in connect.iter().enumerate() {
            stream.write_all(&frame(if n == 0 { 0x02 } else { 0x00 }, &[*byte])).expect("sent");
        }
        stream.write_all(&frame(0x89, b"there?")).expect("sent");
        stream.write_all(&frame(0x80, b"")).expect("sent");
        // The server may have welcomed the client before it saw the ping.
        let (mut answers, pong) = ([next(&mut stream), next(&mut stream)], (0x8A, b"there?".to_vec()));
        answers.sort_unstable();
        let [(first, connack), last] = answers;
        assert_eq!((first, connack[0], connack[3]), (0x82, 0x20, 0), "{version:?}: welcome");
        assert_eq!(last, pong, "a pong");
        stream.write_all(&frame(0x82, &[0xC0, 0, 0xC0, 0])).expect("sent");
        assert_eq!(next(&mut stream), (0x82, vec![0xD0, 0, 0xD0, 0]));
        stream.write_all(&frame(0x82, &[0xE0, 0])).expect("sent");
        closed(stream, 1000, "after DISCONNECT");
    }
}

#[test]
fn who_breaks_the_rules_is_told_and_nobody_else_notices() {
    let (server, alice) = server();
    let mut other = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    let mut unmasked = frame(0x82, &[0xC0, 0]);
    unmasked.drain(2..6);
    unmasked[1] &= 0x7F;
    let cases = [
        ("text", frame(0x81, b"hello"), 1003),
        ("text in fragments", frame(0x01, b"hello"), 1003),
        ("no mask", unmasked, 1002),
        ("a reserved bit", frame(0xC2, b"deflated"), 1002),
        ("a fragment of nothing", frame(0x80, b"goes on"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
    ];
    for (what, bytes, code) in cases {
        let mut stream = upgraded(server.ws());
        stream.write_all(&bytes).expect("sent");
        closed(stream, code, what);
        other.settle();
    }
    // What is no MQTT is closed like any other connection.
    let mut stream = upgraded(server.ws());
    stream.write_all(&frame(0x82, b"no CONNECT")).expect("sent");
    closed(stream, 1000, "no CONNECT");
    other.settle();
}

#[test]
fn requests_that_are_none_are_answered_in_http() {
    let (server, alice) = server();
    let long = format!("Cookie: {}\r\nUpgrade: ", "x".repeat(9_000));
    let cases = [
        ("GET /mqtt", "POST /mqtt", "405"),
        ("GET /mqtt HTTP/1.1", "no request", "400"),
        ("Upgrade: websocket\r\n", "", "426"),
        ("Version: 13", "Version: 12", "426"),
        ("Sec-WebSocket-Protocol: mqtt\r\n", "", "400"),
        ("Sec-WebSocket-Protocol: mqtt", "Sec-WebSocket-Protocol: chat", "400"),
        ("Host: chat", "Host: chat\r\nOrigin: https://evil.example.org", "403"),
        ("Upgrade: ", &long, "431"),
    ];
    for (what, instead, status) in cases {
        let head = request(&mut dial(server.ws()), &REQUEST.replacen(what, instead, 1));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{instead:.40}: {head}");
    }
    // Who never finishes is not waited for: the deadline is the same one as for CONNECT.
    for begun in ["", "GET /mqtt HTTP/1.1\r\nHost", REQUEST] {
        let mut stream = dial(server.ws());
        stream.write_all(begun.as_bytes()).expect("sent");
        let mut all = Vec::new();
        _ = stream.read_to_end(&mut all);
        assert!(all.is_empty() || begun == REQUEST, "closed without a word");
    }
    Client::connect(server.mqtt(), &alice, Version::V5, RESUME).settle();
}
