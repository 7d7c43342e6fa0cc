//! One publish can be followed through the broker by its log of level `trace`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use godwit_schemas::bus::{Deliver, Published};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

type Fields = BTreeMap<&'static str, String>;

/// Collects spans and events.
#[derive(Clone, Default)]
struct Collector(Arc<Collected>);

#[derive(Default)]
struct Collected {
    last_span: AtomicU64,
    spans: Mutex<BTreeMap<u64, Fields>>,
    entered: Mutex<Vec<u64>>,
    /// Each with the span that it is in.
    events: Mutex<Vec<(Option<u64>, Fields)>>,
}

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("godwit_broker")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.last_span.fetch_add(1, Ordering::Relaxed) + 1;
        span.record(&mut Reader(self.0.spans.lock().entry(id).or_default()));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Reader(self.0.spans.lock().entry(span.into_u64()).or_default()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let span = event.parent().map(Id::into_u64).or_else(|| self.0.entered.lock().last().copied());
        let mut fields = Fields::new();
        event.record(&mut Reader(&mut fields));
        self.0.events.lock().push((span, fields));
    }

    fn enter(&self, span: &Id) {
        self.0.entered.lock().push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.entered.lock().pop();
    }
}

impl Collector {
    /// The event of this message among those after `from`, and the fields that are asked for.
    fn find(&self, from: usize, message: &str, fields: &[&str]) -> (usize, Vec<String>) {
        let events = self.0.events.lock();
        let found = events.iter().enumerate().skip(from).find(|(_, (_, fields))| fields["message"] == message);
        let (at, (span, event)) = found.unwrap_or_else(|| panic!("{message}: {:#?}", &events[from..]));
        let span = self.0.spans.lock()[&span.expect("it is in the connection's span")].clone();
        assert_eq!((span["user"].as_str(), span["device"].as_str()), ("alice", "phone"), "{message}");
        (at + 1, fields.iter().map(|field| event[field].clone()).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_followed_from_hop_to_hop() {
    let collector = Collector::default();
    let _guard = tracing::subscriber::set_default(collector.clone());
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, number) = world.connected(5).await;
    let (connection, begun) = (number.to_string(), collector.0.events.lock().len());

    client.send(&publish(5, 2, "send", 513, &[], b"what was said")).await;
    world.lane.next_publish().await;
    world.lane.send(number, Published { number: 1, conversation: 65, sequence: 12, ..Published::default() }).await;
    client.packet().await;
    let (at, fields) = collector.find(begun, "publish read from the socket", &["connection", "packet_id"]);
    assert_eq!(fields, [connection.as_str(), "513"]);
    let (at, fields) = collector.find(at, "publish handed to the lane", &["connection", "packet_id", "number", "sent"]);
    assert_eq!(fields, [connection.as_str(), "513", "1", "true"]);
    let (at, fields) = collector.find(at, "publish answered by the lane", &["number", "conversation", "sequence"]);
    assert_eq!(fields, ["1", "65", "12"]);
    let (at, fields) = collector.find(at, "PUBACK sent", &["connection", "packet_id", "number"]);
    assert_eq!(fields, [connection.as_str(), "513", "1"]);
    let (begun, _) = collector.find(at, "written to the socket", &["bytes"]);

    let payload = Bytes::from_static(b"what was answered");
    let deliver = Deliver { order: 5, conversation: 65, sequence: 13, payload, ..Deliver::default() };
    world.lane.send(number, deliver).await;
    client.packet().await;
    client.send(&[0x40, 2, 0, 6]).await;
    world.lane.next_acks().await;
    let (at, fields) = collector.find(begun, "delivery received from the lane", &["connection", "order", "sequence"]);
    assert_eq!(fields, [connection.as_str(), "5", "13"]);
    let (at, fields) = collector.find(at, "delivery queued for the socket", &["order", "packet_id"]);
    assert_eq!(fields, ["5", "6"]);
    let (at, _) = collector.find(at, "written to the socket", &["bytes"]);
    let (_, fields) = collector.find(at, "delivery acknowledged by the client", &["order", "packet_id"]);
    assert_eq!(fields, ["5", "6"]);

    let everything = format!("{:?}{:?}", collector.0.spans.lock(), collector.0.events.lock());
    assert!(!everything.contains("what was") && !everything.contains("secret"), "neither bodies nor passwords");
}
