//! Requests over HTTP that need no account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::Agent;
use ureq::http::HeaderMap;

use crate::server::{Account, Server};

/// A device's password, as a header says it.
pub(crate) fn authorization(Account { user, device, password }: &Account) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}/{device}:{password}")))
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// POST with these headers.
pub(crate) fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let request = Agent::from(config).post(format!("http://{}{path}", server.http()));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut answer = request.send_json(body).expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a body");
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

/// The status of a GET with these headers.
pub(crate) fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> u16 {
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let request = Agent::from(config).get(format!("http://{}{path}", server.http()));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.call().expect("an answer").status().as_u16()
}
