//! Credentials that are void by now: nobody goes on with them, whatever an edge has heard of that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::bus::{Connect, Resume, down::Frame, up};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::edge::{Scene, to_user};
use super::{ALICE, BOB, NOW_S, bodies, scene};
use crate::admin::{AdminError, DeviceCredentials};
use crate::chat::Principal;
use godwit_store::memory::MemoryStore;
use godwit_store::{Durability, Row, Store, StoreError, Table, Write};

type OnDisk = Scene<MemoryStore>;

fn alice() -> (UserId, DeviceName) {
    (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap())
}

fn all() -> Filters {
    Filters::RAW.with(Filters::RPC)
}

/// What an operator does against whoever has alice's password.
#[derive(Debug, Clone, Copy)]
enum Against {
    Renewed,
    DeviceRemoved,
    UserErased,
}

impl Against {
    const ALL: [Self; 3] = [Self::Renewed, Self::DeviceRemoved, Self::UserErased];

    async fn carry_out(self, scene: &mut OnDisk) -> DeviceCredentials {
        let (user, device) = alice();
        let admin = scene.admin.clone();
        let new = match self {
            Self::Renewed => admin.renew_password(user, device).await.unwrap(),
            Self::DeviceRemoved => {
                admin.remove_device(user.clone(), device.clone()).await.unwrap();
                admin.add_device(user, device).await.unwrap()
            }
            Self::UserErased => {
                admin.remove_user(user.clone()).await.unwrap();
                admin.add_user(user, device).await.unwrap()
            }
        };
        scene.knows(&new);
        new
    }

    fn reason(self) -> Reason {
        match self {
            Self::Renewed => Reason::NOT_AUTHORIZED,
            Self::DeviceRemoved | Self::UserErased => Reason::ADMINISTRATIVE_ACTION,
        }
    }
}

/// The edge attaches alice's connection again, with all that its client could want.
async fn attach_again(scene: &mut OnDisk, resume: Resume) -> Vec<Frame> {
    let resume = Resume { filters: all().bits(), ..resume };
    let connect = scene.resume_frame(ALICE, "alice", "phone", resume);
    attach(scene, connect).await
}

async fn attach(scene: &mut OnDisk, connect: Connect) -> Vec<Frame> {
    let renew = client::Request {
        id: 9,
        call: Some(Call::RenewPassword(client::RenewPassword { device: "phone".to_owned() })),
    };
    let call = godwit_schemas::bus::Publish {
        number: 2,
        packet_id: 2,
        kind: godwit_schemas::bus::Kind::Rpc.into(),
        payload: prost::Message::encode_to_vec(&renew).into(),
        ..Default::default()
    };
    let subscribe = godwit_schemas::bus::Subscribe { filters: all().bits(), token: 4 };
    scene.send(
        ALICE,
        [
            up::Frame::Connect(connect),
            up::Frame::Publish(to_user(1, "bob", "stolen")),
            up::Frame::Publish(call),
            up::Frame::Subscribe(subscribe),
        ],
    );
    scene.rest(ALICE).await
}

fn is_refusal(frames: &[Frame], reason: Reason) -> bool {
    matches!(frames, [Frame::Connected(connected)] if Reason::from_u32(connected.reason) == reason)
}

/// Bob and alice, of whom each has the other's last words still to get, and her phone's owner has another way in now.
async fn shut_out(against: Against, crashes: bool) -> OnDisk {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", all()).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    if crashes {
        scene.crash().await;
    }
    against.carry_out(&mut scene).await;
    if !crashes {
        // The frame that closes it is lost.
        scene.next_generation();
    }
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    scene.publish(BOB, to_user(1, "alice", "for the owner"));
    assert_eq!(scene.published(BOB).await.reason, 0);
    scene
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_void_credential_is_not_attached_again() {
    for against in Against::ALL {
        for crashes in [true, false] {
            let mut scene = shut_out(against, crashes).await;
            let answer = attach_again(&mut scene, Resume::default()).await;
            assert!(is_refusal(&answer, against.reason()), "{against:?}: {answer:?}");
            scene.enter(3, "alice", "phone", all()).await;
            assert_eq!(bodies(&scene.deliveries(3).await), ["for the owner"], "{against:?}");
            assert_eq!(scene.deliveries(BOB).await, [], "{against:?}");
            // Neither does it end the owner's connection.
            let answer = attach_again(&mut scene, Resume::default()).await;
            assert!(is_refusal(&answer, against.reason()), "{against:?}: {answer:?}");
            let list = scene.call(3, 1, Call::ListDevices(client::ListDevices {})).await;
            assert!(list.devices.iter().all(|device| device.connected), "{list:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_reattached_by_its_device_and_fingerprint() {
    let mut scene = scene().await;
    scene.add("alice", "tablet").await;
    scene.enter(ALICE, "alice", "phone", all()).await;
    scene.enter(4, "alice", "tablet", all()).await;
    scene.crash().await;
    let right = scene.resume_frame(ALICE, "alice", "phone", Resume::default());
    let tablet = scene.resume_frame(4, "alice", "tablet", Resume::default()).resume.unwrap();
    let resume = right.resume.clone().unwrap();
    let cases = [
        (Resume { device: 0, fingerprint: 0, ..resume.clone() }, Reason::SERVER_BUSY),
        (Resume { fingerprint: 0, ..resume.clone() }, Reason::NOT_AUTHORIZED),
        (Resume { device: tablet.device, ..resume.clone() }, Reason::ADMINISTRATIVE_ACTION),
        (Resume { device: tablet.device + 64, ..resume.clone() }, Reason::ADMINISTRATIVE_ACTION),
        // It came with a token, which has ended.
        (Resume { ends_at_s: Some(NOW_S), ..resume.clone() }, Reason::NOT_AUTHORIZED),
    ];
    for (resume, reason) in cases {
        let answer = attach(&mut scene, Connect { resume: Some(resume.clone()), ..right.clone() }).await;
        assert!(is_refusal(&answer, reason), "{resume:?}: {answer:?}");
    }
    assert_eq!(scene.connect(ALICE, right).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_password_also_shuts_out_who_came_with_a_certificate() {
    let mut scene = scene().await;
    let certified = Connect { password: "".into(), verified: true, ..scene.connect_frame("alice", "phone") };
    assert_eq!(scene.connect(ALICE, certified.clone()).await.reason, 0);
    scene.crash().await;
    scene.resume(ALICE, "alice", "phone", Resume::default()).await;
    // Who renews a password shuts out whoever is there as that device; a certificate lets in again.
    let (user, device) = alice();
    scene.admin.renew_password(user, device).await.unwrap();
    scene.next_generation();
    assert!(is_refusal(&attach_again(&mut scene, Resume::default()).await, Reason::NOT_AUTHORIZED));
    assert_eq!(scene.connect(ALICE, certified).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_use_of_a_renewed_password_ends_the_old_connection() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", all()).await;
    let renew = Call::RenewPassword(client::RenewPassword { device: "phone".to_owned() });
    let password = scene.call(ALICE, 1, renew).await.password;
    for _ in 0..2 {
        scene.crash().await;
        scene.resume(ALICE, "alice", "phone", Resume::default()).await;
    }
    let new = Connect { password: password.into(), ..scene.connect_frame("alice", "phone") };
    assert_eq!(scene.connect(3, new).await.reason, 0);
    // It is on disk when the client is welcome, and all lanes know it.
    scene.publish(3, to_user(1, "bob", "with the new one"));
    assert_eq!(scene.published(3).await.reason, 0);
    scene.crash().await;
    let answer = attach_again(&mut scene, Resume::default()).await;
    assert!(is_refusal(&answer, Reason::NOT_AUTHORIZED), "{answer:?}");
    scene.resume(3, "alice", "phone", Resume::default()).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_answered_when_the_connection_is_closed() {
    for against in Against::ALL {
        let mut scene = scene().await;
        scene.enter(ALICE, "alice", "phone", all()).await;
        let before = Instant::now();
        against.carry_out(&mut scene).await;
        assert!(before.elapsed() < Duration::from_millis(100), "{against:?}: {:?}", before.elapsed());
        let answer = scene.rest(ALICE).await;
        let is_closed =
            |reason| matches!(&answer[..], [Frame::Close(close)] if Reason::from_u32(close.reason) == reason);
        assert!(is_closed(against.reason()), "{answer:?}");
    }
}

/// A password that is renewed while the device's edge stands still: so many seconds later the operator still waits.
async fn renewing_at_a_frozen_edge(
    seconds: u64,
) -> (Scene<MemoryStore>, JoinHandle<Result<DeviceCredentials, AdminError>>) {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", all()).await;
    scene.freeze();
    let (admin, (user, device)) = (scene.admin.clone(), alice());
    let renewed = tokio::spawn(async move { admin.renew_password(user, device).await });
    scene.wait(Duration::from_secs(seconds)).await;
    assert!(!renewed.is_finished());
    (scene, renewed)
}

/// An edge that says that it is there, and closes nothing: ten seconds are all that an operator waits. One that is silent
/// is gone by then.
#[tokio::test(start_paused = true)]
async fn an_operator_does_not_wait_for_an_edge_for_ever() {
    let (mut scene, renewed) = renewing_at_a_frozen_edge(9).await;
    scene.wait(Duration::from_secs(2)).await;
    assert!(renewed.is_finished());
}

/// A stream that begins anew hands out nothing of what there was.
#[tokio::test(start_paused = true)]
async fn an_edge_that_attaches_anew_has_closed_what_it_was_to_close() {
    let (mut scene, renewed) = renewing_at_a_frozen_edge(1).await;
    scene.next_generation();
    assert!(is_refusal(&attach_again(&mut scene, Resume::default()).await, Reason::NOT_AUTHORIZED));
    assert!(renewed.is_finished());
}

/// Nobody is told that it is closed by who ends before it is.
#[tokio::test(start_paused = true)]
async fn a_command_that_is_cut_short_is_not_reported_as_done() {
    let (mut scene, renewed) = renewing_at_a_frozen_edge(1).await;
    scene.crash().await;
    let answer = renewed.await.unwrap();
    assert!(matches!(answer, Err(AdminError::ShuttingDown)), "{answer:?}");
}

/// A disk that takes its time.
#[derive(Clone)]
struct Slow(MemoryStore);

const COMMIT: Duration = Duration::from_millis(10);

impl Store for Slow {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.0.multi_get(keys).await
    }

    async fn scan(&self, of: Table, from: &[u8], to: &[u8], rows: usize, max: usize) -> Result<Vec<Row>, StoreError> {
        self.0.scan(of, from, to, rows, max).await
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        tokio::time::sleep(COMMIT).await;
        self.0.commit(writes, durability).await
    }
}

/// It could open conversations for as long as it is taken out of them.
#[tokio::test(start_paused = true)]
async fn nothing_is_taken_from_a_user_that_is_being_removed() {
    let mut scene = Scene::new(Slow(MemoryStore::new(Arc::new(|| NOW_S)))).await;
    scene.add("alice", "phone").await;
    scene.add("bob", "phone").await;
    scene.enter(ALICE, "alice", "phone", all()).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    scene.publish(ALICE, to_user(1, "bob", "before"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
    let (admin, chat) = (scene.admin.clone(), scene.chat.clone());
    let removed = tokio::spawn(async move { admin.remove_user(alice().0).await });
    tokio::time::sleep(COMMIT / 2).await;
    scene.publish(ALICE, to_user(2, "bob", "meanwhile"));
    let create = Call::CreateGroup(client::CreateGroup { title: "g".to_owned(), users: vec!["bob".to_owned()] });
    let created = tokio::spawn(async move { chat.call(alice().0, Principal::Administrator, create).await });
    assert_eq!(Reason::from_u32(scene.published(ALICE).await.reason), Reason::NOT_AUTHORIZED);
    assert_eq!(Reason::from_u32(created.await.unwrap().unwrap().reason), Reason::NOT_AUTHORIZED);
    assert!(!removed.is_finished());
    removed.await.unwrap().unwrap();
    assert_eq!(bodies(&scene.deliveries(BOB).await), ["before"]);
}
