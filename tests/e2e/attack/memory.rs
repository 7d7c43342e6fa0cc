//! Clients with accounts that would have the server take more memory than it may.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::{Bystanders, lets_in};
use crate::mqtt::{CLEAN, Client, RESUME, Version, connect};
use crate::server::Server;
use crate::until;

const CEILING_MIB: u64 = 128;
const PACKET_BYTES: usize = 2_000_000;

#[test]
fn memory_stays_below_its_ceiling_and_who_is_in_goes_on() {
    let server = Server::with(&[
        ("limits.memory_mib", &CEILING_MIB.to_string()),
        ("store.memtable_mib", "2"),
        ("store.cache_mib", "1"),
        ("limits.body_bytes_max", "1_048_576"),
        ("limits.packet_bytes_max", "2_097_152"),
        ("limits.devices_per_user_max", "100"),
        ("limits.drain_deadline_s", "3"),
    ]);
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let carol = server.add_user("carol", "phone");
    let devices: Vec<_> = (0..80).map(|n| server.add_device("mallory", &format!("d{n}"))).collect();
    // 160 MB, of packets that are announced and never end.
    let mut packet = vec![0x32, 0x80, 0x89, 0x7A];
    packet.resize(PACKET_BYTES - 1, b'x');
    packet[4..12].copy_from_slice(b"\0\x06to/bob");
    let mut greedy = Vec::new();
    let mut most_kib = 0;
    for device in &devices {
        let mut stream = TcpStream::connect(server.mqtt()).expect("a connection");
        stream.set_write_timeout(Some(Duration::from_millis(50))).expect("set");
        _ = stream.write_all(&connect(Version::V5, device, CLEAN));
        match stream.write_all(&packet) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => greedy.push(stream),
        }
        others.chat();
        most_kib = most_kib.max(server.rss_anon_kib());
    }
    server.wait_for_log(&["memory is short"]);
    for _ in 0..20 {
        others.chat();
        most_kib = most_kib.max(server.rss_anon_kib());
    }
    let told = Client::open(server.mqtt(), Version::V5).login(&carol, RESUME);
    assert!(told.is_ok_and(|(reason, _)| reason == 0x89), "come back later");
    let told = Client::open(server.mqtt(), Version::V4).login(&carol, RESUME);
    assert!(told.is_ok_and(|(reason, _)| reason == 3), "server unavailable");
    assert!(most_kib > CEILING_MIB * 1_024 * 3 / 4 && most_kib < CEILING_MIB * 1_024, "{most_kib} KiB");
    // Whoever keeps a packet waiting is closed, and then there is memory again.
    until("others get in again", || {
        others.chat();
        let client = Client::try_open(server.mqtt(), Version::V5, 0);
        client.and_then(|mut client| client.login(&mallory, CLEAN)).is_ok_and(|(reason, _)| reason == 0)
    });
    server.wait_for_log(&["there is memory again"]);
    lets_in(&server, &carol);
    drop(greedy);
}
