#[cfg(feature = "e2ee")]
mod groups;
#[cfg(feature = "e2ee")]
mod identity;
mod origin;

use godwit_schemas::client::{self, Role, change, event};

use super::*;
use crate::event::Event;
use crate::send::{Draft, Recipient, SendState};
use crate::store::VolatileStore;
use crate::wire;
use bytes::Bytes;
use prost::Message as _;

const HERE: ConversationId = ConversationId::new(65);

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn ledger(store: &VolatileStore) -> Ledger {
    Ledger::open(Box::new(store.clone()), &user("alice"), "phone", true, Beginning { after: 100, counter: 7 }).unwrap()
}

fn delivered(event: event::Event) -> (wire::InboxEvent, Bytes) {
    let payload: Bytes = client::Event { event: Some(event) }.encode_to_vec().into();
    (wire::InboxEvent::parse(payload.clone()).unwrap(), payload)
}

fn message(sequence: u64, body: &str) -> (wire::InboxEvent, Bytes) {
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

fn changed(sequence: u64, change: change::Change) -> (wire::InboxEvent, Bytes) {
    let change = client::Change { conversation: 65, sequence, change: Some(change), ..Default::default() };
    delivered(event::Event::Change(change))
}

fn member(ordinal: u32, user: &str) -> client::Member {
    client::Member { ordinal, user: user.into(), role: Role::Member.into() }
}

fn opened(group: bool, users: &[&str]) -> (wire::InboxEvent, Bytes) {
    let members = users.iter().enumerate().map(|(at, user)| member(at as u32, user)).collect();
    changed(1, change::Change::Opened(client::Opened { group, title: String::new(), members, ..Default::default() }))
}

fn receipt(member: u32, delivered_up_to: u64, read_up_to: u64) -> (wire::InboxEvent, Bytes) {
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
fn only_unconfirmed_events_are_shown_again_after_a_restart() {
    let store = VolatileStore::new();
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
    let store = VolatileStore::new();
    let mut it = ledger(&store);
    let to = Recipient::User(user("bob"));
    let ids: Vec<_> = (0..3).map(|_| it.queue(&to, Draft::new("x"), 9).unwrap().get()).collect();
    assert_eq!(ids, [101, 102, 103]);
    it.stored(SendId::new(101), at(2)).unwrap();
    it.commit().unwrap();
    let mut it = ledger(&store);
    let left: Vec<_> = it.unanswered(0, 99, 0).unwrap().sends.into_iter().map(|out| out.id.get()).collect();
    assert_eq!(left, [102, 103]);
    assert_eq!(it.queue(&to, Draft::new("x"), 9).unwrap().get(), 104);
}

#[test]
fn ticks_are_what_all_others_have_reached() {
    let mut it = ledger(&VolatileStore::new());
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
    let mut it = ledger(&VolatileStore::new());
    it.receive(vec![opened(true, &["alice", "bob", "carol"])], 9).unwrap();
    let id = it.queue(&HERE.into(), Draft::new("hi"), 9).unwrap();
    it.stored(id, at(2)).unwrap();
    it.receive(vec![receipt(1, 2, 2), changed(3, change::Change::Removed(2))], 9).unwrap();
    assert_eq!(it.state(id).unwrap().unwrap().rank(), Some(3));
}

#[test]
fn a_retry_without_a_place_finds_it() {
    let mut it = ledger(&VolatileStore::new());
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
fn page(events: Vec<(wire::InboxEvent, Bytes)>, next: u64) -> client::Response {
    let history = events.into_iter().map(|(_, payload)| client::Event::decode(payload).unwrap()).collect();
    client::Response { history, next, ..Default::default() }
}

#[test]
fn a_gap_without_own_sends_is_fetched_or_reported_missing() {
    let store = VolatileStore::new();
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
    let mut it = ledger(&VolatileStore::new());
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
    let mut it = ledger(&VolatileStore::new());
    it.receive(vec![opened(true, &["alice", "bob"]), message(5, "five")], 9).unwrap();
    let refused = client::Response { reason: 0x87, ..Default::default() };
    it.fetched(gap(2, 4), refused, 9, &mut Received::default()).unwrap();
    assert_eq!((it.gaps().unwrap(), missing(&mut it)), (vec![], vec![(2, 4)]));
}

#[test]
fn a_refusal_reaches_the_app_also_after_a_restart() {
    let store = VolatileStore::new();
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
    let mut it = ledger(&VolatileStore::new());
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
    let mut it = ledger(&VolatileStore::new());
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
    let mut it = ledger(&VolatileStore::new());
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
    let store = VolatileStore::new();
    let mut it = Ledger::open(Box::new(store), &user("alice"), "phone", false, Beginning::default()).unwrap();
    it.receive(vec![opened(false, &["alice", "bob"]), message(2, "x")], 9).unwrap();
    assert_eq!(bodies(&mut it).len(), 1);
    let last = it.events(0, 99).unwrap().0;
    it.confirm(last).unwrap();
    assert_eq!(bodies(&mut it), []);
}

#[test]
fn a_store_has_one_owner() {
    let store = VolatileStore::new();
    drop(ledger(&store));
    let other = Ledger::open(Box::new(store), &user("bob"), "phone", true, Beginning::default());
    assert!(matches!(other.err(), Some(Error::Owner { owner }) if owner == "alice/phone"));
}

#[test]
fn a_send_to_an_unknown_conversation_is_placed_once_known() {
    let mut it = ledger(&VolatileStore::new());
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
fn only_senders_edit_while_senders_and_admins_recall() {
    let mut it = ledger(&VolatileStore::new());
    let by = |sequence, by, change| {
        let change = client::Change { conversation: 65, sequence, by, change: Some(change), ..Default::default() };
        delivered(event::Event::Change(change))
    };
    let edited = |at| change::Change::Edited(client::Edited { sequence: at, body: "edited".into(), mls_epoch: 0 });
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

#[test]
fn a_number_used_by_others_is_no_retry_after_a_restart() {
    let store = VolatileStore::new();
    let mut it = ledger(&store);
    let to = Recipient::User(user("bob"));
    let [one, two] = ["one", "two"].map(|body| it.queue(&to, Draft::new(body), 9).unwrap());
    assert!(it.is_own_repetition(one, two.get()).unwrap(), "all of these are its own");
    assert!(!it.is_own_repetition(one, 900).unwrap());
    it.commit().unwrap();
    let mut it = ledger(&store);
    assert!(!it.is_own_repetition(two, 900).unwrap());
    let three = it.queue(&to, Draft::new("three"), 9).unwrap();
    assert_eq!(three.get(), 901);
    assert!(it.is_own_repetition(three, 901).unwrap());
    assert_eq!(it.unanswered(0, 9, 0).unwrap().sends[0].counter, 7);
}

/// Stores of before counted without a name: they go on so, or a retry would be another message.
#[test]
fn a_store_of_before_keeps_its_count_without_a_name() {
    let store = VolatileStore::new();
    drop(ledger(&store));
    let mut before = store.clone();
    crate::store::LocalStore::delete(&mut before, keys::COUNTER).unwrap();
    let mut it = ledger(&store);
    it.queue(&user("bob").into(), Draft::new("x"), 9).unwrap();
    let out = &it.unanswered(0, 9, 0).unwrap().sends[0];
    assert_eq!((out.counter, out.id.get()), (0, 101));
}

fn by(sequence: u64, by: u32, change: change::Change) -> (wire::InboxEvent, Bytes) {
    delivered(event::Event::Change(client::Change {
        conversation: 65,
        sequence,
        by,
        change: Some(change),
        ..Default::default()
    }))
}

fn edited(at: u64, body: &'static str) -> change::Change {
    change::Change::Edited(client::Edited { sequence: at, body: body.into(), mls_epoch: 0 })
}

fn reacted(at: u64, reaction: &str) -> change::Change {
    change::Change::Reacted(client::Reacted { sequence: at, reaction: reaction.to_owned(), ..Default::default() })
}

/// Places of changes of messages that the app is told of, and whether they were checked.
fn amendments(ledger: &mut Ledger) -> Vec<(u64, bool)> {
    let told = told(ledger).into_iter().filter_map(|event| match event {
        Event::Changed { change: wire::ConversationUpdate::Opened { .. }, .. } => None,
        Event::Changed { sequence, checked, .. } => Some((sequence.get(), checked)),
        _ => None,
    });
    told.collect()
}

#[test]
fn false_changes_are_dropped_and_unverifiable_ones_marked() {
    let mut it = ledger(&VolatileStore::new());
    it.receive(vec![opened(true, &["alice", "bob", "carol"]), message(2, "bob's")], 9).unwrap();
    it.receive(vec![by(3, 2, edited(2, "carol's")), by(4, 2, change::Change::Recalled(2))], 9).unwrap();
    it.receive(
        vec![by(5, 1, edited(2, "new")), by(6, 2, reacted(2, "+1")), by(7, 1, edited(1, "what is not here"))],
        9,
    )
    .unwrap();
    assert_eq!(amendments(&mut it), [(5, true), (6, true), (7, false)]);
    assert_eq!(bodies(&mut it), [(2, "new".to_owned())]);
    it.receive(vec![by(8, 1, change::Change::Recalled(2)), by(9, 2, reacted(2, "-1")), by(10, 1, edited(2, "x"))], 9)
        .unwrap();
    assert_eq!(amendments(&mut it), [(5, true), (6, true), (7, false), (8, true)], "what is taken back is over");
    let Event::Changed { user: Some(bob), .. } = &told(&mut it)[2] else { panic!("an edit") };
    assert_eq!(bob.as_str(), "bob");
    assert_eq!(it.new_gaps().unwrap(), [], "they have their places all the same");
}

#[test]
fn own_messages_are_changed_only_by_this_user() {
    let mut it = ledger(&VolatileStore::new());
    // The place comes before the members are known: this user is not the first of them.
    let id = it.queue(&HERE.into(), Draft::new("mine"), 9).unwrap();
    it.stored(id, at(2)).unwrap();
    it.described(HERE, client::Opened { members: vec![member(0, "bob"), member(1, "alice")], ..Default::default() })
        .unwrap();
    it.receive(vec![by(3, 0, edited(2, "bob's")), by(4, 1, edited(2, "mine too"))], 9).unwrap();
    assert_eq!((bodies(&mut it), amendments(&mut it)), (vec![(2, "mine too".to_owned())], vec![(4, true)]));
}

#[test]
fn reactions_stand_with_their_message_the_last_of_each_member() {
    let store = VolatileStore::new();
    let mut it = ledger(&store);
    it.receive(vec![opened(true, &["alice", "bob", "carol"]), message(2, "x")], 9).unwrap();
    let reactions = [by(3, 2, reacted(2, "+1")), by(4, 0, reacted(2, "!")), by(5, 2, reacted(2, "-1"))];
    it.receive(reactions.to_vec(), 9).unwrap();
    it.receive(vec![by(6, 0, reacted(2, ""))], 9).unwrap();
    it.commit().unwrap();
    let mut it = ledger(&store);
    let (message, _) = it.messages(HERE, None, 9).unwrap().remove(0);
    let shown: Vec<_> = message.reactions.iter().map(|it| (it.user.clone().unwrap(), it.reaction.as_str())).collect();
    assert_eq!(shown, [(user("carol"), "-1")]);
}

#[test]
fn a_change_that_comes_late_is_none_of_what_came_after_it() {
    let mut it = ledger(&VolatileStore::new());
    it.receive(vec![opened(true, &["alice", "bob"]), message(2, "one"), by(4, 1, edited(2, "three"))], 9).unwrap();
    assert_eq!(it.new_gaps().unwrap(), [gap(3, 3)]);
    let late = page(vec![by(3, 1, edited(2, "two"))], 0);
    it.fetched(gap(3, 3), late, 9, &mut Received::default()).unwrap();
    assert_eq!(bodies(&mut it), [(2, "three".to_owned())]);
    // One that did not come, on a message that did.
    it.receive(vec![message(6, "x")], 9).unwrap();
    it.fetched(gap(5, 5), page(vec![by(5, 1, edited(2, "four"))], 0), 9, &mut Received::default()).unwrap();
    assert_eq!(bodies(&mut it)[0], (2, "four".to_owned()));
}

#[test]
fn unread_are_messages_of_others_that_are_there_and_not_read() {
    let store = VolatileStore::new();
    let mut it = ledger(&store);
    let unread = |it: &mut Ledger| it.conversation(HERE).unwrap().unwrap().unread;
    it.receive(vec![opened(true, &["alice", "bob"]), message(2, "a"), message(3, "b"), by(4, 1, edited(2, "x"))], 9)
        .unwrap();
    assert_eq!(unread(&mut it), 2);
    let own = client::Message { conversation: 65, sequence: 5, ..Default::default() };
    it.receive(vec![delivered(event::Event::Message(own)), message(6, "c"), message(7, "d")], 9).unwrap();
    assert_eq!(unread(&mut it), 4, "what this user sent elsewhere is none");
    it.receive(vec![by(8, 1, change::Change::Recalled(3)), by(9, 1, change::Change::Recalled(3))], 9).unwrap();
    assert_eq!(unread(&mut it), 3);
    it.mark_read(HERE, Seq::new(2)).unwrap();
    assert_eq!(unread(&mut it), 2);
    it.commit().unwrap();
    let mut it = ledger(&store);
    it.receive(vec![receipt(0, 7, 6)], 9).unwrap();
    assert_eq!(unread(&mut it), 1, "read on another device");
    it.forget(HERE, Seq::new(7)).unwrap();
    assert_eq!(unread(&mut it), 0);
    let last = it.conversation(HERE).unwrap().unwrap().last;
    assert_eq!(last, None, "forgotten");
    it.receive(vec![message(10, "e")], 9).unwrap();
    assert_eq!((unread(&mut it), it.conversation(HERE).unwrap().unwrap().last.unwrap().body), (1, "e".into()));
}

/// A conversation in the server's list.
fn summary(id: u64, last: Option<(u64, u64)>) -> client::Summary {
    let members = vec![member(0, "alice"), member(1, "bob")];
    let last = last.map(|(sequence, age_s)| {
        let message = client::Message { conversation: id, sequence, age_s, ..Default::default() };
        client::Event { event: Some(event::Event::Message(message)) }
    });
    let description = Some(client::Opened { group: true, members, ..Default::default() });
    client::Summary { conversation: id, description, last, ..Default::default() }
}

fn list(conversations: Vec<client::Summary>, next: u64) -> client::Response {
    client::Response { conversations, next, ..Default::default() }
}

fn list_after(after: u64) -> HistoryFill {
    HistoryFill::List { after: ConversationId::new(after) }
}

fn page_of(id: u64, before: u64) -> HistoryFill {
    HistoryFill::Page { conversation: ConversationId::new(id), before: Seq::new(before) }
}

#[test]
fn an_empty_store_is_filled_newest_first_over_restarts() {
    let store = VolatileStore::new();
    let mut it = ledger(&store);
    assert_eq!(it.fills().unwrap(), [list_after(0)]);
    it.filled(list_after(0), list(vec![summary(65, Some((9, 500))), summary(66, None)], 66), 1_000).unwrap();
    assert_eq!(it.new_fills().unwrap(), [list_after(66)]);
    it.filled(list_after(0), list(vec![summary(70, None)], 70), 1_000).unwrap();
    it.commit().unwrap();
    let mut it = ledger(&store);
    assert_eq!(it.fills().unwrap(), [list_after(66)], "the first answer counts once");
    it.filled(list_after(66), list(vec![summary(67, Some((9, 5))), summary(68, Some((9, 50)))], 0), 1_000).unwrap();
    assert_eq!(it.new_fills().unwrap(), [page_of(67, 0), page_of(68, 0)], "the most recent first");
    assert_eq!(it.conversations().unwrap().len(), 4);

    let mut found = page(vec![message(9, "nine"), message(8, "eight")], 8);
    it.filled(page_of(67, 0), page(vec![], 0), 1_000).unwrap();
    it.filled(page_of(68, 0), page(vec![], 8), 1_000).unwrap();
    assert_eq!(it.new_fills().unwrap(), [page_of(68, 8), page_of(65, 0)], "nothing but changes: one further");
    it.filled(page_of(68, 8), page(vec![], 0), 1_000).unwrap();
    it.filled(page_of(65, 0), found.clone(), 1_000).unwrap();
    assert_eq!(it.fills().unwrap(), []);
    let expected = [(8, "eight"), (9, "nine")].map(|(at, body)| (at, body.to_owned()));
    assert_eq!((bodies(&mut it), told(&mut it)), (expected.to_vec(), vec![]), "no events");
    assert_eq!(it.conversation(HERE).unwrap().unwrap().unread, 2);
    // What comes now is told once, and what stands here twice is one.
    it.receive(vec![message(9, "nine"), message(10, "ten")], 1_000).unwrap();
    assert_eq!((told(&mut it).len(), bodies(&mut it).len()), (2, 3));
    assert_eq!(it.conversation(HERE).unwrap().unwrap().unread, 3);
    assert_eq!(it.new_gaps().unwrap(), [], "what was before is no gap");
    found.next = 0;
    it.filled(page_of(65, 0), found, 1_000).unwrap();
    assert_eq!(bodies(&mut it).len(), 3);
    it.commit().unwrap();
    assert_eq!(ledger(&store).fills().unwrap(), []);
}

#[test]
fn a_page_that_may_be_older_than_a_change_is_asked_for_again() {
    let mut it = ledger(&VolatileStore::new());
    it.filled(list_after(0), list(vec![summary(65, Some((9, 5)))], 0), 1_000).unwrap();
    it.receive(vec![by(10, 1, change::Change::Recalled(9))], 1_000).unwrap();
    it.filled(page_of(65, 0), page(vec![message(9, "taken back")], 0), 1_000).unwrap();
    assert_eq!((bodies(&mut it), it.new_fills().unwrap()), (vec![], vec![page_of(65, 0)]));
    let recalled = client::Message { conversation: 65, sequence: 9, sender: 1, recalled: true, ..Default::default() };
    it.filled(page_of(65, 0), page(vec![delivered(event::Event::Message(recalled))], 0), 1_000).unwrap();
    assert_eq!((bodies(&mut it), it.fills().unwrap()), (vec![(9, String::new())], vec![]));
}

#[test]
fn a_server_that_leads_nowhere_is_not_followed() {
    let mut it = ledger(&VolatileStore::new());
    it.filled(list_after(0), list((1..=300).map(|id| summary(id, Some((9, id)))).collect(), 300), 1_000).unwrap();
    it.filled(list_after(300), list(vec![], 300), 1_000).unwrap();
    let mut asked = 0;
    while let Some(fill) = it.fills().unwrap().first().copied() {
        let HistoryFill::Page { before, .. } = fill else { panic!("{fill:?}") };
        asked += 1;
        it.filled(fill, page(vec![], before.get() + 1), 1_000).unwrap();
    }
    assert_eq!(asked, 400, "four pages each of the hundred that are the most recent");
    assert_eq!(it.conversations().unwrap().len(), 300);
}

#[test]
fn a_store_of_before_is_not_filled() {
    let store = VolatileStore::new();
    drop(ledger(&store));
    let mut older = ledger(&store);
    older.store.delete(keys::LISTED).unwrap();
    older.commit().unwrap();
    assert_eq!(ledger(&store).fills().unwrap(), []);
}
