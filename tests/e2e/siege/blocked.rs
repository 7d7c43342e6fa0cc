//! Somebody who is blocked goes on as fast as it can.

use godwit_schemas::client::{self, request::Call};

use super::mallory::{publish_all, request};
use super::{besiege, server, size};
use crate::chat::phone::Phone;
use crate::mqtt::Version;

#[test]
fn calls_of_whoever_is_blocked() {
    let server = server(&[("retention.history", "forever")]);
    let [victim, mallory] = ["victim", "mallory"].map(|user| server.add_user(user, "phone"));
    let mut at_victim = Phone::connect(&server, &victim, Version::V5);
    let mut at_mallory = Phone::connect(&server, &mallory, Version::V5);
    let conversation = at_mallory.done(Call::OpenDirect(client::OpenDirect { user: "victim".into() })).conversation;
    at_victim.change();
    at_mallory.send("to/victim", "hello");
    assert_eq!(at_victim.message().body, "hello");
    at_victim.done(Call::Block(client::Block { user: "mallory".into() }));
    besiege("calls of whoever is blocked", &server, || {
        let calls = (0..size(20_000, 200)).map(|n| {
            let call = match n % 3 {
                0 => Call::Edit(client::Edit { conversation, sequence: 2, body: "worse".into(), mls_epoch: 0 }),
                1 => {
                    Call::React(client::React { conversation, sequence: 2, reaction: "!".into(), ..Default::default() })
                }
                _ => Call::SetRetention(client::SetRetention {
                    conversation,
                    retention: Some(client::Retention { history_days_plus_one: 1, expires_in_s: 1 }),
                }),
            };
            request(n as u64, call)
        });
        publish_all(&mut at_mallory.client, "rpc", calls, 100)
    });
    let page = client::GetHistory { conversation, ..client::GetHistory::default() };
    let history = at_victim.done(Call::GetHistory(page)).history;
    let messages: Vec<_> = history
        .iter()
        .filter_map(|event| match &event.event {
            Some(client::event::Event::Message(message)) => Some(message),
            _ => None,
        })
        .collect();
    assert_eq!(messages.len(), 1, "the victim's history is what it was: {history:?}");
    assert_eq!((&messages[0].body[..], messages[0].edited, messages[0].reactions.len()), (&b"hello"[..], false, 0));
}
