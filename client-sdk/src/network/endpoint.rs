//! Where a server is: `mqtt://host:1883`, `mqtts://host`, `ws://host/path`, `wss://host/path`.

use crate::error::Error;

/// How to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportScheme {
    Tcp,
    Tls,
    Ws,
    Wss,
}

/// The address of a server, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) scheme: TransportScheme,
    host: String,
    port: u16,
    /// The whole address, as WebSocket wants it.
    url: String,
}

impl ServerAddress {
    /// Reads an address. Without a scheme it is TCP.
    pub(crate) fn parse(address: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::Address(format!("{address}: {why}"));
        let (scheme, rest) = match address.split_once("://") {
            None => (TransportScheme::Tcp, address),
            Some(("mqtt" | "tcp", rest)) => (TransportScheme::Tcp, rest),
            Some(("mqtts" | "ssl", rest)) => (TransportScheme::Tls, rest),
            Some(("ws", rest)) => (TransportScheme::Ws, rest),
            Some(("wss", rest)) => (TransportScheme::Wss, rest),
            Some(_) => return Err(bad("begins with none of mqtt:// mqtts:// ws:// wss://")),
        };
        let built = match scheme {
            TransportScheme::Tcp => true,
            TransportScheme::Tls => cfg!(feature = "tls"),
            TransportScheme::Ws => cfg!(feature = "websocket"),
            TransportScheme::Wss => cfg!(all(feature = "tls", feature = "websocket")),
        };
        if !built {
            return Err(bad("this build has no such transport: see the features `tls` and `websocket`"));
        }
        let is_ws = matches!(scheme, TransportScheme::Ws | TransportScheme::Wss);
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if !is_ws && !matches!(path, "" | "/") {
            return Err(bad("has a path"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            // Not the colons of an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad("has no proper port"))?),
            _ => (authority, default_port(scheme)),
        };
        if host.is_empty() || host.contains(['@', '?', '#']) || (host.contains(':') && !host.starts_with('[')) {
            return Err(bad("has no proper host"));
        }
        let name = if scheme == TransportScheme::Wss { "wss" } else { "ws" };
        let path = if path.is_empty() { "/" } else { path };
        let url = format!("{name}://{host}:{port}{path}");
        Ok(Self { scheme, host: host.to_owned(), port, url })
    }

    /// What rumqttc wants as host and port: with WebSocket the whole address is the host.
    pub(crate) fn address(&self) -> (String, u16) {
        match self.scheme {
            TransportScheme::Tcp | TransportScheme::Tls => (self.host.clone(), self.port),
            TransportScheme::Ws | TransportScheme::Wss => (self.url.clone(), self.port),
        }
    }
}

fn default_port(scheme: TransportScheme) -> u16 {
    match scheme {
        TransportScheme::Tcp => 1883,
        TransportScheme::Tls => 8883,
        TransportScheme::Ws => 80,
        TransportScheme::Wss => 443,
    }
}

impl super::ConnectOptions {
    /// The same in rumqttc's words.
    pub(super) fn transport(&self) -> rumqttc::Transport {
        match self.endpoint.scheme {
            #[cfg(feature = "tls")]
            TransportScheme::Tls => {
                rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(self.tls.clone()))
            }
            #[cfg(feature = "websocket")]
            TransportScheme::Ws => rumqttc::Transport::ws(),
            #[cfg(all(feature = "tls", feature = "websocket"))]
            TransportScheme::Wss => {
                rumqttc::Transport::wss_with_config(rumqttc::TlsConfiguration::Rustls(self.tls.clone()))
            }
            // `parse` lets nothing pass that is not built.
            _ => rumqttc::Transport::tcp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let at = |address: &str| ServerAddress::parse(address).map(|it| (it.scheme, it.address())).ok();
        let tcp = |host: &str, port| Some((TransportScheme::Tcp, (host.to_owned(), port)));
        assert_eq!(at("example.org"), tcp("example.org", 1883));
        assert_eq!(at("mqtt://127.0.0.1:99"), tcp("127.0.0.1", 99));
        assert_eq!(at("tcp://[::1]:99/"), tcp("[::1]", 99));
        assert_eq!(at("[::1]"), tcp("[::1]", 1883));
        for bad in ["", "mqtt://", "http://x", "x:port", "x:70000", "mqtt://x/path", "::1", "mqtt://user@x"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[cfg(all(feature = "tls", feature = "websocket"))]
    #[test]
    fn addresses_over_other_transports() {
        let at = |address: &str| ServerAddress::parse(address).map(|it| (it.scheme, it.address())).unwrap();
        assert_eq!(at("mqtts://x"), (TransportScheme::Tls, ("x".into(), 8883)));
        assert_eq!(at("ws://x/mqtt"), (TransportScheme::Ws, ("ws://x:80/mqtt".into(), 80)));
        assert_eq!(at("wss://x:8443"), (TransportScheme::Wss, ("wss://x:8443/".into(), 8443)));
    }
}
