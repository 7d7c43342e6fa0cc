//! Pages of answers are bounded by bytes: by what the asker takes, and by what is good for all.

use std::sync::Arc;

use bytes::Bytes;
use godwit_core::retention::{History, Policy};
use godwit_schemas::bus::{Connect, Extras, Publish};
use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{Order, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;
use prost::Message;

use super::ALICE;
use super::edge::{NOW_S, Scene, calling, settings};
use crate::BridgeSettings;
use crate::chat::Principal;
use godwit_store::memory::MemoryStore;

/// The most bytes that a page should have.
const PAGE_BYTES: usize = 256 << 10;
const BODY_BYTES: usize = 60_000;
const MESSAGES: u64 = 60;

/// Alice and Bob, with a conversation that remembers everything.
async fn scene() -> Scene<MemoryStore> {
    let mut settings = BridgeSettings { inbox_entries: 100_000, inbox_bytes: 0, ..settings() };
    settings.rules.history = Policy::up_to(History::Forever);
    settings.rules.body_bytes_max = BODY_BYTES;
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    for user in ["alice", "bob"] {
        scene.add(user, "phone").await;
    }
    scene
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn send(scene: &Scene<MemoryStore>, body_bytes: usize) -> u64 {
    let to = Some(client::send::To::User("bob".into()));
    let send = client::Send { to, body: vec![b'x'; body_bytes].into(), ..Default::default() };
    scene.chat.send(user("alice"), Principal::Administrator, send).await.unwrap().conversation
}

fn history(conversation: u64, next: u64, oldest_first: bool) -> Call {
    let (before, after) = if oldest_first { (0, next) } else { (next, 0) };
    Call::GetHistory(client::GetHistory { conversation, before, after, oldest_first, limit: 0 })
}

/// A device that takes no more than so many bytes of payload; `None`: any.
async fn enter(scene: &mut Scene<MemoryStore>, payload_bytes_max: Option<u32>) {
    let packet_bytes_max = payload_bytes_max.map(|bytes| bytes + crate::lane::publish::calls::BESIDE_ANSWER);
    let connect = Connect { packet_bytes_max, ..scene.connect_frame("alice", "phone") };
    assert_eq!(scene.connect(ALICE, connect).await.reason, 0);
    scene.subscribe(ALICE, Filters::RPC).await;
}

/// Sequence, length of the body, and what is said to be left out.
fn told(event: &client::Event) -> (u64, usize, u64) {
    match event.event.as_ref().unwrap() {
        Event::Message(it) => (it.sequence, it.body.len(), it.omitted_bytes),
        Event::Change(it) => (it.sequence, 0, it.omitted_bytes),
        other => panic!("{other:?}"),
    }
}

/// All of a conversation, by pages, of which none is larger than this.
async fn all(
    scene: &mut Scene<MemoryStore>,
    conversation: u64,
    oldest_first: bool,
    most: usize,
) -> Vec<(u64, usize, u64)> {
    let (mut found, mut next, mut number) = (Vec::new(), 0, 0);
    loop {
        number += 1;
        let page = scene.call(ALICE, number, history(conversation, next, oldest_first)).await;
        assert_eq!(page.reason, 0);
        assert!(page.encoded_len() <= most && !page.history.is_empty(), "{} bytes", page.encoded_len());
        found.extend(page.history.iter().map(told));
        next = page.next;
        if next == 0 {
            return found;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn history_comes_in_pages_that_the_asker_takes() {
    let mut scene = scene().await;
    let mut conversation = 0;
    for number in 0..MESSAGES {
        conversation = send(&scene, if number % 7 == 0 { 3_000 } else { number as usize * 10 }).await;
    }
    // The opening is the first.
    let len = |sequence: u64| match sequence.checked_sub(2) {
        None => 0,
        Some(number) if number % 7 == 0 => 3_000,
        Some(number) => number as usize * 10,
    };
    for most in [1_000, 4_000, 50_000] {
        enter(&mut scene, Some(most)).await;
        for oldest_first in [true, false] {
            let mut found = all(&mut scene, conversation, oldest_first, most as usize).await;
            if !oldest_first {
                found.reverse();
            }
            assert!(found.iter().map(|it| it.0).eq(1..=MESSAGES + 1), "{most}: each once, in order");
            for (sequence, body, omitted) in found {
                let fits = len(sequence) + 200 < most as usize;
                assert_eq!((body, omitted > 0), if fits { (len(sequence), false) } else { (0, true) }, "{sequence}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_a_page_without_bounds() {
    let mut scene = scene().await;
    let mut conversation = 0;
    for _ in 0..MESSAGES {
        conversation = send(&scene, BODY_BYTES).await;
    }
    enter(&mut scene, None).await;
    assert_eq!(all(&mut scene, conversation, false, PAGE_BYTES).await.len() as u64, MESSAGES + 1);
    let mut next = 0;
    let mut found = 0;
    loop {
        let page = scene.ask(user("bob"), history(conversation, next, true)).await;
        assert!(page.encoded_len() <= PAGE_BYTES && !page.history.is_empty());
        found += page.history.len();
        next = page.next;
        if next == 0 {
            break;
        }
    }
    assert_eq!(found as u64, MESSAGES + 1, "over HTTP too");
    // What waits, for an export: a body that is kept apart counts where it is.
    let (mut after, mut pages, mut waiting) = (0, 0, 0);
    let settings = client::Retention { history_days_plus_one: 1, expires_in_s: 0 };
    let forget = Call::SetRetention(client::SetRetention { conversation, retention: Some(settings) });
    assert_eq!(scene.ask(user("bob"), forget).await.reason, 0);
    loop {
        let page = scene.chat.waiting(user("bob"), Principal::Administrator, "phone".into(), Order::new(after));
        let page = page.await.unwrap();
        assert!(page.encoded_len() <= PAGE_BYTES + 2 * BODY_BYTES, "{}", page.encoded_len());
        waiting += page.history.len();
        (after, pages) = (page.next, pages + 1);
        if after == 0 {
            break;
        }
    }
    assert!(pages >= 60_000 * MESSAGES as usize / PAGE_BYTES / 2);
    assert_eq!(waiting as u64, MESSAGES + 2, "the opening, the messages, and the change");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_conversations_fits_and_says_what_does_not() {
    let mut scene = scene().await;
    for number in 0..12 {
        let title = "t".repeat(if number % 3 == 0 { 250 } else { 10 });
        let create = Call::CreateGroup(client::CreateGroup { title, users: vec!["bob".into()] });
        assert_eq!(scene.ask(user("alice"), create).await.reason, 0);
    }
    enter(&mut scene, Some(400)).await;
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let list = Call::ListConversations(client::ListConversations { after, limit: 0 });
        let page = scene.call(ALICE, 1, list).await;
        assert!(page.encoded_len() <= 400 && !page.conversations.is_empty());
        found.extend(page.conversations);
        after = page.next;
        if after == 0 {
            break;
        }
    }
    assert_eq!(found.len(), 12);
    assert!(found.is_sorted_by_key(|it| it.conversation));
    assert_eq!(found.iter().filter(|it| it.description.is_none()).count(), 4, "these are too large");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_told_to_be() {
    let mut scene = scene().await;
    for number in 0..20 {
        scene.add(&format!("user-{number:02}"), "phone").await;
        let block = Call::Block(client::Block { user: format!("user-{number:02}") });
        assert_eq!(scene.ask(user("alice"), block).await.reason, 0);
    }
    let list = || Call::ListBlocked(client::ListBlocked {});
    for (most, text) in [(150, true), (20, false)] {
        enter(&mut scene, Some(most)).await;
        let answer = scene.call(ALICE, 1, list()).await;
        assert_eq!(Reason::from_u32(answer.reason), Reason::PACKET_TOO_LARGE);
        assert_eq!((answer.users.len(), !answer.text.is_empty()), (0, text));
    }
    // Repeating what the client sent with it takes room, too.
    enter(&mut scene, Some(1_000)).await;
    let long = Publish { extras: Extras::of(vec![0; 900].into(), Bytes::new()), ..calling(2, list()) };
    scene.publish(ALICE, long);
    let (_, answer) = scene.answered(ALICE, 2).await;
    assert_eq!(Reason::from_u32(answer.reason), Reason::PACKET_TOO_LARGE);
    assert_eq!(scene.call(ALICE, 3, list()).await.users.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_very_many_reactions_is_read_in_pieces() {
    let mut settings = BridgeSettings { inbox_entries: 100_000, ..settings() };
    settings.rules.history = Policy::up_to(History::Forever);
    settings.rules.group_members_max = 400;
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    let names: Vec<_> = (0..300).map(|number| format!("user-{number:03}")).collect();
    for name in &names {
        scene.add(name, "phone").await;
    }
    let create = client::CreateGroup { title: String::new(), users: names[1..].to_vec() };
    let conversation = scene.ask(user(&names[0]), Call::CreateGroup(create)).await.conversation;
    let to = Some(client::send::To::Conversation(conversation));
    let sent = client::Send { to, body: "!".into(), ..Default::default() };
    let sequence = scene.chat.send(user(&names[0]), Principal::Administrator, sent).await.unwrap().sequence;
    for name in &names {
        let react = client::React { conversation, sequence, reaction: "+1".into(), ..Default::default() };
        assert_eq!(scene.ask(user(name), Call::React(react)).await.reason, 0);
    }
    let call = client::GetHistory { conversation, before: sequence + 1, limit: 1, ..Default::default() };
    let page = scene.ask(user(&names[5]), Call::GetHistory(call)).await;
    let Some(Event::Message(message)) = &page.history[0].event else { panic!() };
    assert_eq!(message.reactions.len(), names.len());
    assert!(page.next == sequence, "{}", page.next);
}
