use std::num::{NonZeroU16, NonZeroU64};

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::partition::Partitions;
use prost::Message as _;

mod amend;
mod blocked;
mod content;
mod counts;
mod groups;
mod live;
mod media;
mod membership;
mod outsider;
mod room;
mod void;

use super::*;
use crate::call::{ConversationCall, RoutedCall};
use crate::command::{ClientSequence, CountName, Draft, To};
use crate::entry::{Entry, EntryKind};
use crate::membership_count::MembershipCount;
use crate::outbox::Item;
use crate::outcome::NewEntry;
use crate::reply_to::{ConnectionKey, PublishKey, ReplyTo};
use crate::retention::History;
use crate::retry::{AppliedPublish, PublishRecord, RetryVerdict};
use crate::state_cache::{MessageCopies, MissingKey};
use crate::stored::{DeviceRecord, UserRecord};

const NOW_S: u32 = 1_000_000;
const RULES: Rules = Rules {
    body_bytes_max: 1_000,
    properties_bytes_max: 4_096,
    user_properties_max: 32,
    group_members_max: 4,
    conversations_per_user: 0,
    stranger_adds_per_day: 0,
    request_messages: 0,
    retention_s: 3_600,
    history: Policy::up_to(History::None),
    recall_window_s: 3_600,
    media_grace_s: 60,
    encryption: None,
};

/// Users with one device each, numbered from 1; Alice has a second one, number 9.
struct Scene {
    cache: StateCache,
    now_s: u32,
    rules: Rules,
    /// What is found of any message that is looked for.
    found: MessageCopies,
    /// Files, and who may share them.
    files: Vec<(UserId, godwit_schemas::media::MediaId)>,
    /// Conversations of each user, as the store would have it.
    crowds: std::collections::BTreeMap<UserId, MembershipCount>,
    /// Users, and whom they have as a contact.
    contacts: Vec<(UserId, UserId)>,
}

impl Scene {
    fn new() -> Self {
        Self {
            cache: StateCache::new(100, Partitions::NEW, Vec::new(), 0),
            now_s: NOW_S,
            rules: RULES,
            found: MessageCopies::default(),
            files: Vec::new(),
            crowds: Default::default(),
            contacts: Vec::new(),
        }
    }

    fn device(name: &str) -> DeviceId {
        let names = ["alice", "bob", "carol", "dave", "erin"];
        DeviceId::new(names.iter().position(|n| *n == name).unwrap() as u64 + 1)
    }

    /// Plays the store: users exist unless their name begins with "no"; nothing else does.
    fn run(&mut self, command: Command) -> Outcome {
        for _ in 0..4 {
            let mut needs = Vec::new();
            self.cache.needs(&command, &mut needs);
            for need in needs {
                match need {
                    MissingKey::User(user) => {
                        let record = (!user.as_str().starts_with("no")).then(|| record_of(&user));
                        self.cache.insert_user(user, record);
                    }
                    MissingKey::Pair(pair) => self.cache.insert_pair(pair, None),
                    MissingKey::Memberships(user) => {
                        let crowd = self.crowds.get(&user).copied().unwrap_or_default();
                        self.cache.insert_membership_count(user, crowd);
                    }
                    MissingKey::Contact(user, of) => {
                        let is_contact = self.contacts.contains(&(user.clone(), of.clone()));
                        self.cache.insert_contact(user, of, is_contact);
                    }
                    MissingKey::Conversation(id) => self.cache.insert_conversation(id, None),
                    MissingKey::Holders(place) => self.cache.insert_holders(place, None),
                    MissingKey::Recalled(place) => {
                        let row = self.found.row.as_ref();
                        self.cache.set_recalled(place, row.is_some_and(|row| row.kind == EntryKind::Recalled));
                    }
                    MissingKey::Copies(place) => self.cache.insert_copies(place, self.found.clone()),
                    MissingKey::Media(id, user) => {
                        let known = client::Media { size: 99, content_type: "image/png".into(), ..Default::default() };
                        let may = self.files.contains(&(user.clone(), id));
                        self.cache.insert_media(id, user, may.then_some(known));
                    }
                }
            }
        }
        let mut outcome = Outcome::default();
        decide(&mut self.cache, &self.rules, self.now_s, command, &mut outcome);
        for outgoing in &outcome.outgoing {
            if let Item::Membership(user, _, membership) = &outgoing.item {
                self.crowds.entry(user.clone()).or_default().count(*membership);
            }
        }
        outcome
    }

    fn block(&mut self, who: &str, whom: &str) {
        let who = user(who);
        let record = UserRecord { blocked: vec![whom.to_owned()], ..record_of(&who) };
        self.cache.insert_user(who, Some(record));
    }

    fn post(&mut self, from: &str, to: To, body: &'static [u8]) -> Outcome {
        let body = Bytes::from_static(body);
        self.run(Command::Post { origin: origin(from), to, draft: Draft { body, ..Draft::default() } })
    }

    /// Messages that a user has not read, in a conversation that is still short.
    fn unread(&self, name: &str, id: ConversationId) -> u64 {
        let conversation = self.cache.conversation(id).unwrap();
        conversation.asked(conversation.member(&user(name)).unwrap()).unread(&conversation.recent, [], |_| true)
    }

    fn call(&mut self, from: &str, call: Call) -> (client::Response, Outcome) {
        let outcome = self.run(Command::Call {
            origin: origin(from),
            id: 5,
            call: of_conversation(call),
            correlation: Bytes::from_static(b"c"),
            secret: [9; 16],
        });
        let response = outcome.effects.iter().find_map(|effect| match &effect.kind {
            EffectKind::Responded { response, correlation, .. } if correlation == "c" => {
                Some(client::Response::clone(response))
            }
            _ => None,
        });
        (response.expect("a call is answered"), outcome)
    }

    fn group(&mut self, users: &[&str]) -> ConversationId {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        let (response, _) = self.call("alice", Call::CreateGroup(client::CreateGroup { title: "g".into(), users }));
        assert_eq!(response.reason, 0, "{}", response.text);
        ConversationId::new(response.conversation)
    }
}

const PUBLISH: PublishKey =
    PublishKey { connection: ConnectionKey { edge: 1, connection: 1 }, number: 1, packet_id: NonZeroU16::new(3) };
const REPLY_TO: ReplyTo = ReplyTo::Connection(DeviceId::new(1), PUBLISH);

fn of_conversation(call: Call) -> ConversationCall {
    let RoutedCall::Conversation(call) = call.into() else { panic!("decided elsewhere") };
    call
}

fn publish_record() -> PublishRecord {
    PublishRecord::new(&PUBLISH, 1, 0, 77)
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn record_of(user: &UserId) -> UserRecord {
    let mut devices = vec![device_record(Scene::device(user.as_str()).get())];
    if user.as_str() == "alice" {
        devices.push(device_record(9));
    }
    UserRecord { devices, ..Default::default() }
}

fn device_record(id: u64) -> DeviceRecord {
    DeviceRecord { id, reads_events: true, ..Default::default() }
}

fn origin(from: &str) -> CommandOrigin {
    CommandOrigin {
        user: user(from),
        device: Some(Scene::device(from)),
        fingerprint: None,
        reply_to: Some(REPLY_TO),
        publish_record: Some(publish_record()),
        handed_over: false,
    }
}

fn published(outcome: &Outcome) -> (Reason, ConversationId, Seq) {
    let answer = outcome.effects.iter().find_map(|effect| match effect.kind {
        EffectKind::Published { to: REPLY_TO, reason, conversation, sequence, .. } => {
            Some((reason, conversation.unwrap_or_default(), sequence.unwrap_or_default()))
        }
        _ => None,
    });
    answer.expect("a publish is answered")
}

/// The number that a device gives to what it sends; 0: none.
fn numbered(number: u64) -> Option<ClientSequence> {
    NonZeroU64::new(number).map(|number| ClientSequence { number, count: CountName::Sender(0) })
}

/// A device has acknowledged one entry, of 5 bytes, and these messages that are kept apart.
fn acked(
    user: &str,
    device: u64,
    conversation: ConversationId,
    messages: Option<ReceivedMessages>,
    apart: &[Seq],
) -> Command {
    let (user, device, orders) = (self::user(user), DeviceId::new(device), vec![Order::new(40)]);
    Command::Acked { user, device, conversation, messages, orders, bytes: 5, apart: apart.to_vec() }
}

/// A device has messages of these members, and every place between these two.
fn received(up_to: Seq, unbroken_from: Seq, senders: &[u32]) -> Option<ReceivedMessages> {
    let senders = senders.iter().copied().map(Ordinal::new).collect();
    Some(ReceivedMessages { up_to, unbroken_from, senders })
}

fn recipients(outcome: &Outcome, kind: EntryKind) -> Vec<u64> {
    let of_kind = |entry: &&NewEntry| Entry::decode(entry.value.clone()).unwrap().kind == kind;
    outcome.entries.iter().filter(of_kind).map(|entry| entry.device.get()).collect()
}

#[test]
fn the_first_message_opens_the_direct_conversation() {
    let mut scene = Scene::new();
    let outcome = scene.post("alice", To::User(user("bob")), b"hello");
    let (reason, id, sequence) = published(&outcome);
    assert_eq!((reason, sequence), (Reason::SUCCESS, Seq::new(2)));
    assert_eq!(recipients(&outcome, EntryKind::Change), [1, 9, 2]);
    assert_eq!(recipients(&outcome, EntryKind::Message), [9, 2], "everybody but the sending device");
    assert!(outcome.durable);
    assert!(outcome.changes.contains(&StoreChange::Pair(user("alice"), user("bob"), Some(id))));

    let outcome = scene.post("bob", To::User(user("alice")), b"hi");
    assert_eq!(published(&outcome), (Reason::SUCCESS, id, Seq::new(3)));
    assert_eq!(recipients(&outcome, EntryKind::Message), [1, 9]);
    let again = outcome.changes.iter().find_map(|change| match change {
        StoreChange::PublishRecord(_, publish_record) => {
            Some(publish_record.verdict_on(&self::publish_record(), false))
        }
        _ => None,
    });
    let done = AppliedPublish { conversation: Some(id), sequence: Some(Seq::new(3)), ..AppliedPublish::default() };
    assert_eq!(again, Some(RetryVerdict::Done(done)), "the answer is kept for a retry");
}

#[test]
fn refusals_change_nothing() {
    let mut scene = Scene::new();
    let direct = published(&scene.post("alice", To::User(user("bob")), b"hello")).1;
    let table = [
        ("alice", To::User(user("nobody")), &b""[..], Reason::TOPIC_NAME_INVALID),
        ("alice", To::Conversation(ConversationId::new(999)), b"", Reason::TOPIC_NAME_INVALID),
        ("carol", To::Conversation(direct), b"", Reason::NOT_AUTHORIZED),
        ("alice", To::Conversation(direct), &[0; 1_001], Reason::QUOTA_EXCEEDED),
    ];
    for (from, to, body, reason) in table {
        let outcome = scene.post(from, to.clone(), body);
        assert_eq!(published(&outcome).0, reason, "{from} {to:?}");
        assert!(outcome.entries.is_empty() && outcome.changes.is_empty(), "{from} {to:?}");
    }
}

#[test]
fn acknowledgement_and_reading_tick_the_sender() {
    let mut scene = Scene::new();
    let (_, conversation, sequence) = published(&scene.post("alice", To::User(user("bob")), b"hello"));
    let acked = |up_to| acked("bob", 2, conversation, received(up_to, up_to, &[0]), &[]);
    let ticks = |outcome: &Outcome| -> Vec<(u64, Watermark)> {
        let ticks = outcome.effects.iter().filter_map(|effect| match effect.kind {
            EffectKind::Tick { device, watermark, .. } => Some((device.get(), watermark)),
            _ => None,
        });
        ticks.collect()
    };
    let mark = |delivered, read| Watermark { delivered, read };
    let outcome = scene.run(acked(sequence));
    assert!(outcome.changes.contains(&StoreChange::EntryGone(Scene::device("bob"), Order::new(40))));
    let delivered = mark(sequence, Seq::default());
    assert_eq!(ticks(&outcome), [(1, delivered), (9, delivered)]);
    assert!(!outcome.durable, "an acknowledgement waits for nobody's fsync");
    assert_eq!(ticks(&scene.run(acked(sequence))), [], "nothing new");

    let read = Command::Read { origin: origin("bob"), conversation, up_to: sequence };
    let outcome = scene.run(read.clone());
    let both = mark(sequence, sequence);
    assert_eq!(ticks(&outcome), [(1, both), (9, both)], "not the reading device");
    let told = StoreChange::ReceiptGone(Scene::device("bob"), conversation, Ordinal::new(1));
    assert!(outcome.changes.contains(&told), "it knows better than what another of Bob's devices read before");
    assert_eq!(ticks(&scene.run(read)), []);

    let gone = |watermark| Command::ReceiptAcked {
        user: user("alice"),
        device: DeviceId::new(1),
        conversation,
        member: Ordinal::new(1),
        watermark,
    };
    let newer = StoreChange::Receipt(DeviceId::new(1), conversation, Ordinal::new(1), both);
    assert_eq!(scene.run(gone(delivered)).changes, [newer], "a newer receipt is still owed");
    assert_eq!(scene.run(gone(both)).changes.len(), 1);

    // Bob's messages are nothing that Alice's ticks tell of.
    scene.post("bob", To::User(user("alice")), b"hi");
    scene.run(Command::Read { origin: origin("bob"), conversation, up_to: Seq::new(sequence.get() + 1) });
    assert_eq!(scene.run(gone(both)).changes.len(), 1, "what the receipt said is all that Alice was told");
    let stranger = Command::Read { origin: origin("carol"), conversation, up_to: sequence };
    assert_eq!(published(&scene.run(stranger)).0, Reason::NOT_AUTHORIZED);
}

/// Carol's device has these places.
fn carol_has(
    scene: &mut Scene,
    conversation: ConversationId,
    places: std::ops::RangeInclusive<u64>,
    by: u32,
) -> Outcome {
    let (from, up_to) = (Seq::new(*places.start()), Seq::new(*places.end()));
    scene.run(acked("carol", 77, conversation, received(up_to, from, &[by]), &[]))
}

fn told(outcome: &Outcome) -> Vec<u64> {
    let ticks = outcome.effects.iter().filter_map(|effect| match effect.kind {
        EffectKind::Tick { device, .. } => Some(device.get()),
        _ => None,
    });
    ticks.collect()
}

#[test]
fn a_device_that_lacks_messages_ticks_those_it_passes() {
    for alice_goes_on in [false, true] {
        let mut scene = Scene::new();
        let conversation = scene.group(&["bob", "carol"]);
        scene.post("alice", To::Conversation(conversation), b"for carol's old device, or for who has room");
        let (_, _, sequence) = published(&scene.post("bob", To::Conversation(conversation), b"for both"));
        if alice_goes_on {
            scene.post("alice", To::Conversation(conversation), b"not fetched yet");
        }
        let place = sequence.get();
        let outcome = carol_has(&mut scene, conversation, place..=place, 1);
        assert_eq!(told(&outcome), [1, 9, 2], "nobody else will tell Alice: {alice_goes_on}");
    }
}

/// Seed 1798200009498: the row of a receipt stayed when somebody had left and come back as another member.
#[test]
fn a_known_tick_goes_even_if_its_member_came_back_as_another() {
    for (who, by) in [("alice", "bob"), ("carol", "alice")] {
        let mut scene = Scene::new();
        let conversation = scene.group(&["bob", "carol"]);
        scene.post("alice", To::Conversation(conversation), b"hello");
        assert_eq!(told(&carol_has(&mut scene, conversation, 2..=2, 0)), [1, 9]);
        let id = conversation.get();
        let leave = Call::Leave(client::Leave { conversation: id });
        assert_eq!(scene.call(who, leave).0.reason, 0);
        let add = Call::AddMember(client::AddMember { conversation: id, user: who.into() });
        assert_eq!(scene.call(by, add).0.reason, 0);
        scene.post("bob", To::Conversation(conversation), b"welcome back");
        carol_has(&mut scene, conversation, 3..=5, 1);
        let outcome = scene.run(Command::ReceiptAcked {
            user: user("alice"),
            device: DeviceId::new(1),
            conversation,
            member: Ordinal::new(2),
            watermark: Watermark { delivered: Seq::new(2), read: Seq::default() },
        });
        let gone = StoreChange::ReceiptGone(DeviceId::new(1), conversation, Ordinal::new(2));
        assert_eq!(outcome.changes, [gone], "{who}");
    }
}

#[test]
fn a_skipped_tick_is_told_when_the_last_one_is_acknowledged() {
    let mut scene = Scene::new();
    let conversation = scene.group(&["bob", "carol"]);
    for from in ["alice", "bob", "alice"] {
        scene.post(from, To::Conversation(conversation), b"hello");
    }
    assert_eq!(told(&carol_has(&mut scene, conversation, 1..=2, 0)), [1, 9]);
    assert_eq!(told(&carol_has(&mut scene, conversation, 3..=3, 1)), [2], "only who has sent it");
    let mut knows = |delivered| {
        scene.run(Command::ReceiptAcked {
            user: user("alice"),
            device: DeviceId::new(1),
            conversation,
            member: Ordinal::new(2),
            watermark: Watermark { delivered: Seq::new(delivered), read: Seq::default() },
        })
    };
    let (device, member) = (DeviceId::new(1), Ordinal::new(2));
    let outcome = knows(2);
    let watermark = Watermark { delivered: Seq::new(3), read: Seq::default() };
    assert_eq!(outcome.changes, [StoreChange::Receipt(device, conversation, member, watermark)]);
    assert_eq!(told(&outcome), [1]);
    assert_eq!(knows(3).changes, [StoreChange::ReceiptGone(device, conversation, member)], "nothing is kept for ever");
}

#[test]
fn sequences_are_consecutive_through_messages_and_changes() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob"]);
    let last = scene.cache.conversation(id).unwrap().last_seq.get();
    for sequence in last + 1..last + 7 {
        let outcome = if sequence % 2 == 0 {
            scene.post("bob", To::Conversation(id), b"x")
        } else {
            scene.call("alice", Call::Rename(client::Rename { conversation: id.get(), title: "t".into() })).1
        };
        for entry in outcome.entries {
            assert_eq!(Entry::decode(entry.value).unwrap().sequence.get(), sequence);
        }
    }
}

#[test]
fn a_forgotten_user_leaves_all_and_its_name_starts_afresh() {
    let mut scene = Scene::new();
    let id = published(&scene.post("alice", To::User(user("bob")), b"hello")).1;
    scene.run(Command::Forget { user: user("bob"), conversation: id });
    assert_eq!(published(&scene.post("alice", To::Conversation(id), b"x")).0, Reason::TOPIC_NAME_INVALID);
    let (reason, fresh, _) = published(&scene.post("alice", To::User(user("bob")), b"x"));
    assert_eq!(reason, Reason::SUCCESS, "a new bob");
    assert_ne!(fresh, id);
}

#[test]
fn life_is_the_shorter_of_the_sender_s_wish_and_the_retention() {
    let mut scene = Scene::new();
    for (wish, life) in [(None, 3_600), (Some(0), 0), (Some(60), 60), (Some(u32::MAX), 3_600)] {
        let body = Bytes::new();
        let to = To::User(user("bob"));
        let draft = Draft { body, expires_in_s: wish, ..Draft::default() };
        let post = Command::Post { origin: origin("alice"), to, draft };
        let outcome = scene.run(post);
        let entry = Entry::decode(outcome.entries.last().unwrap().value.clone()).unwrap();
        assert_eq!((entry.expires_at_s, entry.limited), (NOW_S + life, wish.is_some()));
    }
}

#[test]
fn a_large_body_is_kept_once_until_the_last_device_has_it() {
    const LARGE: &[u8] = &[7; 600];
    let mut scene = Scene::new();
    let conversation = scene.group(&["bob", "carol"]);
    let outcome = scene.post("alice", To::Conversation(conversation), LARGE);
    let sequence = published(&outcome).2;
    let place = (conversation, sequence);
    let [message] = &outcome.changes.iter().filter_map(stored).collect::<Vec<_>>()[..] else { panic!("one body") };
    for entry in &outcome.entries {
        assert_eq!(Some(&entry.value), message.as_ref(), "a connected device is told the whole");
        let reference = Entry::decode(entry.reference.clone().unwrap()).unwrap();
        assert!(reference.is_reference() && reference.content_len() == 600);
    }
    assert_eq!(outcome.entries.iter().map(|entry| entry.device.get()).collect::<Vec<_>>(), [9, 2, 3]);

    let got = received(sequence, sequence, &[]);
    let acked = |user, device| acked(user, device, conversation, got.clone(), &[sequence]);
    scene.run(acked("bob", 2));
    scene.run(acked("bob", 2));
    let outcome = scene.run(acked("alice", 9));
    assert_eq!(scene.cache.holders(place).unwrap().devices, [3], "what is told twice counts once");
    assert!(!outcome.changes.iter().any(|change| stored(change).is_some()));
    // Carol's device is removed before it has fetched the message.
    let released = Command::Released { device: DeviceId::new(3), conversation, apart: vec![sequence] };
    let outcome = scene.run(released.clone());
    assert!(outcome.changes.contains(&StoreChange::Message(conversation, sequence, None)));
    assert!(outcome.changes.contains(&StoreChange::Holders(conversation, sequence)));
    assert_eq!(scene.cache.holders(place), None);
    assert!(scene.run(released).changes.is_empty());
}

#[test]
fn a_body_that_is_small_or_for_few_stands_in_the_inbox() {
    let mut scene = Scene::new();
    let conversation = scene.group(&["bob", "carol"]);
    let small = scene.post("alice", To::Conversation(conversation), &[7; 255]);
    scene.post("carol", To::User(user("bob")), b"");
    let single = scene.post("carol", To::User(user("bob")), &[7; 1_000]);
    for outcome in [small, single] {
        assert!(outcome.entries.iter().all(|entry| entry.reference.is_none()));
        assert!(!outcome.changes.iter().any(|change| stored(change).is_some()));
    }
}

/// What becomes of a message that is kept apart.
fn stored(change: &StoreChange) -> Option<Option<Bytes>> {
    match change {
        StoreChange::Message(_, _, value) => Some(value.clone()),
        _ => None,
    }
}
