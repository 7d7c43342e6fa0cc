//! Messages that are taken back while much waits.

use godwit_schemas::client::{self, request::Call};

use super::mallory::{publish_all, request};
use super::{besiege, server, size};
use crate::chat::phone::Phone;
use crate::mqtt::Version;

#[test]
fn recalls_of_messages_that_wait_for_many_devices() {
    let server = server(&[]);
    let mallory = server.add_user("mallory", "phone");
    for n in 0..15 {
        server.add_device("mallory", &format!("tablet{n}"));
    }
    let mut phone = Phone::connect(&server, &mallory, Version::V5);
    let conversation = phone.done(Call::OpenDirect(client::OpenDirect { user: "mallory".into() })).conversation;
    let messages = size(20_000, 500);
    let stored = publish_all(&mut phone.client, "to/mallory", (0..messages).map(|_| b"x".to_vec()), 100);
    assert_eq!(stored, messages);
    besiege("30 recalls with 20,000 messages on 15 devices", &server, || {
        let last = 1 + messages as u64;
        let recall = |n| client::Recall { conversation, sequence: last - n };
        let calls = (0..30).map(|n| request(n, Call::Recall(recall(n))));
        publish_all(&mut phone.client, "rpc", calls, 100)
    });
}
