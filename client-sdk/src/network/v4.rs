//! MQTT 3.1.1 on rumqttc, for the way through what does not let MQTT 5 pass. It says less: no reasons, not whether a send
//! was known already, and no place in PUBACK, so that a send's place follows from the holes it leaves (`ledger::order`).

use std::sync::Arc;

use godwit_schemas::reason::Reason;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, PubAck, Publish, QoS,
    Request, StateError, Subscribe, SubscribeFilter, SubscribeReasonCode, Unsubscribe,
};

use super::diagnosis;
use super::traffic::{Purpose, Traffic};
use super::{
    ALWAYS, ConnectOptions, ConnectionLost, FILTERS, INFLIGHT, InboundPacket, OutboundPacket, PACKET_BYTES_MAX,
    PublishAck, Topic, filters,
};

/// As in `v5`.
const ACKS: usize = 64;
/// Nobody says how many publishes the server takes; this many is what it takes by default.
const UNANSWERED_MAX: u16 = 128;
/// Nor how large a packet.
const SENT_PACKET_BYTES_MAX: u32 = 131_072;

/// See the module above.
pub(crate) struct LinkV4 {
    acks: AsyncClient,
    events: EventLoop,
    traffic: Arc<Traffic>,
    /// Requests that rumqttc has not confirmed to have written.
    pub(super) unwritten: usize,
    connect_bytes: usize,
}

impl LinkV4 {
    pub(super) fn new(dial: &ConnectOptions) -> Self {
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

    pub(super) fn push(&mut self, up: OutboundPacket) {
        self.unwritten += 1;
        let request = match up {
            OutboundPacket::Publish { packet_id, again, topic, payload, purpose } => {
                let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, payload);
                (publish.pkid, publish.dup) = (packet_id, again);
                self.traffic.sent(purpose, publish.size());
                Request::Publish(publish)
            }
            OutboundPacket::Ack { packet_id, purpose } => {
                let ack = PubAck::new(packet_id);
                self.traffic.sent(purpose, ack.size());
                let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
                publish.pkid = packet_id;
                if self.acks.try_ack(&publish).is_ok() {
                    return;
                }
                Request::PubAck(ack)
            }
            OutboundPacket::Signal { conversation, body } => {
                let publish = Publish::new(format!("live/{conversation}"), QoS::AtMostOnce, body);
                self.traffic.sent(Purpose::Signals, publish.size());
                Request::Publish(publish)
            }
            OutboundPacket::UnsubscribeLive => {
                let mut unsubscribe = Unsubscribe::new("");
                unsubscribe.topics = FILTERS[ALWAYS..].iter().map(|name| (*name).to_owned()).collect();
                self.traffic.sent(Purpose::Connection, unsubscribe.size());
                Request::Unsubscribe(unsubscribe)
            }
            OutboundPacket::Subscribe { live } => {
                let filters =
                    filters(live).iter().map(|name| SubscribeFilter::new((*name).to_owned(), QoS::AtLeastOnce));
                let subscribe = Subscribe::new_many(filters);
                self.traffic.sent(Purpose::Connection, subscribe.size());
                Request::Subscribe(subscribe)
            }
            OutboundPacket::Ping => {
                self.traffic.sent(Purpose::KeepAlive, 2);
                Request::PingReq(rumqttc::PingReq)
            }
            OutboundPacket::Goodbye => {
                self.traffic.sent(Purpose::Connection, 2);
                Request::Disconnect(rumqttc::Disconnect)
            }
        };
        self.events.pending.push_back(request);
    }

    pub(super) async fn next(&mut self) -> Result<InboundPacket, ConnectionLost> {
        loop {
            let welcomed = self.connect_bytes == 0;
            match self.events.poll().await.map_err(|error| lost(error, welcomed))? {
                Event::Outgoing(_) => {
                    self.unwritten = self.unwritten.saturating_sub(1);
                    return Ok(InboundPacket::Written);
                }
                Event::Incoming(packet) => {
                    if let Some(down) = self.incoming(packet) {
                        return Ok(down);
                    }
                }
            }
        }
    }

    fn incoming(&mut self, packet: Packet) -> Option<InboundPacket> {
        let bytes = packet.size();
        match packet {
            Packet::ConnAck(connack) => {
                self.traffic.sent(Purpose::Connection, std::mem::take(&mut self.connect_bytes));
                self.traffic.received(Purpose::Connection, bytes);
                Some(InboundPacket::Welcome {
                    session_present: connack.session_present,
                    unanswered_max: UNANSWERED_MAX,
                    packet_bytes_max: SENT_PACKET_BYTES_MAX,
                    origin: None,
                })
            }
            Packet::Publish(publish) => {
                let topic = Topic::parse(publish.topic.as_bytes());
                self.traffic.received(topic.purpose(), bytes);
                Some(InboundPacket::Publish { packet_id: publish.pkid, topic, payload: publish.payload })
            }
            Packet::PubAck(ack) => {
                let answer =
                    PublishAck { reason: 0, text: String::new(), at: None, repeated: None, mls_epoch: None, bytes };
                Some(InboundPacket::Answer { packet_id: ack.pkid, answer })
            }
            Packet::SubAck(ack) => {
                self.traffic.received(Purpose::Connection, bytes);
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                Some(InboundPacket::Subscribed(ack.return_codes.iter().all(granted)))
            }
            Packet::UnsubAck(_) => {
                self.traffic.received(Purpose::Connection, bytes);
                Some(InboundPacket::Unsubscribed)
            }
            Packet::PingResp => {
                self.traffic.received(Purpose::KeepAlive, bytes);
                Some(InboundPacket::Pong)
            }
            _ => {
                self.traffic.received(Purpose::Connection, bytes);
                None
            }
        }
    }
}

fn lost(error: ConnectionError, welcomed: bool) -> ConnectionLost {
    match error {
        ConnectionError::ConnectionRefused(code) => ConnectionLost::Refused(match code {
            ConnectReturnCode::BadClientId => Reason::CLIENT_IDENTIFIER_NOT_VALID,
            ConnectReturnCode::BadUserNamePassword => Reason::BAD_USER_NAME_OR_PASSWORD,
            ConnectReturnCode::NotAuthorized => Reason::NOT_AUTHORIZED,
            // It says no more than that.
            ConnectReturnCode::ServiceUnavailable => Reason::SERVER_BUSY,
            ConnectReturnCode::RefusedProtocolVersion => Reason::UNSUPPORTED_PROTOCOL_VERSION,
            _ => Reason::SERVER_UNAVAILABLE,
        }),
        ConnectionError::NotConnAck(_) => ConnectionLost::NotMqtt("no CONNACK".to_owned()),
        ConnectionError::MqttState(StateError::Deserialization(why)) if !welcomed => {
            ConnectionLost::NotMqtt(why.to_string())
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) if !welcomed => ConnectionLost::NoWelcome,
        ConnectionError::NetworkTimeout if !welcomed => ConnectionLost::Unreachable("no answer".to_owned()),
        #[cfg(feature = "websocket")]
        ConnectionError::ResponseValidation(why) => ConnectionLost::NotMqtt(why.to_string()),
        #[cfg(feature = "websocket")]
        ConnectionError::Websocket(why) if !welcomed => diagnosis::of_handshake(&why),
        error => diagnosis::lost(&error, welcomed),
    }
}
