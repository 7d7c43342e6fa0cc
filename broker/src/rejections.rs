//! The log of rejected connections: those that are closed before their CONNECT. A line has the address, the cause, and the setting
//! behind it.
//!
//! Anybody can cause rejections, as often as they like. So a cause is logged once in ten seconds, with the number of rejections
//! since the line before.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::timer::Ticks;

/// Shortest time between two lines about one cause.
const QUIET_TIME: Duration = Duration::from_secs(10);

/// Why a connection is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "explained by `parts`")]
pub enum RejectCause {
    Connections,
    ConnectionsPerAddress,
    Unauthenticated,
    UnauthenticatedPerAddress,
    Memory,
    NotAProxy,
    NoProxyHeader,
    TlsHandshake,
    Origin,
    WebSocketUpgrade,
    Deadline,
}

impl RejectCause {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Unauthenticated,
        Self::UnauthenticatedPerAddress,
        Self::Memory,
        Self::NotAProxy,
        Self::NoProxyHeader,
        Self::TlsHandshake,
        Self::Origin,
        Self::WebSocketUpgrade,
        Self::Deadline,
    ];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Unauthenticated => "unauthenticated",
            Self::UnauthenticatedPerAddress => "unauthenticated_per_address",
            Self::Memory => "memory",
            Self::NotAProxy => "not_a_proxy",
            Self::NoProxyHeader => "no_proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::Origin => "origin",
            Self::WebSocketUpgrade => "websocket_upgrade",
            Self::Deadline => "deadline",
        }
    }

    /// The cause in words, and the setting.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Connections => ("too many connections", "limits.connections_max"),
            Self::ConnectionsPerAddress => ("too many connections of its address", "limits.connections_per_address"),
            Self::Unauthenticated => ("too many that have not said who they are", "limits.unauthenticated_connections"),
            Self::UnauthenticatedPerAddress => {
                ("too many of its address that have not said who they are", "limits.unauthenticated_per_address")
            }
            Self::Memory => ("memory is short", "limits.memory_mib"),
            Self::NotAProxy => ("not an address of a proxy", "mqtt.proxy_from"),
            Self::NoProxyHeader => ("no PROXY protocol header, version 2", "mqtt.proxy_protocol"),
            Self::TlsHandshake => ("the TLS handshake failed", "tls"),
            Self::Origin => ("a page of an origin that is not listed", "mqtt.websocket_origins"),
            Self::WebSocketUpgrade => ("not an upgrade to MQTT over WebSocket", "mqtt.websocket_listen"),
            Self::Deadline => ("not done with TLS, WebSocket or the proxy's header in time", "mqtt"),
        }
    }
}

/// Logs rejections, each cause at most once in ten seconds.
#[derive(Debug, Default)]
pub(crate) struct RejectionLog(Mutex<[CauseCount; RejectCause::ALL.len()]>);

#[derive(Debug, Default, Clone, Copy)]
struct CauseCount {
    /// Rejections since the last line.
    number: u64,
    quiet_until: Ticks,
}

impl RejectionLog {
    /// Counts a rejection, and logs it if its cause is not quiet. `detail` is English.
    pub(crate) fn record(&self, now: Ticks, addr: Option<IpAddr>, cause: RejectCause, detail: impl Display) {
        let Some(number) = self.count(now, cause) else { return };
        let (text, setting) = cause.parts();
        let addr = addr.map(|addr| tracing::field::display(addr.to_canonical()));
        tracing::info!(addr, cause = text, setting, %detail, number, "turned away");
    }

    /// The number of rejections since the last line. `None`: the cause is quiet.
    fn count(&self, now: Ticks, cause: RejectCause) -> Option<u64> {
        let mut counts = self.0.lock();
        let count = &mut counts[cause as usize];
        count.number += 1;
        if now < count.quiet_until {
            return None;
        }
        count.quiet_until = now.after(QUIET_TIME);
        Some(std::mem::take(&mut count.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_logged_once_in_ten_seconds_with_a_count() {
        let log = RejectionLog::default();
        assert_eq!(log.count(Ticks(1), RejectCause::Connections), Some(1));
        assert_eq!(log.count(Ticks(1), RejectCause::Deadline), Some(1), "each has its own");
        for _ in 0..1_000 {
            assert_eq!(log.count(Ticks(40), RejectCause::Connections), None);
        }
        assert_eq!(log.count(Ticks(1).after(QUIET_TIME), RejectCause::Connections), Some(1_001));
        assert_eq!(log.count(Ticks(1).after(QUIET_TIME), RejectCause::Connections), None);
    }
}
