//! MQTT 3.1.1 on rumqttc, for the way through what does not let MQTT 5 pass. It says less: no reasons, and no place in
//! PUBACK, so that a send's place follows from the holes it leaves (`ledger::order`).

use std::sync::Arc;

use godwit_schemas::reason::Reason;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, PubAck, Publish, QoS,
    Request, Subscribe, SubscribeFilter, SubscribeReasonCode, Unsubscribe,
};

use super::traffic::{Purpose, Traffic};
use super::{ALWAYS, Answer, Dial, Down, FILTERS, INFLIGHT, Lost, PACKET_BYTES_MAX, Topic, Up, filters};

/// As in `v5`.
const ACKS: usize = 64;
/// Nobody says how many publishes the server takes; this many is what it takes by default.
const UNANSWERED_MAX: u16 = 128;
/// Nor how large a packet.
const SENT_PACKET_BYTES_MAX: u32 = 131_072;

/// See the module above.
pub(crate) struct Link {
    acks: AsyncClient,
    events: EventLoop,
    traffic: Arc<Traffic>,
    /// Requests that rumqttc has not confirmed to have written.
    pub(super) unwritten: usize,
    connect_bytes: usize,
}

impl Link {
    pub(super) fn new(dial: &Dial) -> Self {
        let (host, port) = dial.endpoint.address();
        let mut options = MqttOptions::new(&dial.device, host, port);
        options
            .set_credentials(&dial.user, &dial.password)
            .set_clean_session(false)
            .set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize)
            .set_keep_alive(dial.keep_alive)
            .set_manual_acks(true)
            .set_inflight(INFLIGHT)
            .set_transport(dial.transport());
        let mut connect = rumqttc::Connect::new(&dial.device);
        connect.set_login(&dial.user, &dial.password);
        let connect_bytes = connect.size();
        let (acks, mut events) = AsyncClient::new(options, ACKS);
        let mut network = events.network_options();
        network.set_tcp_nodelay(dial.nodelay);
        network.set_connection_timeout(dial.timeout.as_secs().max(1));
        events.set_network_options(network);
        Self { acks, events, traffic: dial.traffic.clone(), unwritten: 0, connect_bytes }
    }

    pub(super) fn push(&mut self, up: Up) {
        self.unwritten += 1;
        let request = match up {
            Up::Publish { packet_id, again, topic, payload, purpose } => {
                let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, payload);
                (publish.pkid, publish.dup) = (packet_id, again);
                self.traffic.sent(purpose, publish.size());
                Request::Publish(publish)
            }
            Up::Ack { packet_id, purpose } => {
                let ack = PubAck::new(packet_id);
                self.traffic.sent(purpose, ack.size());
                let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
                publish.pkid = packet_id;
                if self.acks.try_ack(&publish).is_ok() {
                    return;
                }
                Request::PubAck(ack)
            }
            Up::Signal { conversation, body } => {
                let publish = Publish::new(format!("live/{conversation}"), QoS::AtMostOnce, body);
                self.traffic.sent(Purpose::Signals, publish.size());
                Request::Publish(publish)
            }
            Up::UnsubscribeLive => {
                let mut unsubscribe = Unsubscribe::new("");
                unsubscribe.topics = FILTERS[ALWAYS..].iter().map(|name| (*name).to_owned()).collect();
                self.traffic.sent(Purpose::Connection, unsubscribe.size());
                Request::Unsubscribe(unsubscribe)
            }
            Up::Subscribe { live } => {
                let filters =
                    filters(live).iter().map(|name| SubscribeFilter::new((*name).to_owned(), QoS::AtLeastOnce));
                let subscribe = Subscribe::new_many(filters);
                self.traffic.sent(Purpose::Connection, subscribe.size());
                Request::Subscribe(subscribe)
            }
            Up::Ping => {
                self.traffic.sent(Purpose::KeepAlive, 2);
                Request::PingReq(rumqttc::PingReq)
            }
            Up::Goodbye => {
                self.traffic.sent(Purpose::Connection, 2);
                Request::Disconnect(rumqttc::Disconnect)
            }
        };
        self.events.pending.push_back(request);
    }

    pub(super) async fn next(&mut self) -> Result<Down, Lost> {
        loop {
            match self.events.poll().await.map_err(lost)? {
                Event::Outgoing(_) => {
                    self.unwritten = self.unwritten.saturating_sub(1);
                    return Ok(Down::Written);
                }
                Event::Incoming(packet) => {
                    if let Some(down) = self.incoming(packet) {
                        return Ok(down);
                    }
                }
            }
        }
    }

    fn incoming(&mut self, packet: Packet) -> Option<Down> {
        let bytes = packet.size();
        match packet {
            Packet::ConnAck(connack) => {
                self.traffic.sent(Purpose::Connection, std::mem::take(&mut self.connect_bytes));
                self.traffic.received(Purpose::Connection, bytes);
                Some(Down::Welcome {
                    session_present: connack.session_present,
                    unanswered_max: UNANSWERED_MAX,
                    packet_bytes_max: SENT_PACKET_BYTES_MAX,
                })
            }
            Packet::Publish(publish) => {
                let topic = Topic::parse(publish.topic.as_bytes());
                self.traffic.received(topic.purpose(), bytes);
                Some(Down::Publish { packet_id: publish.pkid, topic, payload: publish.payload })
            }
            Packet::PubAck(ack) => {
                let answer = Answer { reason: 0, text: String::new(), at: None, bytes };
                Some(Down::Answer { packet_id: ack.pkid, answer })
            }
            Packet::SubAck(ack) => {
                self.traffic.received(Purpose::Connection, bytes);
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                Some(Down::Subscribed(ack.return_codes.iter().all(granted)))
            }
            Packet::UnsubAck(_) => {
                self.traffic.received(Purpose::Connection, bytes);
                Some(Down::Unsubscribed)
            }
            Packet::PingResp => {
                self.traffic.received(Purpose::KeepAlive, bytes);
                Some(Down::Pong)
            }
            _ => {
                self.traffic.received(Purpose::Connection, bytes);
                None
            }
        }
    }
}

fn lost(error: ConnectionError) -> Lost {
    match error {
        ConnectionError::ConnectionRefused(code) => Lost::Refused(match code {
            ConnectReturnCode::BadClientId => Reason::CLIENT_IDENTIFIER_NOT_VALID,
            ConnectReturnCode::BadUserNamePassword => Reason::BAD_USER_NAME_OR_PASSWORD,
            ConnectReturnCode::NotAuthorized => Reason::NOT_AUTHORIZED,
            // It says no more than that.
            ConnectReturnCode::ServiceUnavailable => Reason::SERVER_BUSY,
            ConnectReturnCode::RefusedProtocolVersion => Reason::UNSUPPORTED_PROTOCOL_VERSION,
            _ => Reason::SERVER_UNAVAILABLE,
        }),
        error => Lost::Broken(error.to_string()),
    }
}
