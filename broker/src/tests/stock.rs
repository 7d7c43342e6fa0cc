//! The server's packets of MQTT 5, as rumqttc decodes them: another implementation, which the client library uses.

use bytes::BytesMut;
use godwit_schemas::reason::Reason;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Packet, PubAckReason, PubRecReason, SubscribeReasonCode,
};

use crate::mqtt::{Version, connack, encode};

/// Reads one packet, and all of it.
fn read(bytes: &[u8]) -> Packet {
    let mut bytes = BytesMut::from(bytes);
    let packet = Packet::read(&mut bytes, None).unwrap_or_else(|error| panic!("{error}: {bytes:02X?}"));
    assert!(bytes.is_empty());
    packet
}

fn written(write: impl FnOnce(&mut BytesMut)) -> Packet {
    let mut out = BytesMut::new();
    write(&mut out);
    read(&out)
}

/// With a text, without one, and where there is no room for one.
const TEXTS: [(&str, usize, bool); 3] = [("why", usize::MAX, true), ("", usize::MAX, false), ("why", 8, false)];

#[test]
fn rumqttc_reads_reasons() {
    for (text, bytes_max, told) in TEXTS {
        let told = told.then(|| text.to_owned());
        let packet = written(|out| encode::disconnect(out, Reason::SESSION_TAKEN_OVER, text, bytes_max));
        let Packet::Disconnect(it) = packet else { panic!("{packet:?}") };
        assert_eq!(it.reason_code, DisconnectReasonCode::SessionTakenOver);
        assert_eq!(it.properties.and_then(|it| it.reason_string), told);

        let details = encode::AckDetails { text, ..Default::default() };
        let answered = |qos| {
            let reason = Reason::NOT_AUTHORIZED;
            written(|out| encode::publish_answer(out, Version::V5, 7, qos, reason, &details, bytes_max))
        };
        let packet = answered(1);
        let Packet::PubAck(it) = packet else { panic!("{packet:?}") };
        assert_eq!((it.pkid, it.reason), (7, PubAckReason::NotAuthorized));
        assert_eq!(it.properties.and_then(|it| it.reason_string), told);
        let packet = answered(2);
        let Packet::PubRec(it) = packet else { panic!("{packet:?}") };
        assert_eq!((it.pkid, it.reason), (7, PubRecReason::NotAuthorized));

        let packet = read(&connack::refused(Version::V5, Reason::BAD_USER_NAME_OR_PASSWORD, text, bytes_max));
        let Packet::ConnAck(it) = packet else { panic!("{packet:?}") };
        assert_eq!(it.code, ConnectReturnCode::BadUserNamePassword);
        assert_eq!(it.properties.and_then(|it| it.reason_string), told);

        let packet = read(&encode::suback(Version::V5, 7, &[1, 0x87], text, bytes_max).unwrap());
        let Packet::SubAck(it) = packet else { panic!("{packet:?}") };
        assert!(matches!(it.return_codes[..], [SubscribeReasonCode::Success(_), SubscribeReasonCode::NotAuthorized]));
        assert_eq!(it.properties.and_then(|it| it.reason_string), told);
    }
    for reason in [Reason::SUCCESS, Reason::NOT_AUTHORIZED, Reason::QUOTA_EXCEEDED] {
        let details = encode::AckDetails::default();
        let packet = written(|out| encode::publish_answer(out, Version::V5, 7, 1, reason, &details, usize::MAX));
        assert!(matches!(packet, Packet::PubAck(_)), "{packet:?}");
    }
    let packet = read(&encode::unsuback(Version::V5, 7, &[0, 0x11], usize::MAX).unwrap());
    assert!(matches!(packet, Packet::UnsubAck(_)), "{packet:?}");
}

#[test]
fn rumqttc_reads_connack() {
    let offer = connack::ConnackOffer {
        receive_maximum: 128,
        packet_bytes_max: 131_072,
        topic_alias_max: 16,
        keep_alive_s: Some(60),
        client_id: Some("phone".to_owned()),
        method: Some("jwt"),
        server: Some((7, 8)),
    };
    let packet = read(&connack::accepted(Version::V5, true, &offer, usize::MAX));
    let Packet::ConnAck(it) = packet else { panic!("{packet:?}") };
    let told = it.properties.unwrap();
    assert_eq!((it.session_present, it.code), (true, ConnectReturnCode::Success));
    assert_eq!((told.receive_max, told.max_packet_size, told.topic_alias_max), (Some(128), Some(131_072), Some(16)));
    assert_eq!((told.server_keep_alive, told.assigned_client_identifier.as_deref()), (Some(60), Some("phone")));
    assert_eq!((told.retain_available, told.authentication_method.as_deref()), (Some(0), Some("jwt")));
    assert_eq!((told.subscription_identifiers_available, told.shared_subscription_available), (Some(0), Some(0)));
}
