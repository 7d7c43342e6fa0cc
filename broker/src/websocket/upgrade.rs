//! The opening handshake of WebSocket: an HTTP request and its response (RFC 6455, section 4.2).

use std::{fmt, io};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use godwit_schemas::{host, origin};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::WebSocket;

/// Most bytes of a request, and most headers. Cookies make requests long.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// Most bytes of a page's origin in the log.
const ORIGIN_BYTES_MAX: usize = 128;
/// The end of a request's headers.
const END: &[u8] = b"\r\n\r\n";
/// The constant of RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol that a client asks for and gets.
pub const SUBPROTOCOL: &str = "mqtt";

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Display` describes each")]
pub enum UpgradeError {
    NotHttp,
    TooLarge,
    Host,
    NotGet,
    NotAnUpgrade,
    Version,
    Key,
    Subprotocol,
    /// This one.
    Origin(String),
    TooSoon,
}

impl UpgradeError {
    /// Status line, headers, and a text for people.
    fn parts(&self) -> (&'static str, &'static str, &'static str) {
        const BAD: &str = "400 Bad Request";
        match self {
            Self::NotHttp => (BAD, "", "this is MQTT over WebSocket, and the request is not HTTP/1.1"),
            Self::TooLarge => ("431 Request Header Fields Too Large", "", "the request is larger than 8 KiB"),
            Self::Host => (BAD, "", "a request has one header Host, with a host and a port"),
            Self::NotGet => ("405 Method Not Allowed", "Allow: GET\r\n", "a WebSocket begins with GET"),
            Self::NotAnUpgrade => {
                ("426 Upgrade Required", "Upgrade: websocket\r\n", "this is MQTT over WebSocket and nothing else")
            }
            Self::Version => {
                let headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
                ("426 Upgrade Required", headers, "the WebSocket version must be 13")
            }
            Self::Key => (BAD, "", "Sec-WebSocket-Key is missing or is not 16 bytes in base64"),
            Self::Subprotocol => (BAD, "", "the subprotocol mqtt is not among those offered"),
            Self::Origin(_) => ("403 Forbidden", "", "pages of this origin are not let in"),
            Self::TooSoon => (BAD, "", "nothing may follow the request before it is answered"),
        }
    }

    /// The status code of the refusal, and a text for people.
    pub fn told(&self) -> (u16, &'static str) {
        let (status, _, text) = self.parts();
        (status.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(400), text)
    }

    fn response(&self) -> String {
        let (status, headers, text) = self.parts();
        let length = text.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{text}\n"
        )
    }
}

/// For operators.
impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, _, text) = self.parts();
        match self {
            Self::Origin(origin) => write!(f, "{text}: {origin:?}"),
            _ => f.write_str(text),
        }
    }
}

/// Reads the request and answers it. Web pages must be of one of these `origins`, or any if `*` is among them. A request without the
/// header `Origin` comes from a program that is no browser, and is accepted. Not cancel safe: the stream is of no use then.
///
/// # Errors
/// The request was refused, and told so; `None`: the client has hung up.
pub async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    origins: &[String],
) -> Result<WebSocket<S>, Option<UpgradeError>> {
    let response = match read_head(&mut stream).await.map_err(|_| None)?.and_then(|head| check_request(&head, origins))
    {
        Ok(accept) => format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        ),
        Err(error) => {
            // It may have hung up.
            if stream.write_all(error.response().as_bytes()).await.is_ok() {
                _ = stream.shutdown().await;
            }
            return Err(Some(error));
        }
    };
    stream.write_all(response.as_bytes()).await.map_err(|_| None)?;
    stream.flush().await.map_err(|_| None)?;
    Ok(WebSocket::new(stream))
}

/// Reads the request up to its empty line.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Vec<u8>, UpgradeError>> {
    let mut head = Vec::with_capacity(1_024);
    loop {
        let seen = head.len();
        let room = HEAD_BYTES_MAX - seen;
        if room == 0 {
            return Ok(Err(UpgradeError::TooLarge));
        }
        if stream.take(room as u64).read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Only where it can have appeared: a client that sends single bytes costs no more than others.
        let from = seen.saturating_sub(END.len() - 1);
        if let Some(at) = head[from..].windows(END.len()).position(|bytes| bytes == END) {
            let is_last = from + at + END.len() == head.len();
            return Ok(if is_last { Ok(head) } else { Err(UpgradeError::TooSoon) });
        }
    }
}

/// Checks a request. Returns the value of Sec-WebSocket-Accept.
fn check_request(head: &[u8], origins: &[String]) -> Result<String, UpgradeError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(UpgradeError::TooLarge),
        _ => return Err(UpgradeError::NotHttp),
    }
    if request.version != Some(1) {
        return Err(UpgradeError::NotHttp);
    }
    if request.method != Some("GET") {
        return Err(UpgradeError::NotGet);
    }
    let named = |name: &'static str| {
        let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii())
    };
    if !host::is_good(true, named("Host")) {
        return Err(UpgradeError::Host);
    }
    check_headers(named, |it| origin::is_listed(origins, it))
}

/// Checks the headers of a GET that asks for a WebSocket. `named` has the values of a header, without spaces around them. Returns the
/// value of Sec-WebSocket-Accept.
///
/// # Errors
/// Why the request is refused.
pub fn check_headers<'h, V: Iterator<Item = &'h [u8]>>(
    named: impl Fn(&'static str) -> V,
    is_welcome: impl Fn(&[u8]) -> bool,
) -> Result<String, UpgradeError> {
    let values = |name| named(name).map(|value| std::str::from_utf8(value).unwrap_or_default());
    // Lists may go on in another header of the same name (RFC 9110, section 5.3).
    let items = |name| values(name).flat_map(|value| value.split(',')).map(str::trim);
    let lists = |name, word: &str| items(name).any(|item| item.eq_ignore_ascii_case(word));
    if !lists("Upgrade", "websocket") || !lists("Connection", "upgrade") {
        return Err(UpgradeError::NotAnUpgrade);
    }
    if !values("Sec-WebSocket-Version").eq(["13"]) {
        return Err(UpgradeError::Version);
    }
    if let Some(other) = named("Origin").find(|it| !is_welcome(it)) {
        let shown = &other[..other.len().min(ORIGIN_BYTES_MAX)];
        return Err(UpgradeError::Origin(String::from_utf8_lossy(shown).into_owned()));
    }
    if !items("Sec-WebSocket-Protocol").any(|item| item == SUBPROTOCOL) {
        return Err(UpgradeError::Subprotocol);
    }
    let mut keys = values("Sec-WebSocket-Key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(UpgradeError::Key) };
    match BASE64_STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(accept(key)),
        _ => Err(UpgradeError::Key),
    }
}

fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /mqtt HTTP/1.1\r\nHost: x\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n";

    fn judged(request: &str) -> Result<String, UpgradeError> {
        check_request(request.as_bytes(), &["https://chat.example".to_owned()])
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        assert_eq!(judged(GOOD), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()));
    }

    #[test]
    fn each_missing_header_has_its_error() {
        let cases = [
            ("GET /", "POST /", UpgradeError::NotGet),
            ("HTTP/1.1", "HTTP/1.0", UpgradeError::NotHttp),
            ("Host: x", "Host x", UpgradeError::NotHttp),
            ("Host: x\r\n", "", UpgradeError::Host),
            ("Host: x\r\n", "Host: x\r\nhost: x\r\n", UpgradeError::Host),
            ("Host: x", "Host: x/y", UpgradeError::Host),
            ("upgrade: WebSocket", "Upgrade: h2c, websockets", UpgradeError::NotAnUpgrade),
            ("upgrade: WebSocket\r\n", "", UpgradeError::NotAnUpgrade),
            ("keep-alive, Upgrade", "keep-alive", UpgradeError::NotAnUpgrade),
            ("Version: 13", "Version: 8", UpgradeError::Version),
            ("Sec-WebSocket-Version: 13\r\n", "", UpgradeError::Version),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", UpgradeError::Key),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", UpgradeError::Key),
            ("mqttv3.1, mqtt", "mqttv3.1", UpgradeError::Subprotocol),
            ("Host: x\r\n", &"a: b\r\n".repeat(HEADERS_MAX), UpgradeError::TooLarge),
        ];
        for (what, instead, error) in cases {
            assert_eq!(judged(&GOOD.replacen(what, instead, 1)), Err(error), "{what} -> {instead}");
        }
    }

    #[test]
    fn headers_may_be_lists() {
        for (what, instead) in [
            ("upgrade: WebSocket", "Upgrade: h2c, websocket"),
            ("upgrade: WebSocket", "Upgrade: h2c\r\nUpgrade: websocket"),
            ("keep-alive, Upgrade", "keep-alive\r\nConnection: ,upgrade"),
            ("mqttv3.1, mqtt", "mqttv3.1\r\nSec-WebSocket-Protocol: mqtt"),
        ] {
            assert!(judged(&GOOD.replacen(what, instead, 1)).is_ok(), "{instead}");
        }
    }

    #[test]
    fn only_listed_origins_are_accepted() {
        let from = |origin: &str| GOOD.replacen("Host: x", &format!("Host: x\r\nOrigin: {origin}"), 1);
        assert!(judged(&from("https://Chat.example")).is_ok());
        for origin in ["https://evil.example", "http://chat.example", "https://chat.example:444", "null", ""] {
            assert_eq!(judged(&from(origin)), Err(UpgradeError::Origin(origin.to_owned())), "{origin}");
        }
        let twice = from("https://chat.example\r\nOrigin: https://evil.example");
        let refusal = judged(&twice).expect_err("one is another's");
        assert_eq!(refusal.to_string(), "pages of this origin are not let in: \"https://evil.example\"");
        let long = judged(&from(&"\u{e9}".repeat(100))).expect_err("no origin").to_string();
        assert!(long.len() < 2 * ORIGIN_BYTES_MAX, "{long}");
        assert!(check_request(from("https://evil.example").as_bytes(), &["*".to_owned()]).is_ok());
    }

    #[tokio::test]
    async fn a_request_is_read_up_to_its_end_within_its_limit() {
        let read = async |bytes: &[u8]| {
            let mut bytes = bytes;
            read_head(&mut bytes).await
        };
        assert_eq!(read(GOOD.as_bytes()).await.unwrap(), Ok(GOOD.into()));
        assert_eq!(read(&[GOOD.as_bytes(), b"\x82"].concat()).await.unwrap(), Err(UpgradeError::TooSoon));
        assert_eq!(read(&[b'a'; HEAD_BYTES_MAX + 1]).await.unwrap(), Err(UpgradeError::TooLarge));
        assert!(read(b"GET / HTTP/1.1\r\n\r").await.is_err(), "it ends too early");
        let (mut client, mut server) = tokio::io::duplex(1);
        let write = async { client.write_all(GOOD.as_bytes()).await.unwrap() };
        let (head, ()) = tokio::join!(read_head(&mut server), write);
        assert_eq!(head.unwrap(), Ok(GOOD.into()));
    }

    #[tokio::test]
    async fn a_refusal_is_an_http_response() {
        let (mut client, server) = tokio::io::duplex(1_000);
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(upgrade(server, &[]).await.is_err());
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"), "{answer}");
        assert!(
            answer.ends_with("Content-Length: 45\r\n\r\nthis is MQTT over WebSocket and nothing else\n"),
            "{answer}"
        );
    }
}
