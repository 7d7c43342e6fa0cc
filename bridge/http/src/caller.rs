//! Where a request comes from: the other end of its connection or, behind proxies that are named, whoever they say.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// Reads the address in one element of a header.
type ReadElement = fn(&[u8]) -> Option<IpAddr>;

/// Stands for whoever a proxy speaks for in words that cannot be read. All of them together have what one address may have.
const UNREADABLE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

/// The header in which proxies say whom they speak for: each proxy's client behind the one before. Any other may be the
/// client's own invention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses, the nearest client last.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies that are believed, and in what. Cheap to clone.
#[derive(Clone)]
pub struct Proxies {
    are_named: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    header: ProxyHeader,
}

/// An extension of every request. `None`: its connection ended before anybody looked, or it came without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientAddress(pub(super) Option<IpAddr>);

impl ClientAddress {
    /// Without a proxy's: the client's own. `None`: it is not known.
    pub fn ip(self) -> Option<IpAddr> {
        self.0
    }
}

impl Proxies {
    /// Those of which this is true.
    pub fn new(header: ProxyHeader, are_named: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { are_named: Arc::new(are_named), header }
    }

    pub(super) fn are(&self, addr: IpAddr) -> bool {
        (self.are_named)(addr.to_canonical())
    }

    /// Who has sent a request that came from this address: the last one who is no proxy. What is before it in the header
    /// may be anybody's invention.
    pub(super) fn caller(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> ClientAddress {
        let Some(proxy) = peer.filter(|peer| self.are(*peer)) else { return ClientAddress(peer) };
        let (name, read): (_, ReadElement) = match self.header {
            ProxyHeader::XForwardedFor => ("x-forwarded-for", node),
            ProxyHeader::Forwarded => ("forwarded", forwarded),
        };
        // From behind: an unfinished quotation of a client reaches no further than its own words.
        let lines = headers.get_all(name).iter().collect::<Vec<_>>().into_iter().rev();
        let said = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut caller = proxy;
        // A list may have empty elements (RFC 9110, 5.6.1.2).
        for element in said.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
            caller = match read(element) {
                // Another machine's own address is not this machine's.
                Some(addr) if addr.is_loopback() && !proxy.to_canonical().is_loopback() => UNREADABLE,
                Some(addr) => addr,
                None => UNREADABLE,
            };
            if !self.are(caller) {
                break;
            }
        }
        ClientAddress(Some(caller))
    }
}

/// An address as proxies write it: with a port or without, in quotes, IPv6 in brackets or not.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let of_v6 = |text: &str| text.split('%').next().and_then(|addr| addr.parse::<Ipv6Addr>().ok()).map(IpAddr::from);
    let is_port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let addr = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((addr, rest)) => of_v6(addr).filter(|_| rest.is_empty() || is_port(rest)),
        None => of_v6(text).or_else(|| {
            let (addr, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            addr.parse::<Ipv4Addr>().ok().filter(|_| port.is_empty() || is_port(port)).map(IpAddr::from)
        }),
    };
    addr.map(|addr| addr.to_canonical())
}

/// An element of `Forwarded`: pairs, one of which says for whom.
fn forwarded(element: &[u8]) -> Option<IpAddr> {
    let mut pairs = element.split(|byte| *byte == b';').filter_map(|pair| {
        let (name, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    });
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case(b"for"))?;
    node(value)
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxies({:?})", self.header)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn caller(header: ProxyHeader, peer: &str, lines: &[(&str, &str)]) -> String {
        let proxies = Proxies::new(header, |addr| matches!(addr, IpAddr::V4(v4) if v4.octets()[0] == 10));
        let line =
            |(name, line): &(&str, &str)| (name.parse().unwrap(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        proxies.caller(Some(addr(peer)), &lines.iter().map(line).collect()).0.unwrap().to_string()
    }

    fn by_x(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        caller(ProxyHeader::XForwardedFor, peer, &lines)
    }

    fn by_forwarded(lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        caller(ProxyHeader::Forwarded, "10.0.0.1", &lines)
    }

    #[test]
    fn only_named_proxies_say_for_whom_they_speak() {
        assert_eq!(by_x("192.0.2.1", &["198.51.100.1"]), "192.0.2.1", "no proxy");
        assert_eq!(by_x("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(by_x("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(by_x("10.0.0.1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1", "the client's own words");
        assert_eq!(by_x("10.0.0.1", &["203.0.113.9", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(by_x("10.0.0.1", &[]), "10.0.0.1");
        let proxies = Proxies::new(ProxyHeader::XForwardedFor, |_| true);
        assert_eq!(proxies.caller(None, &HeaderMap::new()), ClientAddress(None));
    }

    #[test]
    fn what_proxies_write_is_read() {
        for (said, expected) in [
            ("203.0.113.7:51234", "203.0.113.7"),
            ("203.0.113.7,", "203.0.113.7"),
            ("203.0.113.7 , ,", "203.0.113.7"),
            ("\"203.0.113.7\"", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("\u{fc}, 203.0.113.7", "203.0.113.7"),
            ("203.0.113.9, 10.0.0.2:80", "203.0.113.9"),
        ] {
            assert_eq!(by_x("10.0.0.1", &[said]), expected, "{said}");
            assert_eq!(by_x("10.0.0.1", &["203.0.113.9", said]), expected, "{said}");
        }
        for said in [
            "for=203.0.113.7",
            "for=198.51.100.1, For=\"203.0.113.7:51234\";proto=https;by=10.0.0.1",
            "proto=https; for = 203.0.113.7",
            "for=\"unfinished, for=203.0.113.7",
            "for=203.0.113.7, for=10.0.0.2",
        ] {
            assert_eq!(by_forwarded(&[said]), "203.0.113.7", "{said}");
        }
        assert_eq!(by_forwarded(&["for=\"[2001:db8:cafe::17]:4711\""]), "2001:db8:cafe::17");
    }

    #[test]
    fn what_cannot_be_read_is_one_address_and_not_the_proxy_s() {
        for said in ["somebody", "unknown", "203.0.113.7:", "203.0.113.7:99999", "[2001:db8::1", "\u{fc}", "127.0.0.1"]
        {
            assert_eq!(by_x("10.0.0.1", &["203.0.113.9", said]), "0.0.0.0", "{said}");
            assert_eq!(by_x("10.0.0.1", &[&format!("{said}, 10.0.0.2")]), "0.0.0.0", "{said}");
        }
        for said in ["for=_hidden", "for=unknown", "proto=https", "203.0.113.7", "for=", "for"] {
            assert_eq!(by_forwarded(&[said]), "0.0.0.0", "{said}");
        }
        assert_eq!(godwit_schemas::network::number(UNREADABLE), Some(0), "it is counted");
    }

    #[test]
    fn a_header_that_the_proxies_do_not_write_is_not_read() {
        let both = [("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(caller(ProxyHeader::XForwardedFor, "10.0.0.1", &both), "198.51.100.1");
        assert_eq!(caller(ProxyHeader::Forwarded, "10.0.0.1", &both), "203.0.113.7");
        assert_eq!(caller(ProxyHeader::XForwardedFor, "10.0.0.1", &both[..1]), "10.0.0.1");
    }
}
