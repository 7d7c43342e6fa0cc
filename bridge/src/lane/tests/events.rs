//! What operators are told of what happens.

use godwit_schemas::bus::{Kind, Publish};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::topic::Filters;
use prost::Message as _;
use serde_json::{Value, json};

use super::edge::to_user;
use super::{ALICE, BOB, scene};

fn account(user: &str, device: Option<&str>, change: &str) -> Value {
    json!({ "kind": "account", "user": user, "device": device, "change": change })
}

fn session(user: &str, change: &str) -> Value {
    json!({ "kind": "session", "user": user, "device": "phone", "change": change })
}

#[tokio::test(start_paused = true)]
async fn events_follow_a_message_to_its_reading_and_not_its_body() {
    let mut scene = scene().await;
    let accounts = ["alice", "bob"].map(|user| [account(user, None, "added"), account(user, Some("phone"), "added")]);
    assert_eq!(scene.told().await, accounts.concat());
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(1, "bob", "a secret"));
    let place = scene.published(ALICE).await;
    let conversation = place.conversation;
    let opened = json!({
        "kind": "conversation", "conversation": conversation, "sequence": 1, "user": "alice", "change": "opened", "member": null,
    });
    let stored = json!({
        "kind": "message", "conversation": conversation, "sequence": 2, "user": "alice", "bytes": 8, "group": false,
    });
    assert_eq!(scene.told().await, [session("alice", "up"), opened, stored]);
    // The same again is no other message.
    scene.publish(ALICE, Publish { packet_id: 1, duplicate: true, ..to_user(2, "bob", "a secret") });
    scene.published(ALICE).await;
    assert_eq!(scene.told().await, [] as [Value; 0]);

    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let order = scene.delivered(BOB).await.order;
    scene.acknowledge(BOB, vec![order]);
    let mark = |kind: &str| json!({ "kind": kind, "conversation": conversation, "user": "bob", "up_to": 2 });
    assert_eq!(scene.told().await, [session("bob", "up"), mark("delivered")]);
    let receipt = client::ReadReceipt { conversation, read_up_to: 2 };
    let read = Publish {
        number: 1,
        kind: Kind::Receipt.into(),
        payload: receipt.encode_to_vec().into(),
        ..Publish::default()
    };
    scene.publish(BOB, read);
    scene.disconnect(BOB, true);
    assert_eq!(scene.told().await, [mark("read"), session("bob", "down")]);
}

#[tokio::test(start_paused = true)]
async fn events_of_changes_say_by_whom_and_about_whom() {
    let mut scene = scene().await;
    scene.add("carol", "phone").await;
    scene.told().await;
    let alice = UserId::new("alice").unwrap();
    let create = client::CreateGroup { title: "hidden".into(), users: vec!["bob".into()] };
    let conversation = scene.ask(alice.clone(), Call::CreateGroup(create)).await.conversation;
    for call in [
        Call::AddMember(client::AddMember { conversation, user: "carol".into() }),
        Call::Rename(client::Rename { conversation, title: "hidden too".into() }),
        Call::RemoveMember(client::RemoveMember { conversation, user: "bob".into() }),
        Call::Rename(client::Rename { conversation, title: "x".repeat(257) }),
    ] {
        scene.ask(alice.clone(), call).await;
    }
    let change = |sequence: u64, change: &str, member: Option<&str>| {
        json!({
            "kind": "conversation", "conversation": conversation, "sequence": sequence, "user": "alice",
            "change": change, "member": member,
        })
    };
    let expected = [
        change(1, "opened", None),
        change(2, "added", Some("carol")),
        change(3, "renamed", None),
        change(4, "removed", Some("bob")),
    ];
    assert_eq!(scene.told().await, expected, "and not what was refused");
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    let (bob, phone) = (UserId::new("bob").unwrap(), DeviceName::new("phone").unwrap());
    scene.admin.remove_device(bob.clone(), phone).await.unwrap();
    scene.admin.remove_user(bob).await.unwrap();
    let gone = [session("bob", "down"), account("bob", Some("phone"), "removed"), account("bob", None, "removed")];
    assert_eq!(scene.told().await, [&[session("bob", "up")][..], &gone].concat());
}
