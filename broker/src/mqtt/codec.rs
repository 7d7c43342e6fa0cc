//! The packets that rumqttd's codecs read and write: the only place that names them.
//!
//! They get whole packets of types that a client may send (see [`super::frame`]), so "more bytes needed" is one more
//! way of being malformed.

use bytes::{Bytes, BytesMut};
use godwit_schemas::reason::{Reason, connack_v4};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{
    ConnAck, ConnAckProperties, ConnectReturnCode, DisconnectReasonCode, Packet, Protocol as _, valid_filter,
};

use super::frame::{Frame, Kind};
use super::{Fields, Version};

/// A CONNECT, as far as Godwit cares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) user: String,
    pub(crate) client_id: String,
    pub(crate) password: String,
    pub(crate) clean_start: bool,
    /// Seconds; 0: none.
    pub(crate) keep_alive_s: u16,
    /// Seconds; 0xFFFFFFFF: never.
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: u16,
    /// Largest packet the client takes; `u32::MAX` if it does not say.
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_max: u16,
    /// The client wants to be told more than reason codes.
    pub(crate) problem_information: bool,
    pub(crate) has_will: bool,
    /// Of enhanced authentication, whose data then stand for the password.
    pub(crate) method: Option<String>,
}

/// Which version a CONNECT asks for, told before it is decoded. `Err`: a CONNACK that says "not this one", or nothing
/// at all for what is not MQTT.
pub(crate) fn version(frame: &Frame) -> Result<Version, Option<Vec<u8>>> {
    let body = &frame.bytes[frame.header_len..];
    match body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Ok(Version::V4),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Ok(Version::V5),
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] if *level > 5 => {
            Err(Some(vec![0x20, 3, 0, Reason::UNSUPPORTED_PROTOCOL_VERSION.get(), 0]))
        }
        [0, 4, b'M', b'Q', b'T', b'T', _, ..] | [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => {
            Err(Some(vec![0x20, 2, 0, connack_v4(Reason::UNSUPPORTED_PROTOCOL_VERSION)]))
        }
        _ => Err(None),
    }
}

/// Reads a CONNECT of this version.
///
/// # Errors
/// The reason to refuse it with.
pub(crate) fn connect(frame: Frame, version: Version) -> Result<Connect, Reason> {
    let flags = frame.bytes.get(frame.header_len + 7).copied().ok_or(Reason::MALFORMED_PACKET)?;
    // The reserved flag is 0 (MQTT-3.1.2-3); a password needs a user name in 3.1.1 (MQTT-3.1.2-22).
    if flags & 1 != 0 || (version == Version::V4 && flags & 0xC0 == 0x40) {
        return Err(Reason::MALFORMED_PACKET);
    }
    let Packet::Connect(connect, properties, will, _, login) = decode(frame, version)? else {
        return Err(Reason::PROTOCOL_ERROR);
    };
    let (user, password) = login.map(|login| (login.username, login.password)).unwrap_or_default();
    let clean_start = connect.clean_session;
    let session_expiry_s = if version == Version::V4 && !clean_start { u32::MAX } else { 0 };
    let mut it = Connect {
        version,
        user,
        client_id: connect.client_id,
        password,
        clean_start,
        keep_alive_s: connect.keep_alive,
        session_expiry_s,
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        topic_alias_max: 0,
        problem_information: true,
        has_will: will.is_some(),
        method: None,
    };
    if let Some(properties) = properties {
        it.session_expiry_s = properties.session_expiry_interval.unwrap_or(0);
        it.receive_maximum = properties.receive_maximum.unwrap_or(u16::MAX);
        it.packet_bytes_max = properties.max_packet_size.unwrap_or(u32::MAX);
        it.topic_alias_max = properties.topic_alias_max.unwrap_or(0);
        it.problem_information = properties.request_problem_info != Some(0);
        match (&properties.authentication_method, properties.authentication_data) {
            // MQTT 5, 3.1.2.11.10.
            (None, Some(_)) => return Err(Reason::PROTOCOL_ERROR),
            (_, None) => {}
            (Some(_), Some(data)) => {
                it.password = String::from_utf8(data.into()).map_err(|_| Reason::BAD_USER_NAME_OR_PASSWORD)?;
            }
        }
        it.method = properties.authentication_method;
    }
    // Neither may be 0 (MQTT 5, 3.1.2.11.3 and .4).
    if it.receive_maximum == 0 || it.packet_bytes_max == 0 { Err(Reason::PROTOCOL_ERROR) } else { Ok(it) }
}

/// A SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) packet_id: u16,
    /// Filters, each with the QoS asked for (SUBSCRIBE).
    pub(crate) filters: Vec<(String, u8)>,
}

/// Reads a SUBSCRIBE or UNSUBSCRIBE.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn subscription(frame: Frame, version: Version) -> Result<Subscription, Reason> {
    let (packet_id, filters): (u16, Vec<(String, u8)>) = match decode(frame, version)? {
        // Not offered in CONNACK (MQTT 5, 3.2.2.3.12).
        Packet::Subscribe(_, Some(properties)) if properties.id.is_some() => return Err(Reason::PROTOCOL_ERROR),
        Packet::Subscribe(packet, _) => {
            (packet.pkid, packet.filters.into_iter().map(|filter| (filter.path, filter.qos as u8)).collect())
        }
        Packet::Unsubscribe(packet, _) => (packet.pkid, packet.filters.into_iter().map(|path| (path, 0)).collect()),
        _ => return Err(Reason::PROTOCOL_ERROR),
    };
    if packet_id == 0 || filters.is_empty() || filters.iter().any(|(filter, _)| filter.contains('\0')) {
        return Err(Reason::MALFORMED_PACKET);
    }
    Ok(Subscription { packet_id, filters })
}

/// Whether the standard allows this filter, whoever may have it.
pub(crate) fn is_well_formed(filter: &str) -> bool {
    valid_filter(filter)
}

/// A client's DISCONNECT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Goodbye {
    /// It wants to be treated as if it had vanished (0x04, or any error).
    pub(crate) abrupt: bool,
    /// Seconds.
    pub(crate) session_expiry_s: Option<u32>,
}

/// Reads a DISCONNECT.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn disconnect(mut frame: Frame, version: Version) -> Result<Goodbye, Reason> {
    // rumqttd wants properties after a reason code; the standard does not (MQTT 5, 3.14.2.2.1).
    if version == Version::V5 && frame.bytes.len() == 3 {
        frame.bytes[1] = 2;
        frame.bytes.extend_from_slice(&[0]);
    }
    let Packet::Disconnect(packet, properties) = decode(frame, version)? else { return Err(Reason::PROTOCOL_ERROR) };
    let session_expiry_s = properties.and_then(|properties| properties.session_expiry_interval);
    Ok(Goodbye { abrupt: packet.reason_code != DisconnectReasonCode::NormalDisconnection, session_expiry_s })
}

/// Reads the packet identifier of PUBACK, PUBREL and their like; reason codes change nothing here.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn packet_id(frame: Frame, version: Version) -> Result<u16, Reason> {
    let mut fields = Fields(frame.bytes.freeze());
    fields.take(frame.header_len)?;
    let id = fields.packet_id()?;
    if version == Version::V4 && !fields.0.is_empty() { Err(Reason::MALFORMED_PACKET) } else { Ok(id) }
}

fn decode(frame: Frame, version: Version) -> Result<Packet, Reason> {
    debug_assert!(frame.kind != Kind::Publish, "read by our own hand");
    let mut bytes: BytesMut = frame.bytes;
    let bytes_max = bytes.len();
    let packet = match version {
        Version::V4 => V4.read_mut(&mut bytes, bytes_max),
        Version::V5 => V5.read_mut(&mut bytes, bytes_max),
    };
    packet.map_err(|_| Reason::MALFORMED_PACKET)
}

/// What a CONNACK of MQTT 5 tells about this server.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_max: u16,
    /// Seconds, instead of what the client asked for (MQTT 5, 3.2.2.3.14).
    pub(crate) keep_alive_s: Option<u16>,
    /// The client has not said one (MQTT 5, 3.2.2.3.7).
    pub(crate) client_id: Option<String>,
    /// The client asked for it (MQTT-4.12.0-5).
    pub(crate) method: Option<&'static str>,
}

/// CONNACK that welcomes.
pub(crate) fn welcome(version: Version, session_present: bool, offer: &Offer) -> Bytes {
    let properties = ConnAckProperties {
        receive_max: Some(offer.receive_maximum),
        max_packet_size: Some(offer.packet_bytes_max),
        topic_alias_max: Some(offer.topic_alias_max),
        server_keep_alive: offer.keep_alive_s,
        assigned_client_identifier: offer.client_id.clone(),
        authentication_method: offer.method.map(str::to_owned),
        retain_available: Some(0),
        shared_subscription_available: Some(0),
        subscription_identifiers_available: Some(0),
        ..ConnAckProperties::default()
    };
    connack(version, ConnAck { session_present, code: ConnectReturnCode::Success }, Some(properties))
}

/// CONNACK of MQTT 3.1.1 that welcomes.
pub(crate) fn welcome_v4(session_present: bool) -> Bytes {
    connack(Version::V4, ConnAck { session_present, code: ConnectReturnCode::Success }, None)
}

/// CONNACK that refuses. `text` is English and for MQTT 5 only; empty: none.
pub(crate) fn refusal(version: Version, reason: Reason, text: &str) -> Bytes {
    let code = match version {
        Version::V4 => return_code_v4(reason),
        Version::V5 => return_code_v5(reason),
    };
    let text = (!text.is_empty()).then(|| text.to_owned());
    let properties = text.map(|text| ConnAckProperties { reason_string: Some(text), ..ConnAckProperties::default() });
    connack(version, ConnAck { session_present: false, code }, properties)
}

fn connack(version: Version, packet: ConnAck, properties: Option<ConnAckProperties>) -> Bytes {
    let mut out = BytesMut::new();
    let written = match version {
        Version::V4 => V4.write(Packet::ConnAck(packet, None), &mut out),
        Version::V5 => V5.write(Packet::ConnAck(packet, properties), &mut out),
    };
    assert!(written.is_ok(), "a short CONNACK can be written");
    out.freeze()
}

fn return_code_v4(reason: Reason) -> ConnectReturnCode {
    match connack_v4(reason) {
        1 => ConnectReturnCode::RefusedProtocolVersion,
        2 => ConnectReturnCode::ClientIdentifierNotValid,
        4 => ConnectReturnCode::BadUserNamePassword,
        5 => ConnectReturnCode::NotAuthorized,
        _ => ConnectReturnCode::ServiceUnavailable,
    }
}

/// Those that stand in table 3-1 of MQTT 5; others become "unspecified".
fn return_code_v5(reason: Reason) -> ConnectReturnCode {
    match reason.get() {
        0x81 => ConnectReturnCode::MalformedPacket,
        0x82 => ConnectReturnCode::ProtocolError,
        0x83 => ConnectReturnCode::ImplementationSpecificError,
        0x84 => ConnectReturnCode::UnsupportedProtocolVersion,
        0x85 => ConnectReturnCode::ClientIdentifierNotValid,
        0x86 => ConnectReturnCode::BadUserNamePassword,
        0x87 => ConnectReturnCode::NotAuthorized,
        0x88 | 0x8B => ConnectReturnCode::ServerUnavailable,
        0x89 => ConnectReturnCode::ServerBusy,
        0x8C => ConnectReturnCode::BadAuthenticationMethod,
        0x95 => ConnectReturnCode::PacketTooLarge,
        0x97 => ConnectReturnCode::QuotaExceeded,
        _ => ConnectReturnCode::UnspecifiedError,
    }
}
