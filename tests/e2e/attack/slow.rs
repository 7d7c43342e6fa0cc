//! Clients that take their time: as long as they stay they have a place, and there are only so many.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::{Bystanders, lets_in};
use crate::clients::publish_with_tls;
use crate::mqtt::CLEAN;
use crate::mqtt::{Client, Version, connect};
use crate::server::Server;
use crate::{PATIENCE, until};

fn begin(addr: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = TcpStream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        // It may have been closed already.
        _ = stream.write_all(bytes);
        stream
    };
    (0..count).map(begin).collect()
}

fn are_closed(streams: Vec<TcpStream>) {
    for mut stream in streams {
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)), "closed without a word");
    }
}

#[test]
fn who_sends_a_byte_now_and_then_stands_in_nobodys_way() {
    let (server, root, _folder) = crate::tls::start();
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let whole = connect(Version::V5, &carol, CLEAN);
    let mut plain = begin(server.mqtt(), 300, &whole[..1]);
    let hellos = begin(server.mqtts(), 100, &[0x16, 3, 1, 2, 0, 1]);
    let upgrades = begin(server.ws(), 100, b"GET /mqtt HTTP/1.1\r\nHo");
    for byte in &whole[1..20] {
        for stream in &mut plain {
            _ = stream.write_all(&[*byte]);
        }
        others.chat();
    }
    lets_in(&server, &carol);
    assert!(publish_with_tls(&server, &root, &carol, "5", ("to/bob", "over TLS")).0);
    assert_eq!(others.bob.body(), "over TLS");
    [plain, hellos, upgrades].into_iter().for_each(are_closed);
    others.chat();
}

#[test]
fn handshakes_have_only_so_many_places_and_others_get_them_later() {
    let (server, root, _folder) =
        crate::tls::start_with(&[("limits.handshakes_max", "8"), ("limits.connect_deadline_s", "1")]);
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let hellos = begin(server.mqtts(), 20, &[0x16, 3, 1, 2, 0, 1]);
    others.chat();
    lets_in(&server, &carol);
    // It waits for its turn, two or three deadlines from now.
    assert!(publish_with_tls(&server, &root, &carol, "5", ("to/bob", "over TLS")).0);
    assert_eq!(others.bob.body(), "over TLS");
    are_closed(hellos);
}

#[test]
fn strangers_are_only_so_many_and_those_who_are_known_stay() {
    let server = Server::with(&[("limits.unauthenticated_connections", "20"), ("limits.connect_deadline_s", "1")]);
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let silent = begin(server.mqtt(), 60, &[0x10]);
    others.chat();
    are_closed(silent);
    until("there is room again", || {
        let client = Client::try_open(server.mqtt(), Version::V5, 0);
        client.and_then(|mut client| client.login(&carol, CLEAN)).is_ok_and(|(reason, _)| reason == 0)
    });
    others.chat();
}

#[test]
fn who_announces_much_and_sends_little_takes_no_memory() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let devices: Vec<_> = (0..10).map(|n| server.add_device("mallory", &format!("d{n}"))).collect();
    let before = server.rss_anon_kib();
    // The largest packet there may be, to the last byte; 130 KB each would be 1.3 MB, and CONNECT may not be so long.
    let mut greedy: Vec<_> = devices.iter().map(|it| Client::connect(server.mqtt(), it, Version::V5, CLEAN)).collect();
    for client in &mut greedy {
        client.send(&[0x32, 0xFC, 0xFF, 0x07, 0]);
    }
    for bytes in [[0x10, 0xFF, 0xFF, 0xFF, 0x7F], [0x10, 0xFF, 0xFF, 0x07, 0], [0x32, 0xFF, 0xFF, 0xFF, 0x7F]] {
        begin(server.mqtt(), 100, &bytes).into_iter().for_each(|mut stream| {
            assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)), "closed at once");
        });
    }
    others.chat();
    lets_in(&server, &mallory);
    let grown = server.rss_anon_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for a few bytes");
}
