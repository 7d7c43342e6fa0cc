//! Whom the server may be made to talk to. The URL of a Web Push subscription is chosen by a user, who could choose the
//! operator's own machines (server-side request forgery). So at every connection the name is resolved here, every address must
//! be public, and the connection goes to one of just these addresses: what a name was resolved to earlier proves nothing.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::future::BoxFuture;
use hyper::Uri;

use crate::ENDPOINT_BYTES_MAX;

/// Finds the addresses of a name: the system, or a test.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// All addresses of a host.
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Which push services users may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Names, or `*.` and the end of names; `*`: any. In lower case.
    pub hosts: Vec<String>,
    /// Any port, and `http` too; addresses that are not public.
    pub allow_private: bool,
}

impl Guard {
    /// The URL of a subscription, if it is one that is allowed. Names nobody else's server: what a name resolves to is looked
    /// at when a connection is made.
    pub fn endpoint(&self, text: &str) -> Option<Uri> {
        if text.len() > ENDPOINT_BYTES_MAX || !text.bytes().all(|byte| (0x21..0x7F).contains(&byte)) {
            return None;
        }
        // `Uri` drops what is behind a #, and a path in it would be another one for others.
        let uri: Uri = text.parse().ok().filter(|_| !text.contains(['#', '\\']))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let secure = uri.scheme_str() == Some("https");
        let plain = self.allow_private && uri.scheme_str() == Some("http");
        let usual = uri.port_u16().is_none_or(|port| port == 443) && !authority.as_str().ends_with(':');
        ((secure && usual) || (self.allow_private && (secure || plain))).then_some(())?;
        self.names(authority.host()).then_some(uri)
    }

    fn names(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let is_host = |pattern: &String| match pattern.strip_prefix('*') {
            Some("") => true,
            // "*.example.org" has a label in place of the star.
            Some(end) => host.strip_suffix(end).is_some_and(|label| !label.is_empty()),
            None => host == *pattern,
        };
        self.hosts.iter().any(is_host)
    }

    /// The addresses that may be connected to.
    ///
    /// # Errors
    /// One of them is not public, or there is none.
    pub(crate) fn allowed(&self, addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        if !self.allow_private && addresses.iter().any(|address| !is_public(address.ip())) {
            return Err(io::Error::other("the name leads to an address that is not public"));
        }
        if addresses.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(addresses) }
    }
}

/// Whether an address is somebody's on the public Internet, by the registries of IANA for special purposes (RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

/// Only 2000::/3 is given out; within it some is special, or stands for an IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(address) = address.to_ipv4_mapped() {
        return is_public_v4(address);
    }
    let [a, b, c, ..] = address.segments();
    match (a, b) {
        // 64:ff9b::/96, NAT64: the last four bytes are an IPv4 address.
        (0x64, 0xff9b) if address.segments()[2..6] == [0; 4] => {
            let [.., w, x, y, z] = address.octets();
            is_public_v4(Ipv4Addr::new(w, x, y, z))
        }
        // 2001::/23, protocol assignments, Teredo among them; 2001:db8::/32, documentation.
        (0x2001, b) if b < 0x200 || b == 0xdb8 => false,
        // 2002::/16, 6to4: an IPv4 address follows.
        (0x2002, _) => {
            let ([w, x], [y, z]) = (b.to_be_bytes(), c.to_be_bytes());
            is_public_v4(Ipv4Addr::new(w, x, y, z))
        }
        // 3fff::/20, documentation.
        (0x3fff, b) if b < 0x1000 => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(hosts: &[&str], allow_private: bool) -> Guard {
        Guard { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), allow_private }
    }

    #[test]
    fn addresses_of_special_purpose_are_not_public() {
        let special = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "::7f00:1",
            "5f00::1",
        ];
        for address in special {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let public =
            ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn only_named_hosts_are_push_services() {
        let guard = guard(&["fcm.googleapis.com", "*.push.apple.com"], false);
        for good in
            ["https://fcm.googleapis.com/fcm/send/x", "https://web.push.apple.com/x", "https://A.PUSH.apple.com:443/"]
        {
            assert!(guard.endpoint(good).is_some(), "{good}");
        }
        for bad in [
            "http://fcm.googleapis.com/x",
            "https://fcm.googleapis.com:8443/x",
            "https://push.apple.com/x",
            "https://evilpush.apple.com/x",
            "https://web.push.apple.com.example.org/x",
            "https://web.push.apple.com@10.0.0.1/x",
            "https://10.0.0.1/x",
            "https://fcm.googleapis.com/a b",
            "https://fcm.googleapis.com\\@10.0.0.1/",
            "ftp://fcm.googleapis.com/",
            "/x",
            "",
        ] {
            assert!(guard.endpoint(bad).is_none(), "{bad}");
        }
        assert!(guard.endpoint(&format!("https://fcm.googleapis.com/{}", "x".repeat(2_048))).is_none());
    }

    #[test]
    fn a_private_push_service_must_be_allowed() {
        let open = guard(&["*"], true);
        assert!(open.endpoint("http://127.0.0.1:8080/x").is_some());
        assert!(open.endpoint("https://ntfy.lan:8443/x").is_some());
        assert!(guard(&["*"], false).endpoint("http://127.0.0.1:8080/x").is_none());
    }

    #[test]
    fn one_private_address_among_public_ones_is_enough_to_refuse() {
        let addresses: Vec<SocketAddr> = vec!["1.1.1.1:443".parse().unwrap(), "10.0.0.1:443".parse().unwrap()];
        assert!(guard(&["*"], false).allowed(addresses.clone()).is_err());
        assert_eq!(guard(&["*"], false).allowed(addresses[..1].to_vec()).unwrap(), addresses[..1]);
        assert_eq!(guard(&["*"], true).allowed(addresses.clone()).unwrap(), addresses);
        assert!(guard(&["*"], true).allowed(Vec::new()).is_err());
    }
}
