//! Encrypted conversations: their groups are founded, go on, owe and are made anew; what is sealed and what is not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use godwit_schemas::bus::{Kind, Publish, Published, Shape, down::Frame};
use godwit_schemas::client::{self, CommitGroup, commit_group::With, event, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::topic::Filters;
use prost::Message;

use super::edge::{NOW_S, Scene, to_user};
use super::keys::{certificate, encrypting, link};
use super::{ALICE, BOB};
use godwit_store::memory::MemoryStore;

/// Alice's tablet, and Carol's phone.
const TABLET: u64 = 3;
const CAROL: u64 = 4;
/// Filters of who reads events and calls.
const ALL: Filters = Filters::EVENTS.with(Filters::RPC);

/// Alice, who has a tablet without a certificate, Bob and Carol: all in contact.
async fn scene() -> Scene<MemoryStore> {
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), encrypting()).await;
    for (connection, user, device) in
        [(ALICE, "alice", "phone"), (TABLET, "alice", "tablet"), (BOB, "bob", "phone"), (CAROL, "carol", "phone")]
    {
        scene.add(user, device).await;
        scene.enter(connection, user, device, ALL).await;
    }
    for (connection, user) in [(ALICE, "alice"), (BOB, "bob"), (CAROL, "carol")] {
        certify(&mut scene, connection, user, "phone", link(user, 1, "k1")).await;
    }
    scene
}

async fn certify(scene: &mut Scene<MemoryStore>, connection: u64, user: &str, device: &str, identity: Bytes) {
    let certificate = certificate(user, device, "k1");
    let keys = client::PublishKeys { certificate, identity, ..Default::default() };
    let published = scene.call(connection, 1, Call::PublishKeys(keys)).await;
    assert_eq!(published.reason, 0, "{}", published.text);
}

fn leaf(user: &str, device: &str) -> String {
    String::from_utf8(certificate(user, device, "k1").to_vec()).unwrap()
}

fn welcome(user: &str, device: &str) -> client::Welcome {
    client::Welcome { user: user.into(), device: device.into(), welcome: format!("welcome {user} {device}").into() }
}

/// A group of these devices, of which the first makes it.
fn founding(conversation: u64, devices: &[(&str, &str)]) -> CommitGroup {
    let tree: Vec<_> = devices.iter().map(|(user, device)| leaf(user, device)).collect();
    CommitGroup {
        conversation,
        group_info: format!("info {conversation} 0 1").into(),
        tree: tree.join("\n").into(),
        welcomes: devices[1..].iter().map(|(user, device)| welcome(user, device)).collect(),
        ..Default::default()
    }
}

/// A commit by a phone, with these changes.
fn commit(conversation: u64, epoch: u64, by: &str, changes: &[String]) -> CommitGroup {
    let by = leaf(by, "phone");
    let lines = [&[format!("commit {epoch}"), format!("by {by}")], changes].concat();
    let (generation, low) = (epoch >> 32, epoch & u64::from(u32::MAX));
    CommitGroup {
        conversation,
        epoch,
        commit: lines.join("\n").into(),
        group_info: format!("info {conversation} {generation} {}", low + 1).into(),
        ..Default::default()
    }
}

/// What an event-reading connection was sent, acknowledged.
async fn events(scene: &mut Scene<MemoryStore>, connection: u64) -> Vec<event::Event> {
    let mut all = Vec::new();
    loop {
        let (mut orders, frames) = (Vec::new(), scene.rest(connection).await);
        for frame in frames {
            if let Frame::Deliver(deliver) = frame
                && deliver.shape() == Shape::Event
            {
                orders.extend(Some(deliver.order).filter(|order| *order != 0));
                all.extend(client::Event::decode(deliver.payload).unwrap().event);
            }
        }
        if orders.is_empty() {
            return all;
        }
        scene.acknowledge(connection, orders);
    }
}

async fn changes(scene: &mut Scene<MemoryStore>, connection: u64) -> Vec<client::Change> {
    let change = |event| match event {
        event::Event::Change(change) => Some(change),
        _ => None,
    };
    events(scene, connection).await.into_iter().filter_map(change).collect()
}

/// The direct conversation of Alice and Bob, encrypted for both phones. All have taken in what there is.
async fn encrypted(scene: &mut Scene<MemoryStore>) -> u64 {
    let open = Call::OpenDirect(client::OpenDirect { user: "bob".into() });
    let id = scene.call(ALICE, 10, open).await.conversation;
    let founded = scene.call(ALICE, 11, Call::CommitGroup(founding(id, &[("alice", "phone"), ("bob", "phone")]))).await;
    assert_eq!((founded.reason, founded.mls_epoch), (0, 1), "{}", founded.text);
    for connection in [ALICE, TABLET, BOB] {
        events(scene, connection).await;
    }
    id
}

/// An encrypted group of the three.
async fn encrypted_group(scene: &mut Scene<MemoryStore>) -> u64 {
    let create = client::CreateGroup { title: String::new(), users: vec!["bob".into(), "carol".into()] };
    let id = scene.call(ALICE, 20, Call::CreateGroup(create)).await.conversation;
    let all = [("alice", "phone"), ("bob", "phone"), ("carol", "phone")];
    let founded = scene.call(ALICE, 21, Call::CommitGroup(founding(id, &all))).await;
    assert_eq!(founded.reason, 0, "{}", founded.text);
    for connection in [ALICE, TABLET, BOB, CAROL] {
        events(scene, connection).await;
    }
    id
}

fn sealed(number: u64, conversation: u64, mls_epoch: u64) -> Publish {
    let send = client::Send {
        to: Some(client::send::To::Conversation(conversation)),
        client_sequence: number,
        body: "sealed".into(),
        mls_epoch,
        ..Default::default()
    };
    let (kind, payload) = (Kind::Send.into(), send.encode_to_vec().into());
    Publish { number, packet_id: number as u32, kind, payload, ..Default::default() }
}

async fn send(scene: &mut Scene<MemoryStore>, connection: u64, publish: Publish) -> Published {
    let number = publish.number;
    scene.publish(connection, publish);
    scene
        .expect(connection, |frame| match frame {
            Frame::Published(published) if published.number == number => Some(published.clone()),
            _ => None,
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_group_is_founded_and_its_devices_are_welcomed() {
    let mut scene = scene().await;
    let open = Call::OpenDirect(client::OpenDirect { user: "bob".into() });
    let id = scene.call(ALICE, 10, open).await.conversation;
    for connection in [ALICE, TABLET, BOB] {
        events(&mut scene, connection).await;
    }
    let call = Call::CommitGroup(founding(id, &[("alice", "phone"), ("bob", "phone")]));
    let founded = scene.call(ALICE, 11, call.clone()).await;
    assert_eq!((founded.reason, founded.mls_epoch, founded.sequence), (0, 1, 2), "{}", founded.text);
    assert_eq!(scene.call(ALICE, 12, call).await, client::Response { id: 12, ..founded.clone() }, "again");
    let told = |welcome: &'static str| client::Change {
        conversation: id,
        sequence: 2,
        by: 0,
        mls: Some(Box::new(client::MlsChange {
            epoch: 1,
            commit: Bytes::new(),
            welcome: welcome.into(),
            device: "phone".into(),
        })),
        ..Default::default()
    };
    assert_eq!(changes(&mut scene, BOB).await, [told("welcome bob phone")]);
    assert_eq!(changes(&mut scene, ALICE).await, [told("")]);
    assert_eq!(changes(&mut scene, TABLET).await, [told("")], "it is told that it gets no more");
    let described = scene.call(BOB, 11, Call::Describe(client::Describe { conversation: id, counter: 0 })).await;
    assert_eq!(described.description.unwrap().mls_epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn sealed_messages_are_for_certified_devices_in_the_current_epoch() {
    let mut scene = scene().await;
    let id = encrypted(&mut scene).await;
    assert_eq!(send(&mut scene, ALICE, to_user(1, "bob", "plain")).await.reason, 0x83);
    let stale = send(&mut scene, ALICE, sealed(2, id, 7)).await;
    assert_eq!((stale.reason, stale.mls_epoch), (0x83, 1));
    assert_eq!(send(&mut scene, TABLET, sealed(1, id, 1)).await.reason, 0x87, "not in the group");
    let sent = send(&mut scene, ALICE, sealed(2, id, 1)).await;
    assert_eq!((sent.reason, sent.sequence), (0, 3));
    let got = events(&mut scene, BOB).await;
    let [event::Event::Message(message)] = &got[..] else { panic!("{got:?}") };
    assert_eq!((message.mls_epoch, message.body.as_ref()), (1, &b"sealed"[..]));
    let at_tablet = events(&mut scene, TABLET).await;
    assert!(at_tablet.iter().all(|it| matches!(it, event::Event::Receipt(_))), "it has no certificate: {at_tablet:?}");
    let next = scene.call(BOB, 12, Call::CommitGroup(commit(id, 1, "bob", &[]))).await;
    assert_eq!((next.reason, next.mls_epoch, next.sequence), (0, 2, 4), "{}", next.text);
    let again = send(&mut scene, ALICE, sealed(2, id, 1)).await;
    assert_eq!(
        (again.reason, again.sequence, again.repeated_up_to),
        (0, 3, Some(2)),
        "a retry is known before the epoch"
    );
    assert_eq!(send(&mut scene, ALICE, sealed(3, id, 1)).await.reason, 0x83);
    assert_eq!(send(&mut scene, ALICE, sealed(3, id, 2)).await.reason, 0);
    scene.now_s.fetch_add(7 * 24 * 3_600 + 1, Ordering::Relaxed);
    let worn = send(&mut scene, ALICE, sealed(4, id, 2)).await;
    assert_eq!((worn.reason, worn.mls_epoch), (0x83, 2));
}

#[tokio::test(start_paused = true)]
async fn who_reads_raw_bodies_is_given_nothing_sealed() {
    let mut scene = scene().await;
    let id = encrypted(&mut scene).await;
    scene.subscribe(BOB, Filters::RAW).await;
    scene.disconnect(BOB, false);
    assert_eq!(send(&mut scene, ALICE, sealed(1, id, 1)).await.reason, 0);
    scene.enter(5, "bob", "phone", Filters::RAW).await;
    assert_eq!(scene.deliveries(5).await, []);
    let plain =
        scene.ask(UserId::new("carol").unwrap(), Call::OpenDirect(client::OpenDirect { user: "bob".into() })).await;
    assert_eq!(plain.reason, 0);
    assert_eq!(send(&mut scene, CAROL, to_user(1, "bob", "plain")).await.reason, 0);
    assert_eq!(super::bodies(&scene.deliveries(5).await), ["plain"], "what is sealed was settled");
}

#[tokio::test(start_paused = true)]
async fn one_commit_of_an_epoch_counts() {
    let mut scene = scene().await;
    let id = encrypted(&mut scene).await;
    let (of_alice, of_bob) = (commit(id, 1, "alice", &[]), commit(id, 1, "bob", &[]));
    for (connection, call) in [(ALICE, &of_alice), (BOB, &of_bob)] {
        scene.publish(connection, super::edge::calling(20, Call::CommitGroup(call.clone())));
    }
    let mut answers = Vec::new();
    for connection in [ALICE, BOB] {
        let (order, answer) = scene.answered(connection, 20).await;
        scene.acknowledge(connection, vec![order]);
        assert_eq!(answer.mls_epoch, 2, "both know where the conversation is");
        answers.push(answer.reason);
    }
    answers.sort_unstable();
    assert_eq!(answers, [0, 0x83]);
    let commits =
        |changes: Vec<client::Change>| changes.iter().map(|it| it.mls.clone().unwrap().commit).collect::<Vec<_>>();
    let (at_alice, at_bob) = (changes(&mut scene, ALICE).await, changes(&mut scene, BOB).await);
    assert_eq!(at_alice, at_bob);
    assert_eq!(commits(at_alice).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn commits_that_do_not_fit_are_refused() {
    let mut scene = scene().await;
    let id = encrypted(&mut scene).await;
    let add = |user: &str, device: &str| format!("+{}", leaf(user, device));
    let of_alice = |changes: &[String]| commit(id, 1, "alice", changes);
    let welcoming = |user: &str, device: &str| CommitGroup {
        welcomes: vec![welcome(user, device)],
        ..of_alice(&[add(user, device)])
    };
    let refused = [
        (0x99, commit(id, 1, "bob", &[]), "another device's"),
        (0x99, welcoming("carol", "phone"), "no member"),
        (0x99, welcoming("alice", "tablet"), "no certificate"),
        (0x99, of_alice(&["-carol phone".into()]), "not in it"),
        (0x99, CommitGroup { commit: Bytes::from_static(b"nonsense"), ..of_alice(&[]) }, "no commit"),
        (0x99, CommitGroup { welcomes: vec![welcome("bob", "phone")], ..of_alice(&[]) }, "a welcome for nobody"),
        (0x83, commit(id, 2, "alice", &[]), "another epoch"),
        (0x83, CommitGroup { commit: vec![0; 65_537].into(), ..of_alice(&[]) }, "too large"),
        (0x83, founding(id, &[("alice", "phone")]), "encrypted already"),
        (0x83, CommitGroup { with: Some(With::Add("carol".into())), ..of_alice(&[]) }, "not a group"),
        (0x90, commit(id + 64, 1, "alice", &[]), "no such conversation"),
    ];
    for (number, (reason, call, why)) in (20..).zip(refused) {
        let answer = scene.call(ALICE, number, Call::CommitGroup(call)).await;
        assert_eq!(answer.reason, reason, "{why}: {}", answer.text);
    }
    assert_eq!(scene.call(CAROL, 20, Call::CommitGroup(commit(id, 1, "carol", &[]))).await.reason, 0x87);
    assert_eq!(changes(&mut scene, BOB).await, [], "nothing came of them");
    for epoch in 1..=5 {
        let next = scene.call(ALICE, 40 + epoch, Call::CommitGroup(commit(id, epoch, "alice", &[]))).await;
        assert_eq!(next.reason, 0, "{}", next.text);
    }
    let next = scene.call(ALICE, 50, Call::CommitGroup(commit(id, 6, "alice", &[]))).await;
    assert_eq!(next.reason, 0x97, "five in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_plain_conversation_is_encrypted_only_if_all_have_keys() {
    let mut scene = scene().await;
    scene.add("dave", "phone").await;
    let open = Call::OpenDirect(client::OpenDirect { user: "dave".into() });
    let id = scene.call(ALICE, 10, open).await.conversation;
    let call = Call::CommitGroup(founding(id, &[("alice", "phone")]));
    assert_eq!(scene.call(ALICE, 11, call).await.reason, 0x83);
    assert_eq!(send(&mut scene, ALICE, sealed(12, id, 1)).await.reason, 0x83, "it is not encrypted");
    assert_eq!(send(&mut scene, ALICE, sealed(13, id, 0)).await.reason, 0, "and takes what is not sealed");
    let get = Call::GetGroup(client::GetGroup { conversation: id, ..Default::default() });
    assert_eq!(scene.call(ALICE, 14, get).await.reason, 0x83);
}

#[tokio::test(start_paused = true)]
async fn members_are_added_and_removed_in_the_place_of_the_commit() {
    let mut scene = scene().await;
    let create = client::CreateGroup { title: String::new(), users: vec!["bob".into()] };
    let id = scene.call(ALICE, 20, Call::CreateGroup(create)).await.conversation;
    let call = founding(id, &[("alice", "phone"), ("bob", "phone")]);
    assert_eq!(scene.call(ALICE, 21, Call::CommitGroup(call)).await.reason, 0);
    for connection in [ALICE, BOB, CAROL] {
        events(&mut scene, connection).await;
    }
    let add = CommitGroup {
        with: Some(With::Add("carol".into())),
        welcomes: vec![welcome("carol", "phone")],
        ..commit(id, 1, "alice", &[format!("+{}", leaf("carol", "phone"))])
    };
    let added = scene.call(ALICE, 22, Call::CommitGroup(add)).await;
    assert_eq!((added.reason, added.mls_epoch, added.sequence), (0, 2, 3), "{}", added.text);
    let at_bob = changes(&mut scene, BOB).await;
    let [change] = &at_bob[..] else { panic!("{at_bob:?}") };
    assert!(matches!(&change.change, Some(client::change::Change::Added(it)) if it.user == "carol"));
    assert!(!change.mls.as_ref().unwrap().commit.is_empty());
    let at_carol = changes(&mut scene, CAROL).await;
    let [change] = &at_carol[..] else { panic!("{at_carol:?}") };
    assert!(matches!(&change.change, Some(client::change::Change::Opened(it)) if it.mls_epoch == 2));
    assert_eq!(change.mls.as_ref().unwrap().welcome, "welcome carol phone");
    let remove =
        CommitGroup { with: Some(With::Remove("bob".into())), ..commit(id, 2, "alice", &["-bob phone".into()]) };
    assert_eq!(scene.call(ALICE, 23, Call::CommitGroup(remove.clone())).await.reason, 0);
    assert_eq!(send(&mut scene, BOB, sealed(1, id, 3)).await.reason, 0x87, "a member no more");
    assert_eq!(send(&mut scene, CAROL, sealed(1, id, 3)).await.reason, 0);
    assert_eq!(scene.call(ALICE, 24, Call::CommitGroup(remove)).await.mls_epoch, 3, "a repetition");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_without_a_commit_is_owed() {
    let mut scene = scene().await;
    let id = encrypted_group(&mut scene).await;
    assert_eq!(scene.call(CAROL, 30, Call::Leave(client::Leave { conversation: id })).await.reason, 0);
    let owing = send(&mut scene, ALICE, sealed(1, id, 1)).await;
    assert_eq!((owing.reason, owing.mls_epoch), (0x83, 1));
    let get = || Call::GetGroup(client::GetGroup { conversation: id, ..Default::default() });
    let group = scene.call(BOB, 30, get()).await.mls_group.unwrap();
    assert_eq!(group.owed, [client::MlsLeaf { user: "carol".into(), device: "phone".into() }]);
    assert_eq!((group.epoch, group.tree_bytes), (1, group.tree.len() as u64));
    assert_eq!(group.group_info, format!("info {id} 0 1"));
    let useless = scene.call(ALICE, 31, Call::CommitGroup(commit(id, 1, "alice", &[]))).await;
    assert_eq!(useless.reason, 0x99, "Carol would still be in it");
    let removal = scene.call(BOB, 31, Call::CommitGroup(commit(id, 1, "bob", &["-carol phone".into()]))).await;
    assert_eq!(removal.reason, 0, "{}", removal.text);
    assert_eq!(send(&mut scene, ALICE, sealed(1, id, 2)).await.reason, 0);
    assert_eq!(scene.call(BOB, 32, get()).await.mls_group.unwrap().owed, []);
    assert_eq!(scene.call(CAROL, 31, get()).await.reason, 0x87);
}

#[tokio::test(start_paused = true)]
async fn a_removed_device_and_one_with_another_certificate_are_owed() {
    let mut scene = scene().await;
    let id = encrypted(&mut scene).await;
    certify(&mut scene, TABLET, "alice", "tablet", Bytes::new()).await;
    // It joins by itself.
    let join = CommitGroup {
        commit: format!("commit 1\nby {}", leaf("alice", "tablet")).into(),
        ..commit(id, 1, "alice", &[])
    };
    assert_eq!(scene.call(TABLET, 30, Call::CommitGroup(join)).await.mls_epoch, 2);
    assert_eq!(send(&mut scene, TABLET, sealed(1, id, 2)).await.reason, 0);
    let remove = Call::RemoveDevice(client::RemoveDevice { device: "tablet".into() });
    assert_eq!(scene.call(ALICE, 30, remove).await.reason, 0);
    assert_eq!(send(&mut scene, BOB, sealed(1, id, 2)).await.reason, 0x83);
    let removal = scene.call(BOB, 31, Call::CommitGroup(commit(id, 2, "bob", &["-alice tablet".into()]))).await;
    assert_eq!(removal.mls_epoch, 3, "{}", removal.text);
    assert_eq!(send(&mut scene, BOB, sealed(1, id, 3)).await.reason, 0);
    let anew = client::PublishKeys {
        certificate: certificate("alice", "phone", "k2"),
        identity: link("alice", 2, "k2"),
        ..Default::default()
    };
    assert_eq!(scene.call(ALICE, 32, Call::PublishKeys(anew)).await.reason, 0);
    assert_eq!(send(&mut scene, BOB, sealed(2, id, 3)).await.reason, 0x83, "its leaf has the one before");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_made_anew_once_an_hour_with_another_generation() {
    let mut scene = scene().await;
    let id = encrypted(&mut scene).await;
    let reset = |generation: u64, epoch| CommitGroup {
        epoch,
        generation: generation as u32,
        group_info: format!("info {id} {generation} 1").into(),
        ..founding(id, &[("bob", "phone"), ("alice", "phone")])
    };
    let hour = u64::from(NOW_S / 3_600);
    let early = scene.call(BOB, 30, Call::CommitGroup(reset(hour, 1))).await;
    assert_eq!((early.reason, early.mls_epoch), (0x97, 1));
    scene.now_s.fetch_add(3_600, Ordering::Relaxed);
    let get = Call::GetGroup(client::GetGroup { conversation: id, ..Default::default() });
    assert_eq!(u64::from(scene.call(BOB, 31, get).await.mls_group.unwrap().reset_generation), hour + 1);
    assert_eq!(scene.call(BOB, 32, Call::CommitGroup(reset(0, 1))).await.reason, 0x83, "it was there");
    let done = scene.call(BOB, 33, Call::CommitGroup(reset(hour + 1, 1))).await;
    let epoch = ((hour + 1) << 32) + 1;
    assert_eq!((done.reason, done.mls_epoch), (0, epoch), "{}", done.text);
    assert_eq!(send(&mut scene, ALICE, sealed(1, id, 1)).await.mls_epoch, epoch);
    assert_eq!(send(&mut scene, ALICE, sealed(1, id, epoch)).await.reason, 0);
    scene.crash().await;
    scene.enter(6, "alice", "phone", ALL).await;
    assert_eq!(send(&mut scene, 6, sealed(2, id, epoch)).await.reason, 0, "it is on disk");
    let next = scene.call(6, 2, Call::CommitGroup(commit(id, epoch, "alice", &[]))).await;
    assert_eq!((next.reason, next.mls_epoch), (0, epoch + 1), "{}", next.text);
}
