//! Who has a phone number is told for a price, and by nothing that is free.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use godwit_schemas::bus::{Kind, Publish, Published, down::Frame};
use godwit_schemas::client::{self, request::Call, send::To};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;
use prost::Message;

use super::edge::{INBOX_ENTRIES, NOW_S, Scene, settings, to_user};
use super::{ALICE, BOB};
use crate::chat::Principal;
use crate::lane::BridgeSettings;
use crate::lane::account::phone::FIRST_MESSAGE_COST;
use crate::phone::hash;
use godwit_store::memory::MemoryStore;
use godwit_store::{Durability, Row, Store, StoreError, Table, Write, keys};

/// What a number may be to Alice, who has never written to any.
const KINDS: [(&str, &str); 8] = [
    ("nobody's", "+4930000001"),
    ("waiting", "+4930000002"),
    ("with a name", "+4930000003"),
    ("with a name of the server's", "+4930000004"),
    ("with a full inbox", "+4930000005"),
    ("of somebody who has blocked her", "+4930000006"),
    ("of somebody who was removed", "+4930000007"),
    ("of somebody she writes to by name", "+4930000008"),
];

const LOOKUPS: u32 = 1_000;

fn id(user: &str) -> UserId {
    UserId::new(user).unwrap()
}

fn number(text: &str) -> PhoneNumber {
    PhoneNumber::parse(text).unwrap()
}

fn to_phone(phone: &str, body: &'static str) -> Publish {
    Publish { kind: Kind::ToPhone.into(), user: phone.to_owned(), ..to_user(0, "", body) }
}

fn send(phone: &str) -> client::Send {
    client::Send { to: Some(To::Phone(phone.to_owned())), body: "hello".into(), ..Default::default() }
}

fn file(id: &str) -> client::Media {
    client::Media { id: id.to_owned(), ..Default::default() }
}

fn look_up(phone: &str, times: usize) -> Call {
    Call::LookUpPhones(client::LookUpPhones { sha256: vec![hash(number(phone)).to_vec().into(); times] })
}

/// Notes what is read that concerns numbers, users, conversations and files.
#[derive(Clone)]
struct Watched {
    store: MemoryStore,
    read: Arc<Mutex<Vec<String>>>,
}

impl Store for Watched {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let told = |(table, key): &&(Table, Vec<u8>)| *table != Table::Directory || b"hWuw".contains(&key[0]);
        let read = keys.iter().filter(told).map(|(table, key)| format!("{table:?} {}", char::from(key[0])));
        self.read.lock().unwrap().extend(read);
        self.store.multi_get(keys).await
    }

    async fn scan(&self, of: Table, from: &[u8], to: &[u8], rows: usize, max: usize) -> Result<Vec<Row>, StoreError> {
        if of == Table::Media {
            self.read.lock().unwrap().push("a scan".to_owned());
        }
        self.store.scan(of, from, to, rows, max).await
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        self.store.commit(writes, durability).await
    }
}

/// What Alice is told, and what is read for it.
#[derive(Debug, PartialEq)]
struct Told {
    reason: Reason,
    text: String,
    place: (u64, u64),
    found: usize,
    read: Vec<String>,
}

/// What Alice tries with a number.
#[derive(Debug, Clone)]
enum Attempt {
    Call(Call),
    Publish(Publish),
    Http(client::Send),
}

/// Each is refused, whoever has the number.
fn refused(phone: &str) -> Vec<Attempt> {
    let sends = [
        client::Send { media: vec![file("AAAAAAAAAAAAAAAAAAAAAA")], ..send(phone) },
        client::Send { media: vec![file("no id")], reply_to: 7, expires_in_s: 1, ..send(phone) },
        client::Send { media: vec![file(""); 17], ..send(phone) },
        client::Send { media: vec![client::Media { name: "x".repeat(256), ..file("") }], ..send(phone) },
        client::Send { body: vec![b'x'; 1_001].into(), ..send(phone) },
        client::Send { body: vec![b'x'; 1_001].into(), client_sequence: 1, ..send(phone) },
    ];
    let publish = |send: &client::Send| {
        let payload = send.encode_to_vec().into();
        Attempt::Publish(Publish { kind: Kind::Send.into(), payload, ..to_user(0, "", "") })
    };
    let large = Publish { payload: vec![b'x'; 1_001].into(), ..to_phone(phone, "") };
    let others = [Attempt::Publish(large), Attempt::Call(look_up(phone, 1_001)), Attempt::Call(look_up(phone, 0))];
    sends.iter().map(publish).chain(sends.iter().cloned().map(Attempt::Http)).chain(others).collect()
}

/// Each would be carried out, if Alice had not looked up as many today as she may.
fn beyond(phone: &str) -> Vec<Attempt> {
    vec![
        Attempt::Publish(to_phone(phone, "hello")),
        Attempt::Http(send(phone)),
        Attempt::Http(client::Send { client_sequence: 5, ..send(phone) }),
        Attempt::Call(look_up(phone, 1)),
    ]
}

struct Town {
    scene: Scene<Watched>,
    last: u64,
}

impl Town {
    /// Numbers of all kinds.
    async fn new() -> Self {
        let store = Watched { store: MemoryStore::new(Arc::new(|| NOW_S)), read: Arc::default() };
        let settings = BridgeSettings { phone_lookups_per_day: LOOKUPS, ..settings() };
        let mut scene = Scene::with(store, settings).await;
        for (user, at) in [("bob", 2), ("full", 4), ("blocker", 5), ("gone", 6), ("friend", 7)] {
            scene.add(user, "phone").await;
            scene.admin.set_phone(id(user), Some(number(KINDS[at].1))).await.unwrap();
        }
        scene.add("alice", "phone").await;
        scene.admin.register(None, DeviceName::new("phone").unwrap(), number(KINDS[3].1)).await.unwrap();
        let block = Call::Block(client::Block { user: "alice".to_owned() });
        assert_eq!(scene.ask(id("blocker"), block).await.reason, 0);
        // Of a stranger an inbox takes only half.
        let add = Call::AddContact(client::AddContact { user: "bob".to_owned(), label: String::new() });
        assert_eq!(scene.ask(id("full"), add).await.reason, 0);
        let mut town = Self { scene, last: 0 };
        town.scene.enter(BOB, "bob", "phone", Filters::NONE).await;
        assert_eq!(town.publish(BOB, to_phone(KINDS[1].1, "before Alice")).await.reason, 0);
        for _ in 1..INBOX_ENTRIES {
            assert_eq!(town.publish(BOB, to_user(0, "full", "filler")).await.reason, 0);
        }
        town.enter().await;
        assert_eq!(town.publish(ALICE, to_user(0, "friend", "by name")).await.reason, 0);
        town.scene.admin.remove_user(id("gone")).await.unwrap();
        town.start_anew().await;
        town
    }

    async fn enter(&mut self) {
        self.scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    }

    async fn start_anew(&mut self) {
        self.scene.settle().await;
        self.scene.crash().await;
        self.enter().await;
    }

    async fn publish(&mut self, connection: u64, publish: Publish) -> Published {
        self.last += 1;
        let this = self.last;
        self.scene.publish(connection, Publish { number: this, packet_id: this as u32, ..publish });
        let picked = self.scene.expect(connection, |frame| match frame {
            Frame::Published(published) if published.number == this => Some(published.clone()),
            _ => None,
        });
        picked.await
    }

    async fn make(&mut self, attempt: Attempt) -> Told {
        self.scene.settle().await;
        self.scene.store.read.lock().unwrap().clear();
        let response = match attempt {
            Attempt::Call(call) => self.call(call).await,
            Attempt::Http(send) => {
                let who = Principal::Device(DeviceName::new("phone").unwrap(), self.scene.password("alice", "phone"));
                self.scene.chat.send(id("alice"), who, send).await.unwrap()
            }
            Attempt::Publish(publish) => {
                let Published { reason, text, conversation, sequence, .. } = self.publish(ALICE, publish).await;
                client::Response { reason, text, conversation, sequence, ..Default::default() }
            }
        };
        let read = self.scene.store.read.lock().unwrap().clone();
        let client::Response { reason, text, conversation, sequence, found, .. } = response;
        Told { reason: Reason::from_u32(reason), text, place: (conversation, sequence), found: found.len(), read }
    }

    async fn call(&mut self, call: Call) -> client::Response {
        self.last += 1;
        self.scene.call(ALICE, self.last, call).await
    }

    /// What Alice may still look up today: nothing, afterwards.
    async fn left(&mut self) -> u32 {
        let mut left = 0;
        for step in [512, 256, 128, 64, 32, 16, 8, 4, 2, 1] {
            while self.call(look_up("+4930999999", step)).await.reason == 0 {
                left += step as u32;
            }
        }
        left
    }

    /// Whether it is remembered that Alice has written to the number.
    async fn remembers(&self, phone: &str) -> bool {
        let key = keys::written_to(&id("alice"), &hash(number(phone)));
        self.scene.store.multi_get(&[key]).await.unwrap()[0].is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_tells_nothing_of_a_number() {
    let mut town = Town::new().await;
    for at in 0..refused(KINDS[0].1).len() {
        let mut told = Vec::new();
        for (_, phone) in KINDS {
            told.push(town.make(refused(phone).remove(at)).await);
        }
        assert!(!told[0].reason.is_success() && told.iter().all(|it| *it == told[0]), "{at}: {told:#?}");
    }
    assert_eq!(town.left().await, LOOKUPS, "nothing of this was looked up");
    for at in 0..beyond(KINDS[0].1).len() {
        let mut told = Vec::new();
        for (_, phone) in KINDS {
            told.push(town.make(beyond(phone).remove(at)).await);
        }
        assert_eq!(told[0].reason, Reason::QUOTA_EXCEEDED);
        assert!(told.iter().all(|it| *it == told[0]), "{at}: {told:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_first_message_to_a_number_costs_and_always_the_same() {
    for (kind, phone) in KINDS {
        let mut town = Town::new().await;
        let expected = if kind == "with a full inbox" { Reason::QUOTA_EXCEEDED } else { Reason::SUCCESS };
        let sends = || [Attempt::Publish(to_phone(phone, "hello")), Attempt::Http(send(phone))];
        for attempt in [sends(), sends()].concat() {
            assert_eq!(town.make(attempt).await.reason, expected, "{kind}");
        }
        assert_eq!(town.left().await, LOOKUPS - FIRST_MESSAGE_COST, "{kind}");
        // Nothing is left today; and a start forgets what was spent, but not what was asked.
        for attempt in sends() {
            assert_eq!(town.make(attempt).await.reason, expected, "{kind}");
        }
        town.start_anew().await;
        assert_eq!(town.make(Attempt::Http(send(phone))).await.reason, expected, "{kind}");
        assert_eq!(town.left().await, LOOKUPS, "{kind}");
        assert!(town.remembers(phone).await);
        town.scene.ask(id("alice"), Call::EraseAccount(client::EraseAccount {})).await;
        town.scene.settle().await;
        assert!(!town.remembers(phone).await, "with its user goes whom it has written to");
    }
}

#[tokio::test(start_paused = true)]
async fn an_administrator_asks_as_often_as_it_likes() {
    let mut town = Town::new().await;
    for _ in 0..3 {
        let response = town.scene.ask(id("alice"), look_up(KINDS[2].1, LOOKUPS as usize)).await;
        assert_eq!((response.reason, response.found.len()), (0, LOOKUPS as usize));
        for (kind, phone) in KINDS {
            let sent = town.scene.chat.send(id("alice"), Principal::Administrator, send(phone)).await.unwrap();
            assert_eq!(sent.reason == 0, kind != "with a full inbox", "{kind}");
        }
    }
    assert_eq!(town.left().await, LOOKUPS);
}
