//! Where a server is: `mqtt://host:1883`, `mqtts://host`, `ws://host/path`, `wss://host/path`.

use crate::error::Error;

/// How to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tcp,
    Tls,
    Ws,
    Wss,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    host: String,
    port: u16,
    /// The whole address, as WebSocket wants it.
    url: String,
}

impl Endpoint {
    /// Reads an address. Without a scheme it is TCP.
    pub(crate) fn parse(address: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::Address(format!("{address}: {why}"));
        let (scheme, rest) = match address.split_once("://") {
            None => (Scheme::Tcp, address),
            Some(("mqtt" | "tcp", rest)) => (Scheme::Tcp, rest),
            Some(("mqtts" | "ssl", rest)) => (Scheme::Tls, rest),
            Some(("ws", rest)) => (Scheme::Ws, rest),
            Some(("wss", rest)) => (Scheme::Wss, rest),
            Some(_) => return Err(bad("begins with none of mqtt:// mqtts:// ws:// wss://")),
        };
        let built = match scheme {
            Scheme::Tcp => true,
            Scheme::Tls => cfg!(feature = "tls"),
            Scheme::Ws => cfg!(feature = "websocket"),
            Scheme::Wss => cfg!(all(feature = "tls", feature = "websocket")),
        };
        if !built {
            return Err(bad("this build has no such transport: see the features `tls` and `websocket`"));
        }
        let is_ws = matches!(scheme, Scheme::Ws | Scheme::Wss);
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
        let name = if scheme == Scheme::Wss { "wss" } else { "ws" };
        let path = if path.is_empty() { "/" } else { path };
        let url = format!("{name}://{host}:{port}{path}");
        Ok(Self { scheme, host: host.to_owned(), port, url })
    }

    /// What rumqttc wants as host and port: with WebSocket the whole address is the host.
    pub(crate) fn address(&self) -> (String, u16) {
        match self.scheme {
            Scheme::Tcp | Scheme::Tls => (self.host.clone(), self.port),
            Scheme::Ws | Scheme::Wss => (self.url.clone(), self.port),
        }
    }
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Tcp => 1883,
        Scheme::Tls => 8883,
        Scheme::Ws => 80,
        Scheme::Wss => 443,
    }
}

impl super::Dial {
    /// The same in rumqttc's words.
    pub(super) fn transport(&self) -> rumqttc::Transport {
        match self.endpoint.scheme {
            #[cfg(feature = "tls")]
            Scheme::Tls => rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(self.tls.clone())),
            #[cfg(feature = "websocket")]
            Scheme::Ws => rumqttc::Transport::ws(),
            #[cfg(all(feature = "tls", feature = "websocket"))]
            Scheme::Wss => rumqttc::Transport::wss_with_config(rumqttc::TlsConfiguration::Rustls(self.tls.clone())),
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
        let at = |address: &str| Endpoint::parse(address).map(|it| (it.scheme, it.address())).ok();
        let tcp = |host: &str, port| Some((Scheme::Tcp, (host.to_owned(), port)));
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
        let at = |address: &str| Endpoint::parse(address).map(|it| (it.scheme, it.address())).unwrap();
        assert_eq!(at("mqtts://x"), (Scheme::Tls, ("x".into(), 8883)));
        assert_eq!(at("ws://x/mqtt"), (Scheme::Ws, ("ws://x:80/mqtt".into(), 80)));
        assert_eq!(at("wss://x:8443"), (Scheme::Wss, ("wss://x:8443/".into(), 8443)));
    }
}
