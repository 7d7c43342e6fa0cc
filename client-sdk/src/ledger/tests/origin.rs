//! Servers that were restored from a backup.

use std::collections::{BTreeMap, BTreeSet};

use godwit_schemas::client;

use super::*;
use crate::ledger::{RestoreFindings, ServerIdentity};

const BEFORE: ServerIdentity = ServerIdentity { server: 1, epoch: 2 };
const AFTER: ServerIdentity = ServerIdentity { server: 1, epoch: 3 };

fn there(group: bool, users: &[&str]) -> RestoreFindings {
    let members = users.iter().enumerate().map(|(at, user)| member(at as u32, user)).collect();
    let opened = client::Opened { group, members, ..Default::default() };
    RestoreFindings { there: BTreeMap::from([(HERE, opened)]), ..RestoreFindings::default() }
}

fn gone() -> RestoreFindings {
    RestoreFindings { gone: BTreeSet::from([HERE]), ..RestoreFindings::default() }
}

/// A device that has received and sent, and has something for a conversation, a user and a number that was not sent.
fn begun(group: bool, users: &[&str]) -> (Ledger, [SendId; 2]) {
    let mut it = ledger(&VolatileStore::new());
    it.set_origin(BEFORE).unwrap();
    it.receive(vec![opened(group, users), message(2, "one")], 9).unwrap();
    let sent = it.queue(&HERE.into(), Draft::new("two"), 9).unwrap();
    it.stored(sent, at(3)).unwrap();
    let unsent = [HERE.into(), Recipient::User(user("bob"))].map(|to| it.queue(&to, Draft::new("x"), 9).unwrap());
    (it, unsent)
}

fn unsent(it: &mut Ledger) -> Vec<(SendId, Recipient)> {
    it.unanswered(0, 99, 0).unwrap().sends.into_iter().map(|out| (out.id, out.to)).collect()
}

#[test]
fn it_knows_whose_it_is() {
    let mut it = ledger(&VolatileStore::new());
    assert_eq!(it.origin().unwrap(), None);
    it.set_origin(BEFORE).unwrap();
    assert_eq!(it.origin().unwrap(), Some(BEFORE));
}

#[test]
fn a_conversation_with_the_same_members_goes_on() {
    let (mut it, sends) = begun(true, &["alice", "bob"]);
    assert_eq!(it.leap(1 << 40).unwrap(), BTreeSet::from([HERE]));
    assert_eq!(it.restored(AFTER, there(true, &["alice", "bob"])).unwrap(), []);
    assert_eq!(it.origin().unwrap(), Some(AFTER));
    assert_eq!(unsent(&mut it).iter().map(|(id, _)| *id).collect::<Vec<_>>(), sends);
    let received = it.receive(vec![message(2, "one"), message((1 << 40) + 1, "three")], 9).unwrap();
    assert_eq!(received.gaps, []);
    assert_eq!(it.gaps().unwrap(), [], "nothing is missing");
    assert_eq!(bodies(&mut it).len(), 3, "and nothing was forgotten, or told twice");
    assert!(told(&mut it).contains(&Event::ServerRestored { lost: vec![] }));
    assert!(!it.fills().unwrap().is_empty(), "the list is asked for once more");
}

#[test]
fn what_was_written_for_other_members_is_not_sent() {
    for (before, now) in
        [(&["alice", "bob"][..], &["alice", "bob", "carol"][..]), (&["alice", "bob", "carol"], &["alice", "bob"])]
    {
        let (mut it, [to_all, to_bob]) = begun(true, before);
        it.leap(1 << 40).unwrap();
        assert_eq!(it.restored(AFTER, there(true, now)).unwrap(), [to_all]);
        assert!(matches!(it.state(to_all).unwrap(), Some(SendState::Refused(why)) if why.text.contains("members")));
        assert_eq!(unsent(&mut it), [(to_bob, Recipient::User(user("bob")))]);
    }
}

#[test]
fn a_group_that_is_gone_stays_readable_and_gets_nothing() {
    let (mut it, [to_all, _]) = begun(true, &["alice", "bob"]);
    it.leap(1 << 40).unwrap();
    assert_eq!(it.restored(AFTER, gone()).unwrap(), [to_all]);
    assert!(told(&mut it).contains(&Event::ServerRestored { lost: vec![HERE] }));
    assert_eq!(bodies(&mut it), [(2, "one".to_owned()), (3, "two".to_owned())]);
    let now = it.conversation(HERE).unwrap().unwrap();
    assert!(now.members.iter().all(|member| !member.present));
}

#[test]
fn what_was_for_a_direct_conversation_that_is_gone_goes_by_name() {
    let (mut it, [first, second]) = begun(false, &["alice", "bob"]);
    assert_eq!(it.direct(&user("bob")).unwrap(), Some(HERE));
    it.leap(1 << 40).unwrap();
    assert_eq!(it.restored(AFTER, gone()).unwrap(), []);
    assert_eq!(it.direct(&user("bob")).unwrap(), None);
    let bob = Recipient::User(user("bob"));
    assert_eq!(unsent(&mut it), [(first, bob.clone()), (second, bob)]);
    // It has another number now, and no hole of it waits for what went elsewhere.
    let there = ConversationId::new(129);
    it.stored(first, Some((there, Seq::new(2)))).unwrap();
    it.stored(second, Some((there, Seq::new(3)))).unwrap();
    assert!(!it.has_unanswered(HERE, &Default::default()).unwrap());
}

#[test]
fn what_nobody_knows_is_not_sent() {
    let (mut it, [to_all, _]) = begun(true, &["alice", "bob"]);
    let unsure = it.leap(0).unwrap();
    assert_eq!(it.restored(AFTER, RestoreFindings { unsure, ..RestoreFindings::default() }).unwrap(), [to_all]);
    assert_eq!(it.conversation(HERE).unwrap().unwrap().members.len(), 2);
}
