//! A user over HTTP.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Request, Response};

use crate::server::{Account, Server};

/// What the server leaves for operators.
#[derive(Deserialize)]
pub(crate) struct Notice {
    pub(crate) url: String,
    pub(crate) token: String,
}

pub(crate) fn notice(server: &Server) -> Notice {
    let text = std::fs::read(server.data().join("admin.json")).expect("admin.json");
    serde_json::from_slice(&text).expect("a notice")
}

pub(crate) struct Web {
    agent: Agent,
    url: String,
    user: String,
    authorization: String,
}

impl Web {
    /// With a device's password.
    pub(crate) fn of(server: &Server, account: &Account) -> Self {
        let Account { user, device, password } = account;
        let authorization = format!("Basic {}", base64(&format!("{user}/{device}:{password}")));
        Self::new(server, user, authorization)
    }

    /// An administrator in a user's name.
    pub(crate) fn administrator(server: &Server, user: &str) -> Self {
        Self::new(server, user, format!("Bearer {}", notice(server).token))
    }

    pub(crate) fn new(server: &Server, user: &str, authorization: String) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let (agent, url, user) = (config.into(), notice(server).url, user.to_owned());
        Self { agent, url, user, authorization }
    }

    /// Sends a request below `/v1/users/<user>`; returns status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.try_ask(method, path, body).expect("an answer")
    }

    /// Like [`Self::ask`]; the server may die over it.
    pub(crate) fn try_ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value), ureq::Error> {
        self.try_with(method, path, &[], body)
    }

    /// POST with this `Idempotency-Key`; returns status and body.
    pub(crate) fn post_once(&self, path: &str, key: &str, body: Value) -> (u16, Value) {
        self.try_with("POST", path, &[("idempotency-key", key)], Some(body)).expect("an answer")
    }

    /// POST with this header; returns status and body.
    pub(crate) fn post_with(&self, path: &str, header: (&str, &str), body: Value) -> (u16, Value) {
        self.try_with("POST", path, &[header], Some(body)).expect("an answer")
    }

    fn try_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<(u16, Value), ureq::Error> {
        let uri = format!("{}/v1/users/{}{path}", self.url, self.user);
        let request = Request::builder().method(method).uri(uri).header("authorization", &self.authorization);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = body.map(|body| body.to_string());
        let request = match &body {
            Some(_) => request.header("content-type", "application/json"),
            None => request,
        };
        let answer = self.agent.run(request.body(body.unwrap_or_default()).expect("a request"))?;
        let status = answer.status().as_u16();
        is_described(&self.url, method, path, status);
        Ok((status, read(answer)))
    }

    /// GET with these headers; returns status, headers and text.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        let uri = format!("{}/v1/users/{}{path}", self.url, self.user);
        let request = self.agent.get(uri).header("authorization", &self.authorization);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut answer = request.call().expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        is_described(&self.url, "GET", path, answer.status().as_u16());
        (answer.status().as_u16(), answer.headers().clone(), text)
    }

    /// Like [`Self::ask`], and must succeed.
    pub(crate) fn done(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Like [`Self::ask`], and must be refused with this status.
    pub(crate) fn refused(&self, method: &str, path: &str, body: Option<Value>, expected: u16) {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!((status, answer["status"].as_u64()), (expected, Some(expected.into())), "{method} {path}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

/// The OpenAPI document of the servers at hand.
pub(crate) fn document(url: &str) -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let agent: Agent = Agent::config_builder().proxy(None).build().into();
        let mut answer = agent.get(format!("{url}/v1/openapi.json")).call().expect("an answer");
        answer.body_mut().read_json().expect("JSON")
    })
}

/// Whatever a test asks below `/v1/users/<user>`, the OpenAPI document says that it may be answered like this.
fn is_described(url: &str, method: &str, path: &str, status: u16) {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<_> = path.split('/').collect();
    let fits = |template: &str| {
        let template = template.strip_prefix("/v1/users/{user}").map(|rest| rest.split('/').collect::<Vec<_>>());
        template.is_some_and(|them| {
            them.len() == parts.len() && them.iter().zip(&parts).all(|(it, part)| it.starts_with('{') || it == part)
        })
    };
    let paths = document(url)["paths"].as_object().expect("paths");
    let operation = paths.iter().find(|(template, _)| fits(template)).and_then(|(_, it)| it.get(method.to_lowercase()));
    match operation {
        Some(it) => assert!(it["responses"].get(status.to_string()).is_some(), "{method} {path}: {status} undescribed"),
        None => assert!(matches!(status, 404 | 405), "{method} {path} is not described: {status}"),
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

pub(crate) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}
