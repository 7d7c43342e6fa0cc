//! Calls whose answers are large, or many.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use godwit_schemas::client::{self, request::Call};

use super::mallory::{drain, list_conversations, publish_all, publish_qos_0, request, users};
use super::{besiege, server, size};
use crate::chat::phone::Phone;
use crate::chat::web::Web;
use crate::mqtt::{Client, Options, RESUME, VERSIONS, Version, connect};
use crate::server::{Account, Server};

/// How large a page is that the server answers with, at most, and what a client may see of it in one packet.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Mallory is in so many groups of so many.
fn in_groups(server: &Server, groups: usize, members: usize) -> Account {
    let mallory = server.add_user("mallory", "phone");
    let others = users(server, "member", members - 1);
    let mut phone = Phone::connect(server, &mallory, Version::V5);
    for n in 0..groups {
        let users = others.iter().map(|account| account.user.clone()).collect();
        phone.done(Call::CreateGroup(client::CreateGroup { title: format!("group {n}"), users }));
        drain(&mut phone.client, Duration::from_millis(1), true);
    }
    mallory
}

/// A conversation of Mallory's with so many large messages.
fn with_history(server: &Server, messages: usize) -> (Account, u64) {
    let mallory = server.add_user("mallory", "phone");
    server.add_user("victim", "phone");
    let mut phone = Phone::connect(server, &mallory, Version::V5);
    let opened = phone.done(Call::OpenDirect(client::OpenDirect { user: "victim".into() }));
    let stored = publish_all(&mut phone.client, "to/victim", (0..messages).map(|_| vec![b'x'; 65_000]), 8);
    assert_eq!(stored, messages);
    (mallory, opened.conversation)
}

fn history(conversation: u64) -> Call {
    Call::GetHistory(client::GetHistory { conversation, ..client::GetHistory::default() })
}

#[test]
fn lists_of_conversations_with_qos_0_before_hanging_up() {
    let server = server(&[]);
    let mallory = in_groups(&server, size(100, 5), size(100, 10));
    besiege("ListConversations, QoS 0, and gone", &server, || {
        for _ in 0..3 {
            let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, RESUME);
            assert_eq!(client.subscribe("rpc"), 1);
            let call = publish_qos_0(Version::V5, "rpc", &request(1, list_conversations()));
            client.send(&call.repeat(size(9_000, 500)));
            drop(client);
        }
    });
}

#[test]
fn pages_that_are_large_and_not_read() {
    for version in VERSIONS {
        let server = server(&[("retention.history", "forever")]);
        let (mallory, conversation) = with_history(&server, size(100, 10));
        besiege(&format!("GetHistory, 120 under way, not read, {version:?}"), &server, || {
            let stream = TcpStream::connect(server.mqtt()).expect("a connection");
            let mut client = stream;
            client.write_all(&connect(version, &mallory, RESUME)).expect("sent");
            let probe = Client::open(server.mqtt(), version);
            client.write_all(&probe.subscribe_bytes(1, "rpc", 1)).expect("sent");
            for id in 2..size(122, 60) as u16 {
                let page = request(id.into(), history(conversation));
                client.write_all(&probe.publish_bytes(id, false, "rpc", &page)).expect("sent");
            }
            thread::sleep(Duration::from_millis(size(5_000, 300) as u64));
            _ = client.shutdown(Shutdown::Both);
        });
    }
}

#[test]
fn pages_that_are_large_and_read() {
    let server = server(&[("retention.history", "forever")]);
    let (mallory, conversation) = with_history(&server, size(100, 10));
    besiege("GetHistory, 6 and then 120 under way", &server, || {
        let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, RESUME);
        assert_eq!(client.subscribe("rpc"), 1);
        for at_once in [6, size(120, 20)] {
            for id in 0..at_once as u64 {
                let packet_id = client.packet_id();
                client.send(&client.publish_bytes(packet_id, false, "rpc", &request(id, history(conversation))));
            }
            for _ in 0..at_once {
                let page = client.receive();
                assert!(page.payload.len() <= PAGE_BYTES_MAX, "{} bytes in one packet", page.payload.len());
            }
        }
    });
}

#[test]
fn pages_over_http() {
    let server = server(&[("retention.history", "forever")]);
    let (mallory, conversation) = with_history(&server, size(100, 10));
    besiege("history over HTTP, 64 at once", &server, || {
        let path = format!("/conversations/{conversation}/messages");
        thread::scope(|scope| {
            for _ in 0..size(64, 8) {
                scope.spawn(|| {
                    let web = Web::of(&server, &mallory);
                    for _ in 0..size(20, 2) {
                        let (status, _) = web.ask("GET", &path, None);
                        assert!([200, 429, 503].contains(&status), "{status}");
                    }
                });
            }
        });
    });
}

#[test]
fn answers_that_are_never_acknowledged() {
    let server = server(&[]);
    let mallory = server.add_user("mallory", "phone");
    let options = Options { receive_maximum: u16::MAX, ..RESUME };
    besiege("8,000 answers without PUBACK, then again", &server, || {
        for _ in 0..3 {
            let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, options);
            assert_eq!(client.subscribe("rpc"), 1);
            let call = |id| {
                let (id, blocked) = (id as u64, Call::ListBlocked(client::ListBlocked {}));
                request(id, blocked)
            };
            for id in 0..size(8_000, 400) {
                let packet = publish_qos_0(Version::V5, "rpc", &call(id));
                if client.try_send(&packet).is_err() {
                    break;
                }
            }
            drain(&mut client, Duration::from_millis(200), false);
        }
    });
}
