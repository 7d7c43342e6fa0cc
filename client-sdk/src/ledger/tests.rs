use godwit_schemas::client::{self, Role, change, event};

use super::*;
use crate::event::Event;
use crate::send::{Draft, Recipient, SendState};
use crate::store::MemoryStore;
use crate::wire;
use bytes::Bytes;
use prost::Message as _;

const HERE: ConversationId = ConversationId::new(65);

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn ledger(store: &MemoryStore) -> Ledger {
    Ledger::open(Box::new(store.clone()), &user("alice"), "phone", true, 100).unwrap()
}

fn delivered(event: event::Event) -> (wire::Event, Bytes) {
    let payload: Bytes = client::Event { event: Some(event) }.encode_to_vec().into();
    (wire::Event::parse(payload.clone()).unwrap(), payload)
}

fn message(sequence: u64, body: &str) -> (wire::Event, Bytes) {
    let body = body.to_owned().into();
    delivered(event::Event::Message(client::Message {
        conversation: 65,
        sequence,
        sender: 1,
        age_s: 0,
        body,
        ..Default::default()
    }))
}

fn changed(sequence: u64, change: change::Change) -> (wire::Event, Bytes) {
    let change = client::Change { conversation: 65, sequence, by: 0, change: Some(change) };
    delivered(event::Event::Change(change))
}

fn member(ordinal: u32, user: &str) -> client::Member {
    client::Member { ordinal, user: user.into(), role: Role::Member.into() }
}

fn opened(group: bool, users: &[&str]) -> (wire::Event, Bytes) {
    let members = users.iter().enumerate().map(|(at, user)| member(at as u32, user)).collect();
    changed(1, change::Change::Opened(client::Opened { group, title: String::new(), members, ..Default::default() }))
}

fn receipt(member: u32, delivered_up_to: u64, read_up_to: u64) -> (wire::Event, Bytes) {
    delivered(event::Event::Receipt(client::Receipt { conversation: 65, member, delivered_up_to, read_up_to }))
}

fn told(ledger: &mut Ledger) -> Vec<Event> {
    ledger.events(0, 99).unwrap().1.into_iter().map(|delivery| delivery.event).collect()
}

fn bodies(ledger: &mut Ledger) -> Vec<(u64, String)> {
    let messages = ledger.messages(HERE, None, 99).unwrap().into_iter();
    messages.map(|(it, _)| (it.sequence.get(), String::from_utf8(it.body.to_vec()).unwrap())).collect()
}

fn at(sequence: u64) -> Option<(ConversationId, Seq)> {
    Some((HERE, Seq::new(sequence)))
}

#[test]
fn what_the_app_has_not_confirmed_it_sees_again_and_what_it_has_never() {
    let store = MemoryStore::new();
    let mut it = ledger(&store);
    it.receive(vec![opened(false, &["alice", "bob"]), message(2, "one"), message(3, "two")], 9).unwrap();
    it.commit().unwrap();
    let mut it = ledger(&store);
    let (_, events) = it.events(0, 99).unwrap();
    assert_eq!(events.len(), 3);
    it.confirm(events[1].id).unwrap();
    it.commit().unwrap();
    let mut it = ledger(&store);
    assert!(matches!(&told(&mut it)[..], [Event::Message(two)] if two.body == "two" && two.user == Some(user("bob"))));
    // The server sends it all again: it did not get the acknowledgements.
    let again = it.receive(vec![opened(false, &["alice", "bob"]), message(2, "one"), message(3, "two")], 9).unwrap();
    assert_eq!(again, Received::default());
    assert_eq!(told(&mut it).len(), 1);
}

#[test]
fn sends_keep_their_numbers_over_a_restart_and_use_none_twice() {
    let store = MemoryStore::new();
    let mut it = ledger(&store);
    let to = Recipient::User(user("bob"));
    let ids: Vec<_> = (0..3).map(|_| it.queue(&to, Draft::new("x"), 9).unwrap().get()).collect();
    assert_eq!(ids, [101, 102, 103]);
    it.stored(SendId::new(101), at(2)).unwrap();
    it.commit().unwrap();
    let mut it = ledger(&store);
    let left: Vec<_> = it.unanswered(0, 99).unwrap().into_iter().map(|out| out.id.get()).collect();
    assert_eq!(left, [102, 103]);
    assert_eq!(it.queue(&to, Draft::new("x"), 9).unwrap().get(), 104);
}

#[test]
fn ticks_are_what_all_others_have_reached() {
    let mut it = ledger(&MemoryStore::new());
    it.receive(vec![opened(true, &["alice", "bob", "carol"])], 9).unwrap();
    let id = it.queue(&HERE.into(), Draft::new("hi"), 9).unwrap();
    assert_eq!(it.state(id).unwrap(), Some(SendState::Queued));
    it.stored(id, at(2)).unwrap();
    let state = |it: &mut Ledger| it.state(id).unwrap().unwrap().rank().unwrap();
    let mut ranks = vec![state(&mut it)];
    let late = change::Change::Added(member(3, "dave"));
    for event in [receipt(1, 2, 0), changed(3, late), receipt(2, 2, 0), receipt(1, 2, 2), receipt(2, 3, 3)] {
        it.receive(vec![event], 9).unwrap();
        ranks.push(state(&mut it));
    }
    assert_eq!(ranks, [1, 1, 1, 2, 2, 3], "dave joined later and does not count");
}

#[test]
fn who_left_is_not_waited_for() {
    let mut it = ledger(&MemoryStore::new());
    it.receive(vec![opened(true, &["alice", "bob", "carol"])], 9).unwrap();
    let id = it.queue(&HERE.into(), Draft::new("hi"), 9).unwrap();
    it.stored(id, at(2)).unwrap();
    it.receive(vec![receipt(1, 2, 2), changed(3, change::Change::Removed(2))], 9).unwrap();
    assert_eq!(it.state(id).unwrap().unwrap().rank(), Some(3));
}

#[test]
fn a_retry_without_a_place_finds_it() {
    let mut it = ledger(&MemoryStore::new());
    it.receive(vec![opened(false, &["alice", "bob"])], 9).unwrap();
    let to = Recipient::User(user("bob"));
    let [one, two, three] = ["one", "two", "three"].map(|body| it.queue(&to, Draft::new(body), 9).unwrap());
    assert_eq!(it.stored(one, None).unwrap(), []);
    assert_eq!(it.state(one).unwrap(), Some(SendState::Sent { at: None }));
    assert_eq!(it.pending(&to).unwrap().len(), 3, "nothing is lost from sight");
    assert_eq!(it.stored(two, at(4)).unwrap(), [two], "one may be before or after bob's");
    let received = it.receive(vec![message(3, "bob's")], 9).unwrap();
    assert_eq!(received.placed, [one]);
    it.stored(three, at(5)).unwrap();
    let expected = [(2, "one"), (3, "bob's"), (4, "two"), (5, "three")].map(|(at, body)| (at, body.to_owned()));
    assert_eq!(bodies(&mut it), expected);
    assert!(!told(&mut it).iter().any(|event| matches!(event, Event::Missing { .. })));
}

fn missing(ledger: &mut Ledger) -> Vec<(u64, u64)> {
    let told = told(ledger).into_iter().filter_map(|event| match event {
        Event::Missing { first, last, .. } => Some((first.get(), last.get())),
        _ => None,
    });
    told.collect()
}

fn gap(first: u64, last: u64) -> Gap {
    Gap { conversation: HERE, first: Seq::new(first), last: Seq::new(last) }
}

/// A page of history.
fn page(events: Vec<(wire::Event, Bytes)>, next: u64) -> client::Response {
    let history = events.into_iter().map(|(_, payload)| client::Event::decode(payload).unwrap()).collect();
    client::Response { history, next, ..Default::default() }
}

#[test]
fn a_gap_is_looked_for_when_no_send_can_be_in_it_and_told_when_it_is_nowhere() {
    let store = MemoryStore::new();
    let mut it = ledger(&store);
    it.receive(vec![opened(false, &["alice", "bob"])], 9).unwrap();
    let id = it.queue(&user("bob").into(), Draft::new("x"), 9).unwrap();
    it.receive(vec![message(4, "y")], 9).unwrap();
    assert_eq!(it.new_gaps().unwrap(), []);
    it.stored(id, at(3)).unwrap();
    assert_eq!(it.new_gaps().unwrap(), [gap(2, 2)]);
    assert_eq!(it.new_gaps().unwrap(), [], "asked for already");
    it.commit().unwrap();
    // Another run of the app asks again.
    let mut it = ledger(&store);
    assert_eq!((it.gaps().unwrap(), missing(&mut it)), (vec![gap(2, 2)], vec![]));
    it.fetched(gap(2, 2), page(vec![], 0), 9, &mut Received::default()).unwrap();
    assert_eq!((it.gaps().unwrap(), missing(&mut it)), (vec![], vec![(2, 2)]));
    it.fetched(gap(2, 2), page(vec![], 0), 9, &mut Received::default()).unwrap();
    assert_eq!(missing(&mut it), [(2, 2)], "told once");
}

#[test]
fn what_did_not_come_is_taken_from_history_page_by_page() {
    let mut it = ledger(&MemoryStore::new());
    it.receive(vec![opened(true, &["alice", "bob"])], 9).unwrap();
    it.receive(vec![message(9, "nine")], 9).unwrap();
    assert_eq!(it.new_gaps().unwrap(), [gap(2, 8)]);
    let mut received = Received::default();
    let first = page(vec![message(2, "two"), message(3, "three"), message(9, "nine"), message(12, "no")], 4);
    it.fetched(gap(2, 8), first, 9, &mut received).unwrap();
    assert!(received.news);
    assert_eq!((it.new_gaps().unwrap(), missing(&mut it)), (vec![gap(5, 8)], vec![(4, 4)]));
    let recalled = client::Message { conversation: 65, sequence: 7, recalled: true, ..Default::default() };
    let renamed = changed(6, change::Change::Renamed("late".into()));
    let second = page(vec![renamed, delivered(event::Event::Message(recalled)), message(8, "eight")], 0);
    it.fetched(gap(5, 8), second, 9, &mut received).unwrap();
    assert_eq!(missing(&mut it), [(4, 4), (5, 5)]);
    let expected = [(2, "two"), (3, "three"), (8, "eight"), (9, "nine")];
    assert_eq!(bodies(&mut it), expected.map(|(at, body)| (at, body.to_owned())));
    assert_eq!(it.conversation(HERE).unwrap().unwrap().title, "", "a late change is not applied over later ones");
    assert!(received.unknown.contains(&HERE), "what is so now is asked for");
    it.receive(vec![message(3, "three"), message(4, "four")], 9).unwrap();
    assert_eq!(bodies(&mut it).len(), 5, "each once, also what comes late");
}

#[test]
fn a_refusal_to_look_is_the_end_of_it() {
    let mut it = ledger(&MemoryStore::new());
    it.receive(vec![opened(true, &["alice", "bob"]), message(5, "five")], 9).unwrap();
    let refused = client::Response { reason: 0x87, ..Default::default() };
    it.fetched(gap(2, 4), refused, 9, &mut Received::default()).unwrap();
    assert_eq!((it.gaps().unwrap(), missing(&mut it)), (vec![], vec![(2, 4)]));
}

#[test]
fn a_refusal_reaches_the_app_also_after_a_restart() {
    let store = MemoryStore::new();
    let mut it = ledger(&store);
    let id = it.queue(&user("nobody").into(), Draft::new("x"), 9).unwrap();
    it.refused(id, 0x90, "no such user").unwrap();
    it.commit().unwrap();
    let mut it = ledger(&store);
    assert!(matches!(it.state(id).unwrap(), Some(SendState::Refused(_))));
    let events = told(&mut it);
    let [Event::Refused { send, to, refusal }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*send, to), (id, &Recipient::User(user("nobody"))));
    assert_eq!((refusal.reason.get(), refusal.retry_helps()), (0x90, false));
}

#[test]
fn a_waiting_receipt_is_replaced_by_a_newer_one() {
    let mut it = ledger(&MemoryStore::new());
    it.receive(vec![opened(false, &["alice", "bob"])], 9).unwrap();
    it.receive(vec![receipt(1, 2, 0), receipt(1, 3, 0), receipt(1, 3, 3), receipt(1, 2, 1)], 9).unwrap();
    let events = told(&mut it);
    let [Event::Changed { .. }, Event::Receipt { user: Some(bob), delivered_up_to, read_up_to, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((bob.as_str(), delivered_up_to.get(), read_up_to.get()), ("bob", 3, 3));
}

#[test]
fn a_new_device_learns_the_members_when_it_asks() {
    let mut it = ledger(&MemoryStore::new());
    for event in [receipt(1, 6, 0), message(7, "x")] {
        let received = it.receive(vec![event], 9).unwrap();
        assert_eq!(received.unknown.into_iter().collect::<Vec<_>>(), [HERE]);
    }
    let members = vec![member(0, "alice"), member(1, "bob")];
    it.described(HERE, client::Opened { group: false, title: String::new(), members, ..Default::default() }).unwrap();
    assert_eq!(it.direct(&user("bob")).unwrap(), Some(HERE));
    let known = it.conversation(HERE).unwrap().unwrap();
    assert_eq!(known.members[1].delivered_up_to.get(), 6);
    assert_eq!(it.unknown().unwrap(), []);
}

#[test]
fn what_was_read_is_told_until_the_server_has_it() {
    let mut it = ledger(&MemoryStore::new());
    it.receive(vec![opened(false, &["alice", "bob"]), message(2, "x"), message(3, "y")], 9).unwrap();
    assert!(it.mark_read(HERE, Seq::new(2)).unwrap());
    assert!(!it.mark_read(HERE, Seq::new(1)).unwrap(), "it only grows");
    assert_eq!(it.untold_reads().unwrap(), [(HERE, Seq::new(2))]);
    it.mark_read(HERE, Seq::new(3)).unwrap();
    it.read_told(HERE, Seq::new(2)).unwrap();
    assert_eq!(it.untold_reads().unwrap(), [(HERE, Seq::new(3))], "that was the earlier one");
    it.read_told(HERE, Seq::new(3)).unwrap();
    assert_eq!(it.untold_reads().unwrap(), []);
}

#[test]
fn without_an_archive_bodies_go_with_their_confirmation() {
    let store = MemoryStore::new();
    let mut it = Ledger::open(Box::new(store), &user("alice"), "phone", false, 0).unwrap();
    it.receive(vec![opened(false, &["alice", "bob"]), message(2, "x")], 9).unwrap();
    assert_eq!(bodies(&mut it).len(), 1);
    let last = it.events(0, 99).unwrap().0;
    it.confirm(last).unwrap();
    assert_eq!(bodies(&mut it), []);
}

#[test]
fn a_store_has_one_owner() {
    let store = MemoryStore::new();
    drop(ledger(&store));
    let other = Ledger::open(Box::new(store), &user("bob"), "phone", true, 0);
    assert!(matches!(other.err(), Some(Error::Owner { owner }) if owner == "alice/phone"));
}

#[test]
fn a_send_that_was_stored_in_an_unknown_conversation_finds_its_place_when_that_is_known() {
    let mut it = ledger(&MemoryStore::new());
    let to = Recipient::User(user("bob"));
    let id = it.queue(&to, Draft::new("hi"), 9).unwrap();
    it.stored(id, None).unwrap();
    assert_eq!(it.pending(&to).unwrap().len(), 1);
    it.receive(vec![opened(false, &["alice", "bob"])], 9).unwrap();
    assert_eq!(it.state(id).unwrap(), Some(SendState::Sent { at: None }), "nothing shows where");
    let received = it.receive(vec![receipt(1, 2, 2), message(3, "bob's")], 9).unwrap();
    assert_eq!(received.placed, [id]);
    assert_eq!(it.state(id).unwrap(), Some(SendState::Read { at: at(2).unwrap() }));
}

#[test]
fn who_sent_a_message_may_edit_it_and_take_it_back_and_admins_may_take_it_back() {
    let mut it = ledger(&MemoryStore::new());
    let by = |sequence, by, change| {
        let change = client::Change { conversation: 65, sequence, by, change: Some(change) };
        delivered(event::Event::Change(change))
    };
    let edited = |at| change::Change::Edited(client::Edited { sequence: at, body: "edited".into() });
    let admin = client::Member { role: Role::Admin.into(), ..member(2, "carol") };
    let members = vec![member(0, "alice"), member(1, "bob"), admin];
    let opened = client::Opened { group: true, members, ..Default::default() };
    it.receive(vec![changed(1, change::Change::Opened(opened)), message(2, "one"), message(3, "two")], 9).unwrap();
    it.receive(vec![by(4, 0, edited(2)), by(5, 0, change::Change::Recalled(3)), by(6, 2, edited(3))], 9).unwrap();
    assert_eq!(bodies(&mut it), [(2, "one".to_owned()), (3, "two".to_owned())], "by others: not believed");
    it.receive(vec![by(7, 1, edited(2)), by(8, 2, change::Change::Recalled(3)), by(9, 1, edited(3))], 9).unwrap();
    let shown: Vec<_> = it.messages(HERE, None, 9).unwrap().into_iter().map(|(it, _)| it).collect();
    assert_eq!((&shown[0].body[..], shown[0].edited, shown[0].recalled), (&b"edited"[..], true, false));
    assert_eq!((&shown[1].body[..], shown[1].edited, shown[1].recalled), (&b""[..], false, true));
}
