//! Calls about the caller's own account, over MQTT and without a connection.

use godwit_schemas::bus::down::Frame;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::to_user;
use super::{ALICE, BOB, bodies, scene};
use godwit_store::Table;

fn block(user: &str) -> Call {
    Call::Block(client::Block { user: user.into() })
}

fn unblock(user: &str) -> Call {
    Call::Unblock(client::Unblock { user: user.into() })
}

#[tokio::test(start_paused = true)]
async fn blocking_and_unblocking_hold_in_every_lane_when_answered() {
    let mut scene = scene().await;
    scene.add("carol", "phone").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(3, "carol", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW.with(Filters::RPC)).await;
    let mut number = 0;
    let mut send = |body| {
        number += 1;
        to_user(number, "bob", body)
    };
    for sender in [ALICE, 3] {
        scene.publish(sender, send("before"));
        scene.published(sender).await;
    }
    assert_eq!(scene.call(BOB, 100, block("alice")).await.reason, 0);
    assert_eq!(scene.call(BOB, 101, block("alice")).await.reason, 0, "it is so already");
    for sender in [ALICE, 3] {
        scene.publish(sender, send("blocked?"));
        let published = scene.published(sender).await;
        assert_eq!((published.reason, published.sequence), (0, 3));
    }
    assert_eq!(bodies(&scene.deliveries(BOB).await), ["before", "before", "blocked?"]);
    scene.crash().await;
    scene.enter(4, "bob", "phone", Filters::RPC).await;
    let list = || Call::ListBlocked(client::ListBlocked {});
    assert_eq!(scene.call(4, 1, list()).await.users, ["alice"]);
    assert_eq!(scene.call(4, 2, unblock("alice")).await.reason, 0);
    scene.enter(5, "alice", "phone", Filters::NONE).await;
    scene.publish(5, to_user(1, "bob", "after"));
    let published = scene.published(5).await;
    assert_eq!((published.reason, published.sequence), (0, 4));
    assert!(scene.call(4, 3, list()).await.users.is_empty());
    scene.subscribe(4, Filters::RAW).await;
    // The session was resumed: what waited is there, and fills the window.
    let got = scene.deliveries(4).await;
    assert_eq!(bodies(&got), ["before", "before", "blocked?"]);
    scene.acknowledge(4, got.iter().map(|(order, _)| *order).collect());
    assert_eq!(bodies(&scene.deliveries(4).await), ["after"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let label =
        |device: &str, len| Call::LabelDevice(client::LabelDevice { device: device.into(), label: "x".repeat(len) });
    let remove = Call::RemoveDevice(client::RemoveDevice { device: "watch".into() });
    let cases = [
        (block("nobody"), Reason::TOPIC_NAME_INVALID),
        (block("a/b"), Reason::TOPIC_NAME_INVALID),
        (block("alice"), Reason::IMPLEMENTATION_SPECIFIC),
        (unblock("bob"), Reason::SUCCESS),
        (label("watch", 1), Reason::TOPIC_NAME_INVALID),
        (label("phone", 129), Reason::IMPLEMENTATION_SPECIFIC),
        (remove, Reason::TOPIC_NAME_INVALID),
    ];
    for (number, (call, reason)) in (1..).zip(cases) {
        let response = scene.call(ALICE, number, call.clone()).await;
        assert_eq!(Reason::from_u32(response.reason), reason, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_removes_a_lost_device_from_another_one() {
    let mut scene = scene().await;
    scene.add("bob", "tablet").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(3, "bob", "tablet", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    scene.publish(ALICE, to_user(1, "bob", "secret"));
    scene.published(ALICE).await;
    let label = client::LabelDevice { device: "tablet".into(), label: "Bob's tablet".into() };
    assert_eq!(scene.call(BOB, 1, Call::LabelDevice(label)).await.reason, 0);
    let list = || Call::ListDevices(client::ListDevices {});
    let device = |device: &str, label: &str, connected| client::Device {
        device: device.into(),
        label: label.into(),
        connected,
        ..Default::default()
    };
    let all = [device("phone", "", true), device("tablet", "Bob's tablet", true)];
    assert_eq!(scene.call(BOB, 2, list()).await.devices, all);
    let rows = scene.store.rows(Table::Inbox);
    let remove = |device: &str| Call::RemoveDevice(client::RemoveDevice { device: device.into() });
    assert_eq!(scene.call(BOB, 3, remove("tablet")).await.reason, 0);
    assert_eq!(scene.store.rows(Table::Inbox), rows - 2, "when it is answered nothing is left");
    let close = scene.expect(3, |frame| match frame {
        Frame::Close(close) => Some(close.reason),
        _ => None,
    });
    assert_eq!(Reason::from_u32(close.await), Reason::ADMINISTRATIVE_ACTION);
    assert_eq!(scene.call(BOB, 4, list()).await.devices, all[..1]);
    // The last device too: nobody hears the answer.
    let bob = UserId::new("bob").unwrap();
    assert_eq!(scene.ask(bob.clone(), remove("phone")).await.reason, 0);
    assert!(scene.ask(bob, list()).await.devices.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_connection_does_the_same() {
    let mut scene = scene().await;
    scene.enter(BOB, "bob", "phone", Filters::EVENTS).await;
    let (alice, nobody) = (UserId::new("alice").unwrap(), UserId::new("nobody").unwrap());
    let create = || Call::CreateGroup(client::CreateGroup { title: "g".into(), users: vec!["bob".into()] });
    let group = scene.ask(alice.clone(), create()).await;
    assert_eq!(group.reason, 0);
    assert_eq!(scene.deliveries(BOB).await.len(), 1, "Bob's phone is told");
    let invite = Call::CreateInvite(client::CreateInvite { conversation: group.conversation, expires_in_s: 0 });
    let first = scene.ask(alice.clone(), invite.clone()).await.invites;
    let second = scene.ask(alice.clone(), invite).await.invites;
    assert_ne!(first, second);
    assert_eq!(scene.ask(alice, block("bob")).await.reason, 0);
    for call in [create(), block("bob")] {
        let refused = scene.ask(nobody.clone(), call).await;
        assert_eq!(Reason::from_u32(refused.reason), Reason::TOPIC_NAME_INVALID);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_password_survives_a_crash_and_concerns_one_device() {
    let mut scene = scene().await;
    scene.add("alice", "tablet").await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    scene.enter(3, "alice", "tablet", Filters::RPC).await;
    let renew = |device: &str| Call::RenewPassword(client::RenewPassword { device: device.into() });
    assert_eq!(scene.call(3, 1, renew("phone")).await.reason, u32::from(Reason::NOT_AUTHORIZED));
    assert_eq!(scene.call(3, 2, renew("watch")).await.reason, u32::from(Reason::TOPIC_NAME_INVALID));
    let response = scene.call(ALICE, 1, renew("phone")).await;
    assert_eq!((response.reason, response.password.len()), (0, 43));
    assert_eq!(
        scene.call(ALICE, 2, Call::ListDevices(client::ListDevices {})).await.reason,
        0,
        "it is still connected"
    );
    let old = scene.connect_frame("alice", "phone");
    let new = godwit_schemas::bus::Connect { password: response.password.into(), ..old.clone() };
    scene.crash().await;
    assert_eq!(scene.connect(4, old.clone()).await.reason, 0, "nobody knows whether the new one has arrived");
    for attempt in [5, 6] {
        assert_eq!(scene.connect(attempt, new.clone()).await.reason, 0);
        scene.settle().await;
        scene.crash().await;
    }
    assert_eq!(scene.connect(7, old).await.reason, u32::from(Reason::BAD_USER_NAME_OR_PASSWORD));
    assert_eq!(scene.connect(8, new).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn of_unused_passwords_the_last_holds_until_an_operators_one() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let renew = || Call::RenewPassword(client::RenewPassword { device: "phone".into() });
    let frame = scene.connect_frame("alice", "phone");
    let with = |password: String| godwit_schemas::bus::Connect { password: password.into(), ..frame.clone() };
    let lost = scene.call(ALICE, 1, renew()).await.password;
    let last = scene.call(ALICE, 2, renew()).await.password;
    let wrong = u32::from(Reason::BAD_USER_NAME_OR_PASSWORD);
    assert_eq!(scene.connect(3, with(lost)).await.reason, wrong);
    let (alice, phone) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
    let operators = scene.admin.renew_password(alice, phone).await.unwrap().password;
    assert_eq!(scene.connect(4, with(last)).await.reason, wrong);
    assert_eq!(scene.connect(5, frame.clone()).await.reason, wrong);
    assert_eq!(scene.connect(6, with(operators)).await.reason, 0);
}
