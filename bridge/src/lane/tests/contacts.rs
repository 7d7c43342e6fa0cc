//! Profiles and contacts.

use godwit_schemas::client::{self, Audience, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::Scene;
use super::{ALICE, BOB, scene};
use godwit_store::memory::MemoryStore;
use godwit_store::{Store, Table, keys};

pub(super) fn add(user: &str, label: &str) -> Call {
    Call::AddContact(client::AddContact { user: user.into(), label: label.into() })
}

pub(super) fn remove(user: &str) -> Call {
    Call::RemoveContact(client::RemoveContact { user: user.into() })
}

fn list(after: &str, limit: u32) -> Call {
    Call::ListContacts(client::ListContacts { after: after.into(), limit })
}

fn profile_of(user: &str) -> Call {
    Call::GetProfile(client::GetProfile { user: user.into() })
}

fn contact(user: &str, label: &str, name: &str) -> client::Contact {
    client::Contact { user: user.into(), label: label.into(), name: name.into() }
}

/// Rows of the directory that are about profiles, contacts, and when somebody was last seen.
async fn rows(scene: &Scene<MemoryStore>) -> usize {
    let mut rows = 0;
    for tag in *b"fkKl" {
        rows += scene.store.scan(Table::Directory, &[tag], &[tag + 1], 1_000, usize::MAX).await.unwrap().len();
    }
    rows
}

#[tokio::test(start_paused = true)]
async fn contacts_are_kept_and_listed_by_name() {
    let mut scene = scene().await;
    for user in ["carol", "dave"] {
        scene.add(user, "phone").await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    for (number, (user, label)) in (1..).zip([("dave", ""), ("bob", "Bobby"), ("carol", "C"), ("dave", "D")]) {
        assert_eq!(scene.call(ALICE, number, add(user, label)).await.reason, 0, "{user}");
    }
    let name = client::SetProfile { name: Some("Robert".into()), ..Default::default() };
    scene.ask(UserId::new("bob").unwrap(), Call::SetProfile(name)).await;
    scene.crash().await;
    scene.enter(3, "alice", "phone", Filters::RPC).await;
    let first = scene.call(3, 10, list("", 2)).await;
    assert_eq!(first.contacts, [contact("bob", "Bobby", "Robert"), contact("carol", "C", "")]);
    assert_eq!(first.next_contact, "carol");
    let rest = scene.call(3, 11, list(&first.next_contact, 2)).await;
    assert_eq!((rest.contacts, rest.next_contact.as_str()), (vec![contact("dave", "D", "")], ""));
    let block = Call::Block(client::Block { user: "alice".into() });
    scene.ask(UserId::new("bob").unwrap(), block).await;
    assert_eq!(scene.call(3, 12, list("", 1)).await.contacts, [contact("bob", "Bobby", "")], "its name is hidden");
    for number in 13..15 {
        assert_eq!(scene.call(3, number, remove("carol")).await.reason, 0, "twice");
    }
    assert_eq!(scene.call(3, 15, list("bob", 0)).await.contacts, [contact("dave", "D", "")]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let set = |change: fn(&mut client::SetProfile)| {
        let mut call = client::SetProfile::default();
        change(&mut call);
        Call::SetProfile(call)
    };
    let (bad, unknown) = (Reason::IMPLEMENTATION_SPECIFIC, Reason::TOPIC_NAME_INVALID);
    let cases = [
        (add("nobody", ""), unknown),
        (add("a/b", ""), unknown),
        (add("alice", ""), bad),
        (add("bob", &"x".repeat(129)), bad),
        (remove("a/b"), unknown),
        (remove("bob"), Reason::SUCCESS),
        (profile_of("nobody"), unknown),
        (profile_of("a/b"), unknown),
        (set(|it| it.name = Some("x".repeat(129))), bad),
        (set(|it| it.about = Some("x".repeat(513))), bad),
        (set(|it| it.picture = Some("x".repeat(65))), bad),
        (set(|it| it.presence_to = Some(3)), bad),
        (Call::GetPresence(client::GetPresence { users: vec!["bob".into(); 101] }), bad),
    ];
    for (number, (call, reason)) in (1..).zip(cases) {
        let response = scene.call(ALICE, number, call.clone()).await;
        assert_eq!(Reason::from_u32(response.reason), reason, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_changes_in_parts_and_is_hidden_from_the_blocked() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    let parts = [
        client::SetProfile { name: Some("Alice".into()), ..Default::default() },
        client::SetProfile { about: Some("busy".into()), presence_to: Some(2), ..Default::default() },
        client::SetProfile { name: Some("Al".into()), picture: Some("m1".into()), ..Default::default() },
    ];
    // All at once: each begins with what the one before it left.
    let asks = parts.map(|part| scene.ask(UserId::new("alice").unwrap(), Call::SetProfile(part)));
    for response in futures::future::join_all(asks).await {
        assert_eq!(response.reason, 0);
    }
    let mut profile = client::Profile {
        user: "alice".into(),
        name: "Al".into(),
        about: "busy".into(),
        picture: "m1".into(),
        presence_to: Audience::Everybody.into(),
        ..Default::default()
    };
    assert_eq!(scene.call(ALICE, 1, profile_of("")).await.profile, Some(profile.clone()));
    profile.presence_to = 0;
    assert_eq!(scene.call(BOB, 1, profile_of("alice")).await.profile, Some(profile), "but for whom it shows itself to");
    let block = Call::Block(client::Block { user: "bob".into() });
    assert_eq!(scene.call(ALICE, 2, block).await.reason, 0);
    let refused = scene.call(BOB, 2, profile_of("alice")).await;
    assert_eq!((refused.reason, refused.profile), (0x90, None));
    let none = scene.call(ALICE, 3, profile_of("bob")).await.profile.unwrap();
    assert_eq!((none.user.as_str(), none.name.as_str()), ("bob", ""));
}

#[tokio::test(start_paused = true)]
async fn a_user_has_so_many_contacts_and_no_more() {
    let mut scene = scene().await;
    let alice = UserId::new("alice").unwrap();
    assert_eq!(scene.ask(alice.clone(), add("bob", "")).await.reason, 0);
    // As if 4,999 others were there.
    let (table, key) = keys::contact_count(&alice);
    let count = godwit_store::Write::Put(table, key, crate::writes::counter(5_000));
    scene.store.commit(vec![count], godwit_store::Durability::Synced).await.unwrap();
    scene.add("carol", "phone").await;
    let refused = scene.ask(alice.clone(), add("carol", "")).await;
    assert_eq!(Reason::from_u32(refused.reason), Reason::QUOTA_EXCEEDED);
    assert_eq!(scene.ask(alice.clone(), add("bob", "B")).await.reason, 0, "one that is there gets its label");
    assert_eq!(scene.ask(alice.clone(), remove("bob")).await.reason, 0);
    assert_eq!(scene.ask(alice, add("carol", "")).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn a_removed_user_is_nobodys_contact_and_leaves_nothing() {
    let mut scene = scene().await;
    scene.add("carol", "phone").await;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| UserId::new(name).unwrap());
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    let name = client::SetProfile { name: Some("Bob".into()), ..Default::default() };
    for (user, call) in [
        (&alice, add("bob", "")),
        (&alice, add("carol", "")),
        (&bob, add("alice", "")),
        (&bob, Call::SetProfile(name)),
        (&carol, add("bob", "")),
    ] {
        assert_eq!(scene.ask(user.clone(), call).await.reason, 0);
    }
    scene.admin.remove_user(bob.clone()).await.unwrap();
    assert_eq!(scene.ask(alice.clone(), list("", 0)).await.contacts, [contact("carol", "", "")]);
    assert!(scene.ask(carol.clone(), list("", 0)).await.contacts.is_empty());
    // Alice has Carol, both ways round; two users count contacts, and two are or were somebody's.
    assert_eq!(rows(&scene).await, 6);
    assert_eq!(scene.ask(alice, remove("carol")).await.reason, 0);
    assert_eq!(rows(&scene).await, 4);
    scene.add("bob", "phone").await;
    let profile = scene.ask(carol, profile_of("bob")).await.profile.unwrap();
    assert_eq!(profile.name, "", "another Bob");
}
