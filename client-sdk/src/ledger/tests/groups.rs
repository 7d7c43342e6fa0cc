//! Encrypted conversations, as devices' ledgers have them. The server is played: it orders changes and messages, and checks commits
//! by what is public of the group, as the real one does.

use godwit_e2ee::content::Kind;
use godwit_e2ee::mls::GroupId;
use godwit_e2ee::mls::public_group::{Commit, Founding, PublicGroup, WelcomeFor};
use godwit_e2ee::time::UnixTime;
use godwit_schemas::ids::DeviceName;

use super::*;
use crate::error::EncryptionFailure;
use crate::event::Message;
use crate::ledger::groups::{BrokenGroup, ClaimedPackage, GroupWork};
use crate::ledger::identity::PACKAGES;
use crate::wire::ConversationUpdate;

const NOW_S: u64 = 1_800_000_000;
const DAY_S: u64 = 24 * 60 * 60;

struct Device {
    user: UserId,
    name: DeviceName,
    ledger: Ledger,
    packages: Vec<Bytes>,
    certificate: Bytes,
    told: u64,
}

/// The server and what it has of the conversation.
struct World {
    devices: Vec<Device>,
    chains: Vec<(UserId, Vec<Bytes>)>,
    members: Vec<&'static str>,
    group: Option<PublicGroup>,
    vault: Vec<(UserId, client::VaultRow)>,
    /// It keeps vaults.
    vaults: bool,
    sequence: u64,
}

impl World {
    /// A conversation of these users, each with a device of this name.
    fn new(devices: &[(&'static str, &str)]) -> Self {
        let mut world = Self {
            devices: Vec::new(),
            chains: Vec::new(),
            members: Vec::new(),
            group: None,
            vault: Vec::new(),
            vaults: false,
            sequence: 1,
        };
        for (user, name) in devices {
            world.join(user, name);
        }
        let members = world.members.iter().enumerate().map(|(at, user)| member(at as u32, user)).collect();
        let opened = client::Opened { group: true, members, ..Default::default() };
        world.change(Some(change::Change::Opened(opened)), 0, |_| None);
        world
    }

    /// A new device of a user, with keys.
    fn join(&mut self, user: &'static str, name: &str) -> usize {
        let name = DeviceName::new(name).unwrap();
        let user_id = super::user(user);
        let beginning = Beginning { after: 100, counter: 7 };
        let ledger = Ledger::open(Box::new(VolatileStore::new()), &user_id, name.as_str(), true, beginning).unwrap();
        let mut device = Device {
            user: user_id.clone(),
            name: name.clone(),
            ledger,
            packages: Vec::new(),
            certificate: Bytes::new(),
            told: 0,
        };
        match self.devices.iter_mut().find(|it| it.user == user_id) {
            None => {
                device.ledger.begin_identity(&name, NOW_S).unwrap();
                self.members.push(user);
            }
            Some(older) => {
                let code = older.ledger.recovery_code().unwrap().unwrap();
                let chain = self.chains.iter().find(|it| it.0 == user_id).unwrap();
                device.ledger.met(&user_id, &chain.1, &[]).unwrap().unwrap();
                device.ledger.recover(&name, &code, NOW_S).unwrap().unwrap();
            }
        }
        // Few: making them takes the most time.
        let call = device.ledger.keys_to_publish(PACKAGES - 2, false, NOW_S).unwrap();
        if !call.identity.is_empty() {
            self.chains.push((user_id, vec![call.identity.clone()]));
        }
        (device.packages, device.certificate) = (call.key_packages, call.certificate);
        device.ledger.published(false, NOW_S).unwrap();
        self.devices.push(device);
        for device in &mut self.devices {
            for (user, chain) in &self.chains {
                device.ledger.met(user, chain, &[]).unwrap().unwrap();
            }
        }
        self.devices.len() - 1
    }

    fn ordinal(&self, device: usize) -> u32 {
        self.members.iter().position(|it| *it == self.devices[device].user.as_str()).unwrap() as u32
    }

    /// A change in the next place, with what each device is told of the group.
    fn change(&mut self, change: Option<change::Change>, by: u32, mls: impl Fn(&Device) -> Option<client::MlsChange>) {
        let sequence = self.sequence;
        self.sequence += 1;
        for device in &mut self.devices {
            let mls = mls(device).map(Box::new);
            let change = change.clone();
            let event = client::Change { conversation: 65, sequence, by, change, mls, ..Default::default() };
            device.ledger.receive(vec![delivered(event::Event::Change(event))], NOW_S).unwrap();
        }
    }

    fn claim(&mut self, devices: &[usize]) -> Vec<ClaimedPackage> {
        let of = |device: &mut Device| ClaimedPackage {
            user: device.user.clone(),
            device: device.name.to_string(),
            package: device.packages.pop().unwrap().to_vec(),
        };
        devices.iter().map(|at| of(&mut self.devices[*at])).collect()
    }

    /// The server takes what a device hands in, or says why not.
    fn order(&mut self, by: usize, call: &client::CommitGroup) -> Result<(), String> {
        let welcomes: Vec<_> =
            call.welcomes.iter().map(|it| (it.user.clone(), it.device.clone(), &it.welcome)).collect();
        let welcomes: Vec<_> =
            welcomes.iter().map(|(user, device, message)| WelcomeFor { user, device, message }).collect();
        let (id, now) = (GroupId { conversation: HERE, generation: call.generation }, UnixTime::new(NOW_S));
        if self.group.as_ref().map_or(0, |group| group.epoch().unwrap().number()) != call.epoch {
            return Err("stale".to_owned());
        }
        let group = match &self.group {
            Some(group) if !call.commit.is_empty() => {
                let commit = Commit { message: &call.commit, group_info: &call.group_info, welcomes: &welcomes };
                group.after(commit, now).map_err(|error| error.to_string())?.0
            }
            _ => {
                let founding = Founding { group_info: &call.group_info, tree: &call.tree, welcomes: &welcomes };
                PublicGroup::found(id, founding, now).map_err(|error| error.to_string())?.0
            }
        };
        let (epoch, committer) = (group.epoch().unwrap().number(), self.devices[by].name.to_string());
        self.group = Some(group);
        let ordinal = self.ordinal(by);
        self.change(None, ordinal, |device| {
            let welcome =
                call.welcomes.iter().find(|it| it.user == device.user.as_str() && it.device == device.name.as_str());
            Some(client::MlsChange {
                epoch,
                commit: if welcome.is_some() { Bytes::new() } else { call.commit.clone() },
                welcome: welcome.map(|it| it.welcome.clone()).unwrap_or_default(),
                device: committer.clone(),
            })
        });
        Ok(())
    }

    /// Each device does what it has to.
    fn settle(&mut self) {
        for _ in 0..20 {
            let mut busy = false;
            for at in 0..self.devices.len() {
                for work in self.devices[at].ledger.group_work(NOW_S).unwrap() {
                    busy |= self.work(at, &work);
                }
                let (user, ledger) = (self.devices[at].user.clone(), &mut self.devices[at].ledger);
                ledger.open_held(&mut Received::default()).unwrap();
                if self.vaults {
                    let rows = ledger.rows_for_vault().unwrap();
                    ledger.vaulted(&rows).unwrap();
                    self.vault.extend(rows.into_iter().map(|row| (user.clone(), row)));
                }
            }
            if !busy {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn work(&mut self, at: usize, work: &GroupWork) -> bool {
        let (tree, current) = {
            let group = self.group.as_ref().unwrap();
            (group.tree().unwrap(), group.epoch().unwrap().number())
        };
        let device = &mut self.devices[at];
        match work {
            GroupWork::Join(id, epoch) if *epoch == current => device.ledger.join(*id, *epoch, &tree, NOW_S).unwrap(),
            GroupWork::Join(id, epoch) => device.ledger.give_up_welcome(*id, *epoch).unwrap(),
            GroupWork::Meet(..) => return false,
            GroupWork::Vault(id, _) => {
                let vault: Vec<_> = self.vault.iter().filter(|it| it.0 == device.user).map(|it| it.1.clone()).collect();
                device.ledger.take_vault(*id, &vault).unwrap();
            }
            GroupWork::Confirm(id) => device.ledger.confirm_commit(*id, current).unwrap(),
            GroupWork::Commit(id) => {
                let call = device.ledger.commit_group(*id, &[], &[], NOW_S).unwrap().unwrap();
                self.order(at, &call).unwrap();
            }
            GroupWork::JoinFromOutside(id) => {
                let Some(info) = self.info() else { return false };
                let device = &mut self.devices[at];
                let Some(call) = device.ledger.join_from_outside(*id, current, (&info, &tree), NOW_S).unwrap() else {
                    return false;
                };
                self.order(at, &call).unwrap();
            }
        }
        true
    }

    /// What a device in the group would have handed in last.
    fn info(&mut self) -> Option<Vec<u8>> {
        let current = self.group.as_ref()?.epoch().unwrap().number();
        self.devices.iter_mut().find_map(|device| device.ledger.group_info_of(HERE, current))
    }

    fn founded(devices: &[(&'static str, &str)]) -> Self {
        let mut world = Self::new(devices);
        world.found();
        world
    }

    fn found(&mut self) {
        let others: Vec<_> = (1..self.devices.len()).collect();
        let claimed = self.claim(&others);
        let call = self.devices[0].ledger.found_group(HERE, None, &claimed, NOW_S).unwrap().unwrap();
        self.order(0, &call).unwrap();
        self.settle();
    }

    /// What a device's outbox lets go, and what the server makes of it.
    fn leaves(&mut self, by: usize) -> Vec<client::Send> {
        let page = self.devices[by].ledger.unanswered(0, 32, NOW_S).unwrap();
        let sends = page.sends.into_iter().map(|send| {
            let published = crate::wire::Publication::of(7, send.id, &send.to, send.draft, send.mls_epoch);
            client::Send::decode(published.payload).unwrap()
        });
        sends.collect()
    }

    fn says(&mut self, by: usize, text: &'static str) -> SendId {
        self.devices[by].ledger.queue(&Recipient::Conversation(HERE), Draft::new(text), NOW_S).unwrap()
    }

    /// Everything that a device has to say gets its place.
    fn delivers(&mut self, by: usize) {
        for send in self.leaves(by) {
            let (sequence, sender) = (self.sequence, self.ordinal(by));
            self.sequence += 1;
            let message = client::Message {
                conversation: 65,
                sequence,
                sender,
                body: send.body.clone(),
                reply_to: send.reply_to,
                mls_epoch: send.mls_epoch,
                silent: send.silent,
                mentions: send.mentions.clone(),
                ..Default::default()
            };
            let at = Some((HERE, Seq::new(sequence)));
            self.devices[by].ledger.stored(SendId::new(send.client_sequence), at).unwrap();
            for (at, device) in self.devices.iter_mut().enumerate() {
                if at != by {
                    let event = event::Event::Message(message.clone());
                    device.ledger.receive(vec![delivered(event)], NOW_S).unwrap();
                }
            }
        }
    }

    /// What an app was told since it was asked last.
    fn news(&mut self, at: usize) -> Vec<Event> {
        let device = &mut self.devices[at];
        let (last, deliveries) = device.ledger.events(device.told, 99).unwrap();
        device.told = last;
        deliveries.into_iter().map(|delivery| delivery.event).collect()
    }

    fn read(&mut self, at: usize) -> Vec<String> {
        let news = self.news(at).into_iter();
        let texts = news.filter_map(|event| match event {
            Event::Message(Message { body, encrypted: true, unopened: false, .. }) => {
                Some(String::from_utf8(body.to_vec()).unwrap())
            }
            Event::Message(message) => panic!("{message:?}"),
            _ => None,
        });
        texts.collect()
    }

    fn epoch(&self) -> u64 {
        self.group.as_ref().unwrap().epoch().unwrap().number()
    }
}

#[test]
fn what_is_sent_in_an_encrypted_conversation_is_sealed() {
    let mut world = World::new(&[("alice", "phone"), ("bob", "phone"), ("carol", "phone")]);
    world.says(0, "before");
    assert_eq!(world.leaves(0)[0].body, "before", "it is not encrypted yet");
    world.devices[0].ledger.stored(SendId::new(101), None).unwrap();
    world.found();
    world.says(0, "hello");
    let sealed = world.leaves(0);
    assert_eq!((sealed.len(), sealed[0].mls_epoch), (1, world.epoch()));
    assert!(!sealed[0].body.windows(5).any(|it| it == b"hello"));
    assert_eq!(world.leaves(0), sealed, "one number has one ciphertext");
    world.delivers(0);
    world.says(2, "hello you");
    world.delivers(2);
    assert_eq!(world.read(1), ["hello", "hello you"]);
    assert_eq!(world.read(0), ["hello you"]);
}

#[test]
fn the_app_is_told_once_that_a_conversation_is_encrypted() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    let call = world.devices[0].ledger.commit_group(HERE, &[], &[], NOW_S).unwrap().unwrap();
    world.order(0, &call).unwrap();
    for at in [0, 1] {
        let told = world.news(at).into_iter();
        let told = told.filter(|it| matches!(it, Event::Changed { change: ConversationUpdate::Encrypted, .. }));
        assert_eq!(told.count(), 1);
    }
}

#[test]
fn what_comes_before_the_device_is_in_is_read_when_it_is() {
    let mut world = World::new(&[("alice", "phone"), ("bob", "phone")]);
    let claimed = world.claim(&[1]);
    let call = world.devices[0].ledger.found_group(HERE, None, &claimed, NOW_S).unwrap().unwrap();
    world.order(0, &call).unwrap();
    assert!(world.devices[0].ledger.group_work(NOW_S).unwrap().is_empty(), "everybody is known");
    world.says(0, "early");
    world.delivers(0);
    // Bob has the Welcome, and not the tree.
    assert_eq!(world.read(1), Vec::<String>::new());
    assert_eq!(world.devices[1].ledger.group_work(NOW_S).unwrap(), [GroupWork::Join(HERE, 1)]);
    world.settle();
    assert_eq!(world.read(1), ["early"]);
}

#[test]
fn a_new_device_joins_by_itself_and_older_messages_say_that_they_cannot_be_read() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    world.says(0, "one");
    world.delivers(0);
    let tablet = world.join("bob", "tablet");
    let members = world.members.iter().enumerate().map(|(at, user)| member(at as u32, user)).collect();
    let opened = client::Opened { group: true, members, mls_epoch: world.epoch(), ..Default::default() };
    world.devices[tablet].ledger.described(HERE, opened).unwrap();
    world.says(0, "two");
    world.delivers(0);
    world.settle();
    world.says(0, "three");
    world.delivers(0);
    assert_eq!(world.read(1), ["one", "two", "three"]);
    let news = world.news(tablet);
    assert!(matches!(news[0], Event::Undecryptable { .. }), "{news:?}");
    assert!(matches!(&news[1], Event::Message(message) if message.body == "three"), "{news:?}");
}

#[test]
fn a_new_device_reads_what_was_sent_before_it_came_by_the_vault() {
    let mut world = World::new(&[("alice", "phone"), ("bob", "phone")]);
    world.vaults = true;
    world.found();
    world.says(0, "one");
    world.delivers(0);
    let call = world.devices[0].ledger.commit_group(HERE, &[], &[], NOW_S).unwrap().unwrap();
    world.order(0, &call).unwrap();
    world.settle();
    let tablet = world.join("bob", "tablet");
    let members = world.members.iter().enumerate().map(|(at, user)| member(at as u32, user)).collect();
    let opened = client::Opened { group: true, members, mls_epoch: world.epoch(), ..Default::default() };
    world.devices[tablet].ledger.described(HERE, opened).unwrap();
    // Who signed what is in history, the server says.
    let certificate = world.devices[0].certificate.clone();
    let chain = world.chains[0].1.clone();
    world.devices[tablet].ledger.met(&user("alice"), &chain, &[certificate]).unwrap().unwrap();
    // Before it is in, and out of history.
    world.says(0, "two");
    let kept = world.leaves(0).remove(0);
    world.delivers(0);
    let message = client::Message {
        conversation: 65,
        sequence: 900,
        body: kept.body,
        mls_epoch: kept.mls_epoch,
        ..Default::default()
    };
    let past = client::Event { event: Some(event::Event::Message(message)) };
    let bobs = &mut world.devices[tablet].ledger;
    bobs.keep_past(HERE, vec![past], NOW_S).unwrap();
    assert!(bobs.messages(HERE, None, 9).unwrap().iter().all(|it| it.0.unopened && it.0.body.is_empty()));
    world.settle();
    world.says(0, "three");
    world.delivers(0);
    assert_eq!(world.read(tablet), ["two", "three"]);
    let shown = world.devices[tablet].ledger.messages(HERE, None, 9).unwrap();
    assert!(shown.iter().all(|it| !it.0.unopened) && shown.last().unwrap().0.body == "two", "{shown:?}");
}

#[test]
fn a_commit_that_another_has_forestalled_is_forgotten() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    let late = world.devices[1].ledger.commit_group(HERE, &[], &[], NOW_S).unwrap().unwrap();
    let call = world.devices[0].ledger.commit_group(HERE, &[], &[], NOW_S).unwrap().unwrap();
    assert!(world.leaves(0).is_empty());
    world.order(0, &call).unwrap();
    assert_eq!(world.order(1, &late), Err("stale".to_owned()));
    world.settle();
    world.says(1, "on it goes");
    world.delivers(1);
    assert_eq!(world.read(0), ["on it goes"]);
}

#[test]
fn a_send_that_was_refused_for_its_epoch_is_sealed_anew_in_the_next() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    let id = world.says(0, "hello");
    let first = world.leaves(0).remove(0);
    // Bob's commit was quicker.
    let call = world.devices[1].ledger.commit_group(HERE, &[], &[], NOW_S).unwrap().unwrap();
    let next = world.epoch() + 1;
    world.devices[0].ledger.stale(id, next).unwrap();
    assert!(world.leaves(0).is_empty(), "not before the inbox has brought it");
    world.order(1, &call).unwrap();
    world.settle();
    let second = world.leaves(0).remove(0);
    assert_eq!((first.client_sequence, second.mls_epoch), (second.client_sequence, world.epoch()));
    assert_ne!(first.body, second.body);
    world.delivers(0);
    assert_eq!(world.read(1), ["hello"]);
}

#[test]
fn an_epoch_that_is_owed_or_old_ends_before_something_is_sent() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    let id = world.says(0, "hello");
    let epoch = world.leaves(0)[0].mls_epoch;
    world.devices[0].ledger.stale(id, epoch).unwrap();
    assert_eq!(world.devices[0].ledger.group_work(NOW_S).unwrap(), [GroupWork::Commit(HERE)]);
    world.settle();
    assert_eq!(world.epoch(), epoch + 1);
    world.delivers(0);
    assert_eq!(world.read(1), ["hello"]);

    let bob = &mut world.devices[1].ledger;
    assert!(bob.group_work(NOW_S + DAY_S).unwrap().is_empty(), "nothing is to be sent");
    bob.queue(&Recipient::Conversation(HERE), Draft::new("late"), NOW_S).unwrap();
    assert!(bob.unanswered(0, 32, NOW_S + DAY_S).unwrap().sends.is_empty());
    assert_eq!(bob.group_work(NOW_S + DAY_S).unwrap(), [GroupWork::Commit(HERE)]);
}

#[test]
fn nothing_is_sealed_to_a_device_that_nobody_knows() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    // Somebody puts a device into the group whose user is no member.
    world.join("mallory", "phone");
    let claimed = world.claim(&[2]);
    let call = world.devices[0].ledger.commit_group(HERE, &claimed, &[], NOW_S).unwrap().unwrap();
    world.order(0, &call).unwrap();
    world.settle();
    let before = world.epoch();
    assert!(world.devices[1].ledger.unanswered(0, 32, NOW_S).unwrap().sends.is_empty());
    world.says(1, "secret");
    assert!(world.leaves(1).is_empty());
    let work = world.devices[1].ledger.group_work(NOW_S).unwrap();
    assert_eq!(work, [GroupWork::Meet(HERE, vec![user("mallory")]), GroupWork::Commit(HERE)]);
    // It is removed before something is sent.
    world.settle();
    assert_eq!(world.epoch(), before + 1);
    world.delivers(1);
    assert_eq!(world.read(0), ["secret"]);
    assert_eq!(world.read(2), Vec::<String>::new());
}

#[test]
fn a_key_package_of_another_identity_is_not_used() {
    let mut world = World::new(&[("alice", "phone"), ("bob", "phone")]);
    let mut strange = World::new(&[("bob", "phone")]);
    let claimed = strange.claim(&[0]);
    let made = world.devices[0].ledger.found_group(HERE, None, &claimed, NOW_S).unwrap();
    assert!(matches!(made, Err(EncryptionFailure::Code(_))));
    world.says(0, "plain");
    assert_eq!(world.leaves(0)[0].body, "plain", "it is as if nobody had tried");
}

#[test]
fn what_is_not_sealed_is_no_message_and_never_sent() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    let sequence = world.sequence;
    world.sequence += 1;
    let message =
        client::Message { conversation: 65, sequence, sender: 0, body: "forged".into(), ..Default::default() };
    world.news(1);
    world.devices[1].ledger.receive(vec![delivered(event::Event::Message(message))], NOW_S).unwrap();
    assert_eq!(
        world.news(1),
        [Event::Plaintext {
            conversation: HERE,
            sequence: Seq::new(sequence),
            sender: Ordinal::new(0),
            body: "forged".into()
        }]
    );
    assert!(world.devices[1].ledger.messages(HERE, None, 9).unwrap().is_empty());
    let media = crate::media::Media::new("m", "a.jpg");
    let draft = Draft::new("look").attach(media);
    world.devices[0].ledger.queue(&Recipient::Conversation(HERE), draft, NOW_S).unwrap();
    let page = world.devices[0].ledger.unanswered(0, 9, NOW_S).unwrap();
    assert_eq!((page.sends.len(), page.refused.len()), (0, 1));
}

#[test]
fn an_edit_is_sealed_and_counts_from_its_sender_only() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    world.says(0, "helo");
    world.delivers(0);
    let at = Seq::new(world.sequence - 1);
    let edits = |world: &mut World, by: usize, body: Bytes, mls_epoch: u64| {
        let edited = client::Edited { sequence: at.get(), body, mls_epoch };
        world.change(Some(change::Change::Edited(edited)), by as u32, |_| None);
    };
    let sealed = |world: &mut World, by: usize, text: &'static str| {
        world.devices[by].ledger.seal_about(HERE, (Kind::Edit, at), &text.into(), NOW_S).unwrap().unwrap().unwrap()
    };
    let (body, epoch) = sealed(&mut world, 1, "forged");
    edits(&mut world, 1, body.clone(), epoch);
    edits(&mut world, 0, body, epoch);
    edits(&mut world, 0, "plain".into(), 0);
    let (body, epoch) = sealed(&mut world, 0, "hello");
    assert!(!body.windows(5).any(|it| it == b"hello"));
    let shown = |world: &mut World| world.devices[1].ledger.messages(HERE, None, 9).unwrap()[0].0.body.clone();
    assert_eq!(shown(&mut world), "helo");
    edits(&mut world, 0, body, epoch);
    assert_eq!(shown(&mut world), "hello");
}

#[test]
fn a_reaction_is_sealed() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    world.says(0, "hello");
    world.delivers(0);
    let at = Seq::new(world.sequence - 1);
    let (sealed, mls_epoch) =
        world.devices[1].ledger.seal_about(HERE, (Kind::Reaction, at), &"+1".into(), NOW_S).unwrap().unwrap().unwrap();
    let shown = |world: &mut World| {
        let message = world.devices[0].ledger.messages(HERE, None, 9).unwrap().remove(0).0;
        message.reactions.into_iter().map(|it| it.reaction).collect::<Vec<_>>()
    };
    let reacts = |world: &mut World, by: u32, reacted: client::Reacted| {
        world.change(Some(change::Change::Reacted(reacted)), by, |_| None);
    };
    let reacted = client::Reacted { sequence: at.get(), sealed, mls_epoch, ..Default::default() };
    reacts(&mut world, 0, reacted.clone());
    assert!(shown(&mut world).is_empty(), "it is Bob's");
    reacts(&mut world, 1, client::Reacted { sequence: at.get(), reaction: "plain".to_owned(), ..Default::default() });
    assert!(shown(&mut world).is_empty(), "all are sealed there");
    reacts(&mut world, 1, reacted);
    assert_eq!(shown(&mut world), ["+1"]);
    reacts(&mut world, 1, client::Reacted { sequence: at.get(), mls_epoch, ..Default::default() });
    assert!(shown(&mut world).is_empty());
}

#[test]
fn signals_are_sealed_for_the_moment() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone")]);
    let typing = Bytes::from_static(b"typing");
    let sealed = world.devices[0].ledger.seal_signal(HERE, typing.clone()).unwrap().unwrap();
    assert_ne!(sealed, typing);
    assert_eq!(world.devices[1].ledger.open_signal(HERE, sealed.clone()).unwrap(), Some(typing.clone()));
    assert_eq!(world.devices[1].ledger.open_signal(HERE, typing.clone()).unwrap(), None);
    let elsewhere = ConversationId::new(129);
    assert_eq!(world.devices[0].ledger.seal_signal(elsewhere, typing.clone()).unwrap(), Some(typing));
}

#[test]
fn a_founding_that_was_refused_leaves_nothing() {
    let mut world = World::new(&[("alice", "phone"), ("bob", "phone")]);
    let claimed = world.claim(&[1]);
    world.devices[0].ledger.found_group(HERE, None, &claimed, NOW_S).unwrap().unwrap();
    world.says(0, "waits");
    assert!(world.leaves(0).is_empty());
    world.devices[0].ledger.commit_refused(HERE, 0).unwrap();
    assert!(!world.devices[0].ledger.is_encrypted(HERE).unwrap());
    assert_eq!(world.leaves(0)[0].body, "waits");
}

/// The server has gone back by two epochs. Two devices found the group anew at once; the server takes one.
#[test]
fn a_broken_group_is_founded_anew_and_what_was_sealed_before_is_read() {
    let mut world = World::founded(&[("alice", "phone"), ("bob", "phone"), ("carol", "phone")]);
    let backup = world.group.clone().unwrap();
    for _ in 0..2 {
        let call = world.devices[0].ledger.commit_group(HERE, &[], &[], NOW_S).unwrap().unwrap();
        world.order(0, &call).unwrap();
    }
    world.settle();
    let there = |world: &World, outdated| client::MlsGroup { epoch: world.epoch(), outdated, ..Default::default() };
    let is_broken = |world: &mut World, it| world.devices[1].ledger.is_broken(HERE, &it).unwrap();
    let now = there(&world, false);
    assert!(!is_broken(&mut world, now));
    let early = world.says(2, "before");
    let sealed_before = world.leaves(2).remove(0);
    world.group = Some(backup);
    for outdated in [false, true] {
        let behind = there(&world, outdated);
        assert!(is_broken(&mut world, behind));
    }

    for at in [0, 1] {
        let sent = world.says(at, "after");
        assert_eq!(world.leaves(at).len(), 1);
        let current = world.epoch();
        world.devices[at].ledger.stale(sent, current).unwrap();
        assert!(world.leaves(at).is_empty());
        assert_eq!(world.devices[at].ledger.group_work(NOW_S).unwrap(), [GroupWork::Commit(HERE)]);
    }
    let hour = u32::try_from(NOW_S / 3_600).unwrap();
    let broken = Some(BrokenGroup { epoch: world.epoch(), reset_generation: hour });
    assert_eq!(world.devices[0].ledger.present_members(HERE).unwrap().len(), 3);
    let claimed = [world.claim(&[1]), world.claim(&[0, 2])];
    let calls: Vec<_> = [0, 1]
        .into_iter()
        .map(|at: usize| world.devices[at].ledger.found_group(HERE, broken, &claimed[at], NOW_S).unwrap().unwrap())
        .collect();
    for at in 0..3 {
        world.news(at);
    }
    world.order(1, &calls[1]).unwrap();
    assert_eq!(world.order(0, &calls[0]), Err("stale".to_owned()));
    let current = world.epoch();
    world.devices[0].ledger.commit_refused(HERE, current).unwrap();
    world.settle();
    assert_eq!(world.epoch(), (u64::from(hour) << 32) + 1, "nobody has to join from outside");
    for at in 0..3 {
        let told = world.news(at);
        let resets = told.iter().filter(
            |it| matches!(it, Event::GroupReset { conversation: HERE, user: Some(user), .. } if user.as_str() == "bob"),
        );
        assert_eq!((resets.count(), told.len()), (1, 1), "{told:?}");
    }

    world.delivers(0);
    world.delivers(1);
    assert_eq!((world.read(0), world.read(1)), (vec!["after".to_owned()], vec!["after".to_owned()]));
    assert_eq!(world.read(2), ["after", "after"]);
    let sequence = world.sequence;
    let late = client::Message {
        conversation: 65,
        sequence,
        sender: 2,
        body: sealed_before.body,
        mls_epoch: sealed_before.mls_epoch,
        ..Default::default()
    };
    world.devices[0].ledger.receive(vec![delivered(event::Event::Message(late))], NOW_S).unwrap();
    assert_eq!(world.read(0), ["before"]);
    world.devices[2].ledger.stored(early, Some((HERE, Seq::new(sequence)))).unwrap();

    // The server went back again, in the same hour: none of its epochs comes twice.
    let claimed = world.claim(&[0]);
    let again = world.devices[1].ledger.found_group(HERE, broken, &claimed, NOW_S).unwrap().unwrap();
    assert_eq!(again.generation, hour + 1);
}
