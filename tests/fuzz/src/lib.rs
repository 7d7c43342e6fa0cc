//! What comes from outside, however wrong it is, breaks nothing: one function for each door, given the bytes that come in
//! by it. Each begins with a server of its own, so that a finding is found again, and has nothing drawn at random.
//!
//! `make fuzz` has libFuzzer look for such bytes; what it has kept is in `corpus`, and every test run plays that. A panic
//! anywhere is a finding, as is a server that serves nobody else afterwards.

mod http;
mod server;

use godwit_broker::{proxy, websocket};
use godwit_schemas::bus::{self, Bus as _, Tx as _};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::topic::{Destination, Filters};
use tokio::io::AsyncWriteExt as _;

pub use http::http;
use server::{EDGE, Server};

/// Runs one of the others. Time stands still but when nothing else is to be done.
#[cfg(feature = "libfuzzer")]
#[expect(clippy::unwrap_used, reason = "without a runtime there is nothing to test")]
pub fn on_paused_time(it: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(it);
}

/// MQTT. The first byte tells whether it follows a CONNECT that is welcome, with 3.1.1 or with 5.
pub async fn mqtt(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let server = Server::start().await;
    let before = match how % 3 {
        0 => Vec::new(),
        1 => server.connect(4),
        _ => server.connect(5),
    };
    let stream = server::offer([before, bytes.to_vec()].concat());
    server.serve(stream).await;
    server.serves_others().await;
}

/// WebSocket. The first byte tells whether it follows an upgrade that is welcome; then the frames of a CONNECT may go
/// before.
pub async fn websocket(data: &[u8]) {
    const UPGRADE: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    let Some((how, bytes)) = data.split_first() else { return };
    let server = Server::start().await;
    let before = match how % 3 {
        0 => Vec::new(),
        1 => UPGRADE.to_vec(),
        _ => {
            let connect = server.connect(5);
            // Final, binary, masked with zeros.
            [UPGRADE, &[0x82, 0x80 | connect.len() as u8, 0, 0, 0, 0], &connect].concat()
        }
    };
    let stream = server::offer([before, bytes.to_vec()].concat());
    if let Ok(stream) = websocket::upgrade(stream, &["*".to_owned()]).await {
        server.serve(stream).await;
    }
    server.serves_others().await;
}

/// The header that a proxy begins with.
pub async fn proxy(data: &[u8]) {
    let mut rest = data;
    if proxy::read_header(&mut rest).await.is_ok() {
        assert!(data.len() - rest.len() <= 16 + 2_048, "it reads no further than its header");
    }
}

/// What edges and bridge tell each other. The first byte tells where it goes: to the lane, to the edge, to all edges. Nobody
/// but they are on the bus, so it is enough that nothing panics.
pub async fn bus(data: &[u8]) {
    let Some((to, payload)) = data.split_first() else { return };
    let server = Server::start().await;
    let (mut near, far) = tokio::io::duplex(1 << 16);
    // Somebody is there whom it may concern.
    if near.write_all(&server.connect(5)).await.is_err() {
        return;
    }
    let meeting = server.serve(far);
    let telling = async {
        server.is_idle().await;
        let topic = match to % 3 {
            0 => bus::up(0),
            1 => bus::down(EDGE),
            _ => bus::EDGES.to_owned(),
        };
        if let Ok((mut tx, _)) = server.bus.open("fuzz", &[]).await {
            _ = tx.publish(&topic, payload.to_vec().into()).await;
        }
        server.is_idle().await;
        drop(near);
    };
    tokio::join!(meeting, telling);
}

/// Topics, filters, names and numbers.
pub async fn topics(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    _ = Destination::parse(text);
    if let Some(filters) = Filters::parse(text) {
        assert_eq!(Filters::from_bits(filters.bits()), filters);
    }
    if let Ok(name) = UserId::new(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['/', '+', '#', '\0']), "it stands in topics");
    }
    if let Ok(name) = DeviceName::new(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['/', '+', '#', '\0']), "it stands in client identifiers");
    }
    if let Ok(number) = PhoneNumber::parse(text) {
        assert_eq!(PhoneNumber::parse(&number.to_string()).ok(), Some(number), "read again it is the same");
    }
}
