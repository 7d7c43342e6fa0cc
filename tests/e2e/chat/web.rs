//! A user over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Request, Response};

use crate::server::{Account, Server};

/// What the server leaves for operators.
#[derive(Deserialize)]
pub(super) struct Notice {
    pub(super) url: String,
    pub(super) token: String,
}

pub(super) fn notice(server: &Server) -> Notice {
    let text = std::fs::read(server.data().join("admin.json")).expect("admin.json");
    serde_json::from_slice(&text).expect("a notice")
}

pub(super) struct Web {
    agent: Agent,
    url: String,
    user: String,
    authorization: String,
}

impl Web {
    /// With a device's password.
    pub(super) fn of(server: &Server, account: &Account) -> Self {
        let Account { user, device, password } = account;
        let authorization = format!("Basic {}", base64(&format!("{user}/{device}:{password}")));
        Self::new(server, user, authorization)
    }

    /// An administrator in a user's name.
    pub(super) fn administrator(server: &Server, user: &str) -> Self {
        Self::new(server, user, format!("Bearer {}", notice(server).token))
    }

    pub(super) fn new(server: &Server, user: &str, authorization: String) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let (agent, url, user) = (config.into(), notice(server).url, user.to_owned());
        Self { agent, url, user, authorization }
    }

    /// Sends a request below `/v1/users/<user>`; returns status and body.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.try_ask(method, path, body).expect("an answer")
    }

    /// Like [`Self::ask`]; the server may die over it.
    pub(super) fn try_ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value), ureq::Error> {
        let uri = format!("{}/v1/users/{}{path}", self.url, self.user);
        let request = Request::builder().method(method).uri(uri).header("authorization", &self.authorization);
        let body = body.map(|body| body.to_string());
        let request = match &body {
            Some(_) => request.header("content-type", "application/json"),
            None => request,
        };
        let answer = self.agent.run(request.body(body.unwrap_or_default()).expect("a request"))?;
        let status = answer.status().as_u16();
        Ok((status, read(answer)))
    }

    /// GET with these headers; returns status, headers and text.
    pub(super) fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        let uri = format!("{}/v1/users/{}{path}", self.url, self.user);
        let request = self.agent.get(uri).header("authorization", &self.authorization);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut answer = request.call().expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        (answer.status().as_u16(), answer.headers().clone(), text)
    }

    /// Like [`Self::ask`], and must succeed.
    pub(super) fn done(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Like [`Self::ask`], and must be refused with this status.
    pub(super) fn refused(&self, method: &str, path: &str, body: Option<Value>, expected: u16) {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!((status, answer["status"].as_u64()), (expected, Some(expected.into())), "{method} {path}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

fn read(mut answer: Response<ureq::Body>) -> Value {
    let problem = !answer.status().is_success();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned());
    let text = answer.body_mut().read_to_string().expect("a body");
    if problem {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{text}");
    }
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") }
}

pub(super) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}
