//! Random walks through the life of an encrypted group, beside a model that knows what must come of each step. What it watches:
//!
//! | | |
//! |---|---|
//! | E1 | whoever is in the MLS group is a certified device of a member |
//! | E2 | a message is taken in the current epoch, from a device in the group, and while nobody is in it who should not be; and then it is |
//! | E4 | one commit of an epoch counts, and all are told of the same |
//! | E5 | a change of the members that comes with a commit stands in the commit's place |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fastrand::Rng;
use godwit_schemas::bus::{Kind, Publish, Shape, down::Frame};
use godwit_schemas::client::{self, CommitGroup, change, commit_group::With, event, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::topic::Filters;
use prost::Message;

use super::edge::{NOW_S, Scene};
use super::keys::{encrypting, link};
use godwit_store::memory::MemoryStore;

const SEEDS: u64 = 30;
const STEPS: usize = 80;
const USERS: [&str; 4] = ["ann", "ben", "cleo", "dan"];
const NAMES: [&str; 2] = ["phone", "tablet"];

/// A device, by its user and its name.
type Key = (&'static str, &'static str);

#[derive(Debug, Clone, Default)]
struct Model {
    members: BTreeSet<&'static str>,
    /// The salt of each device's certificate; 0: it has none.
    certified: BTreeMap<Key, u32>,
    epoch: u64,
    /// Who is in the group, with the salt in its leaf.
    leaves: Vec<(Key, u32)>,
    /// Of every epoch, the change of the members that began it.
    begun: BTreeMap<u64, Option<With>>,
}

impl Model {
    fn is_good(&self, (key, salt): &(Key, u32)) -> bool {
        self.members.contains(key.0) && self.certified[key] == *salt && *salt != 0
    }

    fn owes(&self) -> bool {
        !self.leaves.iter().all(|leaf| self.is_good(leaf))
    }

    fn has(&self, key: Key) -> bool {
        self.leaves.iter().any(|(leaf, _)| *leaf == key)
    }

    fn takes(&self, key: Key, epoch: u64) -> bool {
        self.members.contains(key.0) && epoch == self.epoch && !self.owes() && self.has(key)
    }
}

struct Walk {
    scene: Scene<MemoryStore>,
    rng: Rng,
    model: Model,
    conversation: u64,
    salt: u32,
    numbers: u64,
    connections: BTreeMap<Key, u64>,
    next_connection: u64,
    /// What each device was told, by its place.
    told: BTreeMap<Key, BTreeMap<u64, event::Event>>,
}

fn leaf_text(key: Key, salt: u32) -> String {
    format!("cert {} {} k1 {salt}", key.0, key.1)
}

impl Walk {
    async fn begin(seed: u64) -> Self {
        let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), encrypting()).await;
        for user in USERS {
            for name in NAMES {
                scene.add(user, name).await;
            }
        }
        let mut it = Self {
            scene,
            rng: Rng::with_seed(seed),
            model: Model::default(),
            conversation: 0,
            salt: 0,
            numbers: 1_000,
            connections: BTreeMap::new(),
            next_connection: 1,
            told: BTreeMap::new(),
        };
        for user in USERS {
            for name in NAMES {
                it.model.certified.insert((user, name), 0);
                it.enter((user, name)).await;
            }
            it.certify((user, "phone")).await;
        }
        let create = client::CreateGroup { title: String::new(), users: vec!["ben".into(), "cleo".into()] };
        it.conversation = it.call(("ann", "phone"), Call::CreateGroup(create)).await.conversation;
        it.model.members = BTreeSet::from(["ann", "ben", "cleo"]);
        it.found().await;
        it
    }

    async fn enter(&mut self, key: Key) {
        let connection = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(key, connection);
        self.scene.enter(connection, key.0, key.1, Filters::EVENTS.with(Filters::RPC)).await;
    }

    async fn call(&mut self, key: Key, call: Call) -> client::Response {
        self.numbers += 1;
        self.scene.call(self.connections[&key], self.numbers, call).await
    }

    async fn certify(&mut self, key: Key) {
        self.salt += 1;
        let (user, salt) = (key.0, self.salt);
        let keys = client::PublishKeys {
            certificate: leaf_text(key, salt).into(),
            identity: link(user, 1, "k1"),
            ..Default::default()
        };
        let published = self.call(key, Call::PublishKeys(keys)).await;
        assert_eq!(published.reason, 0, "{}", published.text);
        self.model.certified.insert(key, salt);
    }

    fn any_device(&mut self) -> Key {
        (USERS[self.rng.usize(..USERS.len())], NAMES[self.rng.usize(..NAMES.len())])
    }

    /// Ann's phone makes the group anew, for all who can be in it.
    async fn found(&mut self) {
        let by = ("ann", "phone");
        let generation = if self.model.epoch == 0 {
            0
        } else {
            self.scene.now_s.fetch_add(3_601, Ordering::Relaxed);
            self.scene.wait(std::time::Duration::from_millis(500)).await;
            let get = client::GetGroup { conversation: self.conversation, ..Default::default() };
            self.call(by, Call::GetGroup(get)).await.mls_group.map_or(0, |it| it.reset_generation)
        };
        let salt = self.model.certified[&by];
        let others = self.model.certified.iter().filter(|(key, _)| **key != by).map(|(key, salt)| (*key, *salt));
        let others = others.filter(|leaf| self.model.is_good(leaf)).take(3);
        let leaves: Vec<_> = std::iter::once((by, salt)).chain(others).collect();
        let tree: Vec<_> = leaves.iter().map(|(key, salt)| leaf_text(*key, *salt)).collect();
        let call = CommitGroup {
            conversation: self.conversation,
            epoch: self.model.epoch,
            generation,
            group_info: format!("info {} {generation} 1", self.conversation).into(),
            tree: tree.join("\n").into(),
            welcomes: leaves[1..].iter().map(|(key, _)| welcome(*key)).collect(),
            ..Default::default()
        };
        let answer = self.call(by, Call::CommitGroup(call)).await;
        let is_allowed = self.model.members.contains("ann") && salt != 0;
        assert_eq!(answer.reason == 0, is_allowed, "{}: {:?}", answer.text, self.model);
        if is_allowed {
            (self.model.epoch, self.model.leaves) = ((u64::from(generation) << 32) + 1, leaves);
            assert_eq!(answer.mls_epoch, self.model.epoch);
            self.model.begun.insert(self.model.epoch, None);
        }
    }

    /// Some commit: what it would make of the group, and whether it is allowed.
    fn some_commit(&mut self, by: Key) -> (CommitGroup, Model, bool) {
        let epoch = if self.rng.u8(..) < 230 { self.model.epoch } else { self.model.epoch.saturating_sub(1) };
        let mut next = self.model.clone();
        let (mut lines, mut welcomes) = (vec![format!("commit {epoch}")], Vec::new());
        let own = self.model.certified[&by];
        lines.push(format!("by {}", leaf_text(by, own)));
        let mut sound = epoch == self.model.epoch && self.model.members.contains(by.0) && own != 0;
        if !next.leaves.contains(&(by, own)) {
            next.leaves.retain(|(key, _)| *key != by);
            next.leaves.push((by, own));
        }
        // Whoever is owed, mostly.
        if self.rng.u8(..) < 200 {
            let owed: Vec<_> = next.leaves.iter().filter(|leaf| !next.is_good(leaf) && leaf.0 != by).copied().collect();
            for (key, _) in owed {
                lines.push(format!("-{} {}", key.0, key.1));
                next.leaves.retain(|(other, _)| *other != key);
            }
        }
        let mut with = None;
        match self.rng.u8(..5) {
            0 => {
                let user = USERS[self.rng.usize(..USERS.len())];
                let key = (user, "phone");
                let role_is_enough = by.0 == "ann";
                sound &= role_is_enough && !next.members.contains(user) && next.certified[&key] != 0;
                with = Some(With::Add(user.to_owned()));
                next.members.insert(user);
                if !next.has(key) {
                    lines.push(format!("+{}", leaf_text(key, next.certified[&key])));
                    welcomes.push(welcome(key));
                    next.leaves.push((key, next.certified[&key]));
                }
            }
            1 => {
                let user = USERS[1 + self.rng.usize(..USERS.len() - 1)];
                sound &= by.0 == "ann" && next.members.contains(user);
                with = Some(With::Remove(user.to_owned()));
                next.members.remove(user);
                for name in NAMES {
                    if next.has((user, name)) {
                        lines.push(format!("-{user} {name}"));
                        next.leaves.retain(|(key, _)| *key != (user, name));
                    }
                }
            }
            2 => {
                let key = self.any_device();
                if !next.has(key) {
                    lines.push(format!("+{}", leaf_text(key, next.certified[&key])));
                    welcomes.push(welcome(key));
                    next.leaves.push((key, next.certified[&key]));
                }
            }
            _ => {}
        }
        sound &= next.leaves.iter().all(|leaf| next.is_good(leaf)) && next.leaves.len() <= 4;
        next.epoch = epoch + 1;
        next.begun.insert(next.epoch, with.clone());
        let (generation, low) = (epoch >> 32, (epoch & u64::from(u32::MAX)) + 1);
        self.salt += 1;
        let call = CommitGroup {
            conversation: self.conversation,
            epoch,
            commit: lines.join("\n").into(),
            group_info: format!("info {} {generation} {low}", self.conversation).into(),
            welcomes,
            with,
            // Nobody reads it of a commit. It tells this one from all others: the same would be answered as then.
            tree: self.salt.to_string().into(),
            ..Default::default()
        };
        (call, next, sound)
    }

    /// Two commits at a time, of which one counts at the most.
    async fn commit(&mut self) {
        // The limit is another test's.
        self.scene.now_s.fetch_add(60, Ordering::Relaxed);
        self.scene.wait(std::time::Duration::from_millis(500)).await;
        let mut under_way = Vec::new();
        let both = [self.any_device(), self.any_device()];
        for by in &both[..if both[0] == both[1] { 1 } else { 2 }] {
            let (call, next, sound) = self.some_commit(*by);
            self.numbers += 1;
            self.scene
                .publish(self.connections[by], super::edge::calling(self.numbers, Call::CommitGroup(call.clone())));
            under_way.push((*by, self.numbers, call, next, sound));
        }
        let (mut accepted, mut any_sound) = (Vec::new(), false);
        for (by, number, call, next, sound) in under_way {
            let (order, answer) = self.scene.answered(self.connections[&by], number).await;
            self.scene.acknowledge(self.connections[&by], vec![order]);
            any_sound |= sound;
            if answer.reason == 0 {
                assert!(sound, "E1: {:?} of {by:?} in {:?}", call.commit, self.model);
                assert_eq!(answer.mls_epoch, next.epoch);
                accepted.push(next);
            }
        }
        assert!(accepted.len() <= 1, "E4: two commits of one epoch");
        assert_eq!(accepted.len() == 1, any_sound, "a good commit is taken: {:?}", self.model);
        if let Some(next) = accepted.pop() {
            self.model = next;
        }
    }

    async fn send(&mut self) {
        let by = self.any_device();
        let epoch = if self.rng.u8(..) < 200 { self.model.epoch } else { self.model.epoch.saturating_sub(1) };
        self.numbers += 1;
        let send = client::Send {
            to: Some(client::send::To::Conversation(self.conversation)),
            body: epoch.to_string().into(),
            mls_epoch: epoch,
            ..Default::default()
        };
        let number = self.numbers;
        self.scene.publish(
            self.connections[&by],
            Publish {
                number,
                packet_id: 1 + (number % 60_000) as u32,
                kind: Kind::Send.into(),
                payload: send.encode_to_vec().into(),
                ..Default::default()
            },
        );
        let published = self.scene.expect(self.connections[&by], |frame| match frame {
            Frame::Published(published) if published.number == number => Some(published.clone()),
            _ => None,
        });
        let published = published.await;
        let is_taken = self.model.takes(by, epoch);
        assert_eq!(published.reason == 0, is_taken, "E2: {by:?} in epoch {epoch}: {published:?} {:?}", self.model);
    }

    /// Members change without a commit, or a device does.
    async fn disturb(&mut self) {
        let by = self.any_device();
        match self.rng.u8(..4) {
            0 if by.0 != "ann" && self.model.members.contains(by.0) => {
                let leave = Call::Leave(client::Leave { conversation: self.conversation });
                assert_eq!(self.call(by, leave).await.reason, 0);
                self.model.members.remove(by.0);
            }
            1 if !self.model.members.contains(by.0) => {
                let add = client::AddMember { conversation: self.conversation, user: by.0.into() };
                let added = self.call(("ann", "phone"), Call::AddMember(add)).await.reason == 0;
                let has_keys = NAMES.iter().any(|name| self.model.certified[&(by.0, *name)] != 0);
                assert_eq!(added, has_keys);
                if added {
                    self.model.members.insert(by.0);
                }
            }
            2 if by != ("ann", "phone") => {
                let remove = Call::RemoveDevice(client::RemoveDevice { device: by.1.into() });
                let user = UserId::new(by.0).unwrap();
                assert_eq!(self.scene.ask(user, remove).await.reason, 0);
                self.model.certified.insert(by, 0);
                // Another of the same name.
                self.scene.add(by.0, by.1).await;
                DeviceName::new(by.1).unwrap();
                self.told.remove(&by);
                self.enter(by).await;
            }
            _ => self.certify(by).await,
        }
    }

    async fn crash(&mut self) {
        self.scene.crash().await;
        for key in self.connections.keys().copied().collect::<Vec<_>>() {
            self.enter(key).await;
        }
    }

    /// What devices were told agrees with each other and with the model.
    async fn compare(&mut self) {
        for (key, connection) in self.connections.clone() {
            loop {
                let mut orders = Vec::new();
                for frame in self.scene.rest(connection).await {
                    let Frame::Deliver(deliver) = frame else { continue };
                    if deliver.shape() != Shape::Event {
                        continue;
                    }
                    orders.extend(Some(deliver.order).filter(|order| *order != 0));
                    let event = client::Event::decode(deliver.payload).unwrap().event.unwrap();
                    let place = match &event {
                        event::Event::Message(it) => it.sequence,
                        event::Event::Change(it) => it.sequence,
                        _ => continue,
                    };
                    self.told.entry(key).or_default().insert(place, event);
                }
                if orders.is_empty() {
                    break;
                }
                self.scene.acknowledge(connection, orders);
            }
        }
        let mut steps = BTreeMap::new();
        for events in self.told.values() {
            for (place, event) in events {
                let event::Event::Change(change) = event else { continue };
                let Some(mls) = &change.mls else { continue };
                assert_eq!(*steps.entry(*place).or_insert(mls.epoch), mls.epoch, "E4: one place, two epochs");
                let with = &self.model.begun[&mls.epoch];
                let agrees = match (&change.change, with) {
                    (None, None) => true,
                    (Some(change::Change::Added(it)), Some(With::Add(user))) => it.user == *user,
                    (Some(change::Change::Opened(it)), Some(With::Add(_))) => it.mls_epoch == mls.epoch,
                    (Some(change::Change::Removed(_)), Some(With::Remove(_))) => true,
                    _ => false,
                };
                assert!(agrees, "E5: {change:?} came with {with:?}");
            }
        }
        let epochs: Vec<_> = steps.values().copied().collect();
        assert!(epochs.is_sorted_by(|a, b| a < b), "E4: {epochs:?}");
        for events in self.told.values() {
            for (place, event) in events {
                let event::Event::Message(message) = event else { continue };
                let current = steps.range(..place).next_back().map(|(_, epoch)| *epoch);
                assert_eq!(Some(message.mls_epoch), current, "E2: at {place}");
            }
        }
    }
}

fn welcome((user, device): Key) -> client::Welcome {
    client::Welcome { user: user.into(), device: device.into(), welcome: "welcome".into() }
}

#[tokio::test(start_paused = true)]
async fn random_walks_keep_the_group_within_the_members() {
    for seed in 0..SEEDS {
        let mut walk = Walk::begin(seed).await;
        for _ in 0..STEPS {
            match walk.rng.u8(..20) {
                0..=7 => walk.send().await,
                8..=13 => walk.commit().await,
                14..=17 => walk.disturb().await,
                18 => walk.crash().await,
                _ => walk.found().await,
            }
        }
        walk.compare().await;
    }
}
