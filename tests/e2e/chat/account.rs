//! A user's own things: whom it blocks, its devices.

use godwit_schemas::client::{self, Device, request::Call};

use super::user::{User, WAYS};
use super::web::Web;
use crate::mqtt::{Client, RESUME, Version};
use crate::server::Server;

fn open_direct(user: &str) -> Call {
    Call::OpenDirect(client::OpenDirect { user: user.into() })
}

#[test]
fn a_blocked_user_sees_the_first_tick_and_nothing_else() {
    for way in WAYS {
        let server = Server::start();
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        let block = |user: &str| Call::Block(client::Block { user: user.into() });
        bob.done(block("alice"));
        alice.send("to/bob", "blocked");
        let blocked = || Call::ListBlocked(client::ListBlocked {});
        assert_eq!(bob.done(blocked()).users, ["alice"]);
        bob.done(Call::Unblock(client::Unblock { user: "alice".into() }));
        alice.send("to/bob", "heard");
        assert_eq!(bob.message().body, "heard", "{way:?}");
        assert!(bob.done(blocked()).users.is_empty());
        bob.refused(block("nobody"), 0x90);
    }
}

#[test]
fn a_direct_conversation_is_opened_once() {
    for (way, other) in WAYS.into_iter().zip(WAYS.into_iter().rev()) {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let opened = User::connect(&server, &bob, way).done(open_direct("alice")).conversation;
        let mut alice = User::connect(&server, &alice, other);
        assert_eq!(alice.done(open_direct("bob")).conversation, opened, "{way:?}");
        alice.refused(open_direct("nobody"), 0x90);
    }
}

#[test]
fn a_user_removes_a_lost_device_which_is_cut_off_at_once() {
    for way in WAYS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let lost = server.add_device("bob", "tablet");
        let thief = Client::connect(server.mqtt(), &lost, way.version(), RESUME);
        User::connect(&server, &alice, way).send("to/bob", "secret");
        let mut phone = User::connect(&server, &bob, way);
        phone.done(Call::LabelDevice(client::LabelDevice { device: "phone".into(), label: "Bob's".into() }));
        let expected = Device { device: "phone".into(), label: "Bob's".into(), connected: true, ..Default::default() };
        let devices = || Call::ListDevices(client::ListDevices {});
        let listed = phone.done(devices()).devices;
        assert_eq!((listed.len(), &listed[0]), (2, &expected));
        let remove = |device: &str| Call::RemoveDevice(client::RemoveDevice { device: device.into() });
        phone.done(remove("tablet"));
        assert_eq!(thief.closed(), (way.version() == Version::V5).then_some(0x98), "{way:?}");
        assert_eq!(phone.done(devices()).devices, [expected]);
        phone.refused(remove("tablet"), 0x90);
        Web::of(&server, &lost).refused("GET", "/devices", None, 401);
    }
}
