use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::partition::PARTITIONS;
use prost::Message as _;

mod amend;
mod groups;
mod live;
mod media;
mod membership;

use super::*;
use crate::command::{ConnectionKey, Draft, ReplyTo, To};
use crate::doubt::{Doubt, Fate};
use crate::entry::{Entry, Kind};
use crate::outcome::NewEntry;
use crate::record::{DeviceRecord, UserRecord};
use crate::retention::History;
use crate::world::{Need, Traces};

const NOW_S: u32 = 1_000_000;
const RULES: Rules = Rules {
    body_bytes_max: 1_000,
    group_members_max: 4,
    conversations_per_user: 0,
    retention_s: 3_600,
    history: Policy::up_to(History::None),
    recall_window_s: 3_600,
    media_grace_s: 60,
};

/// Users with one device each, numbered from 1; Alice has a second one, number 9.
struct Scene {
    world: World,
    now_s: u32,
    rules: Rules,
    /// What is found of any message that is looked for.
    traces: Traces,
    /// Files, and who may share them.
    files: Vec<(UserId, godwit_schemas::media::MediaId)>,
    /// Conversations of each user, as the store would have it.
    memberships: std::collections::BTreeMap<UserId, u32>,
}

impl Scene {
    fn new() -> Self {
        Self {
            world: World::new(100, [0; PARTITIONS as usize], 0),
            now_s: NOW_S,
            rules: RULES,
            traces: Traces::default(),
            files: Vec::new(),
            memberships: Default::default(),
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
            self.world.needs(&command, &mut needs);
            for need in needs {
                match need {
                    Need::User(user) => {
                        let record = (!user.as_str().starts_with("no")).then(|| record_of(&user));
                        self.world.found_user(user, record);
                    }
                    Need::Pair(pair) => self.world.found_pair(pair, None),
                    Need::Memberships(user) => {
                        let conversations = self.memberships.get(&user).copied().unwrap_or(0);
                        self.world.found_memberships(user, conversations);
                    }
                    Need::Conversation(id) => self.world.found_conversation(id, None),
                    Need::Holders(place) => self.world.found_holders(place, None),
                    Need::Traces(place) => self.world.found_traces(place, self.traces.clone()),
                    Need::Media(id, user) => {
                        let known = client::Media { size: 99, content_type: "image/png".into(), ..Default::default() };
                        let may = self.files.contains(&(user.clone(), id));
                        self.world.found_media(id, user, may.then_some(known));
                    }
                }
            }
        }
        let mut outcome = Outcome::default();
        decide(&mut self.world, &self.rules, self.now_s, command, &mut outcome);
        for change in &outcome.changes {
            if let Change::Membership(user, _, joins) = change {
                let count = self.memberships.entry(user.clone()).or_default();
                *count = if *joins { *count + 1 } else { count.saturating_sub(1) };
            }
        }
        outcome
    }

    fn block(&mut self, who: &str, whom: &str) {
        let who = user(who);
        let record = UserRecord { blocked: vec![whom.to_owned()], ..record_of(&who) };
        self.world.found_user(who, Some(record));
    }

    fn post(&mut self, from: &str, to: To, body: &'static [u8]) -> Outcome {
        let body = Bytes::from_static(body);
        self.run(Command::Post { origin: origin(from), to, draft: Draft { body, ..Draft::default() } })
    }

    fn call(&mut self, from: &str, call: Call) -> (client::Response, Outcome) {
        let outcome = self.run(Command::Call {
            origin: origin(from),
            id: 5,
            call,
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

const REPLY_TO: ReplyTo = ReplyTo { connection: ConnectionKey { edge: 1, connection: 1 }, number: 1, packet_id: 3 };

fn doubt() -> Doubt {
    Doubt::new(&REPLY_TO, 1, 0, 77)
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

fn origin(from: &str) -> Origin {
    Origin { user: user(from), device: Scene::device(from), reply_to: Some(REPLY_TO), doubt: Some(doubt()) }
}

fn published(outcome: &Outcome) -> (Reason, ConversationId, Seq) {
    let answer = outcome.effects.iter().find_map(|effect| match effect.kind {
        EffectKind::Published { to: REPLY_TO, reason, conversation, sequence, .. } => {
            Some((reason, conversation, sequence))
        }
        _ => None,
    });
    answer.expect("a publish is answered")
}

fn recipients(outcome: &Outcome, kind: Kind) -> Vec<u64> {
    let of_kind = |entry: &&NewEntry| Entry::decode(entry.value.clone()).unwrap().kind == kind;
    outcome.entries.iter().filter(of_kind).map(|entry| entry.device.get()).collect()
}

#[test]
fn the_first_message_opens_the_direct_conversation() {
    let mut scene = Scene::new();
    let outcome = scene.post("alice", To::User(user("bob")), b"hello");
    let (reason, id, sequence) = published(&outcome);
    assert_eq!((reason, sequence), (Reason::SUCCESS, Seq::new(2)));
    assert_eq!(recipients(&outcome, Kind::Change), [1, 9, 2]);
    assert_eq!(recipients(&outcome, Kind::Message), [9, 2], "everybody but the sending device");
    assert!(outcome.durable);
    assert!(outcome.changes.contains(&Change::Pair(user("alice"), user("bob"), Some(id))));

    let outcome = scene.post("bob", To::User(user("alice")), b"hi");
    assert_eq!(published(&outcome), (Reason::SUCCESS, id, Seq::new(3)));
    assert_eq!(recipients(&outcome, Kind::Message), [1, 9]);
    let again = outcome.changes.iter().find_map(|change| match change {
        Change::Doubt(_, doubt) => Some(doubt.fate_of(&self::doubt(), false)),
        _ => None,
    });
    assert_eq!(again, Some(Fate::Done(id, Seq::new(3))), "the answer is kept for a retry");
}

#[test]
fn nothing_is_stored_while_one_inbox_of_the_recipients_is_full() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob", "carol"]);
    scene.world.set_full(Scene::device("carol"), true);
    let nothing = |outcome: &Outcome| outcome.entries.is_empty() && outcome.changes.is_empty();
    for (from, to) in [("bob", To::Conversation(group)), ("alice", To::User(user("carol")))] {
        let outcome = scene.post(from, to, b"hello");
        assert_eq!(published(&outcome).0, Reason::QUOTA_EXCEEDED);
        assert!(nothing(&outcome));
    }
    let calls = [
        Call::CreateGroup(client::CreateGroup { title: "g".into(), users: vec!["carol".into()] }),
        Call::AddMember(client::AddMember { conversation: group.get(), user: "dave".into() }),
        Call::Rename(client::Rename { conversation: group.get(), title: "h".into() }),
    ];
    for call in calls {
        let (response, outcome) = scene.call("alice", call);
        assert_eq!(Reason::from_u32(response.reason), Reason::QUOTA_EXCEEDED);
        assert!(nothing(&outcome));
    }
    assert_eq!(published(&scene.post("alice", To::User(user("bob")), b"hello")).0, Reason::SUCCESS, "without Carol");
    // Her own device has the message already; and whoever is full can be removed.
    assert_eq!(published(&scene.post("carol", To::Conversation(group), b"hello")).0, Reason::SUCCESS);
    let remove = Call::RemoveMember(client::RemoveMember { conversation: group.get(), user: "carol".into() });
    assert_eq!(scene.call("alice", remove).0.reason, 0);
    assert_eq!(published(&scene.post("bob", To::Conversation(group), b"hello")).0, Reason::SUCCESS);
}

#[test]
fn counts_of_devices_that_are_gone_are_kept_for_a_retry_but_only_the_last_few() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob"]);
    let mut send = |device: u64| {
        let origin = Origin { device: DeviceId::new(device), ..origin("alice") };
        let (to, body) = (To::Conversation(group), Bytes::from_static(b"x"));
        let draft = Draft { body, client_sequence: 1, ..Draft::default() };
        let outcome = scene.run(Command::Post { origin, to, draft });
        let counts = scene.world.conversation(group).unwrap().to_state().accepted.len();
        (published(&outcome).2.get(), counts)
    };
    // Only 9 and 1 are Alice's, and the group's beginning was the first in order.
    assert_eq!([11, 12, 13, 14, 15].map(&mut send), [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5)]);
    assert_eq!(send(9), (7, 5), "the oldest is forgotten");
    assert_eq!(send(12), (3, 5), "a retry that was on its way");
    assert_eq!(send(1), (8, 6));
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
    let acked = |up_to| Command::Acked {
        user: user("bob"),
        device: Scene::device("bob"),
        conversation,
        up_to,
        senders: vec![Ordinal::new(0)],
        orders: vec![Order::new(40)],
        bytes: 5,
        apart: Vec::new(),
    };
    let ticks = |outcome: &Outcome| -> Vec<(u64, Watermark)> {
        let ticks = outcome.effects.iter().filter_map(|effect| match effect.kind {
            EffectKind::Tick { watermark, .. } => Some((effect.device.get(), watermark)),
            _ => None,
        });
        ticks.collect()
    };
    let mark = |delivered, read| Watermark { delivered, read };
    let outcome = scene.run(acked(sequence));
    assert!(outcome.changes.contains(&Change::EntryGone(Scene::device("bob"), Order::new(40))));
    let delivered = mark(sequence, Seq::default());
    assert_eq!(ticks(&outcome), [(1, delivered), (9, delivered)]);
    assert!(!outcome.durable, "an acknowledgement waits for nobody's fsync");
    assert_eq!(ticks(&scene.run(acked(sequence))), [], "nothing new");

    let read = Command::Read { origin: origin("bob"), conversation, up_to: sequence };
    let outcome = scene.run(read.clone());
    let both = mark(sequence, sequence);
    assert_eq!(ticks(&outcome), [(1, both), (9, both)], "not the reading device");
    let told = Change::ReceiptGone(Scene::device("bob"), conversation, Ordinal::new(1));
    assert!(outcome.changes.contains(&told), "it knows better than what another of Bob's devices read before");
    assert_eq!(ticks(&scene.run(read)), []);

    let gone = |watermark| Command::ReceiptAcked {
        user: user("alice"),
        device: DeviceId::new(1),
        conversation,
        member: Ordinal::new(1),
        watermark,
    };
    assert!(scene.run(gone(delivered)).changes.is_empty(), "a newer receipt is still owed");
    assert_eq!(scene.run(gone(both)).changes.len(), 1);

    // Bob's messages are nothing that Alice's ticks tell of.
    scene.post("bob", To::User(user("alice")), b"hi");
    scene.run(Command::Read { origin: origin("bob"), conversation, up_to: Seq::new(sequence.get() + 1) });
    assert_eq!(scene.run(gone(both)).changes.len(), 1, "what the receipt said is all that Alice was told");
    let stranger = Command::Read { origin: origin("carol"), conversation, up_to: sequence };
    assert_eq!(published(&scene.run(stranger)).0, Reason::NOT_AUTHORIZED);
}

#[test]
fn a_new_device_that_is_ahead_ticks_those_it_passes() {
    let mut scene = Scene::new();
    let conversation = scene.group(&["bob", "carol"]);
    scene.post("alice", To::Conversation(conversation), b"for carol's old device");
    let (_, _, sequence) = published(&scene.post("bob", To::Conversation(conversation), b"for both"));
    let outcome = scene.run(Command::Acked {
        user: user("carol"),
        device: DeviceId::new(77),
        conversation,
        up_to: sequence,
        senders: vec![Ordinal::new(1)],
        orders: vec![Order::new(40)],
        bytes: 5,
        apart: Vec::new(),
    });
    let told = |effect: &&Effect| matches!(effect.kind, EffectKind::Tick { .. });
    let told: Vec<_> = outcome.effects.iter().filter(told).map(|effect| effect.device.get()).collect();
    assert_eq!(told, [1, 9, 2], "nobody else will tell Alice");
}

#[test]
fn sequences_are_consecutive_through_messages_and_changes() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob"]);
    let last = scene.world.conversation(id).unwrap().last_seq.get();
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
fn a_forgotten_user_leaves_its_conversations_and_its_name_starts_afresh() {
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
    for (wish, life) in [(0, 3_600), (60, 60), (u32::MAX, 3_600)] {
        let body = Bytes::new();
        let to = To::User(user("bob"));
        let draft = Draft { body, expires_in_s: wish, ..Draft::default() };
        let post = Command::Post { origin: origin("alice"), to, draft };
        let outcome = scene.run(post);
        let entry = Entry::decode(outcome.entries.last().unwrap().value.clone()).unwrap();
        assert_eq!((entry.expires_at_s, entry.limited), (NOW_S + life, wish != 0));
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

    let acked = |user: &str, device: u64| Command::Acked {
        user: self::user(user),
        device: DeviceId::new(device),
        conversation,
        up_to: sequence,
        senders: vec![],
        orders: vec![Order::new(40)],
        bytes: 5,
        apart: vec![sequence],
    };
    scene.run(acked("bob", 2));
    scene.run(acked("bob", 2));
    let outcome = scene.run(acked("alice", 9));
    assert_eq!(scene.world.holders(place).unwrap().devices, [3], "what is told twice counts once");
    assert!(!outcome.changes.iter().any(|change| stored(change).is_some()));
    // Carol's device is removed before it has fetched the message.
    let released = Command::Released { device: DeviceId::new(3), conversation, apart: vec![sequence] };
    let outcome = scene.run(released.clone());
    assert!(outcome.changes.contains(&Change::Message(conversation, sequence, None)));
    assert!(outcome.changes.contains(&Change::Holders(conversation, sequence)));
    assert_eq!(scene.world.holders(place), None);
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
fn stored(change: &Change) -> Option<Option<Bytes>> {
    match change {
        Change::Message(_, _, value) => Some(value.clone()),
        _ => None,
    }
}
