//! MQTT 5 on rumqttc.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use godwit_schemas::reason::Reason;
use godwit_schemas::retry;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Filter, Packet, PubAck, PubAckReason, Publish, Subscribe, SubscribeReasonCode,
    Unsubscribe,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Request, StateError};

use super::diagnosis;
use super::traffic::{Purpose, Traffic};
use super::{
    ALWAYS, ConnectOptions, ConnectionLost, FILTERS, INFLIGHT, InboundPacket, OutboundPacket, PACKET_BYTES_MAX,
    PublishAck, TOPIC_ALIASES, Topic, filters, place,
};
use crate::ledger::ServerIdentity;

/// Acknowledgements in rumqttc's channel; further ones wait in its queue of requests.
const ACKS: usize = 64;

/// See the module above.
pub(crate) struct LinkV5 {
    /// For acknowledgements: rumqttc takes a millisecond for each request of its own queue, and none for these.
    acks: AsyncClient,
    events: EventLoop,
    aliases: HashMap<u16, Topic>,
    traffic: Arc<Traffic>,
    /// Requests that rumqttc has not confirmed to have written.
    pub(super) unwritten: usize,
    /// Size of CONNECT, until it is answered.
    connect_bytes: usize,
}

impl LinkV5 {
    pub(super) fn new(dial: &ConnectOptions) -> Self {
        let (host, port) = dial.endpoint.address();
        let mut options = MqttOptions::new(&dial.device, host, port);
        options
            .set_credentials(&dial.user, &dial.password)
            .set_clean_start(false)
            .set_session_expiry_interval(Some(u32::MAX))
            .set_max_packet_size(Some(PACKET_BYTES_MAX))
            .set_topic_alias_max(Some(TOPIC_ALIASES))
            .set_keep_alive(dial.keep_alive)
            .set_connection_timeout(dial.timeout.as_secs().max(1))
            .set_manual_acks(true)
            .set_outgoing_inflight_upper_limit(INFLIGHT)
            .set_transport(dial.transport());
        let mut network = options.network_options();
        network.set_tcp_nodelay(dial.nodelay);
        options.set_network_options(network);
        let connect_bytes = connect_bytes(&options);
        let (acks, events) = AsyncClient::new(options, ACKS);
        let traffic = dial.traffic.clone();
        Self { acks, events, aliases: HashMap::new(), traffic, unwritten: 0, connect_bytes }
    }

    pub(super) fn push(&mut self, up: OutboundPacket) {
        self.unwritten += 1;
        let request = match up {
            OutboundPacket::Publish { packet_id, again, topic, payload, purpose } => {
                let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, None);
                (publish.pkid, publish.dup) = (packet_id, again);
                self.traffic.sent(purpose, publish.size());
                Request::Publish(publish)
            }
            OutboundPacket::Ack { packet_id, purpose } => {
                let ack = PubAck::new(packet_id, None);
                self.traffic.sent(purpose, ack.size());
                let publish = Publish { pkid: packet_id, qos: QoS::AtLeastOnce, ..Publish::default() };
                if self.acks.try_ack(&publish).is_ok() {
                    return;
                }
                Request::PubAck(ack)
            }
            OutboundPacket::Signal { conversation, body } => {
                let publish = Publish::new(format!("live/{conversation}"), QoS::AtMostOnce, body, None);
                self.traffic.sent(Purpose::Signals, publish.size());
                Request::Publish(publish)
            }
            OutboundPacket::UnsubscribeLive => {
                let mut unsubscribe = Unsubscribe::new("", None);
                unsubscribe.filters = FILTERS[ALWAYS..].iter().map(|name| (*name).to_owned()).collect();
                self.traffic.sent(Purpose::Connection, unsubscribe.size());
                Request::Unsubscribe(unsubscribe)
            }
            OutboundPacket::Subscribe { live } => {
                let filters = filters(live).iter().map(|name| Filter::new(*name, QoS::AtLeastOnce));
                let subscribe = Subscribe::new_many(filters, None);
                self.traffic.sent(Purpose::Connection, subscribe.size());
                Request::Subscribe(subscribe)
            }
            OutboundPacket::Ping => {
                self.traffic.sent(Purpose::KeepAlive, 2);
                Request::PingReq
            }
            OutboundPacket::Goodbye => {
                self.traffic.sent(Purpose::Connection, 2);
                Request::Disconnect
            }
        };
        self.events.pending.push_back(request);
    }

    pub(super) async fn next(&mut self) -> Result<InboundPacket, ConnectionLost> {
        loop {
            let polled = self.events.poll().await;
            // rumqttc cannot read what a server that knows only 3.1.1 answers, and then that server closes.
            let unread = |error: &_| matches!(error, ConnectionError::MqttState(StateError::ConnectionAborted));
            if self.connect_bytes > 0 && polled.as_ref().is_err_and(unread) {
                return Err(ConnectionLost::NoWelcome);
            }
            let welcomed = self.connect_bytes == 0;
            match polled.map_err(|error| lost(error, welcomed))? {
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
                Some(welcome(&connack))
            }
            Packet::Publish(publish) => {
                let alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
                let topic = self.topic(&publish.topic, alias);
                self.traffic.received(topic.purpose(), bytes);
                Some(InboundPacket::Publish { packet_id: publish.pkid, topic, payload: publish.payload })
            }
            Packet::PubAck(ack) => {
                let (mut text, mut at, mut repeated, mut mls_epoch) = (None, None, None, None);
                if let Some(properties) = ack.properties {
                    let told = |name| properties.user_properties.iter().find(|(told, _)| told == name);
                    at = told("at").and_then(|(_, at)| place(at));
                    repeated = told("repeated").and_then(|(_, last)| last.parse().ok());
                    mls_epoch = told("mls-epoch").and_then(|(_, epoch)| epoch.parse().ok());
                    text = properties.reason_string;
                }
                let text = text.unwrap_or_default();
                let answer = PublishAck { reason: reason(ack.reason), text, at, repeated, mls_epoch, bytes };
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
            Packet::PingResp(_) => {
                self.traffic.received(Purpose::KeepAlive, bytes);
                Some(InboundPacket::Pong)
            }
            _ => {
                self.traffic.received(Purpose::Connection, bytes);
                None
            }
        }
    }

    /// rumqttc hands aliased publishes out with an empty topic.
    fn topic(&mut self, name: &Bytes, alias: Option<u16>) -> Topic {
        match alias {
            Some(alias) if name.is_empty() => self.aliases.get(&alias).cloned().unwrap_or(Topic::Other),
            Some(alias) => self.aliases.entry(alias).insert_entry(Topic::parse(name)).get().clone(),
            None => Topic::parse(name),
        }
    }
}

fn connect_bytes(options: &MqttOptions) -> usize {
    let connect = rumqttc::v5::mqttbytes::v5::Connect {
        keep_alive: options.keep_alive().as_secs() as u16,
        client_id: options.client_id(),
        clean_start: options.clean_start(),
        properties: options.connect_properties(),
    };
    Packet::Connect(connect, None, options.credentials()).size()
}

fn welcome(connack: &ConnAck) -> InboundPacket {
    let properties = connack.properties.as_ref();
    let told = |name| {
        let told = properties?.user_properties.iter().find(|(told, _)| told == name);
        told.and_then(|(_, it)| u64::from_str_radix(it, 16).ok())
    };
    let origin = told("server").zip(told("epoch")).map(|(server, epoch)| ServerIdentity { server, epoch });
    InboundPacket::Welcome {
        origin,
        session_present: connack.session_present,
        unanswered_max: properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX),
        packet_bytes_max: properties.and_then(|it| it.max_packet_size).unwrap_or(u32::MAX),
    }
}

fn reason(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => 0,
        PubAckReason::UnspecifiedError | PubAckReason::PacketIdentifierInUse => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

fn lost(error: ConnectionError, welcomed: bool) -> ConnectionLost {
    match error {
        ConnectionError::ConnectionRefused(code) => refused(code),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            match reason_string.as_deref().and_then(retry::parse) {
                Some(wait) => ConnectionLost::Later(wait),
                None => ConnectionLost::Closed(Reason::from_u32(reason_code as u32)),
            }
        }
        ConnectionError::NotConnAck(_) => ConnectionLost::NotMqtt("no CONNACK".to_owned()),
        ConnectionError::MqttState(StateError::Deserialization(why)) if !welcomed => {
            ConnectionLost::NotMqtt(why.to_string())
        }
        ConnectionError::Timeout(_) if !welcomed => ConnectionLost::Unreachable("no answer".to_owned()),
        #[cfg(feature = "websocket")]
        ConnectionError::ResponseValidation(why) => ConnectionLost::NotMqtt(why.to_string()),
        #[cfg(feature = "websocket")]
        ConnectionError::Websocket(why) if !welcomed => diagnosis::of_handshake(&why),
        error => diagnosis::lost(&error, welcomed),
    }
}

fn refused(code: ConnectReturnCode) -> ConnectionLost {
    ConnectionLost::Refused(match code {
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => {
            return ConnectionLost::NoWelcome;
        }
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            Reason::CLIENT_IDENTIFIER_NOT_VALID
        }
        ConnectReturnCode::BadUserNamePassword => Reason::BAD_USER_NAME_OR_PASSWORD,
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned => Reason::NOT_AUTHORIZED,
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::ServerUnavailable => Reason::SERVER_UNAVAILABLE,
        ConnectReturnCode::ServerBusy | ConnectReturnCode::ConnectionRateExceeded => Reason::SERVER_BUSY,
        _ => Reason::UNSPECIFIED,
    })
}
