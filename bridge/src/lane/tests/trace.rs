//! One message can be followed through the lanes by its trace events.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use godwit_schemas::topic::Filters;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::edge::to_user;
use super::{ALICE, BOB, scene};

/// Keeps a line for each event of the lanes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}:")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("godwit_bridge::lane")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_traced_until_it_is_acknowledged() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    scene.publish(ALICE, to_user(1, "bob", "the first opens the conversation"));
    let first = scene.delivered(BOB).await;
    scene.acknowledge(BOB, vec![first.order]);
    scene.settle().await;

    let lines = Lines::default();
    // With one alone, a callsite that another test's thread meets first would be switched off for all.
    let _second = tracing::Dispatch::new(Lines::default());
    let collecting = tracing::subscriber::set_default(lines.clone());
    scene.publish(ALICE, to_user(2, "bob", "a secret"));
    let second = scene.delivered(BOB).await;
    scene.acknowledge(BOB, vec![second.order]);
    scene.settle().await;
    drop(collecting);

    let lines = std::mem::take(&mut *lines.0.lock().unwrap());
    let hops: Vec<_> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    let expected =
        ["publish received", "command decided", "entry announced", "delivery pushed", "acknowledgement received"];
    assert_eq!(hops, expected, "{lines:#?}");
    let place = format!("conversation={} sequence={}", second.conversation, second.sequence);
    assert!(lines[1].contains(&place) && lines[3].contains(&place), "{lines:#?}");
    assert!(lines[0].contains(" number=2 ") && lines[1].contains(" number=2 "), "{lines:#?}");
    let order = format!(" order={}", second.order);
    assert!(lines[2].contains(&order) && lines[3].contains(&order), "{lines:#?}");
    assert!(lines[4].contains(&format!("[{}]", second.order)), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("secret")), "no bodies: {lines:#?}");
}
