//! What devices leave for others to encrypt to them, and what they keep for each other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use godwit_core::decide::{EncryptionRules, Rules};
use godwit_schemas::bus::up;
use godwit_schemas::client::{self, VaultRow, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::topic::Filters;

use super::edge::{NOW_S, Scene, calling, settings};
use super::{ALICE, BOB};
use crate::BridgeSettings;
use crate::encryption::EncryptionSettings;
use crate::encryption::played::PlayedValidator;
use godwit_store::memory::MemoryStore;
use godwit_store::{Store as _, Table};

/// Alice's tablet.
const TABLET: u64 = 3;

pub(super) fn encrypting() -> BridgeSettings {
    let validator = Arc::new(PlayedValidator);
    let (key_packages_max, claims_per_day, vault_rows_max) = (4, 2, 3);
    let encryption =
        EncryptionSettings { validator, checks_at_once: 0, key_packages_max, claims_per_day, vault_rows_max };
    let usual = settings();
    let rules = EncryptionRules { required: false, leaves_max: 4, commits_per_minute: 5 };
    let rules = Rules { encryption: Some(rules), ..usual.rules };
    BridgeSettings { rules, encryption: Some(encryption), ..usual }
}

async fn scene() -> Scene<MemoryStore> {
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), encrypting()).await;
    for (user, device) in [("alice", "phone"), ("alice", "tablet"), ("bob", "phone"), ("carol", "phone")] {
        scene.add(user, device).await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    scene.enter(TABLET, "alice", "tablet", Filters::RPC).await;
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    scene
}

pub(super) fn certificate(user: &str, device: &str, key: &str) -> Bytes {
    format!("cert {user} {device} {key} 0").into()
}

pub(super) fn link(user: &str, number: u32, key: &str) -> Bytes {
    format!("link {user} {number} {key}").into()
}

fn package(user: &str, device: &str, salt: u32) -> Bytes {
    format!("package {user} {device} one {} {salt}", NOW_S + 1_000).into()
}

fn last_resort(user: &str, device: &str) -> Bytes {
    format!("package {user} {device} last {} 0", NOW_S + 2_000).into()
}

/// What the first device of a user publishes.
fn first(user: &str, device: &str, packages: u32) -> client::PublishKeys {
    client::PublishKeys {
        certificate: certificate(user, device, "k1"),
        identity: link(user, 1, "k1"),
        key_packages: (0..packages).map(|salt| package(user, device, salt)).collect(),
        last_resort: last_resort(user, device),
    }
}

fn claim(user: &str) -> Call {
    Call::ClaimKeys(client::ClaimKeys { user: user.into() })
}

fn identity(user: &str) -> Call {
    Call::GetIdentity(client::GetIdentity { user: user.into(), after: 0 })
}

#[tokio::test(start_paused = true)]
async fn a_key_package_is_given_to_one_claimer_and_the_last_resort_to_all() {
    let mut scene = scene().await;
    let published = scene.call(BOB, 1, Call::PublishKeys(first("bob", "phone", 2))).await;
    assert_eq!((published.reason, published.keys_left), (0, 2), "{}", published.text);
    scene.send(ALICE, (1..=3).map(|number| up::Frame::Publish(calling(number, claim("bob")))));
    let mut claimed = Vec::new();
    for number in 1..=3 {
        let (order, response) = scene.answered(ALICE, number).await;
        scene.acknowledge(ALICE, vec![order]);
        claimed.extend(response.claimed);
    }
    let one = |key_package, last_resort| client::ClaimedKey { device: "phone".into(), key_package, last_resort };
    let packages = [package("bob", "phone", 0), package("bob", "phone", 1)].map(|it| one(it, false));
    assert_eq!(claimed, [&packages[..], &[one(last_resort("bob", "phone"), true)]].concat());
    let left = Call::PublishKeys(client::PublishKeys::default());
    assert_eq!(scene.call(BOB, 2, left.clone()).await.keys_left, 0);
    scene.crash().await;
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    assert_eq!(scene.call(BOB, 3, left).await.keys_left, 0, "they are gone for good");
}

#[tokio::test(start_paused = true)]
async fn what_was_published_before_is_not_published_again() {
    let mut scene = scene().await;
    let keys = first("bob", "phone", 2);
    assert_eq!(scene.call(BOB, 1, Call::PublishKeys(keys.clone())).await.keys_left, 2);
    assert_eq!(scene.call(ALICE, 1, claim("bob")).await.claimed.len(), 1);
    let again = scene.call(BOB, 2, Call::PublishKeys(keys)).await;
    assert_eq!((again.reason, again.keys_left), (0, 1), "the one that was claimed is not there again");
    let found = scene.call(ALICE, 2, identity("bob")).await.identity.unwrap();
    assert_eq!((found.chain.len(), found.certificates.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_callers_own_is_refused() {
    let mut scene = scene().await;
    let good = first("bob", "phone", 1);
    let bad = [
        (0x83, client::PublishKeys { certificate: certificate("bob", "tablet", "k1"), ..good.clone() }),
        (0x83, client::PublishKeys { certificate: certificate("alice", "phone", "k1"), ..good.clone() }),
        (0x83, client::PublishKeys { certificate: certificate("bob", "phone", "k2"), ..good.clone() }),
        (0x83, client::PublishKeys { identity: link("bob", 2, "k1"), ..good.clone() }),
        (0x83, client::PublishKeys { identity: Bytes::new(), ..good.clone() }),
        (0x83, client::PublishKeys { certificate: Bytes::new(), ..good.clone() }),
        (0x83, client::PublishKeys { key_packages: vec![package("alice", "phone", 0)], ..good.clone() }),
        (0x83, client::PublishKeys { key_packages: vec![last_resort("bob", "phone")], ..good.clone() }),
        (0x83, client::PublishKeys { certificate: vec![b'x'; 513].into(), ..good.clone() }),
        (0x83, client::PublishKeys { last_resort: vec![b'x'; 2_049].into(), ..good.clone() }),
        (0x97, first("bob", "phone", 5)),
    ];
    for (number, (reason, keys)) in (1..).zip(bad) {
        let answer = scene.call(BOB, number, Call::PublishKeys(keys.clone())).await;
        assert_eq!(answer.reason, reason, "{keys:?}: {}", answer.text);
    }
    let found = scene.call(ALICE, 1, identity("bob")).await.identity.unwrap();
    assert_eq!(found, Box::default(), "nothing of it is kept");
    let admin = scene.ask(UserId::new("bob").unwrap(), Call::PublishKeys(good)).await;
    assert_eq!(admin.reason, 0x83, "no device");
}

#[tokio::test(start_paused = true)]
async fn a_new_identity_key_takes_the_certificates_of_other_devices() {
    let mut scene = scene().await;
    assert_eq!(scene.call(ALICE, 1, Call::PublishKeys(first("alice", "phone", 1))).await.reason, 0);
    let tablet = client::PublishKeys { certificate: certificate("alice", "tablet", "k1"), ..Default::default() };
    assert_eq!(scene.call(TABLET, 1, Call::PublishKeys(tablet.clone())).await.reason, 0);
    let of = |found: &client::Identity| found.certificates.iter().map(|it| it.retired).collect::<Vec<_>>();
    let found = scene.call(BOB, 1, identity("alice")).await.identity.unwrap();
    assert_eq!(of(&found), [false, false]);
    let reset = client::PublishKeys {
        certificate: certificate("alice", "phone", "k2"),
        identity: link("alice", 2, "k2"),
        ..Default::default()
    };
    assert_eq!(scene.call(ALICE, 2, Call::PublishKeys(reset)).await.reason, 0);
    let found = scene.call(BOB, 2, identity("alice")).await.identity.unwrap();
    assert_eq!((found.chain.len(), of(&found)), (2, vec![true, true, false]));
    assert_eq!(scene.call(BOB, 3, claim("alice")).await.claimed, [], "keys of the one before went with it");
    assert_eq!(scene.call(TABLET, 2, Call::PublishKeys(tablet)).await.reason, 0x83, "by a key that is not the last");
}

/// How many rows there are whose keys begin with one of these.
async fn rows(scene: &Scene<MemoryStore>, tags: &[u8]) -> usize {
    let mut count = 0;
    for table in [Table::Directory, Table::Conversations] {
        let all = scene.store.scan(table, &[], &[0xFF; 9], usize::MAX, usize::MAX).await.unwrap();
        // Memberships begin with a letter that key packages begin with, too.
        let is_of = |key: &[u8]| tags.contains(&key[0]) && (table == Table::Directory || b"vV".contains(&key[0]));
        count += all.iter().filter(|(key, _)| is_of(key)).count();
    }
    count
}

#[tokio::test(start_paused = true)]
async fn keys_go_with_their_device_and_everything_with_the_user() {
    let mut scene = scene().await;
    assert_eq!(scene.call(BOB, 1, Call::PublishKeys(first("bob", "phone", 2))).await.reason, 0);
    let row = |epoch| VaultRow { conversation: 65, epoch, sealed: "key".into() };
    let put = Call::PutVault(client::PutVault { rows: vec![row(1), row(2)] });
    assert_eq!(scene.call(BOB, 2, put).await.reason, 0);
    assert_eq!(rows(&scene, b"mMcILvV").await, 2 + 1 + 1 + 1 + 2 + 1);
    scene.add("bob", "tablet").await;
    let bob = UserId::new("bob").unwrap();
    let remove = Call::RemoveDevice(client::RemoveDevice { device: "phone".into() });
    assert_eq!(scene.ask(bob.clone(), remove).await.reason, 0);
    assert_eq!((rows(&scene, b"mM").await, rows(&scene, b"c").await), (0, 1), "its certificate is kept");
    assert!(scene.call(ALICE, 1, identity("bob")).await.identity.unwrap().certificates[0].retired);
    assert_eq!(scene.call(ALICE, 2, claim("bob")).await.claimed, []);
    assert_eq!(scene.ask(bob, Call::EraseAccount(client::EraseAccount {})).await.reason, 0);
    assert_eq!(rows(&scene, b"mMcILvV").await, 0);
    assert_eq!(scene.call(ALICE, 3, identity("bob")).await.reason, 0x90);
}

#[tokio::test(start_paused = true)]
async fn claims_are_limited_and_not_of_who_blocks() {
    let mut scene = scene().await;
    assert_eq!(scene.call(BOB, 1, Call::Block(client::Block { user: "alice".into() })).await.reason, 0);
    assert_eq!(scene.call(ALICE, 1, claim("bob")).await.reason, 0x90);
    assert_eq!(scene.call(ALICE, 2, claim("nobody")).await.reason, 0x90);
    assert_eq!(scene.call(ALICE, 3, claim("carol")).await.reason, 0x97, "the third today");
    assert_eq!(scene.call(ALICE, 4, claim("bob")).await.reason, 0x90, "one of the two");
}

#[tokio::test(start_paused = true)]
async fn a_vault_row_is_put_once() {
    let mut scene = scene().await;
    let row = |epoch, sealed: &'static str| VaultRow { conversation: 65, epoch, sealed: sealed.into() };
    let put = |rows: Vec<VaultRow>| Call::PutVault(client::PutVault { rows });
    let both = [(ALICE, "the phone's"), (TABLET, "the tablet's")];
    for (connection, sealed) in both {
        scene.publish(connection, calling(1, put(vec![row(7, sealed), row(7, "again")])));
    }
    for (connection, _) in both {
        let (order, answer) = scene.answered(connection, 1).await;
        assert_eq!(answer.reason, 0);
        scene.acknowledge(connection, vec![order]);
    }
    let get = |after| Call::GetVault(client::GetVault { conversation: 65, after });
    assert_eq!(scene.call(TABLET, 2, get(0)).await.vault, [row(7, "the phone's")]);
    assert_eq!(scene.call(ALICE, 2, put(vec![row(8, "b"), row(9, "c")])).await.reason, 0);
    assert_eq!(scene.call(ALICE, 3, put(vec![row(10, "d")])).await.reason, 0x97);
    assert_eq!(scene.call(ALICE, 4, put(vec![row(9, "d")])).await.reason, 0, "it is there");
    assert_eq!(scene.call(ALICE, 5, get(7)).await.vault, [row(8, "b"), row(9, "c")]);
    for bad in [vec![], vec![row(0, "e")], vec![row(1, "")], vec![row(1, "f"); 101]] {
        assert_eq!(scene.call(BOB, 1, put(bad)).await.reason, 0x83);
    }
    assert_eq!(scene.call(BOB, 2, get(0)).await.vault, []);
}

#[tokio::test(start_paused = true)]
async fn a_link_is_taken_once_and_in_time() {
    let mut scene = scene().await;
    let accept = |link: &'static [u8]| {
        Call::AcceptLink(client::AcceptLink { link: link.into(), sealed: "identity and vault".into() })
    };
    let take = |link: &'static [u8]| Call::TakeLink(client::TakeLink { link: link.into() });
    let (good, other) = (b"0123456789abcdef", b"0123456789abcdeF");
    assert_eq!(scene.call(ALICE, 1, accept(good)).await.reason, 0x87, "it has no certificate");
    assert_eq!(scene.call(ALICE, 2, Call::PublishKeys(first("alice", "phone", 0))).await.reason, 0);
    assert_eq!(scene.call(ALICE, 3, accept(b"short")).await.reason, 0x83);
    assert_eq!(scene.call(TABLET, 6, take(b"short")).await.reason, 0x83);
    assert_eq!(scene.call(TABLET, 1, take(good)).await.reason, 0x90, "not yet");
    assert_eq!(scene.call(ALICE, 4, accept(good)).await.reason, 0);
    assert_eq!(scene.call(TABLET, 2, take(other)).await.reason, 0x90);
    assert_eq!(scene.call(BOB, 1, take(good)).await.reason, 0x90, "another user's");
    assert_eq!(scene.call(TABLET, 3, take(good)).await.sealed, "identity and vault");
    assert_eq!(scene.call(TABLET, 4, take(good)).await.reason, 0x90, "not twice");
    assert_eq!(scene.call(ALICE, 5, accept(good)).await.reason, 0);
    scene.now_s.fetch_add(301, Ordering::Relaxed);
    scene.wait(Duration::from_secs(1)).await;
    assert_eq!(scene.call(TABLET, 5, take(good)).await.reason, 0x90, "too late");
}

#[tokio::test(start_paused = true)]
async fn without_encryption_nothing_of_it_is_taken() {
    let mut scene = super::scene().await;
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    for (number, call) in (1..).zip([Call::PublishKeys(first("bob", "phone", 1)), claim("alice"), identity("alice")]) {
        assert_eq!(scene.call(BOB, number, call).await.reason, 0x83);
    }
}
