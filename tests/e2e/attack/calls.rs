//! Clients with an account that ask for far more than they take: with QoS 0, which nobody acknowledges, and without looking
//! for an answer.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use godwit_schemas::client::{CreateGroup, ListConversations, Request, Response, request::Call};
use prost::Message as _;

use super::{Bystanders, lets_in};
use crate::mqtt::{CLEAN, Client, RESUME, Version, connect};
use crate::server::{Account, Server};

const CEILING_MIB: u64 = 192;
/// Groups that the attacker is in, and their members: a list of them takes a hundred kilobytes.
const GROUPS: u64 = 40;
const MEMBERS: usize = 40;
/// Calls in every test run: their answers together are several times what the server may have.
const CALLS: usize = 9_000;

/// How many calls there are.
fn count() -> usize {
    let asked = std::env::var("GODWIT_ATTACKS").ok();
    asked.map_or(CALLS, |text| text.parse().expect("GODWIT_ATTACKS is a number"))
}

/// Makes an account that is in many large groups.
fn busy_account(server: &Server) -> Account {
    let mallory = server.add_user("mallory", "phone");
    // As long as names may be.
    let others = (1..MEMBERS).map(|n| format!("{n:x>64}"));
    let users: Vec<_> = others.inspect(|user| drop(server.add_user(user, "phone"))).collect();
    let mut owner = Client::connect(server.mqtt(), &mallory, Version::V5, RESUME);
    assert_eq!(owner.subscribe("rpc"), 1);
    for id in 1..=GROUPS {
        let call = Call::CreateGroup(CreateGroup { title: "everybody".to_owned(), users: users.clone() });
        assert_eq!(owner.publish("rpc", &Request { id, call: Some(call) }.encode_to_vec()), 0);
        let response = Response::decode(&owner.receive().payload[..]).expect("a Response");
        assert_eq!((response.id, response.reason), (id, 0));
    }
    mallory
}

/// PUBLISH with QoS 0 to `rpc`: what of, with MQTT 5.
fn list_conversations() -> Vec<u8> {
    let call = Some(Call::ListConversations(ListConversations::default()));
    let payload = Request { id: 1, call }.encode_to_vec();
    [&[0x30, 6 + payload.len() as u8, 0, 3][..], b"rpc", &[0], &payload].concat()
}

/// Sends as much of it as the server takes at once.
fn pour(account: &Account, subscribes: bool, bytes: &[u8], server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.mqtt()).expect("a connection");
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("set");
    let client = Client::open(server.mqtt(), Version::V5);
    let subscribe = if subscribes { client.subscribe_bytes(1, "rpc", 1) } else { Vec::new() };
    match stream.write_all(&[&connect(Version::V5, account, CLEAN), &subscribe, bytes].concat()) {
        Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("{error}"),
        _ => stream,
    }
}

#[test]
fn calls_without_end_stay_below_the_ceiling_and_stand_in_nobodys_way() {
    let server = Server::with(&[
        ("limits.memory_mib", &CEILING_MIB.to_string()),
        ("store.memtable_mib", "2"),
        ("store.cache_mib", "1"),
    ]);
    let mut others = Bystanders::meet(&server);
    let mallory = busy_account(&server);
    let calls = list_conversations().repeat(count());
    let mut most_kib = 0;
    // It hangs up at once, or when it has said all, or not at all, and never reads an answer.
    let mut stays = None;
    for subscribes in [true, false] {
        for hangs_up in [Some(Shutdown::Both), Some(Shutdown::Write), None] {
            let stream = pour(&mallory, subscribes, &calls, &server);
            if let Some(how) = hangs_up {
                // The server may have closed it.
                _ = stream.shutdown(how);
            }
            stays = Some(stream);
            for _ in 0..5 {
                others.chat();
                most_kib = most_kib.max(server.rss_anon_kib());
            }
        }
    }
    assert!(most_kib < CEILING_MIB * 1_024, "{most_kib} KiB");
    assert!(!server.log().contains("has a hole"), "nothing was lost on the bus");
    drop(stays);
    lets_in(&server, &server.add_user("carol", "phone"));
}
