//! A user's own things: whom it blocks, its devices.

use godwit_schemas::client::{self, Device, request::Call};
use serde_json::json;

use super::phone::Phone;
use super::web::Web;
use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::Server;

#[test]
fn a_blocked_user_sees_the_first_tick_and_nothing_else() {
    for version in VERSIONS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let web = Web::of(&server, &bob);
        let (mut alice, mut bob) = (Phone::connect(&server, &alice, version), Phone::connect(&server, &bob, version));
        bob.done(Call::Block(client::Block { user: "alice".into() }));
        alice.send("to/bob", "blocked");
        assert_eq!(web.done("GET", "/blocked", None), json!({ "users": ["alice"] }));
        web.done("DELETE", "/blocked/alice", None);
        alice.send("to/bob", "heard");
        assert_eq!(bob.message().body, "heard", "{version:?}");
        web.done("PUT", "/blocked/alice", None);
        bob.done(Call::Unblock(client::Unblock { user: "alice".into() }));
        assert!(bob.done(Call::ListBlocked(client::ListBlocked {})).users.is_empty());
        bob.refused(Call::Block(client::Block { user: "nobody".into() }), 0x90);
        web.refused("PUT", "/blocked/nobody", None, 404);
    }
}

#[test]
fn a_direct_conversation_is_opened_once() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut at_bob = Phone::connect(&server, &bob, Version::V5);
    let opened = at_bob.done(Call::OpenDirect(client::OpenDirect { user: "alice".into() })).conversation;
    let again = Web::of(&server, &alice).done("POST", "/conversations", Some(json!({ "user": "bob" })));
    assert_eq!(again, json!({ "conversation": opened }));
    Web::of(&server, &alice).refused("POST", "/conversations", Some(json!({ "user": "nobody" })), 404);
}

#[test]
fn a_user_removes_a_lost_device_which_is_cut_off_at_once() {
    for version in VERSIONS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let (lost, stolen) = (server.add_device("bob", "tablet"), server.add_device("bob", "laptop"));
        let (thief, other) = (
            Client::connect(server.mqtt(), &lost, version, RESUME),
            Client::connect(server.mqtt(), &stolen, version, RESUME),
        );
        Phone::connect(&server, &alice, version).send("to/bob", "secret");
        let mut phone = Phone::connect(&server, &bob, version);
        phone.done(Call::LabelDevice(client::LabelDevice { device: "phone".into(), label: "Bob's".into() }));
        let devices = phone.done(Call::ListDevices(client::ListDevices {})).devices;
        let expected = Device { device: "phone".into(), label: "Bob's".into(), connected: true };
        assert_eq!((devices.len(), &devices[0]), (3, &expected));
        phone.done(Call::RemoveDevice(client::RemoveDevice { device: "tablet".into() }));
        Web::of(&server, &bob).done("DELETE", "/devices/laptop", None);
        for cut in [thief, other] {
            assert_eq!(cut.closed(), (version == Version::V5).then_some(0x98), "{version:?}");
        }
        let left = Web::of(&server, &bob).done("GET", "/devices", None);
        assert_eq!(left, json!({ "devices": [{ "device": "phone", "label": "Bob's", "connected": true }] }));
        Web::of(&server, &lost).refused("GET", "/devices", None, 401);
    }
}
