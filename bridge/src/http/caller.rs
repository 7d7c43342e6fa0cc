//! Where a request comes from: the other end of its connection or, behind proxies that are named, whoever they say.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// What proxies say of whom they speak for: addresses, each proxy's client behind the one before.
const FORWARDED_FOR: &str = "x-forwarded-for";

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

/// The proxies that are believed. Cheap to clone.
#[derive(Clone)]
pub struct Proxies(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

/// An extension of every request. `None`: its connection ended before anybody looked, or it came without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller(pub(super) Option<IpAddr>);

impl Proxies {
    /// Those of which this is true.
    pub fn new(are_named: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(are_named))
    }

    /// Who has sent a request that came from this address: the last one who is no proxy. What is before it in the header
    /// may be anybody's invention.
    pub(super) fn caller(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Caller {
        let is_proxy = |addr: IpAddr| (self.0)(addr.to_canonical());
        let Some(mut caller) = peer.filter(|peer| is_proxy(*peer)) else { return Caller(peer) };
        let said = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let said: Vec<_> = said.flat_map(|list| list.split(',')).collect();
        for addr in said.into_iter().rev() {
            let Ok(addr) = addr.trim().parse() else { break };
            caller = addr;
            if !is_proxy(caller) {
                break;
            }
        }
        Caller(Some(caller))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_proxies_say_for_whom_they_speak() {
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxies = Proxies::new(|addr| matches!(addr, IpAddr::V4(v4) if v4.octets()[0] == 10));
        let caller = |peer: &str, lines: &[&str]| {
            let lines = lines.iter().map(|line| (FORWARDED_FOR.parse().unwrap(), line.parse().unwrap()));
            proxies.caller(Some(addr(peer)), &lines.collect()).0.unwrap().to_string()
        };
        assert_eq!(caller("192.0.2.1", &["198.51.100.1"]), "192.0.2.1", "no proxy");
        assert_eq!(caller("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(caller("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(caller("10.0.0.1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1", "the client's own words");
        assert_eq!(caller("10.0.0.1", &["203.0.113.9", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(caller("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(caller("10.0.0.1", &["somebody"]), "10.0.0.1");
        assert_eq!(proxies.caller(None, &HeaderMap::new()), Caller(None));
    }
}
