//! The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt, section 2.2): the header with the client's address that a proxy in
//! front of the listeners sends first. The listeners accept it only from the networks that the operator names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Most bytes behind the first 16: the addresses, and extensions, which are ignored.
const REST_BYTES_MAX: usize = 2_048;

/// A network, like `10.0.0.0/8` or `2001:db8::/32`; an address alone is one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether the network contains the address. An IPv4 address may be mapped to IPv6 (`::ffff:10.0.0.1`).
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(&addr.to_canonical())
    }
}

/// The text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network like 10.0.0.0/8")]
pub struct BadNetwork;

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let network = text.parse().or_else(|_| text.parse().map(|addr: IpAddr| IpNet::from(addr)));
        network.map(Self).map_err(|_| BadNetwork)
    }
}

/// Reads the header, and no byte behind it. Returns the client's address. `None`: the proxy has no client (it makes a health check), or the
/// client has no IP address. Not cancel safe.
///
/// # Errors
/// It is not a header of version 2, or longer than 2 KiB.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let [.., command, family, high, low] = head;
    let rest_len = usize::from(u16::from_be_bytes([high, low]));
    if head[..12] != SIGNATURE || command >> 4 != 2 || rest_len > REST_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut rest = vec![0; rest_len];
    stream.read_exact(&mut rest).await?;
    source(command & 0x0F, family, &rest).map_err(|()| io::ErrorKind::InvalidData.into())
}

/// The client's address.
fn source(command: u8, family: u8, rest: &[u8]) -> Result<Option<IpAddr>, ()> {
    let v4 = || rest.first_chunk::<4>().filter(|_| rest.len() >= 12).map(|it| IpAddr::V4(Ipv4Addr::from(*it)));
    let v6 = || rest.first_chunk::<16>().filter(|_| rest.len() >= 36).map(|it| IpAddr::V6(Ipv6Addr::from(*it)));
    match (command, family >> 4) {
        (0, _) | (1, 0 | 3) => Ok(None),
        (1, 1) => v4().map(Some).ok_or(()),
        (1, 2) => v6().map(|addr| Some(addr.to_canonical())).ok_or(()),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    async fn read(bytes: &[u8]) -> (io::Result<Option<IpAddr>>, usize) {
        let mut bytes = bytes;
        let read = read_header(&mut bytes).await;
        (read, bytes.len())
    }

    #[tokio::test]
    async fn the_header_gives_the_address_and_nothing_more_is_read() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x07, 0x5B];
        let v6 = ["2001:db8::7", "::1"].map(|it| it.parse::<Ipv6Addr>().unwrap().octets()).concat();
        let v6 = [&v6[..], &[0; 4]].concat();
        let more = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let cases = [
            (header(0x21, 0x11, &v4), Some("192.0.2.7")),
            (header(0x21, 0x11, &more), Some("192.0.2.7")),
            (header(0x21, 0x21, &v6), Some("2001:db8::7")),
            (header(0x20, 0, &[]), None),
            (header(0x20, 0x11, &v4), None),
            (header(0x21, 0, &[1, 2, 3]), None),
            (header(0x21, 0x31, &[0; 216]), None),
        ];
        for (bytes, expected) in cases {
            let (addr, left) = read(&[&bytes[..], b"MQTT"].concat()).await;
            assert_eq!((addr.unwrap(), left), (expected.map(|it| it.parse().unwrap()), 4), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn other_headers_are_refused() {
        let mut other = header(0x21, 0x11, &[0; 12]);
        other[3] = b'x';
        let cases = [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 1883\r\n".to_vec(),
            other,
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x41, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x21, 0x11, &[0; REST_BYTES_MAX + 1]),
            header(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ];
        for bytes in cases {
            assert!(read(&bytes).await.0.is_err(), "{:?}", &bytes[..16]);
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let network = |text: &str| text.parse::<Network>();
        let within = |text, addr: &str| network(text).unwrap().contains(addr.parse().unwrap());
        assert!(within("10.0.0.0/8", "10.255.0.1") && within("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(!within("10.0.0.0/8", "11.0.0.1") && !within("10.0.0.0/8", "2001:db8::1"));
        assert!(within("192.0.2.1", "192.0.2.1") && !within("192.0.2.1", "192.0.2.0"));
        assert!(within("2001:db8::/32", "2001:db8:ffff::1") && !within("2001:db8::/32", "2001:db9::1"));
        assert!(within("0.0.0.0/0", "192.0.2.1") && within("::/0", "2001:db8::1"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "x/8", "10.0.0.0/-1"] {
            assert_eq!(network(bad), Err(BadNetwork), "{bad}");
        }
    }
}
