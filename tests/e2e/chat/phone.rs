//! A device that is subscribed to `inbox` and `rpc`.

use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, Change, Message, Refusal, Request, Response, change, request::Call};
use prost::Message as _;

use crate::mqtt::{Client, Packet, Publish, RESUME, Version};
use crate::server::{Account, Server};

pub(crate) struct Phone {
    pub(crate) client: Client,
    calls: u64,
}

impl Phone {
    /// Connected, and subscribed before anything else happens.
    pub(crate) fn connect(server: &Server, account: &Account, version: Version) -> Self {
        let mut client = Client::connect(server.mqtt(), account, version, RESUME);
        assert_eq!([client.subscribe("inbox"), client.subscribe("rpc")], [1, 1]);
        Self { client, calls: 0 }
    }

    fn take(&mut self, what: &str, topic: &str) -> Publish {
        let publish = self.client.take(what, |packet| match packet {
            Packet::Publish(publish) if publish.topic == topic => Some(publish.clone()),
            _ => None,
        });
        self.client.acknowledge(&publish);
        publish
    }

    /// Calls, and returns the answer.
    pub(crate) fn call(&mut self, call: Call) -> Response {
        self.calls += 1;
        let request = Request { id: self.calls, call: Some(call) };
        assert_eq!(self.client.publish("rpc", &request.encode_to_vec()), 0);
        let response = self.response();
        assert_eq!(response.id, self.calls);
        response
    }

    /// The answer to a call.
    pub(crate) fn response(&mut self) -> Response {
        let answer = self.take("a response", "rpc");
        Response::decode(&answer.payload[..]).expect("a Response")
    }

    /// Calls what has its connection closed; returns the reason that is told.
    pub(crate) fn cut_off_by(self, call: Call) -> Option<u8> {
        let Self { mut client, .. } = self;
        let request = Request { id: 1, call: Some(call) };
        let id = client.packet_id();
        client.send(&client.publish_bytes(id, false, "rpc", &request.encode_to_vec()));
        client.closed()
    }

    /// Calls what must succeed.
    #[track_caller]
    pub(crate) fn done(&mut self, call: Call) -> Response {
        let response = self.call(call);
        assert_eq!(response.reason, 0, "{}", response.text);
        response
    }

    /// Calls what must be refused with this reason.
    #[track_caller]
    pub(crate) fn refused(&mut self, call: Call, reason: u32) {
        let response = self.call(call);
        assert_eq!(response.reason, reason, "{}", response.text);
        assert!(!response.text.is_empty());
    }

    /// The next event that is no receipt, acknowledged.
    pub(crate) fn event(&mut self) -> Event {
        loop {
            let publish = self.take("an event", "inbox");
            match client::Event::decode(&publish.payload[..]).expect("an Event").event.expect("a known kind") {
                Event::Receipt(_) => {}
                event => return event,
            }
        }
    }

    /// The next event that says why a publish was refused: 3.1.1 has no other way. What comes before it stays.
    pub(crate) fn refusal(&mut self) -> Refusal {
        let event = |publish: &Publish| client::Event::decode(&publish.payload[..]).ok()?.event;
        let (publish, refusal) = self.client.take("a refusal", |packet| match packet {
            Packet::Publish(publish) if publish.topic == "inbox" => match event(publish)? {
                Event::Refusal(refusal) => Some((publish.clone(), refusal)),
                _ => None,
            },
            _ => None,
        });
        self.client.acknowledge(&publish);
        refusal
    }

    /// The next event is this change: returns what, where, by whom.
    pub(crate) fn change(&mut self) -> (change::Change, u64, u32) {
        match self.event() {
            Event::Change(Change { change, sequence, by, .. }) => (change.expect("a known change"), sequence, by),
            other => panic!("not a change: {other:?}"),
        }
    }

    /// The next event is a message.
    pub(crate) fn message(&mut self) -> Message {
        match self.event() {
            Event::Message(message) => message,
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Publishes a raw body; it is stored.
    pub(crate) fn send(&mut self, topic: &str, body: &str) {
        assert_eq!(self.client.publish(topic, body.as_bytes()), 0);
    }
}
