//! The HTTP request that becomes a WebSocket (RFC 6455, section 4.2).

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::WebSocket;

/// Most bytes of a request, and of its headers. Cookies are what makes them long.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// What ends a request's head.
const END: &[u8] = b"\r\n\r\n";
/// Of RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The allow list's word for every origin.
const ANY: &str = "*";

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NotHttp,
    TooLarge,
    NotGet,
    NotAnUpgrade,
    Version,
    Key,
    Subprotocol,
    Origin,
    TooSoon,
}

impl Refusal {
    /// Status line, headers, and a text for people.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        const BAD: &str = "400 Bad Request";
        match self {
            Self::NotHttp => (BAD, "", "this is MQTT over WebSocket, and the request is not HTTP/1.1"),
            Self::TooLarge => ("431 Request Header Fields Too Large", "", "the request is larger than 8 KiB"),
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
            Self::Origin => ("403 Forbidden", "", "pages of this origin are not let in"),
            Self::TooSoon => (BAD, "", "nothing may follow the request before it is answered"),
        }
    }

    fn response(self) -> String {
        let (status, headers, text) = self.parts();
        let length = text.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{text}\n"
        )
    }
}

/// Answers the request. `None`: it was refused, or did not come. `origins`: of the pages that are let in, as browsers
/// say them; programs that are no browsers say none and are let in. Cancelled, the stream is of no more use.
pub async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, origins: &[String]) -> Option<WebSocket<S>> {
    let response = match read_head(&mut stream).await.ok()?.and_then(|head| judge(&head, origins)) {
        Ok(accept) => format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        ),
        Err(refusal) => {
            tracing::debug!(?refusal, "refused a WebSocket");
            stream.write_all(refusal.response().as_bytes()).await.ok()?;
            // It may have hung up.
            _ = stream.shutdown().await;
            return None;
        }
    };
    stream.write_all(response.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    Some(WebSocket::new(stream))
}

/// Reads up to the empty line.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Vec<u8>, Refusal>> {
    let mut head = Vec::with_capacity(1_024);
    loop {
        let seen = head.len();
        let room = HEAD_BYTES_MAX - seen;
        if room == 0 {
            return Ok(Err(Refusal::TooLarge));
        }
        if stream.take(room as u64).read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Only where it can have appeared, so that single bytes cost no more than many at once.
        let from = seen.saturating_sub(END.len() - 1);
        if let Some(at) = head[from..].windows(END.len()).position(|bytes| bytes == END) {
            let whole = from + at + END.len() == head.len();
            return Ok(if whole { Ok(head) } else { Err(Refusal::TooSoon) });
        }
    }
}

/// The value of Sec-WebSocket-Accept, if everything is as it must be.
fn judge(head: &[u8], origins: &[String]) -> Result<String, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        _ => return Err(Refusal::NotHttp),
    }
    if request.version != Some(1) {
        return Err(Refusal::NotHttp);
    }
    if request.method != Some("GET") {
        return Err(Refusal::NotGet);
    }
    let values = |name: &'static str| {
        let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    };
    let lists = |name, word: &str| values(name).flat_map(|value| value.split(',')).any(|item| item.trim().eq(word));
    let lists_upgrade = || {
        let mut items = values("Connection").flat_map(|value| value.split(','));
        items.any(|item| item.trim().eq_ignore_ascii_case("upgrade"))
    };
    if !values("Upgrade").any(|value| value.eq_ignore_ascii_case("websocket")) || !lists_upgrade() {
        return Err(Refusal::NotAnUpgrade);
    }
    if !values("Sec-WebSocket-Version").eq(["13"]) {
        return Err(Refusal::Version);
    }
    let is_allowed = |origin: &str| origins.iter().any(|it| it == ANY || it.eq_ignore_ascii_case(origin));
    if !values("Origin").all(is_allowed) {
        return Err(Refusal::Origin);
    }
    if !lists("Sec-WebSocket-Protocol", "mqtt") {
        return Err(Refusal::Subprotocol);
    }
    let mut keys = values("Sec-WebSocket-Key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::Key) };
    match BASE64_STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(accept(key)),
        _ => Err(Refusal::Key),
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

    fn judged(request: &str) -> Result<String, Refusal> {
        judge(request.as_bytes(), &["https://chat.example".to_owned()])
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        assert_eq!(judged(GOOD), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()));
    }

    #[test]
    fn each_thing_that_is_missing_has_its_answer() {
        let cases = [
            ("GET /", "POST /", Refusal::NotGet),
            ("HTTP/1.1", "HTTP/1.0", Refusal::NotHttp),
            ("Host: x", "Host x", Refusal::NotHttp),
            ("upgrade: WebSocket\r\n", "", Refusal::NotAnUpgrade),
            ("keep-alive, Upgrade", "keep-alive", Refusal::NotAnUpgrade),
            ("Version: 13", "Version: 8", Refusal::Version),
            ("Sec-WebSocket-Version: 13\r\n", "", Refusal::Version),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", Refusal::Key),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", Refusal::Key),
            ("mqttv3.1, mqtt", "mqttv3.1", Refusal::Subprotocol),
            ("Host: x\r\n", &"a: b\r\n".repeat(HEADERS_MAX), Refusal::TooLarge),
        ];
        for (what, instead, refusal) in cases {
            assert_eq!(judged(&GOOD.replacen(what, instead, 1)), Err(refusal), "{what} -> {instead}");
        }
    }

    #[test]
    fn a_browser_comes_from_a_page_that_is_let_in() {
        let from = |origin: &str| GOOD.replacen("Host: x", &format!("Host: x\r\nOrigin: {origin}"), 1);
        assert!(judged(&from("https://Chat.example")).is_ok());
        for origin in ["https://evil.example", "http://chat.example", "https://chat.example:444", "null", ""] {
            assert_eq!(judged(&from(origin)), Err(Refusal::Origin), "{origin}");
        }
        let twice = from("https://chat.example\r\nOrigin: https://evil.example");
        assert_eq!(judged(&twice), Err(Refusal::Origin));
        assert!(judge(from("https://evil.example").as_bytes(), &["*".to_owned()]).is_ok());
    }

    #[tokio::test]
    async fn a_request_is_read_up_to_its_end_and_no_further_than_its_limit() {
        let read = async |bytes: &[u8]| {
            let mut bytes = bytes;
            read_head(&mut bytes).await
        };
        assert_eq!(read(GOOD.as_bytes()).await.unwrap(), Ok(GOOD.into()));
        assert_eq!(read(&[GOOD.as_bytes(), b"\x82"].concat()).await.unwrap(), Err(Refusal::TooSoon));
        assert_eq!(read(&[b'a'; HEAD_BYTES_MAX + 1]).await.unwrap(), Err(Refusal::TooLarge));
        assert!(read(b"GET / HTTP/1.1\r\n\r").await.is_err(), "it ends too early");
        let (mut client, mut server) = tokio::io::duplex(1);
        let write = async { client.write_all(GOOD.as_bytes()).await.unwrap() };
        let (head, ()) = tokio::join!(read_head(&mut server), write);
        assert_eq!(head.unwrap(), Ok(GOOD.into()));
    }

    #[tokio::test]
    async fn a_refusal_is_http() {
        let (mut client, server) = tokio::io::duplex(1_000);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(upgrade(server, &[]).await.is_none());
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"), "{answer}");
        assert!(
            answer.ends_with("Content-Length: 45\r\n\r\nthis is MQTT over WebSocket and nothing else\n"),
            "{answer}"
        );
    }
}
