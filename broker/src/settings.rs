//! What the operator decides about a broker. `deploy/godwit.toml` documents each setting and its default; the server reads
//! that file and hands the result to [`crate::start`].

use std::net::SocketAddr;
use std::time::Duration;

use crate::connection_limits::NetworkLimits;
use crate::pressure::Pressure;
use crate::proxy::Network;
use crate::tls::TlsSettings;
use crate::token::TokenClaims;

/// A listener for clients: its address, and the layers between TCP and MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The address to bind. Port 0 lets the system choose a free port.
    pub addr: SocketAddr,
    /// A connection begins with a TLS handshake.
    pub tls: bool,
    /// MQTT packets are carried in WebSocket frames (inside TLS, if that is on too).
    pub websocket: bool,
}

impl ListenerSettings {
    /// A listener for plain MQTT over TCP.
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, tls: false, websocket: false }
    }
}

/// All settings of a broker. The default is the product's: that of `deploy/godwit.toml`.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// The listeners for clients.
    pub listeners: Vec<ListenerSettings>,
    /// Certificates of the listeners with TLS. `None`: no listener has TLS.
    pub tls: Option<TlsSettings>,
    /// Origins of web pages that may connect over WebSocket, as in the header `Origin`; `*` allows any. A request without
    /// that header comes from a program that is not a browser, and is allowed.
    pub origins: Vec<String>,
    /// Most clients in a handshake before MQTT (PROXY header, TLS, WebSocket). Further ones wait in the system's accept queue.
    pub handshakes_max: usize,
    /// Most CONNECTs that lanes authenticate at once. Further ones wait in the login queue. 0 means 1.
    pub logins_max: usize,
    /// Set by the server while the process is short of memory.
    pub pressure: Pressure,
    /// Networks of the proxies in front of the listeners. Every connection then begins with a PROXY protocol header, and an
    /// address outside these networks is refused. `None`: there is no proxy.
    pub proxies: Option<Vec<Network>>,
    /// The claims that name the user and the device in a token, for clients that leave them out of CONNECT. `None`: tokens are
    /// not used.
    pub tokens: Option<TokenClaims>,
    /// Limits on connections and failed logins, by network.
    pub connection_limits: NetworkLimits,
    /// Packets that a client may send in a second, on average, acknowledgements that the broker asked for excepted. Five
    /// seconds' worth may come at once; what is over is read later. 0: no limit.
    pub packets_per_s: u32,
    /// The same in bytes.
    pub bytes_per_s: u32,
    /// How long a client may send more than these rates before it is closed. Zero: for ever.
    pub over_rate: Duration,
    /// Largest packet that a client may send, in bytes. CONNACK of MQTT 5 announces it as Maximum Packet Size.
    pub packet_bytes_max: u32,
    /// Most connections at once. Further ones are closed as soon as they are accepted.
    pub connections_max: u64,
    /// Longest time from accepting a connection to CONNACK.
    pub connect_deadline: Duration,
    /// Most publishes of a connection that the lane has not answered. CONNACK of MQTT 5 announces it as Receive Maximum. 0
    /// means 1.
    pub unanswered_publishes_max: u16,
    /// Most topic aliases that a client may define (MQTT 5). 0: none.
    pub topic_alias_max: u16,
    /// How long a client's socket may take no bytes while some wait for it, before the connection is dropped.
    pub drain_deadline: Duration,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            listeners: vec![ListenerSettings::plain(SocketAddr::from(([127, 0, 0, 1], 1883)))],
            tls: None,
            origins: Vec::new(),
            handshakes_max: 4_096,
            logins_max: 16,
            pressure: Pressure::default(),
            proxies: None,
            tokens: None,
            connection_limits: NetworkLimits::default(),
            packets_per_s: 10_000,
            bytes_per_s: 16 * 1024 * 1024,
            over_rate: Duration::from_secs(60),
            packet_bytes_max: 128 * 1024,
            connections_max: 1_000_000,
            connect_deadline: Duration::from_secs(10),
            unanswered_publishes_max: 128,
            topic_alias_max: 16,
            drain_deadline: Duration::from_secs(30),
        }
    }
}
