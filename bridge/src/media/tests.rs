//! The media service before an object store in memory, on a clock that the test moves: what comes when, and what if it fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use godwit_core::call::RoutedCall;
use godwit_core::event::DomainEvent;
use godwit_core::keys::MessageKey;
use godwit_core::stored::{ReferenceRecord, UserRecord};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, Order, Seq, UserId};
use godwit_schemas::media::MediaId;
use godwit_schemas::reason::Reason;
use godwit_store::keys::media::{self as keys, Holder};
use godwit_store::memory::MemoryStore;
use godwit_store::time::manual::ManualClocks;
use godwit_store::time::{ClockSettings, Time};
use godwit_store::{Durability, Store as _, Table, Write};
use tokio::sync::{mpsc, oneshot};

use super::objects::{ObjectContent, Objects, ObjectsAnswer, ObjectsError, SignedLink, StoredObject, StoredPart};
use super::service::{MediaService, MediaServiceParts};
use super::{MediaRequest, MediaSettings};
use crate::commit;
use crate::messages::{Committed, LaneMessage};
use crate::writes;

const NOW_S: u32 = 1_000_000;
const HASH: [u8; 32] = [7; 32];

/// Objects by name, and what was begun.
#[derive(Debug, Default)]
struct Depot {
    objects: Mutex<BTreeMap<MediaId, StoredObject>>,
    begun: Mutex<BTreeMap<MediaId, Vec<StoredPart>>>,
    fails: AtomicBool,
    /// How often an object was read for its hash.
    read: AtomicU32,
}

impl Depot {
    fn answer<T: Send + 'static>(&self, answer: Result<T, ObjectsError>) -> ObjectsAnswer<'_, T> {
        let failed = ObjectsError::Failed { doing: "answer", cause: "told to".to_owned() };
        let answer = if self.fails.load(Ordering::Relaxed) { Err(failed) } else { answer };
        std::future::ready(answer).boxed()
    }

    fn put(&self, object: MediaId, size: u64, sha256: Option<[u8; 32]>) {
        self.objects.lock().unwrap().insert(object, StoredObject { size, sha256 });
    }

    fn holds(&self) -> (usize, usize) {
        (self.objects.lock().unwrap().len(), self.begun.lock().unwrap().len())
    }
}

fn link(method: &'static str) -> Result<SignedLink, ObjectsError> {
    Ok(SignedLink { method, url: "http://depot".to_owned(), headers: Vec::new() })
}

impl Objects for Depot {
    fn put_link<'a>(&'a self, _: MediaId, _: &'a ObjectContent, _: u32) -> ObjectsAnswer<'a, SignedLink> {
        self.answer(link("PUT"))
    }

    fn part_link<'a>(&'a self, _: MediaId, _: &'a str, _: u32, _: u64, _: u32) -> ObjectsAnswer<'a, SignedLink> {
        self.answer(link("PUT"))
    }

    fn get_link<'a>(&'a self, _: MediaId, content_type: &'a str, _: u32) -> ObjectsAnswer<'a, SignedLink> {
        let link = link("GET").map(|link| SignedLink { url: format!("{}?type={content_type}", link.url), ..link });
        self.answer(link)
    }

    fn begin<'a>(&'a self, object: MediaId, _: &'a ObjectContent) -> ObjectsAnswer<'a, String> {
        self.begun.lock().unwrap().insert(object, Vec::new());
        self.answer(Ok("upload".to_owned()))
    }

    fn parts<'a>(&'a self, object: MediaId, _: &'a str) -> ObjectsAnswer<'a, Vec<StoredPart>> {
        let parts = self.begun.lock().unwrap().get(&object).cloned();
        self.answer(parts.ok_or(ObjectsError::Absent))
    }

    fn finish<'a>(&'a self, object: MediaId, _: &'a str, parts: &'a [StoredPart]) -> ObjectsAnswer<'a, ()> {
        self.begun.lock().unwrap().remove(&object);
        self.put(object, parts.iter().map(|part| part.size).sum(), None);
        self.answer(Ok(()))
    }

    fn stat(&self, object: MediaId) -> ObjectsAnswer<'_, StoredObject> {
        let stored = self.objects.lock().unwrap().get(&object).copied();
        self.answer(stored.ok_or(ObjectsError::Absent))
    }

    fn hash(&self, _: MediaId) -> ObjectsAnswer<'_, [u8; 32]> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.answer(Ok(HASH))
    }

    fn abort(&self, object: MediaId) -> ObjectsAnswer<'_, ()> {
        self.begun.lock().unwrap().remove(&object);
        self.answer(Ok(()))
    }

    fn delete(&self, object: MediaId) -> ObjectsAnswer<'_, ()> {
        if !self.fails.load(Ordering::Relaxed) {
            self.objects.lock().unwrap().remove(&object);
        }
        self.answer(Ok(()))
    }
}

/// No lane is told anything.
struct Nobody;

impl commit::CommitNotifier for Nobody {
    fn tell(&self, _: u32, _: Committed) {}

    fn tell_operators(&mut self, _: Vec<DomainEvent>) {}
}

struct Scene {
    depot: Arc<Depot>,
    store: MemoryStore,
    now_s: Arc<AtomicU32>,
    calls: mpsc::Sender<MediaRequest>,
    /// What a lane is told.
    lane: mpsc::UnboundedReceiver<LaneMessage>,
}

impl Scene {
    fn new() -> Self {
        let now_s = Arc::new(AtomicU32::new(NOW_S));
        let clock: godwit_store::ClockS = {
            let now_s = now_s.clone();
            Arc::new(move || now_s.load(Ordering::Relaxed))
        };
        Self::by(clock.into(), now_s)
    }

    /// With a time that `now_s` has no part in.
    fn by(time: Time, now_s: Arc<AtomicU32>) -> Self {
        let (depot, store) = (Arc::new(Depot::default()), MemoryStore::new(time.clock()));
        let settings = MediaSettings {
            objects: depot.clone(),
            file_bytes_max: 1_000,
            multipart_bytes: 100,
            link_s: 10,
            unused_s: 50,
            user_bytes_per_day: 10_000,
            user_uploads_per_day: 100,
            content_types: vec!["image/*".to_owned()],
        };
        let (calls, asked) = mpsc::channel(8);
        let (committer, commits) = mpsc::channel(8);
        let (mailbox, lane) = mpsc::unbounded_channel();
        let lanes = vec![mailbox].into();
        tokio::spawn(commit::run(store.clone(), commits, 1, Order::new(0), Nobody, Arc::default()));
        let parts = MediaServiceParts { settings, time, calls: asked, committer, lanes, metrics: Arc::default() };
        tokio::spawn(MediaService::new(parts, store.clone()).run());
        Self { depot, store, now_s, calls, lane }
    }

    async fn ask(&self, user: &str, call: Call) -> client::Response {
        let (tell, told) = oneshot::channel();
        let reply = Box::new(move |response| drop(tell.send(response)));
        let user = UserId::new(user).unwrap();
        let RoutedCall::Media(call) = call.into() else { panic!("not about files") };
        assert!(self.calls.send(MediaRequest { user, call, reply }).await.is_ok(), "it runs");
        told.await.expect("an answer")
    }

    async fn create(&self, user: &str, size: u64) -> client::Upload {
        let (sha256, content_type) = (HASH.to_vec().into(), "image/png".to_owned());
        let call = client::CreateUpload { sha256, size, content_type, conversation: 0 };
        let response = self.ask(user, Call::CreateUpload(call)).await;
        response.upload.unwrap_or_else(|| panic!("{}", response.text))
    }

    async fn complete(&self, user: &str, media: &str) -> Reason {
        let call = client::CompleteUpload { media: media.to_owned() };
        Reason::from_u32(self.ask(user, Call::CompleteUpload(call)).await.reason)
    }

    /// An uploaded file.
    async fn upload(&self, user: &str) -> MediaId {
        let upload = self.create(user, 9).await;
        let id = upload.media.parse().unwrap();
        self.depot.put(id, 9, Some(HASH));
        assert_eq!(self.complete(user, &upload.media).await, Reason::SUCCESS);
        id
    }

    /// Later, and the media service has looked around. The lane lets pass what waits for it.
    async fn after(&mut self, seconds: u32) {
        self.now_s.fetch_add(seconds, Ordering::Relaxed);
        for _ in 0..4 {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            while self.lane.try_recv().is_ok() {}
        }
    }

    /// What a lane writes with a message.
    async fn share(&self, id: MediaId, expires_at_s: u32) {
        let reference = ReferenceRecord { expires_at_s, ..Default::default() };
        let ended = Some(Bytes::from_static(keys::REFERENCE_ENDED));
        self.write(vec![
            writes::put(keys::reference(PLACE, id), &reference),
            writes::set(keys::holder(id, &Holder::Message(PLACE)), Some(Bytes::new())),
            writes::set(keys::due(expires_at_s, id), ended),
        ])
        .await;
    }

    async fn write(&self, writes: Vec<Write>) {
        self.store.commit(writes, Durability::Synced).await.unwrap();
    }
}

const PLACE: MessageKey = (ConversationId::new(65), Seq::new(2));

#[tokio::test(start_paused = true)]
async fn what_is_not_used_in_time_is_swept_and_late_uploads_are_too() {
    let mut scene = Scene::new();
    let first = scene.create("alice", 9).await;
    let parts = scene.create("carol", 250).await;
    assert_eq!((parts.parts.len(), parts.part_bytes, scene.depot.holds()), (3, 100, (0, 1)));
    scene.upload("bob").await;
    scene.after(40).await;
    assert_eq!(scene.depot.holds(), (1, 1));
    // The upload that was asked for again stays.
    assert_eq!(scene.create("alice", 9).await.media, first.media);
    scene.after(20).await;
    assert_eq!(scene.depot.holds(), (0, 0));
    assert_eq!(scene.create("alice", 9).await.media, first.media);
    scene.after(60).await;
    assert_ne!(scene.create("alice", 9).await.media, first.media);
    // A request that had begun in time ended after that.
    scene.depot.put(first.media.parse().unwrap(), 9, None);
    scene.after(4_000).await;
    assert_eq!(scene.depot.holds(), (0, 0));
    scene.after(4_000).await;
    assert_eq!(scene.store.rows(Table::Media), 3, "what the three have uploaded in the day");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_swept_while_the_wall_clock_has_leapt() {
    let clocks = ManualClocks::new(1_780_000_000_000, 5_000);
    let hour = Duration::from_secs(3_600);
    let time = clocks.time(ClockSettings { hold: hour, downtime_max: hour * 24 });
    time.begin(None);
    let mut scene = Scene::by(time, Arc::default());
    scene.upload("alice").await;
    let day_ms = 24 * 3_600_000;
    clocks.advance(day_ms, 1_000);
    scene.after(0).await;
    // Its time has come, and the wall clock says something else.
    clocks.advance(60_000, 60_000);
    scene.after(0).await;
    assert_eq!(scene.depot.holds(), (1, 0));
    clocks.advance(-day_ms, 1_000);
    scene.after(0).await;
    assert_eq!(scene.depot.holds(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_message_refers_to_stays_as_long() {
    let mut scene = Scene::new();
    let id = scene.upload("alice").await;
    scene.share(id, NOW_S + 5_000).await;
    scene.after(4_000).await;
    assert_eq!(scene.depot.holds(), (1, 0));
    scene.after(1_000).await;
    assert_eq!(scene.depot.holds(), (0, 0));
    // A message that ends is an end also within the time for a first one.
    let id = scene.upload("alice").await;
    scene.share(id, NOW_S + 5_010).await;
    scene.after(20).await;
    assert_eq!(scene.depot.holds(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_decided_before_the_end_saves_the_file() {
    let mut scene = Scene::new();
    let id = scene.upload("alice").await;
    scene.now_s.fetch_add(60, Ordering::Relaxed);
    let Some(LaneMessage::Pass(let_go)) = scene.lane.recv().await else { panic!("lanes are asked") };
    let call = Call::CompleteUpload(client::CompleteUpload { media: id.to_string() });
    let refused = scene.ask("alice", call.clone()).await;
    assert_eq!(Reason::from_u32(refused.reason), Reason::TOPIC_NAME_INVALID, "nothing may refer to it any more");
    scene.share(id, NOW_S + 5_000).await;
    drop(let_go);
    scene.after(10).await;
    assert_eq!(scene.depot.holds(), (1, 0));
    assert_eq!(scene.ask("alice", call).await.reason, 0, "it may be referred to again");
}

#[tokio::test(start_paused = true)]
async fn a_profile_picture_is_kept_and_hidden_from_blocked_users() {
    let mut scene = Scene::new();
    let id = scene.upload("alice").await;
    let alice = UserId::new("alice").unwrap();
    let holder = keys::holder(id, &Holder::Profile(alice.clone()));
    let record = UserRecord { blocked: vec!["carol".to_owned()], ..Default::default() };
    let record = writes::put(godwit_store::keys::user(&alice), &record);
    scene.write(vec![record, writes::set(holder.clone(), Some(Bytes::new()))]).await;
    scene.after(100).await;
    let call = || Call::DownloadLink(client::DownloadLink { media: id.to_string(), conversation: 0 });
    let link = scene.ask("bob", call()).await.download.expect("a link");
    assert!(link.url.ends_with("?type=image/png"), "it says what it is: {}", link.url);
    let refused = scene.ask("carol", call()).await.reason;
    assert_eq!(Reason::from_u32(refused), Reason::TOPIC_NAME_INVALID);
    let now_s = scene.now_s.load(Ordering::Relaxed);
    let ended = Some(Bytes::from_static(keys::REFERENCE_ENDED));
    scene.write(vec![writes::set(holder, None), writes::set(keys::due(now_s, id), ended)]).await;
    scene.after(1).await;
    assert_eq!(scene.depot.holds(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_object_goes_with_the_last_that_shares_it() {
    let mut scene = Scene::new();
    let first = scene.upload("alice").await;
    let second = scene.upload("bob").await;
    scene.after(1).await;
    assert_eq!(scene.depot.holds(), (1, 0), "the copies are joined");
    scene.share(second, NOW_S + 5_000).await;
    scene.after(100).await;
    let call = Call::CompleteUpload(client::CompleteUpload { media: first.to_string() });
    assert_ne!(scene.ask("alice", call).await.reason, 0, "the first is forgotten");
    assert_eq!(scene.depot.holds(), (1, 0));
    scene.after(5_000).await;
    assert_eq!(scene.depot.holds(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_an_unfinished_upload_is_may_be_corrected() {
    for size in [9, 250] {
        let scene = Scene::new();
        let begun = scene.create("alice", size).await;
        let (sha256, content_type) = (HASH.to_vec().into(), "image/gif; x=\"y\"".to_owned());
        let call = client::CreateUpload { sha256, size, content_type, conversation: 0 };
        let again = scene.ask("alice", Call::CreateUpload(call)).await.upload.expect("an upload");
        assert_eq!(again.media, begun.media);
        let id: MediaId = begun.media.parse().unwrap();
        let parts =
            (1..=3).map(|number| StoredPart { number, size: if number == 3 { 50 } else { 100 }, tag: String::new() });
        scene.depot.begun.lock().unwrap().insert(id, parts.collect());
        if size == 9 {
            scene.depot.put(id, 9, Some(HASH));
        }
        assert_eq!(scene.complete("alice", &begun.media).await, Reason::SUCCESS);
        scene.share(id, NOW_S + 5_000).await;
        let record = super::access::record(&scene.store, id).await.unwrap().expect("a record");
        assert_eq!(record.content_type, "image/gif; x=\"y\"");
        let shared = super::access::shareable(&scene.store, id, &UserId::new("alice").unwrap(), NOW_S).await.unwrap();
        assert_eq!(shared.expect("alice's own").content_type, "image/gif; x=\"y\"");
    }
}

#[tokio::test(start_paused = true)]
async fn parts_are_verified_as_a_whole() {
    let scene = Scene::new();
    let upload = scene.create("alice", 250).await;
    let id: MediaId = upload.media.parse().unwrap();
    let part = |number, size| StoredPart { number, size, tag: String::new() };
    let begun = |parts| scene.depot.begun.lock().unwrap().insert(id, parts);
    begun(vec![part(1, 100), part(3, 50)]);
    assert_eq!(scene.create("alice", 250).await.stored, [1, 3]);
    assert_eq!(scene.complete("alice", &upload.media).await, Reason::IMPLEMENTATION_SPECIFIC);
    begun(vec![part(1, 100), part(2, 99), part(3, 50)]);
    assert_eq!(scene.create("alice", 250).await.stored, [1, 3], "a part that was cut off is none");
    begun(vec![part(1, 100), part(2, 100), part(3, 50)]);
    assert_eq!(scene.complete("bob", &upload.media).await, Reason::TOPIC_NAME_INVALID, "not his");
    assert_eq!(scene.complete("alice", &upload.media).await, Reason::SUCCESS);
    assert_eq!(scene.depot.read.load(Ordering::Relaxed), 1, "the store did not know the hash of the whole");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_what_was_announced_is_deleted() {
    let mut scene = Scene::new();
    for stored in [StoredObject { size: 8, sha256: Some(HASH) }, StoredObject { size: 9, sha256: Some([1; 32]) }] {
        let upload = scene.create("alice", 9).await;
        scene.depot.put(upload.media.parse().unwrap(), stored.size, stored.sha256);
        assert_eq!(scene.complete("alice", &upload.media).await, Reason::IMPLEMENTATION_SPECIFIC);
        scene.after(1).await;
        assert_eq!(scene.depot.holds(), (0, 0));
        assert_eq!(scene.complete("alice", &upload.media).await, Reason::TOPIC_NAME_INVALID);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_store_that_fails_loses_nothing() {
    let mut scene = Scene::new();
    let upload = scene.create("alice", 9).await;
    scene.depot.put(upload.media.parse().unwrap(), 9, Some(HASH));
    scene.depot.fails.store(true, Ordering::Relaxed);
    assert_eq!(scene.complete("alice", &upload.media).await, Reason::SERVER_BUSY);
    scene.after(60).await;
    assert_eq!(scene.depot.holds(), (1, 0), "its deletion is due");
    scene.depot.fails.store(false, Ordering::Relaxed);
    scene.after(20).await;
    assert_eq!(scene.depot.holds(), (0, 0));
}
