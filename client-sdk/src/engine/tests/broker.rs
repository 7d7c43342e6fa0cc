//! A server that a test plays packet by packet: for what a good server never does.

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Packet, PubAck, PubAckProperties, PubAckReason, Publish, SubAck,
    SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

/// A listener on which a test plays the broker, packet by packet.
pub(super) struct Broker(TcpListener);

/// A connection of the client.
pub(super) struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Broker {
    pub(super) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn address(&self) -> String {
        format!("mqtt://{}", self.0.local_addr().unwrap())
    }

    /// The next connection, before its CONNECT.
    pub(super) async fn connection(&self) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.0.accept()).await.expect("the client connects").unwrap();
        Peer { stream, buffer: BytesMut::new() }
    }

    /// The next connection, and the password that it brings.
    pub(super) async fn knock(&self) -> (Peer, String) {
        let mut peer = self.connection().await;
        let Some(Packet::Connect(_, _, Some(login))) = peer.next().await else { panic!("no CONNECT with a password") };
        (peer, login.password)
    }

    /// The next connection, welcomed. With no session the client subscribes, which is granted.
    pub(super) async fn welcome(&self, session_present: bool, receive_max: u16) -> Peer {
        let mut peer = self.connection().await;
        assert!(matches!(peer.next().await, Some(Packet::Connect(..))));
        peer.connack(session_present, receive_max).await;
        if !session_present {
            let Some(Packet::Subscribe(subscribe)) = peer.next().await else { panic!("no SUBSCRIBE") };
            let return_codes =
                vec![SubscribeReasonCode::Success(rumqttc::v5::mqttbytes::QoS::AtLeastOnce); subscribe.filters.len()];
            peer.send(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None })).await;
        }
        peer
    }
}

impl Peer {
    /// The next packet; `None`: the client closed the connection.
    pub(super) async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.buffer, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the client sent {error}"),
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("the client speaks");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next packet, which must be a publish.
    pub(super) async fn publish(&mut self) -> Publish {
        match self.next().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(super) async fn connack(&mut self, session_present: bool, receive_max: u16) {
        let properties = ConnAckProperties { receive_max: Some(receive_max), ..no_properties() };
        let properties = Some(properties);
        self.send(Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success, properties })).await;
    }

    /// Unknown device, or wrong password.
    pub(super) async fn refuse(&mut self) {
        let code = ConnectReturnCode::BadUserNamePassword;
        self.send(Packet::ConnAck(ConnAck { session_present: false, code, properties: None })).await;
    }

    /// Answers a publish.
    pub(super) async fn puback(&mut self, publish: &Publish) {
        let ack = PubAck { pkid: publish.pkid, reason: PubAckReason::Success, properties: None };
        self.send(Packet::PubAck(ack)).await;
    }

    /// Answers a publish as one that was known, as all up to this number.
    pub(super) async fn puback_known(&mut self, publish: &Publish, last: u64) {
        let user_properties = vec![("repeated".to_owned(), last.to_string())];
        let properties = Some(PubAckProperties { reason_string: None, user_properties });
        self.send(Packet::PubAck(PubAck { pkid: publish.pkid, reason: PubAckReason::Success, properties })).await;
    }
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
