//! Why there was no connection, told from the errors of rumqttc and of what is below it. People are told it, and scripts
//! end by it: so what will not pass by waiting is told from what may.

use std::error::Error;
use std::io;

#[cfg(feature = "tls")]
use tokio_rustls::rustls;

use super::ConnectionLost;

/// What an error means that ended a connection, or an attempt at one (`welcomed`: CONNACK had come).
pub(super) fn lost(error: &(dyn Error + 'static), welcomed: bool) -> ConnectionLost {
    if let Some(lost) = causes(error).find_map(of_tls) {
        return lost;
    }
    let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    match io {
        _ if welcomed => ConnectionLost::Broken(error.to_string()),
        Some(io) if was_closed(io) => ConnectionLost::Broken(io.to_string()),
        Some(io) => ConnectionLost::Unreachable(io.to_string()),
        None => ConnectionLost::Broken(error.to_string()),
    }
}

/// What an error of a WebSocket's handshake means: of the network, or an answer that is none to it.
#[cfg(feature = "websocket")]
pub(super) fn of_handshake(error: &(dyn Error + 'static)) -> ConnectionLost {
    match lost(error, false) {
        ConnectionLost::Broken(why) => ConnectionLost::NotMqtt(why),
        lost => lost,
    }
}

/// The other side took the connection, and ended it before it said anything.
fn was_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// An error and what it was caused by. What an I/O error wraps is no source of it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(feature = "tls")]
fn of_tls(error: &(dyn Error + 'static)) -> Option<ConnectionLost> {
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(why) => Some(ConnectionLost::NotTrusted(why.to_string())),
        rustls::Error::InvalidMessage(_) => Some(ConnectionLost::NotMqtt("no TLS".to_owned())),
        rustls::Error::AlertReceived(alert) => Some(ConnectionLost::Broken(format!("TLS: {alert:?}"))),
        other => Some(ConnectionLost::Broken(format!("TLS: {other}"))),
    }
}

#[cfg(not(feature = "tls"))]
fn of_tls(_: &(dyn Error + 'static)) -> Option<ConnectionLost> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waiting_may_help_with_is_told_from_what_it_does_not() {
        let io = |kind: io::ErrorKind| lost(&io::Error::from(kind), false);
        assert!(matches!(io(io::ErrorKind::ConnectionRefused), ConnectionLost::Unreachable(_)));
        assert!(matches!(lost(&io::Error::other("failed to lookup address"), false), ConnectionLost::Unreachable(_)));
        assert!(matches!(io(io::ErrorKind::ConnectionReset), ConnectionLost::Broken(_)));
        let unreachable = io::Error::from(io::ErrorKind::HostUnreachable);
        assert!(matches!(lost(&unreachable, true), ConnectionLost::Broken(_)), "there was a connection");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn an_untrusted_certificate_is_found_below_other_errors() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, unknown));
        assert!(matches!(lost(&wrapped, false), ConnectionLost::NotTrusted(why) if why.contains("UnknownIssuer")));
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(matches!(lost(&io::Error::other(plain), false), ConnectionLost::NotMqtt(_)));
    }
}
