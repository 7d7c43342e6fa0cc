//! Strangers who would silence somebody: a full inbox, groups in number, numbers tried out.

use std::time::Duration;

use godwit_schemas::client::{self, request::Call};

use super::mallory::{drain, publish_all, request};
use super::{besiege, server, size};
use crate::chat::phone::Phone;
use crate::mqtt::{Client, RESUME, Version};

#[test]
fn a_stranger_fills_an_old_device_and_the_groups_go_on() {
    let server = server(&[("limits.inbox_entries", &size(100_000, 2_000).to_string())]);
    let victim = server.add_user("victim", "phone");
    server.add_device("victim", "old");
    let carol = server.add_user("carol", "phone");
    let mallory = server.add_user("mallory", "phone");
    let mut friend = Phone::connect(&server, &carol, Version::V5);
    let group = client::CreateGroup { title: "friends".into(), users: vec!["victim".into()] };
    let group = friend.done(Call::CreateGroup(group)).conversation;
    besiege("an inbox filled by a stranger", &server, || {
        let mut at_victim = Client::connect(server.mqtt(), &victim, Version::V5, RESUME);
        assert_eq!(at_victim.subscribe("inbox/#"), 1);
        let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, RESUME);
        let batch = size(1_000, 100);
        for _ in 0..size(110_000, 2_200) / batch {
            publish_all(&mut client, "to/victim", (0..batch).map(|_| Vec::new()), 100);
            drain(&mut at_victim, Duration::from_millis(1), true);
        }
    });
    assert_eq!(friend.client.publish(&format!("send/{group}"), b"still there"), 0, "the group goes on");
}

#[test]
fn a_stranger_adds_somebody_to_groups_without_end() {
    let server = server(&[]);
    let victim = server.add_user("victim", "phone");
    let carol = server.add_user("carol", "phone");
    let mallory = server.add_user("mallory", "phone");
    let contact = client::AddContact { user: "carol".into(), label: String::new() };
    // Another device, since this one reads bodies.
    let tablet = server.add_device("victim", "tablet");
    Phone::connect(&server, &tablet, Version::V5).done(Call::AddContact(contact));
    besiege("groups without end", &server, || {
        let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, RESUME);
        let group = |n| client::CreateGroup { title: format!("{n}"), users: vec!["victim".into()] };
        let calls = (0..size(20_000, 500)).map(|n| request(n as u64, Call::CreateGroup(group(n))));
        publish_all(&mut client, "rpc", calls, 100)
    });
    let mut friend = Phone::connect(&server, &carol, Version::V5);
    let group = client::CreateGroup { title: "friends".into(), users: vec!["victim".into()] };
    let group = friend.done(Call::CreateGroup(group)).conversation;
    assert_eq!(friend.client.publish(&format!("send/{group}"), b"hello"), 0, "a contact still adds");
    let mut at_victim = Client::connect(server.mqtt(), &victim, Version::V5, RESUME);
    assert_eq!(at_victim.subscribe("inbox/#"), 1);
    assert_eq!(at_victim.body(), "hello");
}

#[test]
fn numbers_that_are_tried_out() {
    let server = server(&[("limits.phone_lookups_per_day", "100")]);
    let mallory = server.add_user("mallory", "phone");
    besiege("phone numbers tried out", &server, || {
        let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, RESUME);
        let media = vec![client::Media { id: "none-such".into(), ..client::Media::default() }];
        let send = |n: usize| client::Send {
            to: Some(client::send::To::Phone(format!("+4930{n:07}"))),
            media: media.clone(),
            ..client::Send::default()
        };
        let payloads = (0..size(50_000, 1_000)).map(|n| prost::Message::encode_to_vec(&send(n)));
        assert_eq!(publish_all(&mut client, "send", payloads, 100), 0, "nothing is stored");
    });
}
