//! What a device is told: the payload, encrypted, and what a push service has to know to carry it.

use std::time::Duration;

use godwit_core::entry::Entry;
use godwit_core::push::Shown;
use godwit_core::stored::PushRecord;
use godwit_push::seal::{DeviceKeys, seal};
use godwit_push::{Provider, Push, Target, Urgency};
use godwit_schemas::client::{self, Preview, PushPayload, event};
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Seq};
use hmac::{Hmac, Mac as _};
use prost::Message as _;
use sha2::Sha256;

use super::inspect::Due;

/// Largest event in a payload: with padding, encryption and Base64 it fits into what push services take (4,096 bytes).
const EVENT_BYTES_MAX: usize = 2_500;
/// Conversations that a device is told of one by one. Of more it is told at once that something waits.
const CONVERSATIONS_MAX: usize = 4;
/// Bytes of a name that collapses pushes: as Base64, 24 characters.
const COLLAPSE_BYTES: usize = 18;
/// Pushes without a connection after which the next ones do not wake the device.
const WAKES_MAX: u32 = 5;

/// Where a device is pushed.
pub(super) struct Addressee {
    pub(super) device: DeviceId,
    pub(super) target: Target,
    /// `None`: pushes have no payload.
    pub(super) keys: Option<DeviceKeys>,
    pub(super) preview: Preview,
    /// What it said when it was there.
    pub(super) unread: u32,
    /// Pushes since it was there.
    pub(super) unanswered: u32,
}

impl Addressee {
    /// From what is stored. `None`: it is damaged.
    pub(super) fn of(device: DeviceId, record: &PushRecord, unanswered: u32) -> Option<Self> {
        let (target, keys) = (super::address::target(record)?, super::address::device_keys(record).ok()?);
        Some(Self { device, target, keys, preview: record.preview(), unread: record.unread, unanswered })
    }
}

/// A push, and what the device is shown by it.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) push: Push,
    pub(super) shown: Shown,
}

/// What pushes are made with.
#[derive(Debug)]
pub(super) struct Composer {
    /// Names that collapse pushes tell nobody else which conversations are the same.
    secret: Hmac<Sha256>,
    ttl_max: Duration,
}

/// When, by the store's time and by the pusher's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now_s: u32,
    pub(super) now: Duration,
}

impl Composer {
    /// `key`: the server's, of which nothing else follows.
    pub(super) fn new(key: &[u8], ttl_max: Duration) -> Self {
        let secret = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        Self { secret, ttl_max }
    }

    /// The pushes for what is due. Of several conversations Google is told of the last one only: it keeps few pushes, and the
    /// device fetches all. `bare`: without payloads.
    pub(super) fn compose(&self, to: &Addressee, due: &[Due], waiting: u32, bare: bool, at: Moment) -> Vec<Composed> {
        let Some(last) = due.last() else { return Vec::new() };
        if due.len() > CONVERSATIONS_MAX {
            let payload = PushPayload { unread: badge(to, waiting), ..PushPayload::default() };
            let shown = Shown {
                conversation: ConversationId::default(),
                sequence: Seq::default(),
                order: last.order,
                at: at.now,
            };
            let life_s = last.entry.expires_at_s.saturating_sub(at.now_s);
            return vec![self.push(to, &payload, shown, life_s, bare)];
        }
        let due = if to.target.provider() == Provider::Fcm { std::slice::from_ref(last) } else { due };
        due.iter().map(|due| self.of_one(to, due, waiting, bare, at)).collect()
    }

    fn of_one(&self, to: &Addressee, due: &Due, waiting: u32, bare: bool, at: Moment) -> Composed {
        let Due { order, entry, mention } = due;
        let sender = if to.preview == Preview::None { "" } else { &String::from_utf8_lossy(&entry.sender_name) };
        let payload = PushPayload {
            conversation: entry.conversation.get(),
            sequence: entry.sequence.get(),
            unread: badge(to, waiting),
            event: shown_of(entry, to.preview, at.now_s),
            recalled: false,
            sender: sender.to_owned(),
            mention: *mention,
        };
        let shown = Shown { conversation: entry.conversation, sequence: entry.sequence, order: *order, at: at.now };
        self.push(to, &payload, shown, entry.expires_at_s.saturating_sub(at.now_s), bare)
    }

    /// What was shown is to go.
    pub(super) fn taken_back(&self, to: &Addressee, shown: Shown, at: Moment) -> Composed {
        let (conversation, sequence) = (shown.conversation.get(), shown.sequence.get());
        let payload =
            PushPayload { conversation, sequence, unread: to.unread, recalled: true, ..PushPayload::default() };
        self.push(to, &payload, Shown { at: at.now, ..shown }, u32::MAX, false)
    }

    fn push(&self, to: &Addressee, payload: &PushPayload, shown: Shown, life_s: u32, bare: bool) -> Composed {
        let keys = to.keys.as_ref().filter(|_| !bare);
        // Without random bits, or too long: the device is woken all the same.
        let sealed = keys.and_then(|keys| seal(keys, &payload.encode_to_vec()).ok()).unwrap_or_default();
        let urgency = if to.unanswered < WAKES_MAX { Urgency::High } else { Urgency::Normal };
        let ttl = Duration::from_secs(life_s.max(1).into()).min(self.ttl_max);
        // A later message must not take the place of one that mentions its reader.
        let collapse = self.collapse(to.device, shown.conversation, payload.mention.then_some(shown.order));
        let push = Push { target: to.target.clone(), sealed, collapse, ttl, urgency, badge: payload.unread };
        Composed { push, shown }
    }

    fn collapse(&self, device: DeviceId, conversation: ConversationId, alone: Option<Order>) -> String {
        let numbers = [device.get(), conversation.get(), alone.map_or(0, Order::get)];
        let named = numbers.iter().fold(self.secret.clone(), |mac, number| mac.chain_update(number.to_be_bytes()));
        base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            &named.finalize().into_bytes()[..COLLAPSE_BYTES],
        )
    }
}

fn badge(to: &Addressee, waiting: u32) -> u32 {
    to.unread.saturating_add(waiting)
}

/// As much of an entry as its device wants to be told.
fn shown_of(entry: &Entry, preview: Preview, now_s: u32) -> Option<client::Event> {
    let event = match preview {
        Preview::None => return None,
        Preview::Full if !entry.is_reference() => entry.seen(now_s)?,
        Preview::Full | Preview::Sender => event::Event::Message(client::Message {
            conversation: entry.conversation.get(),
            sequence: entry.sequence.get(),
            sender: entry.sender.get(),
            age_s: now_s.saturating_sub(entry.stored_at_s).into(),
            omitted_bytes: entry.content_len().into(),
            ..client::Message::default()
        }),
    };
    let event = client::Event { event: Some(event) };
    if event.encoded_len() <= EVENT_BYTES_MAX {
        return Some(event);
    }
    if preview == Preview::Full { shown_of(entry, Preview::Sender, now_s) } else { None }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const AT: Moment = Moment { now_s: 100, now: Duration::ZERO };

    fn to(target: Target) -> Addressee {
        let device = DeviceId::new(65);
        Addressee { device, target, keys: None, preview: Preview::Full, unread: 3, unanswered: 0 }
    }

    fn web() -> Addressee {
        to(Target::Web { endpoint: "https://example.org/x".to_owned() })
    }

    fn due(conversation: u64, body: usize) -> Due {
        let entry = Entry {
            expires_at_s: 160,
            conversation: ConversationId::new(conversation),
            sequence: Seq::new(7),
            sender_name: Bytes::from_static(b"alice"),
            content: vec![b'x'; body].into(),
            ..Entry::default()
        };
        Due { order: Order::new(conversation), entry, mention: false }
    }

    fn composer() -> Composer {
        Composer::new(b"key", Duration::from_secs(50))
    }

    #[test]
    fn each_of_few_conversations_is_told_and_of_many_that_something_waits() {
        let many: Vec<_> = (1..=5).map(|id| due(id, 1)).collect();
        assert_eq!(composer().compose(&web(), &many[..4], 4, false, AT).len(), 4);
        let one = composer().compose(&web(), &many, 5, false, AT);
        assert_eq!((one.len(), one[0].shown.conversation, one[0].push.badge), (1, ConversationId::default(), 8));
        let google = to(Target::Fcm { token: "x".to_owned() });
        let last = composer().compose(&google, &many[..3], 3, false, AT);
        assert_eq!((last.len(), last[0].shown.conversation), (1, ConversationId::new(3)));
    }

    #[test]
    fn a_push_lives_no_longer_than_its_message() {
        let lives = |ttl_max| {
            let composer = Composer::new(b"key", Duration::from_secs(ttl_max));
            composer.compose(&web(), &[due(1, 1)], 1, false, AT)[0].push.ttl.as_secs()
        };
        assert_eq!((lives(50), lives(1_000)), (50, 60));
    }

    #[test]
    fn a_later_push_of_a_conversation_replaces_the_earlier_one_but_no_mention() {
        let name =
            |due: &Due| composer().compose(&web(), std::slice::from_ref(due), 1, false, AT)[0].push.collapse.clone();
        assert_eq!(name(&due(1, 1)), name(&Due { order: Order::new(9), ..due(1, 2) }));
        assert_ne!(name(&due(1, 1)), name(&due(2, 1)));
        assert_ne!(name(&due(1, 1)), name(&Due { mention: true, ..due(1, 1) }));
        assert!(name(&due(1, 1)).len() <= 32, "what Web Push takes");
    }

    #[test]
    fn a_device_that_does_not_answer_is_not_woken_for_ever() {
        let asked = |unanswered| {
            composer().compose(&Addressee { unanswered, ..web() }, &[due(1, 1)], 1, false, AT)[0].push.urgency
        };
        assert_eq!((asked(4), asked(5)), (Urgency::High, Urgency::Normal));
    }

    #[test]
    fn the_device_chooses_what_is_shown_and_what_is_large_is_left_out() {
        let shown = |preview, body| {
            let event = shown_of(&due(1, body).entry, preview, 100)?.event?;
            let event::Event::Message(message) = event else { panic!("a message") };
            Some((message.body.len(), message.omitted_bytes))
        };
        assert_eq!(shown(Preview::Full, 10), Some((10, 0)));
        assert_eq!(shown(Preview::Full, 3_000), Some((0, 3_000)));
        assert_eq!(shown(Preview::Sender, 10), Some((0, 10)));
        assert_eq!(shown(Preview::None, 10), None);
    }
}
