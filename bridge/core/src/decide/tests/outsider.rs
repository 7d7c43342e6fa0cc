//! What strangers may do to a user, and what makes them strangers no more.

use super::*;
use crate::usage::Fullness;

fn send(scene: &mut Scene, from: &str, to: &str) -> Reason {
    published(&scene.post(from, To::User(user(to)), b"hello")).0
}

fn open(scene: &mut Scene) -> ConversationId {
    let outcome = scene.post("alice", To::User(user("bob")), b"hello");
    assert_eq!(published(&outcome).0, Reason::SUCCESS);
    published(&outcome).1
}

fn described(scene: &mut Scene, by: &str, id: ConversationId) -> bool {
    let (response, _) =
        scene.call(by, Call::Describe(client::Describe { conversation: id.get(), ..Default::default() }));
    response.description.unwrap().request
}

fn fetched(scene: &mut Scene, id: ConversationId, up_to: u64) {
    let up_to = Seq::new(up_to);
    scene.run(acked("bob", 2, id, received(up_to, up_to, &[0]), &[]));
}

fn create(users: &[&str]) -> Call {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    Call::CreateGroup(client::CreateGroup { title: "g".into(), users })
}

#[test]
fn a_stranger_s_messages_wait_for_acceptance_so_many_at_a_time() {
    let mut scene = Scene::new();
    scene.rules.request_messages = 3;
    let id = open(&mut scene);
    assert!(described(&mut scene, "bob", id) && !described(&mut scene, "alice", id));
    assert_eq!([(); 2].map(|()| send(&mut scene, "alice", "bob")), [Reason::SUCCESS; 2]);
    let outcome = scene.post("alice", To::User(user("bob")), b"hello");
    assert_eq!(published(&outcome).0, Reason::QUOTA_EXCEEDED);
    assert!(outcome.entries.is_empty() && outcome.changes.is_empty());
    for call in [
        Call::React(client::React { conversation: id.get(), sequence: 2, reaction: "+".into(), ..Default::default() }),
        Call::Edit(client::Edit { conversation: id.get(), sequence: 2, body: Bytes::new(), mls_epoch: 0 }),
        Call::SetRetention(client::SetRetention { conversation: id.get(), retention: None }),
    ] {
        assert_eq!(Reason::from_u32(scene.call("alice", call).0.reason), Reason::QUOTA_EXCEEDED);
    }
    // A thing that sends to a phone that never answers goes on, as long as that fetches.
    for last in 4..20 {
        fetched(&mut scene, id, last);
        assert_eq!(send(&mut scene, "alice", "bob"), Reason::SUCCESS);
    }
}

#[test]
fn what_has_expired_does_not_wait() {
    let mut scene = Scene::new();
    scene.rules.request_messages = 3;
    let send = |scene: &mut Scene, expires_in_s| {
        let draft = Draft { expires_in_s, ..Draft::default() };
        published(&scene.run(Command::Post { origin: origin("alice"), to: To::User(user("bob")), draft })).0
    };
    let full = [Reason::SUCCESS, Reason::SUCCESS, Reason::SUCCESS, Reason::QUOTA_EXCEEDED];
    assert_eq!([None; 4].map(|life| send(&mut scene, life)), full);
    scene.now_s += RULES.retention_s;
    assert_eq!([60, 10, 5, 5].map(|life| send(&mut scene, Some(life))), full);
    scene.now_s += 59;
    assert_eq!(send(&mut scene, Some(5)), Reason::QUOTA_EXCEEDED);
    scene.now_s += 1;
    assert_eq!(send(&mut scene, Some(5)), Reason::SUCCESS);
}

#[test]
fn a_request_is_accepted_by_who_acts_in_it() {
    let id = |scene: &mut Scene| {
        scene.rules.request_messages = 2;
        let id = open(scene);
        assert_eq!([(); 2].map(|()| send(scene, "alice", "bob")), [Reason::SUCCESS, Reason::QUOTA_EXCEEDED]);
        id
    };
    let read = |scene: &mut Scene, id: ConversationId| {
        scene.run(Command::Read { origin: origin("bob"), conversation: id, up_to: Seq::new(2) });
    };
    let post = |scene: &mut Scene, _: ConversationId| assert_eq!(send(scene, "bob", "alice"), Reason::SUCCESS);
    let react = |scene: &mut Scene, id: ConversationId| {
        let call = client::React { conversation: id.get(), sequence: 2, reaction: "+".into(), ..Default::default() };
        assert_eq!(scene.call("bob", Call::React(call)).0.reason, 0);
    };
    let accept = |scene: &mut Scene, id: ConversationId| {
        let call = Call::Accept(client::Accept { conversation: id.get() });
        let (response, outcome) = scene.call("bob", call.clone());
        assert_eq!((response.reason, outcome.durable, outcome.entries.len()), (0, true, 0), "nobody is told");
        assert!(outcome.changes.contains(&StoreChange::State(id)));
        assert_eq!(scene.call("carol", call).0.reason, Reason::NOT_AUTHORIZED.into());
    };
    type Act = fn(&mut Scene, ConversationId);
    for act in [read as Act, post, react, accept] {
        let mut scene = Scene::new();
        let id = id(&mut scene);
        act(&mut scene, id);
        assert!(!described(&mut scene, "bob", id));
        assert_eq!([(); 9].map(|()| send(&mut scene, "alice", "bob")), [Reason::SUCCESS; 9]);
    }
    // Neither to look nor to throw away says that it is wanted.
    let mut scene = Scene::new();
    let id = id(&mut scene);
    for call in [
        Call::Describe(client::Describe { conversation: id.get(), ..Default::default() }),
        Call::OpenDirect(client::OpenDirect { user: "alice".into() }),
        Call::DeleteConversation(client::DeleteConversation { conversation: id.get() }),
    ] {
        assert_eq!(scene.call("bob", call).0.reason, 0);
    }
    fetched(&mut scene, id, 1);
    assert!(described(&mut scene, "bob", id));
}

#[test]
fn contacts_and_older_conversations_make_no_requests() {
    let mut scene = Scene::new();
    scene.rules.request_messages = 1;
    scene.contacts.push((user("bob"), user("alice")));
    let id = open(&mut scene);
    assert_eq!([(); 5].map(|()| send(&mut scene, "alice", "bob")), [Reason::SUCCESS; 5]);
    assert!(!described(&mut scene, "bob", id));
    let (record, state) = scene.cache.conversation(id).unwrap().to_records();
    assert!(state.progress.iter().all(|progress| progress.pending.is_none()));
    assert_eq!(Conversation::from_records(id, &record, &state).as_ref(), scene.cache.conversation(id));
    let id = open_with_carol(&mut scene);
    let (record, state) = scene.cache.conversation(id).unwrap().to_records();
    assert_eq!(Conversation::from_records(id, &record, &state).as_ref(), scene.cache.conversation(id));
}

fn open_with_carol(scene: &mut Scene) -> ConversationId {
    let (response, outcome) = scene.call("alice", Call::OpenDirect(client::OpenDirect { user: "carol".into() }));
    let opened = |entry: &NewEntry| {
        let change = client::Change::decode(Entry::decode(entry.value.clone()).unwrap().content).unwrap();
        let Some(client::change::Change::Opened(opened)) = change.change else { panic!() };
        (entry.device.get(), opened.request)
    };
    let told: Vec<_> = outcome.entries.iter().map(opened).collect();
    assert_eq!(told, [(1, false), (9, false), (3, true)], "whom it is a request to is told so");
    ConversationId::new(response.conversation)
}

#[test]
fn strangers_fill_no_more_than_half_of_an_inbox() {
    let mut scene = Scene::new();
    let direct = open(&mut scene);
    let group = scene.group(&["bob", "carol"]);
    scene.cache.set_fullness(Scene::device("bob"), Fullness::Half);
    assert_eq!(send(&mut scene, "alice", "bob"), Reason::QUOTA_EXCEEDED);
    assert_eq!(send(&mut scene, "dave", "bob"), Reason::QUOTA_EXCEEDED);
    let to_group =
        |scene: &mut Scene| recipients(&scene.post("alice", To::Conversation(group), b"x"), EntryKind::Message);
    assert_eq!(to_group(&mut scene), [9, 3], "the others do not miss it");
    assert_eq!(published(&scene.post("bob", To::Conversation(group), b"who is it?")).0, Reason::SUCCESS);
    assert_eq!(to_group(&mut scene), [9, 2, 3], "it has acted there");
    scene.call("bob", Call::Accept(client::Accept { conversation: direct.get() }));
    assert_eq!(send(&mut scene, "alice", "bob"), Reason::SUCCESS);
    scene.contacts.push((user("bob"), user("erin")));
    assert_eq!(send(&mut scene, "erin", "bob"), Reason::SUCCESS);
    let (_, outcome) = scene.call("dave", create(&["bob", "carol"]));
    assert_eq!(
        recipients(&outcome, EntryKind::Change),
        [4, 3],
        "it is in the group, and hears of it when there is room"
    );
}

#[test]
fn a_user_says_who_may_add_it_to_groups() {
    use client::GroupsFrom::{Contacts, Everybody, Nobody};
    let mut scene = Scene::new();
    scene.contacts.push((user("bob"), user("carol")));
    let (made, _) = scene.call("alice", create(&["dave"]));
    let conversation = made.conversation;
    let table = [("carol", Everybody, true), ("dave", Everybody, true), ("carol", Contacts, true)];
    let table = [&table[..], &[("dave", Contacts, false), ("carol", Nobody, false), ("dave", Nobody, false)]].concat();
    for (by, groups_from, may) in table {
        let record = UserRecord { groups_from: groups_from.into(), ..record_of(&user("bob")) };
        scene.cache.insert_user(user("bob"), Some(record));
        let (response, outcome) = scene.call(by, create(&["bob"]));
        let expected = if may { Reason::SUCCESS } else { Reason::NOT_AUTHORIZED };
        assert_eq!(Reason::from_u32(response.reason), expected, "{by} {groups_from:?}");
        assert!(may || (outcome.changes.is_empty() && response.text.contains("invite")));
    }
    let add = Call::AddMember(client::AddMember { conversation, user: "bob".into() });
    assert_eq!(scene.call("alice", add).0.reason, Reason::NOT_AUTHORIZED.into());
    let (invited, _) = scene.call("alice", Call::CreateInvite(client::CreateInvite { conversation, expires_in_s: 0 }));
    let join = Call::Join(client::Join { invite: invited.invites[0].invite.clone() });
    assert_eq!(scene.call("bob", join).0.reason, 0, "an invite works for everybody");
    assert!(!described(&mut scene, "bob", ConversationId::new(conversation)), "it came by itself");
}

#[test]
fn strangers_add_a_user_so_often_a_day_and_up_to_half_its_limit() {
    let mut scene = Scene::new();
    scene.rules.stranger_adds_per_day = 2;
    scene.contacts.push((user("bob"), user("carol")));
    let reason = |scene: &mut Scene, by, call| {
        scene.cache.seal();
        Reason::from_u32(scene.call(by, call).0.reason)
    };
    assert_eq!(reason(&mut scene, "alice", create(&["bob", "carol"])), Reason::SUCCESS);
    assert_eq!(reason(&mut scene, "dave", create(&["bob"])), Reason::SUCCESS);
    let (made, _) = scene.call("alice", create(&["dave"]));
    let add = |conversation| Call::AddMember(client::AddMember { conversation, user: "bob".into() });
    for call in [create(&["bob"]), add(made.conversation)] {
        assert_eq!(reason(&mut scene, "alice", call), Reason::QUOTA_EXCEEDED);
    }
    let leave = Call::Leave(client::Leave { conversation: made.conversation });
    assert_eq!(reason(&mut scene, "dave", leave), Reason::SUCCESS);
    assert_eq!(reason(&mut scene, "alice", create(&["bob"])), Reason::QUOTA_EXCEEDED, "to leave changes nothing");
    assert_eq!(reason(&mut scene, "carol", create(&["bob"])), Reason::SUCCESS, "a contact");
    assert_eq!(send(&mut scene, "erin", "bob"), Reason::SUCCESS, "is no group");
    scene.now_s += 24 * 3_600;
    assert_eq!(reason(&mut scene, "alice", create(&["bob"])), Reason::SUCCESS);

    scene.rules.conversations_per_user = 10;
    assert_eq!(scene.crowds[&user("bob")].conversations, 5);
    assert_eq!(reason(&mut scene, "alice", create(&["bob"])), Reason::QUOTA_EXCEEDED);
    assert_eq!(send(&mut scene, "alice", "bob"), Reason::QUOTA_EXCEEDED);
    assert_eq!(reason(&mut scene, "carol", create(&["bob"])), Reason::SUCCESS);
    assert_eq!(reason(&mut scene, "bob", create(&["alice"])), Reason::SUCCESS, "its own business");
}
