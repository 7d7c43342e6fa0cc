//! The attacker: accounts in number, and packets in one write.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use godwit_schemas::client::{self, request::Call};
use prost::Message as _;
use serde_json::json;
use ureq::Agent;

use crate::PATIENCE;
use crate::chat::web::notice;
use crate::mqtt::{Client, Packet, Version};
use crate::server::{Account, Server};

/// Adds users `<name>0` and on, each with a device "phone".
pub(super) fn users(server: &Server, name: &str, count: usize) -> Vec<Account> {
    let notice = notice(server);
    let agent: Agent = Agent::config_builder().proxy(None).build().into();
    let add = |n| {
        let body = json!({ "user": format!("{name}{n}"), "device": "phone" }).to_string();
        let request = agent.post(format!("{}/v1/admin/users", notice.url));
        let request = request.header("authorization", format!("Bearer {}", notice.token));
        let mut answer = request.header("content-type", "application/json").send(body).expect("added");
        serde_json::from_str(&answer.body_mut().read_to_string().expect("a body")).expect("an account")
    };
    (0..count).map(add).collect()
}

/// The payload of a call.
pub(super) fn request(id: u64, call: Call) -> Vec<u8> {
    client::Request { id, call: Some(call) }.encode_to_vec()
}

pub(super) fn list_conversations() -> Call {
    Call::ListConversations(client::ListConversations::default())
}

/// A PUBLISH with QoS 0.
pub(super) fn publish_qos_0(version: Version, topic: &str, payload: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let len = u16::try_from(topic.len()).expect("a short topic").to_be_bytes();
    let body = [&len[..], topic.as_bytes(), properties, payload].concat();
    assert!(body.len() < 128, "one byte of length");
    [&[0x30, body.len() as u8][..], &body].concat()
}

/// Publishes all of these with QoS 1, with so many unanswered at a time, and acknowledges what comes. Returns how many
/// were acknowledged with 0.
pub(super) fn publish_all(
    client: &mut Client,
    topic: &str,
    payloads: impl IntoIterator<Item = Vec<u8>>,
    at_once: usize,
) -> usize {
    let (mut unanswered, mut stored) = (0, 0);
    let mut answer = |client: &mut Client, unanswered: &mut usize, below: usize| {
        while *unanswered >= below.max(1) {
            match client.try_next(PATIENCE).expect("open").expect("a packet in time") {
                Packet::Puback { reason, .. } => {
                    *unanswered -= 1;
                    stored += usize::from(reason == 0);
                }
                Packet::Publish(publish) => client.acknowledge(&publish),
                _ => {}
            }
        }
    };
    for payload in payloads {
        answer(client, &mut unanswered, at_once);
        let id = client.packet_id();
        let packet = client.publish_bytes(id, false, topic, &payload);
        client.send(&packet);
        unanswered += 1;
    }
    answer(client, &mut unanswered, 1);
    stored
}

/// Reads and throws away what comes within this time, acknowledging deliveries if asked to.
pub(super) fn drain(client: &mut Client, within: Duration, acknowledge: bool) -> usize {
    let mut count = 0;
    while let Ok(Some(packet)) = client.try_next(within) {
        if let (Packet::Publish(publish), true) = (&packet, acknowledge) {
            _ = client.try_acknowledge(publish);
        }
        count += 1;
    }
    count
}

/// Connections that send the beginning of something, and stay.
pub(super) fn hold(address: std::net::SocketAddr, count: usize, beginning: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        // It may be closed at once.
        _ = stream.write_all(beginning);
        stream
    };
    (0..count).map(open).collect()
}
