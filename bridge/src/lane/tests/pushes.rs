//! Devices that are not connected are pushed: once they have had time to come, and again after a crash until a push service has
//! taken it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use godwit_push::{BadKey, Gateway, NotAdmitted, Push, Service, Target, Urgency, Verdict};
use godwit_schemas::client::{self, Preview, WebAddress, request::Call, set_push::To};
use godwit_schemas::ids::UserId;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::{NOW_S, Scene, settings, to_user};
use super::{ALICE, BOB};
use crate::BridgeSettings;
use crate::push::PushSettings;
use godwit_store::memory::MemoryStore;
use godwit_store::{Store as _, Table};

/// Bob's tablet.
const TABLET: u64 = 3;
const DELAY: Duration = Duration::from_millis(1_500);
/// A moment longer.
const SOON: Duration = Duration::from_millis(1_600);
/// Until the pusher looks at what was owed before a start.
const AFTER_START: Duration = Duration::from_millis(3_100);

/// A push service that keeps what it is sent.
#[derive(Debug, Default)]
struct Kept {
    sent: Mutex<Vec<Push>>,
    /// What it says to the next ones; then it accepts.
    answers: Mutex<VecDeque<Verdict>>,
}

impl Kept {
    /// What it was sent since this was asked last: how many.
    fn sent(&self) -> usize {
        self.sent.lock().unwrap().drain(..).count()
    }

    fn take(&self) -> Vec<Push> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    fn will_say(&self, verdict: Verdict) {
        self.answers.lock().unwrap().push_back(verdict);
    }
}

impl Gateway for Kept {
    fn admits(&self, target: &Target) -> Result<(), NotAdmitted> {
        match target {
            Target::Web { endpoint } if endpoint.starts_with("https://") => Ok(()),
            Target::Web { .. } => Err(NotAdmitted::BadAddress),
            Target::Apns { .. } | Target::Fcm { .. } => Err(NotAdmitted::NoProvider),
        }
    }

    fn pause(&self, _: Service) -> Option<Duration> {
        None
    }

    fn send(self: Arc<Self>, push: Push) -> BoxFuture<'static, Verdict> {
        Box::pin(async move {
            self.sent.lock().unwrap().push(push);
            self.answers.lock().unwrap().pop_front().unwrap_or(Verdict::Accepted)
        })
    }

    fn use_key(&self, _: &[u8]) -> Result<(), BadKey> {
        Ok(())
    }

    fn vapid(&self) -> Option<Vec<u8>> {
        None
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn address(endpoint: &str) -> client::SetPush {
    let to = Some(To::Web(WebAddress { endpoint: endpoint.to_owned() }));
    client::SetPush { to, device: "phone".to_owned(), preview: Preview::Full.into(), ..Default::default() }
}

async fn set(scene: &Scene<MemoryStore>, name: &str, call: client::SetPush) -> Reason {
    Reason::from_u32(scene.ask(user(name), Call::SetPush(call)).await.reason)
}

async fn provider(scene: &Scene<MemoryStore>, name: &str) -> String {
    let get = client::GetPush { device: "phone".to_owned() };
    scene.ask(user(name), Call::GetPush(get)).await.push.unwrap().provider
}

/// Alice is connected. Bob's phone is pushed, and away.
async fn scene() -> (Scene<MemoryStore>, Arc<Kept>) {
    let kept = Arc::<Kept>::default();
    let push = PushSettings {
        gateway: kept.clone(),
        delay: DELAY,
        active: Duration::from_secs(60),
        per_minute: 30,
        queue: 1_024,
        ttl_max: Duration::from_secs(3_600),
    };
    let settings = BridgeSettings { push: Some(push), ..settings() };
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    for name in ["alice", "bob", "carol"] {
        scene.add(name, "phone").await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    assert_eq!(set(&scene, "bob", address("https://example.org/bob")).await, Reason::SUCCESS);
    (scene, kept)
}

/// Alice writes to Bob. Returns the conversation and the message's place.
async fn write(scene: &mut Scene<MemoryStore>, number: u64) -> (u64, u64) {
    scene.publish(ALICE, to_user(number, "bob", "hello"));
    let published = scene.published(ALICE).await;
    assert_eq!(published.reason, 0);
    (published.conversation, published.sequence)
}

async fn mute(scene: &Scene<MemoryStore>, conversation: u64, for_s: u32) -> Reason {
    let mute = client::SetMute { conversation, for_s, mentions_only: false };
    Reason::from_u32(scene.ask(user("bob"), Call::SetMute(mute)).await.reason)
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_away_is_pushed_once_it_has_had_time() {
    let (mut scene, kept) = scene().await;
    scene.wait(AFTER_START).await;
    write(&mut scene, 1).await;
    scene.wait(DELAY / 2).await;
    assert_eq!(kept.sent(), 0, "not yet");
    scene.wait(DELAY).await;
    let pushes = kept.take();
    assert_eq!((pushes.len(), pushes[0].badge, pushes[0].urgency), (1, 1, Urgency::High));
    assert_eq!(pushes[0].ttl, Duration::from_secs(3_600), "at most");
    scene.wait(Duration::from_secs(100)).await;
    assert_eq!(kept.sent(), 0, "once");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_by_itself_is_not_pushed() {
    let (mut scene, kept) = scene().await;
    write(&mut scene, 1).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let deliver = scene.delivered(BOB).await;
    scene.wait(SOON).await;
    assert_eq!(kept.sent(), 0, "it is here");
    // It goes without having acknowledged.
    scene.disconnect(BOB, false);
    scene.wait(SOON).await;
    assert_eq!(kept.sent(), 1);
    scene.enter(BOB + 10, "bob", "phone", Filters::RAW).await;
    scene.acknowledge(BOB + 10, vec![deliver.order]);
    scene.settle().await;
    scene.disconnect(BOB + 10, false);
    scene.wait(SOON).await;
    assert_eq!(kept.sent(), 0, "nothing waits");
}

#[tokio::test(start_paused = true)]
async fn a_connected_device_that_is_silent_is_pushed() {
    let (mut scene, kept) = scene().await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    write(&mut scene, 1).await;
    let first = scene.delivered(BOB).await;
    scene.wait(Duration::from_secs(44)).await;
    scene.acknowledge(BOB, vec![first.order]);
    scene.wait(Duration::from_secs(10)).await;
    assert_eq!(kept.sent(), 0, "it has answered");
    write(&mut scene, 2).await;
    scene.delivered(BOB).await;
    scene.wait(Duration::from_secs(46)).await;
    assert_eq!(kept.sent(), 1, "its connection is one in name only");
}

#[tokio::test(start_paused = true)]
async fn what_was_owed_before_a_crash_is_pushed_after_it() {
    let (mut scene, kept) = scene().await;
    write(&mut scene, 1).await;
    scene.crash().await;
    assert_eq!(kept.sent(), 0);
    scene.wait(AFTER_START).await;
    assert_eq!(kept.sent(), 1);
    scene.settle().await;
    scene.crash().await;
    scene.wait(AFTER_START).await;
    assert_eq!(kept.sent(), 0, "it is known that it was pushed");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_not_taken_is_sent_again() {
    let (mut scene, kept) = scene().await;
    kept.will_say(Verdict::Later { after: Some(Duration::from_secs(30)) });
    kept.will_say(Verdict::Later { after: None });
    write(&mut scene, 1).await;
    scene.wait(Duration::from_secs(4)).await;
    assert_eq!(kept.sent(), 1);
    scene.wait(Duration::from_secs(20)).await;
    assert_eq!(kept.sent(), 0, "the service is left alone");
    scene.wait(Duration::from_secs(20)).await;
    assert_eq!(kept.sent(), 2, "then again, and once more");
    scene.wait(Duration::from_secs(1_000)).await;
    assert_eq!(kept.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_gone_is_forgotten_unless_it_is_newer() {
    let (mut scene, kept) = scene().await;
    scene.wait(AFTER_START).await;
    let earlier_ms = u64::from(NOW_S - 1) * 1_000;
    kept.will_say(Verdict::Gone { seen_at_ms: Some(earlier_ms) });
    kept.will_say(Verdict::Gone { seen_at_ms: None });
    write(&mut scene, 1).await;
    scene.wait(SOON).await;
    assert_eq!((kept.sent(), provider(&scene, "bob").await.as_str()), (1, "web"), "it was set after that");
    scene.wait(Duration::from_secs(10)).await;
    scene.settle().await;
    assert_eq!((kept.sent(), provider(&scene, "bob").await.as_str()), (1, ""));
    write(&mut scene, 2).await;
    scene.wait(SOON).await;
    assert_eq!(kept.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_one_devices() {
    let (mut scene, kept) = scene().await;
    assert_eq!(set(&scene, "carol", address("https://example.org/bob")).await, Reason::SUCCESS);
    scene.settle().await;
    assert_eq!((provider(&scene, "bob").await.as_str(), provider(&scene, "carol").await.as_str()), ("", "web"));
    write(&mut scene, 1).await;
    scene.wait(AFTER_START).await;
    assert_eq!(kept.sent(), 0, "the phone is Carol's now");
    scene.publish(ALICE, to_user(2, "carol", "hello"));
    scene.published(ALICE).await;
    scene.wait(SOON).await;
    assert_eq!(kept.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn bad_addresses_and_keys_are_refused() {
    let (scene, _) = scene().await;
    let bad = Reason::IMPLEMENTATION_SPECIFIC;
    assert_eq!(set(&scene, "bob", address("http://example.org")).await, bad);
    assert_eq!(set(&scene, "bob", client::SetPush { auth: vec![1; 16].into(), ..address("https://e.org") }).await, bad);
    let apns = client::ApnsAddress { token: vec![1].into(), ..Default::default() };
    assert_eq!(set(&scene, "bob", client::SetPush { to: Some(To::Apns(apns)), ..address("") }).await, bad);
    assert_eq!(set(&scene, "bob", client::SetPush { device: String::new(), ..address("https://e.org") }).await, bad);
    let unknown = client::SetPush { device: "watch".to_owned(), ..address("https://e.org") };
    assert_eq!(set(&scene, "bob", unknown).await, Reason::TOPIC_NAME_INVALID);
    assert_eq!(provider(&scene, "bob").await, "web", "what was set before stays");
    assert_eq!(mute(&scene, 99, 1).await, Reason::NOT_AUTHORIZED, "not a member");
}

#[tokio::test(start_paused = true)]
async fn a_muted_conversation_is_not_pushed() {
    let (mut scene, kept) = scene().await;
    let (conversation, _) = write(&mut scene, 1).await;
    assert_eq!(mute(&scene, conversation, u32::MAX).await, Reason::SUCCESS);
    scene.wait(AFTER_START).await;
    assert_eq!(kept.sent(), 0);
    let listed = scene.ask(user("bob"), Call::ListMutes(client::ListMutes::default())).await.mutes;
    assert_eq!(listed, [client::Mute { conversation, for_s: u32::MAX, mentions_only: false }]);
    assert_eq!(mute(&scene, conversation, 0).await, Reason::SUCCESS);
    write(&mut scene, 2).await;
    scene.wait(SOON).await;
    assert_eq!(kept.sent(), 1);
    assert_eq!(scene.ask(user("bob"), Call::ListMutes(client::ListMutes::default())).await.mutes, []);
}

#[tokio::test(start_paused = true)]
async fn a_push_waits_while_its_user_is_busy_elsewhere_and_is_spared() {
    let (mut scene, kept) = scene().await;
    scene.add("bob", "tablet").await;
    scene.enter(TABLET, "bob", "tablet", Filters::RAW).await;
    scene.publish(TABLET, to_user(1, "alice", "I am here"));
    scene.published(TABLET).await;
    let (conversation, sequence) = write(&mut scene, 1).await;
    scene.wait(Duration::from_secs(10)).await;
    assert_eq!(kept.sent(), 0, "he may read it on the tablet");
    let read = client::ReadReceipt { conversation, read_up_to: sequence };
    scene.read_as(user("bob"), read).await;
    scene.wait(Duration::from_secs(20)).await;
    assert_eq!(kept.sent(), 0, "he has");
    write(&mut scene, 2).await;
    scene.wait(Duration::from_secs(30)).await;
    assert_eq!(kept.sent(), 1, "he has not");
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_conversation_are_pushed_together() {
    let (mut scene, kept) = scene().await;
    scene.wait(AFTER_START).await;
    for number in 1..=5 {
        write(&mut scene, number).await;
    }
    scene.wait(SOON).await;
    let pushes = kept.take();
    assert_eq!((pushes.len(), pushes[0].badge), (1, 5));
    write(&mut scene, 6).await;
    scene.wait(SOON).await;
    assert_eq!(kept.sent(), 0, "once in ten seconds");
    scene.wait(Duration::from_secs(10)).await;
    assert_eq!(kept.take().iter().map(|push| push.badge).collect::<Vec<_>>(), [6]);
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_and_is_recalled_is_replaced() {
    let (mut scene, kept) = scene().await;
    scene.wait(AFTER_START).await;
    let (conversation, sequence) = write(&mut scene, 1).await;
    scene.wait(SOON).await;
    let shown = kept.take();
    let recall = client::Recall { conversation, sequence };
    assert_eq!(scene.ask(user("alice"), Call::Recall(recall)).await.reason, 0);
    scene.wait(SOON).await;
    let gone = kept.take();
    assert_eq!((gone.len(), &gone[0].collapse), (1, &shown[0].collapse));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_pushes_of_a_device_that_is_removed() {
    let (mut scene, kept) = scene().await;
    scene.settle().await;
    write(&mut scene, 1).await;
    let rows = async |scene: &Scene<MemoryStore>, tag: u8| {
        let (from, to) = ([tag], [tag + 1]);
        scene.store.scan(Table::Directory, &from, &to, usize::MAX, usize::MAX).await.unwrap().len()
    };
    assert_eq!((rows(&scene, b'p').await, rows(&scene, b'a').await), (1, 1));
    let remove = client::RemoveDevice { device: "phone".to_owned() };
    assert_eq!(scene.ask(user("bob"), Call::RemoveDevice(remove)).await.reason, 0);
    scene.wait(AFTER_START).await;
    assert_eq!(kept.sent(), 0);
    for tag in *b"pax" {
        assert_eq!(rows(&scene, tag).await, 0, "{tag}");
    }
    assert_eq!(set(&scene, "carol", address("https://example.org/bob")).await, Reason::SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn an_inbox_is_looked_into_and_stays_as_it_is() {
    let (mut scene, _) = scene().await;
    write(&mut scene, 1).await;
    let peek = |after| Call::PeekInbox(client::PeekInbox { device: "phone".to_owned(), after });
    let page = scene.ask(user("bob"), peek(0)).await;
    assert_eq!(page.history.len(), 2, "the opening, and the message");
    assert_eq!(scene.ask(user("bob"), peek(page.next)).await.history, []);
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    assert_eq!(scene.delivered(BOB).await.payload, "hello");
}
