//! An operator's endpoint for webhooks, as bad as a test wants it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::PATIENCE;

/// What sender and receiver share.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How a request is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    /// To itself.
    Redirect,
    /// With 200, after [`Endpoint::answer`].
    WhenTold,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) id: String,
    timestamp: String,
    signature: String,
    pub(crate) body: String,
}

impl Posted {
    /// As Standard Webhooks says it.
    pub(crate) fn is_signed(&self) -> bool {
        let key = STANDARD.decode(&SECRET["whsec_".len()..]).expect("Base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
        mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.body).as_bytes());
        self.signature == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(body["type"], "events");
        body["data"].as_array().expect("an array").clone()
    }
}

/// Answers as it is told, and then always with 200.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    posted: Receiver<Posted>,
    answer: Sender<()>,
}

impl Endpoint {
    pub(crate) fn start(answers: impl IntoIterator<Item = Answer> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let ((posts, posted), (answer, told)) = (mpsc::channel(), mpsc::channel());
        let answers: Vec<_> = answers.into_iter().collect();
        thread::spawn(move || {
            let mut answers = answers.into_iter();
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&stream) else { continue };
                if posts.send(request).is_err() {
                    return;
                }
                let line = match answers.next().unwrap_or(Answer::Status(200)) {
                    Answer::Status(status) => format!("{status} Said"),
                    Answer::Redirect => "302 Found\r\nlocation: /elsewhere".to_owned(),
                    Answer::WhenTold => {
                        _ = told.recv();
                        "200 OK".to_owned()
                    }
                };
                // Whoever asked may have gone.
                _ = (&stream)
                    .write_all(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
            }
        });
        Self { url, posted, answer }
    }

    /// The next request, answered or not.
    pub(crate) fn next(&self) -> Posted {
        self.posted.recv_timeout(PATIENCE).expect("a request")
    }

    /// The next request, if it is there.
    pub(crate) fn try_next(&self) -> Option<Posted> {
        self.posted.try_recv().ok()
    }

    /// Answers what waits for it.
    pub(crate) fn answer(&self) {
        self.answer.send(()).expect("it runs");
    }
}

fn read(stream: &TcpStream) -> Option<Posted> {
    let mut reader = BufReader::new(stream);
    let mut headers = Vec::new();
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        headers.push(line.trim_end().to_owned());
        line.clear();
    }
    assert_eq!(headers.first().map(String::as_str), Some("POST /hook HTTP/1.1"), "a redirection is not followed");
    let header = |name: &str| {
        let found =
            headers.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no {name} in {headers:?}")).1.to_owned()
    };
    assert_eq!(header("content-type"), "application/json");
    let mut body = vec![0; header("content-length").parse().expect("a number")];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).expect("UTF-8");
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    Some(Posted { id, timestamp, signature: header("webhook-signature"), body })
}
