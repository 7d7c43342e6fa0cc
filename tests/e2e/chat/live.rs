//! Typing and the like: for whoever is there, and stored by nobody.

use godwit_schemas::client::{self, request::Call};
use prost::Message as _;

use super::phone::Phone;
use crate::mqtt::{Packet, VERSIONS, Version};
use crate::server::Server;

fn live(phone: &mut Phone, id: u64) -> client::Live {
    let topic = format!("live/{id}");
    phone.client.take("a live signal", |packet| match packet {
        Packet::Publish(it) if it.topic == topic => client::Live::decode(&it.payload[..]).ok(),
        _ => None,
    })
}

#[test]
fn typing_reaches_who_is_there_and_nobody_else() {
    for version in VERSIONS {
        let server = Server::start();
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol] = accounts.each_ref().map(|it| Phone::connect(&server, it, version));
        let tablet = server.add_device("bob", "tablet");
        assert_eq!([bob.client.subscribe("live/+"), carol.client.subscribe("live/+")], [1, 1]);
        let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
        let topic = format!("live/{id}");
        assert_eq!(alice.client.publish(&topic, b"typing"), 0);
        assert_eq!(live(&mut bob, id), client::Live { member: 0, body: "typing".into() }, "{version:?}");
        if version == Version::V5 {
            assert_eq!(carol.client.publish(&topic, b"typing"), 0x87);
            assert_eq!(alice.client.publish(&topic, &[0; 257]), 0x97);
            let reasons: Vec<_> = (0..40).map(|_| alice.client.publish(&topic, b"typing")).collect();
            assert!(reasons.contains(&0x97), "too many in a second: {reasons:?}");
        }
        // A device that comes later hears nothing of it.
        let mut tablet = Phone::connect(&server, &tablet, version);
        assert_eq!(tablet.client.subscribe("live/+"), 1);
        alice.send("to/bob", "end");
        tablet.change();
        assert_eq!(tablet.message().body, "end");
        assert!(tablet.client.is_idle());
    }
}
