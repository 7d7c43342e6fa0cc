//! The keeper before an object store in memory, on a clock that the test moves: what comes when, and what if it fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt as _;
use godwit_core::fact::Fact;
use godwit_core::record::ReferenceRecord;
use godwit_core::world::Place;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, Order, Seq, UserId};
use godwit_schemas::media::MediaId;
use godwit_schemas::reason::Reason;
use tokio::sync::{mpsc, oneshot};

use super::keeper::{Keeper, Parts};
use super::objects::{Answer, Content, Link, Objects, ObjectsError, Part, Stored};
use super::{Ask, MediaSettings};
use crate::commit;
use crate::mail::{Committed, Mail};
use crate::store::keys::media::{self as keys, Holder};
use crate::store::memory::MemoryStore;
use crate::store::{Durability, Store as _, Table, Write};
use crate::writes;

const NOW_S: u32 = 1_000_000;
const HASH: [u8; 32] = [7; 32];

/// Objects by name, and what was begun.
#[derive(Debug, Default)]
struct Depot {
    objects: Mutex<BTreeMap<MediaId, Stored>>,
    begun: Mutex<BTreeMap<MediaId, Vec<Part>>>,
    fails: AtomicBool,
    /// How often an object was read for its hash.
    read: AtomicU32,
}

impl Depot {
    fn answer<T: Send + 'static>(&self, answer: Result<T, ObjectsError>) -> Answer<'_, T> {
        let failed = ObjectsError::Failed { doing: "answer", cause: "told to".to_owned() };
        let answer = if self.fails.load(Ordering::Relaxed) { Err(failed) } else { answer };
        std::future::ready(answer).boxed()
    }

    fn put(&self, object: MediaId, size: u64, sha256: Option<[u8; 32]>) {
        self.objects.lock().unwrap().insert(object, Stored { size, sha256 });
    }

    fn holds(&self) -> (usize, usize) {
        (self.objects.lock().unwrap().len(), self.begun.lock().unwrap().len())
    }
}

fn link(method: &'static str) -> Result<Link, ObjectsError> {
    Ok(Link { method, url: "http://depot".to_owned(), headers: Vec::new() })
}

impl Objects for Depot {
    fn put_link<'a>(&'a self, _: MediaId, _: &'a Content, _: u32) -> Answer<'a, Link> {
        self.answer(link("PUT"))
    }

    fn part_link<'a>(&'a self, _: MediaId, _: &'a str, _: u32, _: u64, _: u32) -> Answer<'a, Link> {
        self.answer(link("PUT"))
    }

    fn get_link(&self, _: MediaId, _: u32) -> Answer<'_, Link> {
        self.answer(link("GET"))
    }

    fn begin<'a>(&'a self, object: MediaId, _: &'a Content) -> Answer<'a, String> {
        self.begun.lock().unwrap().insert(object, Vec::new());
        self.answer(Ok("upload".to_owned()))
    }

    fn parts<'a>(&'a self, object: MediaId, _: &'a str) -> Answer<'a, Vec<Part>> {
        let parts = self.begun.lock().unwrap().get(&object).cloned();
        self.answer(parts.ok_or(ObjectsError::Absent))
    }

    fn finish<'a>(&'a self, object: MediaId, _: &'a str, parts: &'a [Part]) -> Answer<'a, ()> {
        self.begun.lock().unwrap().remove(&object);
        self.put(object, parts.iter().map(|part| part.size).sum(), None);
        self.answer(Ok(()))
    }

    fn stat(&self, object: MediaId) -> Answer<'_, Stored> {
        let stored = self.objects.lock().unwrap().get(&object).copied();
        self.answer(stored.ok_or(ObjectsError::Absent))
    }

    fn hash(&self, _: MediaId) -> Answer<'_, [u8; 32]> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.answer(Ok(HASH))
    }

    fn abort(&self, object: MediaId) -> Answer<'_, ()> {
        self.begun.lock().unwrap().remove(&object);
        self.answer(Ok(()))
    }

    fn delete(&self, object: MediaId) -> Answer<'_, ()> {
        if !self.fails.load(Ordering::Relaxed) {
            self.objects.lock().unwrap().remove(&object);
        }
        self.answer(Ok(()))
    }
}

/// No lane is told anything.
struct Nobody;

impl commit::Tell for Nobody {
    fn tell(&self, _: u32, _: Committed) {}

    fn tell_operators(&mut self, _: Vec<Fact>) {}
}

struct Scene {
    depot: Arc<Depot>,
    store: MemoryStore,
    now_s: Arc<AtomicU32>,
    calls: mpsc::Sender<Ask>,
    /// What a lane is told.
    lane: mpsc::UnboundedReceiver<Mail>,
}

impl Scene {
    fn new() -> Self {
        let now_s = Arc::new(AtomicU32::new(NOW_S));
        let clock: crate::store::ClockS = {
            let now_s = now_s.clone();
            Arc::new(move || now_s.load(Ordering::Relaxed))
        };
        let (depot, store) = (Arc::new(Depot::default()), MemoryStore::new(clock.clone()));
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
        tokio::spawn(commit::run(store.clone(), commits, 1, Order::new(0), Nobody));
        let parts = Parts { settings, clock, calls: asked, committer, lanes };
        tokio::spawn(Keeper::new(parts, store.clone()).run());
        Self { depot, store, now_s, calls, lane }
    }

    async fn ask(&self, user: &str, call: Call) -> client::Response {
        let (tell, told) = oneshot::channel();
        let reply = Box::new(move |response| drop(tell.send(response)));
        let user = UserId::new(user).unwrap();
        assert!(self.calls.send(Ask { user, call, reply }).await.is_ok(), "it runs");
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

    /// Later, and the keeper has looked around. The lane lets pass what waits for it.
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

const PLACE: Place = (ConversationId::new(65), Seq::new(2));

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
    let Some(Mail::Pass(let_go)) = scene.lane.recv().await else { panic!("lanes are asked") };
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
async fn a_profile_keeps_its_picture_for_all_to_see() {
    let mut scene = Scene::new();
    let id = scene.upload("alice").await;
    let holder = keys::holder(id, &Holder::Profile(UserId::new("alice").unwrap()));
    scene.write(vec![writes::set(holder.clone(), Some(Bytes::new()))]).await;
    scene.after(100).await;
    let call = client::DownloadLink { media: id.to_string(), conversation: 0 };
    assert_eq!(scene.ask("bob", Call::DownloadLink(call)).await.reason, 0);
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
async fn parts_are_verified_as_a_whole() {
    let scene = Scene::new();
    let upload = scene.create("alice", 250).await;
    let id: MediaId = upload.media.parse().unwrap();
    let part = |number, size| Part { number, size, tag: String::new() };
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
    for stored in [Stored { size: 8, sha256: Some(HASH) }, Stored { size: 9, sha256: Some([1; 32]) }] {
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
