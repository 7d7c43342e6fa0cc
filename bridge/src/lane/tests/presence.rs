//! Who is told that somebody comes or goes, and who is not.

use std::time::Duration;

use godwit_schemas::bus::{Resume, Shape, down::Frame};
use godwit_schemas::client::{self, Audience, Presence, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::topic::Filters;
use prost::Message;

use super::contacts::{add, remove};
use super::counted::Counted;
use super::edge::{NOW_S, OFFLINE_AFTER, Scene};
use super::{ALICE, BOB, scene};
use godwit_store::Store;
use godwit_store::memory::MemoryStore;

const LISTENS: Filters = Filters::PRESENCE;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn online() -> Presence {
    Presence { online: true, ..Default::default() }
}

fn just_gone() -> Presence {
    Presence { last_seen_age_min: Some(0), ..Default::default() }
}

/// What a connection was told within a tick.
async fn told(scene: &mut Scene<MemoryStore>, connection: u64) -> Vec<(String, Presence)> {
    scene.wait(Duration::from_millis(300)).await;
    let rest = scene.rest(connection).await.into_iter();
    let told = rest.filter_map(|frame| match frame {
        Frame::Deliver(it) if it.shape() == Shape::Presence => Some((it.sender, Presence::decode(it.payload).unwrap())),
        _ => None,
    });
    told.collect()
}

/// Adds a contact, which must succeed.
async fn befriend<S: Store>(scene: &Scene<S>, of: &str, contact: &str) {
    assert_eq!(scene.ask(user(of), add(contact, "")).await.reason, 0);
}

/// What one user is told of another when it asks.
async fn asked(scene: &Scene<MemoryStore>, by: &str, of: &str) -> Presence {
    let call = Call::GetPresence(client::GetPresence { users: vec![of.into()] });
    let mut presences = scene.ask(user(by), call).await.presences;
    assert_eq!(presences.len(), 1);
    assert_eq!(std::mem::take(&mut presences[0].user), of);
    presences.remove(0)
}

async fn show_to<S: Store>(scene: &Scene<S>, of: &str, audience: Audience) {
    let call = client::SetProfile { presence_to: Some(audience.into()), ..Default::default() };
    assert_eq!(scene.ask(user(of), Call::SetProfile(call)).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn contacts_are_told_at_once_who_comes_and_later_who_has_gone() {
    let mut scene = scene().await;
    befriend(&scene, "alice", "bob").await;
    befriend(&scene, "bob", "alice").await;
    scene.enter(ALICE, "alice", "phone", LISTENS).await;
    assert_eq!(told(&mut scene, ALICE).await, [], "Bob is not there");
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    assert_eq!(told(&mut scene, ALICE).await, [("bob".into(), online())]);
    assert_eq!(asked(&scene, "alice", "bob").await, online());
    scene.disconnect(BOB, true);
    scene.wait(OFFLINE_AFTER - Duration::from_secs(1)).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    assert_eq!(asked(&scene, "alice", "bob").await, online(), "what is asked is what is told");
    scene.wait(Duration::from_secs(1)).await;
    assert_eq!(told(&mut scene, ALICE).await, [("bob".into(), just_gone())]);
    assert_eq!(asked(&scene, "alice", "bob").await, just_gone());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_flaps_and_a_second_device_are_no_news() {
    let mut scene = scene().await;
    scene.add("bob", "tablet").await;
    befriend(&scene, "alice", "bob").await;
    befriend(&scene, "bob", "alice").await;
    scene.enter(ALICE, "alice", "phone", LISTENS).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    assert_eq!(told(&mut scene, ALICE).await.len(), 1);
    for connection in 10..20 {
        scene.disconnect(connection - if connection == 10 { 8 } else { 1 }, false);
        scene.wait(OFFLINE_AFTER / 2).await;
        scene.enter(connection, "bob", "phone", Filters::NONE).await;
        scene.wait(OFFLINE_AFTER / 4).await;
    }
    scene.enter(30, "bob", "tablet", Filters::NONE).await;
    scene.disconnect(19, false);
    scene.wait(2 * OFFLINE_AFTER).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    // Taken over by itself: neither.
    scene.enter(31, "bob", "tablet", Filters::NONE).await;
    scene.wait(2 * OFFLINE_AFTER).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    scene.disconnect(31, false);
    scene.wait(OFFLINE_AFTER).await;
    assert_eq!(told(&mut scene, ALICE).await, [("bob".into(), just_gone())]);
}

#[tokio::test(start_paused = true)]
async fn each_shows_itself_to_whom_it_wants() {
    let mut scene = scene().await;
    scene.add("carol", "phone").await;
    for watcher in ["alice", "carol"] {
        befriend(&scene, watcher, "bob").await;
    }
    befriend(&scene, "bob", "alice").await;
    scene.enter(ALICE, "alice", "phone", LISTENS).await;
    scene.enter(3, "carol", "phone", LISTENS).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    let hidden = Presence::default();
    let mut connection = BOB;
    for (audience, sees) in
        [(Audience::Contacts, [true, false]), (Audience::Nobody, [false, false]), (Audience::Everybody, [true, true])]
    {
        show_to(&scene, "bob", audience).await;
        scene.enter(connection, "bob", "phone", Filters::NONE).await;
        let bob = |presence: Presence| vec![("bob".to_owned(), presence)];
        for ((name, watcher), sees) in [("alice", ALICE), ("carol", 3)].into_iter().zip(sees) {
            let expected = if sees { online() } else { hidden.clone() };
            assert_eq!(asked(&scene, name, "bob").await, expected, "{name}, {audience:?}");
            assert_eq!(
                told(&mut scene, watcher).await,
                if sees { bob(online()) } else { vec![] },
                "{name}, {audience:?}"
            );
        }
        assert_eq!(asked(&scene, "bob", "bob").await, online(), "itself");
        scene.disconnect(connection, true);
        scene.wait(OFFLINE_AFTER + Duration::from_secs(1)).await;
        for ((name, watcher), sees) in [("alice", ALICE), ("carol", 3)].into_iter().zip(sees) {
            let expected = if sees { just_gone() } else { hidden.clone() };
            assert_eq!(asked(&scene, name, "bob").await, expected, "{name}, {audience:?}");
            assert_eq!(told(&mut scene, watcher).await, if sees { bob(just_gone()) } else { vec![] });
        }
        connection += 10;
    }
    assert_eq!(asked(&scene, "alice", "nobody").await, hidden, "who does not exist looks the same");
}

#[tokio::test(start_paused = true)]
async fn who_may_see_no_more_is_told_and_so_is_who_may_again() {
    let mut scene = scene().await;
    befriend(&scene, "alice", "bob").await;
    scene.add("carol", "phone").await;
    befriend(&scene, "carol", "bob").await;
    scene.enter(ALICE, "alice", "phone", LISTENS).await;
    scene.enter(3, "carol", "phone", LISTENS).await;
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    assert_eq!(told(&mut scene, ALICE).await, [], "Bob does not know her");
    let (block, unblock) = (client::Block { user: "alice".into() }, client::Unblock { user: "alice".into() });
    let steps = [
        (add("alice", ""), Some(online())),
        (add("alice", "Alice"), None),
        (Call::Block(block.clone()), Some(Presence::default())),
        (Call::Unblock(unblock), Some(online())),
        (remove("alice"), Some(Presence::default())),
    ];
    for (call, expected) in steps {
        assert_eq!(scene.ask(user("bob"), call.clone()).await.reason, 0);
        let expected: Vec<_> = expected.into_iter().map(|presence| ("bob".to_owned(), presence)).collect();
        assert_eq!(told(&mut scene, ALICE).await, expected, "{call:?}");
    }
    show_to(&scene, "bob", Audience::Nobody).await;
    assert_eq!(scene.ask(user("bob"), add("carol", "")).await.reason, 0);
    assert_eq!(scene.ask(user("bob"), remove("carol")).await.reason, 0);
    assert_eq!(told(&mut scene, 3).await, [], "who never could see hears nothing");
    show_to(&scene, "bob", Audience::Everybody).await;
    assert_eq!(told(&mut scene, ALICE).await, [("bob".into(), online())]);
    show_to(&scene, "bob", Audience::Nobody).await;
    assert_eq!(told(&mut scene, ALICE).await, [("bob".into(), Presence::default())]);
    // Everybody is not whom it has blocked.
    assert_eq!(scene.ask(user("bob"), Call::Block(block)).await.reason, 0);
    show_to(&scene, "bob", Audience::Everybody).await;
    assert_eq!(asked(&scene, "alice", "bob").await, Presence::default());
    assert_eq!(told(&mut scene, ALICE).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_begins_to_listen_is_told_who_is_there() {
    let mut scene = scene().await;
    for name in ["carol", "dave"] {
        scene.add(name, "phone").await;
    }
    for contact in ["bob", "carol", "dave"] {
        befriend(&scene, "alice", contact).await;
        befriend(&scene, contact, "alice").await;
    }
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    scene.enter(3, "carol", "phone", Filters::NONE).await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    assert_eq!(told(&mut scene, ALICE).await, [], "it does not listen");
    scene.subscribe(ALICE, LISTENS).await;
    let both = [("bob".into(), online()), ("carol".into(), online())];
    let mut got = told(&mut scene, ALICE).await;
    got.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(got, both);
    scene.subscribe(ALICE, LISTENS.with(Filters::RPC)).await;
    assert_eq!(told(&mut scene, ALICE).await, [], "it has listened before");
    scene.subscribe(ALICE, Filters::RPC).await;
    scene.enter(4, "dave", "phone", Filters::NONE).await;
    assert_eq!(told(&mut scene, ALICE).await, [], "it listens no more");
    scene.subscribe(ALICE, LISTENS).await;
    assert_eq!(told(&mut scene, ALICE).await.len(), 3);
    // A session that is resumed, also in place of its own connection.
    let connect = scene.connect_frame("alice", "phone");
    assert_eq!(scene.connect(5, connect).await.reason, 0);
    assert_eq!(told(&mut scene, 5).await.len(), 3);
    // A new contact.
    assert_eq!(scene.ask(user("alice"), remove("dave")).await.reason, 0);
    befriend(&scene, "alice", "dave").await;
    assert_eq!(told(&mut scene, 5).await, [("dave".into(), online())]);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_after_a_crash_is_told_to_earlier_watchers() {
    let mut scene = scene().await;
    scene.add("carol", "phone").await;
    for contact in ["bob", "carol"] {
        befriend(&scene, "alice", contact).await;
        befriend(&scene, contact, "alice").await;
    }
    scene.enter(ALICE, "alice", "phone", LISTENS).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    scene.enter(3, "carol", "phone", Filters::NONE).await;
    assert_eq!(told(&mut scene, ALICE).await.len(), 2);
    scene.crash().await;
    let resume = Resume { filters: LISTENS.bits(), ..Default::default() };
    scene.resume(ALICE, "alice", "phone", resume).await;
    scene.resume(3, "carol", "phone", Resume::default()).await;
    assert_eq!(told(&mut scene, ALICE).await, [("carol".into(), online())]);
    assert_eq!(asked(&scene, "alice", "bob").await, just_gone(), "a crash does not forget that it was there");
    scene.wait(2 * OFFLINE_AFTER).await;
    let mut got = told(&mut scene, ALICE).await;
    got.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(got, [("bob".into(), just_gone()), ("carol".into(), online())]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_user_is_shown_no_more() {
    let mut scene = scene().await;
    befriend(&scene, "alice", "bob").await;
    befriend(&scene, "bob", "alice").await;
    scene.enter(ALICE, "alice", "phone", LISTENS).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    assert_eq!(told(&mut scene, ALICE).await.len(), 1);
    scene.admin.remove_user(user("bob")).await.unwrap();
    assert_eq!(told(&mut scene, ALICE).await, [("bob".into(), Presence::default())]);
    scene.wait(2 * OFFLINE_AFTER).await;
    assert_eq!(told(&mut scene, ALICE).await, []);
    assert_eq!(asked(&scene, "alice", "bob").await, Presence::default());
}

#[tokio::test(start_paused = true)]
async fn a_removed_device_was_there_until_then() {
    let mut scene = scene().await;
    show_to(&scene, "bob", Audience::Everybody).await;
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    scene.admin.remove_device(user("bob"), DeviceName::new("phone").unwrap()).await.unwrap();
    scene.wait(OFFLINE_AFTER + Duration::from_secs(1)).await;
    assert_eq!(asked(&scene, "alice", "bob").await, just_gone());
    assert_eq!(NOW_S % 60, 40, "the clock stands still");
}

#[tokio::test(start_paused = true)]
async fn unwatched_hidden_or_flapping_presence_costs_next_to_nothing() {
    let store = Counted::new();
    let mut scene = Scene::new(store.clone()).await;
    scene.add("alice", "phone").await;
    scene.add("bob", "phone").await;
    let cost = || store.cost();
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    cost();
    scene.wait(Duration::from_millis(300)).await;
    assert_eq!(cost(), (2, 0), "its profile, and whether anybody watches");
    scene.disconnect(ALICE, false);
    scene.wait(OFFLINE_AFTER / 2).await;
    assert_eq!(cost(), (0, 0));
    scene.enter(3, "alice", "phone", Filters::NONE).await;
    cost();
    scene.wait(2 * OFFLINE_AFTER).await;
    assert_eq!(cost(), (0, 0), "it was never gone");
    befriend(&scene, "alice", "bob").await;
    show_to(&scene, "bob", Audience::Nobody).await;
    scene.wait(Duration::from_millis(300)).await;
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    cost();
    scene.wait(Duration::from_millis(300)).await;
    assert_eq!(cost(), (2, 0), "it says so in its profile");
}
