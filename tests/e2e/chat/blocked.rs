//! What a blocked user may do to who has blocked it: the table of docs/users/clients.md ("Blocked users"), row by row.

use godwit_schemas::client::change::Change;
use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, request::Call};
use serde_json::{Value, json};

use super::people::asked;
use super::user::{User, WAYS};
use super::web::Web;
use crate::server::{Account, Server};

fn history(conversation: u64) -> Call {
    Call::GetHistory(client::GetHistory { conversation, oldest_first: true, ..Default::default() })
}

fn list() -> Call {
    Call::ListConversations(client::ListConversations::default())
}

/// The messages of a history, as far as what was done to them shows.
fn messages(user: &mut User, id: u64) -> Vec<(u64, String, bool, bool, Vec<client::Reaction>)> {
    let events = user.done(history(id)).history.into_iter();
    let messages = events.filter_map(|event| match event.event {
        Some(Event::Message(it)) => Some(it),
        _ => None,
    });
    let body = |it: &client::Message| String::from_utf8_lossy(&it.body).into_owned();
    messages.map(|it| (it.sequence, body(&it), it.edited, it.recalled, it.reactions.clone())).collect()
}

/// Everything that a user is shown: history, conversations, and the export of all it has, but for what time does to it.
fn shown(user: &mut User, web: &Web, id: u64) -> (usize, Vec<client::Summary>, Vec<Value>) {
    let mut summaries = user.done(list()).conversations;
    for summary in &mut summaries {
        if let Some(Event::Message(message)) = summary.last.as_mut().and_then(|last| last.event.as_mut()) {
            message.age_s = 0;
        }
    }
    let (status, _, text) = web.get("/export", &[]);
    assert_eq!(status, 200);
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in lines.iter_mut().filter_map(Value::as_object_mut) {
        line.remove("time_s");
        line.remove("connected");
    }
    (user.done(history(id)).history.len(), summaries, lines)
}

/// Waits for the tick that says that its message was read.
fn is_read(user: &mut User, sequence: u64) {
    use prost::Message as _;
    loop {
        let publish = user.client.receive();
        let event = client::Event::decode(&publish.payload[..]).expect("an Event").event;
        if matches!(event, Some(Event::Receipt(it)) if it.read_up_to == sequence) {
            return;
        }
    }
}

/// Bob has blocked Alice after they have written to each other: her message is 2, his answer 3.
fn scene(server: &Server, accounts: &[Account; 2], way: super::user::Way) -> (User, User, u64) {
    let [mut alice, mut bob] = accounts.each_ref().map(|it| User::connect(server, it, way));
    assert_eq!(bob.client.subscribe("live/+"), 1);
    alice.send("to/bob", "seen");
    bob.change();
    let id = bob.message().conversation;
    bob.send("to/alice", "answer");
    alice.change();
    assert_eq!(alice.message().sequence, 3);
    Web::of(server, &accounts[0]).done("PUT", &format!("/conversations/{id}/read"), Some(json!({ "sequence": 3 })));
    is_read(&mut bob, 3);
    bob.done(Call::Block(client::Block { user: "alice".into() }));
    (alice, bob, id)
}

#[test]
fn nothing_that_a_blocked_user_does_reaches_who_has_blocked_it() {
    for way in WAYS {
        let server = Server::with(&[("retention.history", "forever")]);
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let (mut alice, mut bob, id) = scene(&server, &accounts, way);
        let [at_alice, at_bob] = accounts.each_ref().map(|it| Web::of(&server, it));
        let before = shown(&mut bob, &at_bob, id);

        // Accepted, and nowhere but with herself.
        alice.send("to/bob", "unseen");
        alice.send(&format!("send/{id}"), "unseen too");
        let edit =
            |sequence| Call::Edit(client::Edit { conversation: id, sequence, body: "edited".into(), mls_epoch: 0 });
        let react = |sequence, reaction: &str| {
            Call::React(client::React { conversation: id, sequence, reaction: reaction.into(), ..Default::default() })
        };
        let recall = |sequence| Call::Recall(client::Recall { conversation: id, sequence });
        let retention = client::Retention { history_days_plus_one: 8, expires_in_s: 60 };
        for call in [edit(2), edit(4), react(2, "+"), react(3, "-"), react(4, "*"), recall(5)] {
            alice.done(call);
        }
        let own = messages(&mut alice, id);
        let reaction =
            |reaction: &str| vec![client::Reaction { member: 0, reaction: reaction.into(), ..Default::default() }];
        let edited = |sequence, by| (sequence, "edited".to_owned(), true, false, reaction(by));
        let answer = (3, "answer".to_owned(), false, false, reaction("-"));
        let recalled = |sequence| (sequence, String::new(), false, true, vec![]);
        assert_eq!(own, [edited(2, "+"), answer.clone(), edited(4, "*"), recalled(5)], "{way:?}");
        alice.done(recall(2));
        alice.done(react(3, ""));
        let answer = (3, "answer".to_owned(), false, false, vec![]);
        assert_eq!(messages(&mut alice, id), [recalled(2), answer, edited(4, "*"), recalled(5)], "{way:?}");
        let set = client::SetRetention { conversation: id, retention: Some(retention) };
        alice.done(Call::SetRetention(set));
        let described =
            alice.done(Call::Describe(client::Describe { conversation: id, ..Default::default() })).description;
        assert_eq!(described.and_then(|it| it.retention), Some(retention));
        let last = alice.done(list()).conversations[0].last_sequence;
        at_alice.done("PUT", &format!("/conversations/{id}/read"), Some(json!({ "sequence": last })));
        assert_eq!(alice.client.publish(&format!("live/{id}"), b"typing"), 0);
        assert_eq!(alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation, id);
        alice.done(Call::AddContact(client::AddContact { user: "bob".into(), label: String::new() }));

        // Refused, as it is to others whom he does not want or whom there are not.
        let create = client::CreateGroup { title: "abuse".into(), users: vec!["bob".into()] };
        alice.refused(Call::CreateGroup(create), 0x87);
        alice.refused(Call::GetProfile(client::GetProfile { user: "bob".into() }), 0x90);
        assert_eq!(asked(&mut alice, "bob"), client::Presence::default());

        assert_eq!(shown(&mut bob, &at_bob, id), before, "{way:?}");
        bob.client.settle();
        assert!(bob.client.is_idle(), "{way:?}: nothing came");

        // What she does afterwards arrives, behind a gap.
        bob.done(Call::Unblock(client::Unblock { user: "alice".into() }));
        alice.send("to/bob", "at last");
        let message = bob.message();
        assert_eq!((&message.body[..], message.sequence), (&b"at last"[..], last + 1));
        let seen: Vec<_> = messages(&mut bob, id).into_iter().map(|it| it.0).collect();
        assert_eq!(seen, [2, 3, last + 1], "what was unseen stays so");
        alice.done(recall(2));
        assert!(matches!(bob.change(), (Change::Recalled(2), ..)));
        assert!(messages(&mut bob, id)[0].3);

        bob.done(Call::Block(client::Block { user: "alice".into() }));
        let before = shown(&mut bob, &at_bob, id);
        alice.done(Call::DeleteConversation(client::DeleteConversation { conversation: id }));
        assert_eq!(shown(&mut bob, &at_bob, id), before, "{way:?}");
    }
}

#[test]
fn a_blocked_user_opens_nothing_that_can_be_seen() {
    for way in WAYS {
        let server = Server::with(&[("retention.history", "forever")]);
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        bob.done(Call::Block(client::Block { user: "alice".into() }));
        alice.send("to/bob", "unseen");
        let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
        assert_eq!(alice.done(list()).conversations.len(), 1);
        assert_eq!(bob.done(list()).conversations, [], "{way:?}");
        assert_eq!(bob.done(history(id)).history, []);
        bob.client.settle();
        assert!(bob.client.is_idle());
        bob.send("to/alice", "go away");
        let [summary] = &bob.done(list()).conversations[..] else { panic!("not one conversation") };
        assert_eq!((summary.last_sequence, summary.unread), (3, 0));
        alice.send("to/bob", "unseen");
        let [summary] = &bob.done(list()).conversations[..] else { panic!("not one conversation") };
        let Some(Event::Message(last)) = summary.last.as_ref().and_then(|last| last.event.clone()) else { panic!() };
        assert_eq!((summary.last_sequence, &last.body[..]), (3, &b"go away"[..]));
        // He throws it away: what she does does not bring it back.
        bob.done(Call::DeleteConversation(client::DeleteConversation { conversation: id }));
        alice.send("to/bob", "unseen");
        assert_eq!(bob.done(list()).conversations, [], "{way:?}");
    }
}
