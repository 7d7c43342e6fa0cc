use godwit_schemas::ids::{ConversationId, DeviceName, Seq, UserId};

use super::*;

fn message(sequence: u64) -> DomainEvent {
    let (conversation, sender) = (ConversationId::new(65), UserId::new("alice").unwrap());
    DomainEvent::Message { conversation, sequence: Seq::new(sequence), sender, bytes: 5, group: false }
}

fn session(up: bool) -> DomainEvent {
    DomainEvent::Session { user: UserId::new("alice").unwrap(), device: DeviceName::new("phone").unwrap(), up }
}

fn number(told: &EventJson) -> u64 {
    serde_json::from_str::<Value>(&told.json).unwrap()["number"].as_u64().unwrap()
}

#[tokio::test]
async fn chosen_kinds_are_numbered_apart_and_others_left_out() {
    let mut sink = EventSink::at(vec![EventKind::Message, EventKind::Session], || 1_700);
    let mut queue = sink.consumer("test");
    let read = DomainEvent::Read {
        conversation: ConversationId::new(1),
        user: UserId::new("bob").unwrap(),
        up_to: Seq::new(1),
    };
    sink.tell(vec![message(2), session(true), read]);
    sink.tell(vec![message(3), session(false)]);
    drop(sink);
    let told = queue.next().await.unwrap();
    let first = json!({
        "kind": "message", "epoch": 1_700, "number": 1, "time_ms": 1_700,
        "conversation": 65, "sequence": 2, "user": "alice", "bytes": 5, "group": false,
    });
    assert_eq!(serde_json::from_str::<Value>(&told[0].json).unwrap(), first);
    let numbers: Vec<_> = told.iter().map(|it| (it.kind.name(), number(it))).collect();
    assert_eq!(numbers, [("message", 1), ("session", 1), ("message", 2), ("session", 2)]);
    assert!(queue.next().await.is_none());
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_and_the_numbers_say_how_many() {
    let mut sink = EventSink::at(vec![EventKind::Message], || 0);
    let (mut slow, mut quick) = (sink.consumer("slow"), sink.consumer("quick"));
    let half = || (0..WAITING_MAX / 2).map(message).collect::<Vec<_>>();
    sink.tell(half());
    sink.tell(half());
    let mut told = quick.next().await.unwrap();
    while told.len() < WAITING_MAX as usize {
        told.extend(quick.next().await.unwrap());
    }
    // No room for these in the slow one's queue.
    sink.tell(vec![message(1), message(2)]);
    let first = slow.next().await.unwrap();
    assert_eq!(number(&first[0]), 1);
    sink.tell(vec![message(3)]);
    let mut last = slow.next().await.unwrap();
    while last.len() == WAITING_MAX as usize / 2 {
        last = slow.next().await.unwrap();
    }
    assert_eq!(last.iter().map(number).collect::<Vec<_>>(), [WAITING_MAX + 3], "two are missing");
    assert_eq!(
        quick.next().await.unwrap().iter().map(number).collect::<Vec<_>>(),
        [WAITING_MAX + 1, WAITING_MAX + 2, WAITING_MAX + 3]
    );
}
