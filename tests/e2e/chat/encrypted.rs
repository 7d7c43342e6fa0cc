//! Encrypted conversations with real groups: what the server checks, orders and keeps of them, and what it cannot read.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use godwit_e2ee::certificate::{CertificateRequest, DeviceCertificate, DeviceKind};
use godwit_e2ee::content::{Clear, Kind, Number, OpenedStore, Place, open, seal};
use godwit_e2ee::crypto::SigningKey;
use godwit_e2ee::identity::{IdentityChain, IdentityLink};
use godwit_e2ee::mls::group::{EpochKeys, Group};
use godwit_e2ee::mls::{Device, GroupId};
use godwit_e2ee::time::UnixTime;
use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, CommitGroup, MlsChange, commit_group::With, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};
use prost::Message as _;

use super::messages::is_in;
use super::user::{User, WAYS, Way};
use crate::mqtt::Version;
use crate::server::{Account, Server};

const SECRET: &str = "the canary sings at noon";

fn now() -> UnixTime {
    UnixTime::new(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs())
}

/// A device that encrypts.
struct Party {
    user: User,
    device: Device,
    /// Private halves of key packages, by their references.
    secrets: BTreeMap<Vec<u8>, Vec<u8>>,
    group: Option<Group>,
    keys: Option<EpochKeys>,
    sent: u64,
}

impl Party {
    /// It has published its keys. `identity`: of its user; the first device publishes that, too.
    fn connect(server: &Server, account: &Account, way: Way, identity: &SigningKey, is_first: bool) -> Self {
        let mut user = User::connect(server, account, way);
        let (name, key) = (UserId::new(&account.user).expect("a name"), SigningKey::generate().expect("a key"));
        let request = CertificateRequest {
            user: name.clone(),
            device: DeviceName::new(&account.device).expect("a name"),
            leaf_key: key.public(),
            kind: DeviceKind::Native,
        };
        let certificate = DeviceCertificate::issue(request, identity, 1, now());
        let link = is_first.then(|| IdentityLink::first(&name, identity, now()).to_bytes());
        let device = Device::new(certificate, key).expect("a device");
        let packages: Vec<_> = (0..2).map(|_| device.key_package(false, now()).expect("a key package")).collect();
        let last = device.key_package(true, now()).expect("a key package");
        let publish = client::PublishKeys {
            certificate: device.certificate().to_bytes().into(),
            key_packages: packages.iter().map(|it| it.message.clone().into()).collect(),
            last_resort: last.message.clone().into(),
            identity: link.unwrap_or_default().into(),
        };
        assert_eq!(user.done(Call::PublishKeys(publish)).keys_left, 2);
        let secrets = packages.into_iter().chain([last]).map(|it| (it.reference, it.secret.to_vec())).collect();
        Self { user, device, secrets, group: None, keys: None, sent: 0 }
    }

    fn name(&self) -> (&str, &str) {
        (self.device.certificate().user().as_str(), self.device.certificate().device().as_str())
    }

    fn group(&mut self) -> &mut Group {
        self.group.as_mut().expect("in the group")
    }

    fn epoch(&mut self) -> u64 {
        self.group().epoch().expect("an epoch").number()
    }

    /// Goes on with a group, and its keys.
    fn enter(&mut self, mut group: Group) {
        self.keys = Some(group.take_keys().expect("keys"));
        self.group = Some(group);
    }

    /// The tree and the GroupInfo, which the server keeps.
    fn stored_group(&mut self, conversation: u64) -> client::MlsGroup {
        let get = client::GetGroup { conversation, ..Default::default() };
        let group = *self.user.done(Call::GetGroup(get)).mls_group.expect("a group");
        assert_eq!(group.tree.len() as u64, group.tree_bytes, "one page");
        group
    }

    /// Begins the next epoch with these changes. `with`: of the members.
    fn commit(
        &mut self,
        conversation: u64,
        add: &[client::ClaimedKey],
        of: &str,
        remove: &[u32],
        with: Option<With>,
    ) -> u64 {
        let epoch = self.epoch();
        let packages: Vec<_> = add.iter().map(|it| &it.key_package[..]).collect();
        let (messages, secrets) = self.group().commit(&packages, remove, now()).expect("a commit");
        let welcomes = add.iter().zip(messages.welcomes).map(|(key, welcome)| client::Welcome {
            user: of.into(),
            device: key.device.clone(),
            welcome: welcome.into(),
        });
        let call = CommitGroup {
            conversation,
            epoch,
            commit: messages.commit.into(),
            group_info: messages.group_info.into(),
            welcomes: welcomes.collect(),
            with,
            ..Default::default()
        };
        let begun = self.user.done(Call::CommitGroup(call.clone()));
        assert_eq!(begun.mls_epoch, epoch + 1);
        assert_eq!(self.user.done(Call::CommitGroup(call)).sequence, begun.sequence, "a repetition");
        self.group().apply_own(&secrets).expect("its own commit");
        let group = self.group.take().expect("in the group");
        self.enter(group);
        self.step();
        epoch + 1
    }

    /// The next change of the group, as it is told.
    fn step(&mut self) -> MlsChange {
        match self.user.event() {
            Event::Change(change) => *change.mls.unwrap_or_else(|| panic!("no step of the group: {:?}", change.change)),
            other => panic!("not a change: {other:?}"),
        }
    }

    /// Joins by the Welcome that comes next.
    fn join(&mut self, conversation: u64) {
        let step = self.step();
        let stored = self.stored_group(conversation);
        assert_eq!((stored.epoch, step.commit.len()), (step.epoch, 0));
        let [reference] = &Group::welcomed(&step.welcome).expect("a Welcome")[..] else { panic!("of one package") };
        let secret = &self.secrets[reference];
        let group = Group::join(&self.device, &step.welcome, (reference, secret), &stored.tree).expect("joined");
        self.enter(group);
    }

    /// Goes on with the commit that comes next.
    fn follow(&mut self) {
        let step = self.step();
        let processed = self.group().process(&step.commit).expect("a valid commit");
        assert!(processed.still_in);
        let group = self.group.take().expect("in the group");
        self.enter(group);
        assert_eq!(self.epoch(), step.epoch);
    }

    fn place(&mut self, conversation: u64) -> Place<'static> {
        let epoch = self.group().epoch().expect("an epoch");
        let (kind, clear) = (Kind::Message, Clear::default());
        Place { conversation: ConversationId::new(conversation), epoch, kind, target: 0, clear }
    }

    /// Sends what is sealed under its epoch; the reason that the server gives.
    fn send(&mut self, conversation: u64, content: &str) -> u8 {
        let (place, leaf) = (self.place(conversation), self.group().own_leaf());
        self.sent += 1;
        let number = Number::of_send(OpenedStore::from_bytes([1, 2, 3]), self.sent);
        let keys = self.keys.as_ref().expect("keys");
        let body = seal(&keys.base, &place, (&self.device, leaf), number, content.as_bytes()).expect("sealed");
        let send = client::Send {
            to: Some(client::send::To::Conversation(conversation)),
            client_sequence: self.sent,
            body: body.into(),
            mls_epoch: place.epoch.number(),
            ..Default::default()
        };
        self.user.client.publish("send", &send.encode_to_vec())
    }

    /// The next event is a message, which opens: what it says.
    fn read(&mut self, conversation: u64, by: &DeviceCertificate) -> String {
        let message = self.user.message();
        let place = self.place(conversation);
        assert_eq!(message.mls_epoch, place.epoch.number());
        let keys = self.keys.as_ref().expect("keys");
        let opened = open(&keys.base, &place, &message.body, |_| Some(by)).expect("it opens");
        String::from_utf8(opened.content).expect("UTF-8")
    }
}

/// Two users with a phone each, who have keys, and their direct conversation.
fn two(server: &Server, way: Way) -> (Party, Party, u64) {
    let [alice, bob] = ["alice", "bob"].map(|name| server.add_user(name, "phone"));
    let mut alice = Party::connect(server, &alice, way, &identity(1), true);
    let mut bob = Party::connect(server, &bob, way, &identity(2), true);
    let open = Call::OpenDirect(client::OpenDirect { user: "bob".into() });
    let conversation = alice.user.done(open).conversation;
    alice.user.change();
    bob.user.change();
    (alice, bob, conversation)
}

fn identity(user: u8) -> SigningKey {
    SigningKey::from_seed(&[user; 32])
}

/// Alice makes the group for both, and Bob joins.
fn found(alice: &mut Party, bob: &mut Party, conversation: u64) {
    let found = alice.user.done(Call::GetIdentity(client::GetIdentity { user: "bob".into(), after: 0 }));
    let client::Identity { chain, certificates } = *found.identity.expect("an identity");
    let links = chain.iter().map(|link| IdentityLink::from_bytes(link).expect("a link")).collect();
    let chain = IdentityChain::new(UserId::new("bob").expect("a name"), links).expect("a chain");
    let certificate = DeviceCertificate::from_bytes(&certificates[0].certificate).expect("a certificate");
    assert!(chain.certifies(&certificate, certificates[0].retired));
    let claimed = alice.user.done(Call::ClaimKeys(client::ClaimKeys { user: "bob".into() })).claimed;
    let packages: Vec<_> = claimed.iter().map(|it| &it.key_package[..]).collect();
    let id = GroupId { conversation: ConversationId::new(conversation), generation: 0 };
    let (group, messages) = Group::found(&alice.device, id, &packages, now()).expect("a group");
    let welcomes = claimed.iter().zip(messages.welcomes).map(|(key, welcome)| client::Welcome {
        user: "bob".into(),
        device: key.device.clone(),
        welcome: welcome.into(),
    });
    let call = CommitGroup {
        conversation,
        group_info: messages.group_info.into(),
        tree: messages.tree.into(),
        welcomes: welcomes.collect(),
        ..Default::default()
    };
    assert_eq!(alice.user.done(Call::CommitGroup(call)).mls_epoch, 1);
    alice.enter(group);
    alice.step();
    bob.join(conversation);
    assert_eq!(alice.group().authenticator(), bob.group().authenticator());
}

#[test]
fn a_conversation_is_encrypted_over_both_ways() {
    for way in WAYS {
        let mut server = Server::start();
        let (mut alice, mut bob, id) = two(&server, way);
        found(&mut alice, &mut bob, id);
        let (of_alice, of_bob) = (alice.device.certificate().clone(), bob.device.certificate().clone());
        assert_eq!(alice.send(id, SECRET), 0);
        assert_eq!(bob.read(id, &of_alice), SECRET);
        // Only MQTT 5 has reasons in PUBACK.
        let tells = match way {
            Way::Mqtt(Version::V4) => |party: &mut Party| Some(party.user.refusal().mls_epoch),
            Way::Mqtt(Version::V5) | Way::Http => |_: &mut Party| None,
        };
        for topic in ["to/bob".to_owned(), format!("send/{id}")] {
            alice.user.send_refused(&topic, SECRET, 0x83);
            assert!(tells(&mut alice).is_none_or(|epoch| epoch == 0));
        }

        bob.commit(id, &[], "", &[], None);
        let refused = alice.send(id, "stale");
        assert_eq!(refused, if way.version() == Version::V5 { 0x83 } else { 0 });
        assert!(tells(&mut alice).is_none_or(|epoch| epoch == 2));
        alice.sent -= 1;
        alice.follow();
        assert_eq!(alice.group().authenticator(), bob.group().authenticator());
        assert_eq!(alice.send(id, "fresh"), 0);
        assert_eq!(bob.read(id, &of_alice), "fresh");

        // Another device of Alice's joins by itself, and is removed.
        let tablet = server.add_device("alice", "tablet");
        let mut tablet = Party::connect(&server, &tablet, way, &identity(1), false);
        let stored = tablet.stored_group(id);
        let (group, messages) =
            Group::join_from_outside(&tablet.device, &stored.group_info, &stored.tree, now()).expect("a commit");
        let join = CommitGroup {
            conversation: id,
            epoch: stored.epoch,
            commit: messages.commit.into(),
            group_info: messages.group_info.into(),
            ..Default::default()
        };
        assert_eq!(tablet.user.done(Call::CommitGroup(join)).mls_epoch, 3);
        tablet.enter(group);
        tablet.step();
        alice.follow();
        bob.follow();
        assert_eq!(bob.send(id, "for three"), 0);
        for (party, by) in [(&mut alice, &of_bob), (&mut tablet, &of_bob)] {
            assert_eq!(party.read(id, by), "for three");
        }
        alice.user.done(Call::RemoveDevice(client::RemoveDevice { device: "tablet".into() }));
        assert_eq!(bob.stored_group(id).owed, [client::MlsLeaf { user: "alice".into(), device: "tablet".into() }]);
        let (user, device) = tablet.name();
        let gone = bob.group.as_ref().expect("a group").leaves().expect("leaves");
        let gone =
            gone.iter().find(|it| (it.certificate.user().as_str(), it.certificate.device().as_str()) == (user, device));
        bob.commit(id, &[], "", &[gone.expect("the tablet").index], None);
        alice.follow();
        assert_eq!(bob.send(id, "for two"), 0);
        assert_eq!(alice.read(id, &of_bob), "for two");

        server.kill_and_start();
        let store = server.data().join("store");
        assert!(!is_in(&store, SECRET.as_bytes()), "{way:?}: the server can read it");
    }
}

#[test]
fn a_plain_message_would_be_found_where_a_sealed_one_is_not() {
    let mut server = Server::start();
    let (alice, _bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    User::connect(&server, &alice, WAYS[1]).send("to/bob", SECRET);
    server.kill_and_start();
    assert!(is_in(&server.data().join("store"), SECRET.as_bytes()));
}

#[test]
fn a_member_is_added_and_removed_in_the_place_of_the_commit() {
    let way = WAYS[1];
    let server = Server::start();
    let [of_alice, of_bob, of_carol] = ["alice", "bob", "carol"].map(|name| server.add_user(name, "phone"));
    let mut alice = Party::connect(&server, &of_alice, way, &identity(1), true);
    let mut bob = Party::connect(&server, &of_bob, way, &identity(2), true);
    let mut carol = Party::connect(&server, &of_carol, way, &identity(3), true);
    let create = client::CreateGroup { title: "walkers".into(), users: vec!["bob".into()] };
    let id = alice.user.done(Call::CreateGroup(create)).conversation;
    alice.user.change();
    bob.user.change();
    found(&mut alice, &mut bob, id);
    let claimed = alice.user.done(Call::ClaimKeys(client::ClaimKeys { user: "carol".into() })).claimed;
    alice.commit(id, &claimed, "carol", &[], Some(With::Add("carol".into())));
    bob.follow();
    carol.join(id);
    assert_eq!(carol.send(id, "hello"), 0);
    let by = carol.device.certificate().clone();
    assert_eq!((alice.read(id, &by), bob.read(id, &by)), ("hello".into(), "hello".into()));
    // Whoever leaves is owed.
    carol.user.done(Call::Leave(client::Leave { conversation: id }));
    bob.user.change();
    assert_eq!(bob.send(id, "to whom?"), 0x83);
    bob.sent -= 1;
    let leaves = bob.group().leaves().expect("leaves");
    let gone = leaves.iter().find(|it| it.certificate.user().as_str() == "carol").expect("Carol");
    bob.commit(id, &[], "", &[gone.index], None);
    assert_eq!(bob.send(id, "to Alice"), 0);
    alice.user.change();
    alice.follow();
    assert_eq!(alice.read(id, &bob.device.certificate().clone()), "to Alice");
}

#[test]
fn where_encryption_is_required_nothing_plain_is_taken_and_off_is_off() {
    let server = Server::with(&[("e2ee.mode", "required")]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut at_alice = User::connect(&server, &alice, WAYS[1]);
    at_alice.send_refused("to/bob", SECRET, 0x83);
    let told = at_alice.done(Call::GetServer(client::GetServer {})).server.expect("a server");
    assert_eq!(told.encryption(), client::Encryption::Required);
    drop(bob);
    let server = Server::with(&[("e2ee.mode", "off")]);
    let alice = server.add_user("alice", "phone");
    let mut at_alice = User::connect(&server, &alice, WAYS[1]);
    at_alice.refused(Call::ClaimKeys(client::ClaimKeys { user: "alice".into() }), 0x83);
    let told = at_alice.done(Call::GetServer(client::GetServer {})).server.expect("a server");
    assert_eq!(told.encryption(), client::Encryption::Off);
}
