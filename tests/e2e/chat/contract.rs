//! The HTTP API and its OpenAPI document say the same: every operation is there, and what the document does not have is
//! refused by every one of them. (`web` holds the status of each answer in all other tests to the document.)

use std::process::Command;

use serde_json::{Map, Value, json};
use ureq::Agent;
use ureq::http::Request;

use super::web::{Web, base64, document, notice};
use crate::clients::python;
use crate::server::Server;

/// What no schema has.
const UNKNOWN: &str = "no_such_field";

/// One operation of the document, and what it can be asked with.
struct Operation {
    method: String,
    path: String,
    described: Value,
}

/// Asks a server what the document says that it can be asked.
struct Asking {
    agent: Agent,
    url: String,
    token: String,
    document: Value,
}

impl Asking {
    fn of(server: &Server) -> Self {
        let notice = notice(server);
        let agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let document = document(&notice.url).clone();
        Self { agent, url: notice.url, token: notice.token, document }
    }

    /// With this conversation and this message in the place of any.
    fn operations(&self, conversation: &Value, sequence: &Value) -> Vec<Operation> {
        let paths = self.document["paths"].as_object().expect("paths").iter();
        let of_path = |(path, methods): (&String, &Value)| {
            let methods = methods.as_object().expect("methods").iter().filter(|(method, _)| *method != "parameters");
            let operation = |(method, described): (&String, &Value)| Operation {
                method: method.to_uppercase(),
                path: filled(path, conversation, sequence),
                described: described.clone(),
            };
            methods.map(operation).collect::<Vec<_>>()
        };
        paths.flat_map(of_path).collect()
    }

    /// Status and body.
    fn ask(&self, operation: &Operation, query: &str, body: Option<&Value>) -> (u16, Value) {
        let uri = format!("{}{}{query}", self.url, operation.path);
        let request = Request::builder().method(&operation.method[..]).uri(uri);
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.header("content-type", "application/json");
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut answer = self.agent.run(request.body(body).expect("a request")).expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().expect("a body");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Asks, and must be refused for what is in the body.
    fn refused(&self, operation: &Operation, body: &Value, because: &str) {
        let (status, answer) = self.ask(operation, "", Some(body));
        let Operation { method, path, .. } = operation;
        assert!(matches!(status, 400 | 422), "{method} {path} with {because} takes {body}: {status} {answer}");
    }

    /// The schema of an operation's body, without references.
    fn body_of(&self, operation: &Operation) -> Option<Value> {
        let schema = operation.described.pointer("/requestBody/content/application~1json/schema")?;
        Some(self.resolved(schema))
    }

    fn resolved(&self, schema: &Value) -> Value {
        match schema {
            Value::Object(it) if it.contains_key("$ref") => {
                let at = it["$ref"].as_str().expect("a reference").trim_start_matches('#');
                self.resolved(self.document.pointer(at).expect("a schema"))
            }
            Value::Object(it) => it.iter().map(|(key, value)| (key.clone(), self.resolved(value))).collect(),
            Value::Array(items) => items.iter().map(|item| self.resolved(item)).collect(),
            other => other.clone(),
        }
    }
}

/// A path with something in every place.
fn filled(path: &str, conversation: &Value, sequence: &Value) -> String {
    let path = path.replace("{conversation}", &conversation.to_string()).replace("{sequence}", &sequence.to_string());
    let others = [
        ("user", "alice"),
        ("member", "bob"),
        ("other", "carol"),
        ("invite", "i"),
        ("media", "m"),
        ("device", "phone"),
    ];
    others.iter().fold(path, |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}

/// The choices that a schema leaves.
fn alternatives(schema: &Value) -> Vec<Value> {
    schema["oneOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()])
}

/// Something that fits a schema, with everything that it may have.
fn example(schema: &Value) -> Value {
    if let Some(first) = ["oneOf", "allOf"].iter().find_map(|key| schema.get(*key)?.get(0)) {
        return example(first);
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str().expect("a type") {
        "object" => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            properties.map(|(name, schema)| (name.clone(), example(schema))).collect::<Map<_, _>>().into()
        }
        "array" => json!([example(&schema["items"])]),
        "integer" => schema["minimum"].clone(),
        "boolean" => true.into(),
        _ if schema["format"] == "byte" => {
            base64(&"x".repeat(schema["minLength"].as_u64().unwrap_or(0) as usize / 4 * 3)).into()
        }
        _ => match schema["pattern"].as_str() {
            Some(pattern) if pattern.contains("0-9a-f") => "0".repeat(64).into(),
            // So many characters of Base64 for URLs.
            Some(pattern) if pattern.starts_with("^[A-Za-z0-9_-]{") => {
                let length = pattern.split(['{', '}']).nth(1).and_then(|length| length.parse().ok());
                "A".repeat(length.expect("a length")).into()
            }
            Some(pattern) if pattern.contains('+') => "+4930123456".into(),
            _ => "bob".into(),
        },
    }
}

/// The same with no more than it must have.
fn least(schema: &Value) -> Value {
    let must = |name: &String| schema["required"].as_array().is_some_and(|them| them.iter().any(|it| it == name));
    let mut all = example(schema);
    all.as_object_mut().expect("an object").retain(|name, _| must(name));
    all
}

/// Every body that differs from this one by an unknown field in one place.
fn with_unknown(body: &Value) -> Vec<Value> {
    match body {
        Value::Object(fields) => {
            let mut here = fields.clone();
            here.insert(UNKNOWN.to_owned(), 1.into());
            let below = fields.iter().flat_map(|(name, value)| {
                let put = |value| Value::Object(fields.clone().into_iter().chain([(name.clone(), value)]).collect());
                with_unknown(value).into_iter().map(put).collect::<Vec<_>>()
            });
            std::iter::once(Value::Object(here)).chain(below).collect()
        }
        Value::Array(items) => {
            items.first().map(with_unknown).unwrap_or_default().into_iter().map(|it| json!([it])).collect()
        }
        _ => Vec::new(),
    }
}

/// What is just over a limit of this schema; the limit is named.
fn over(schema: &Value) -> Vec<(&'static str, Value)> {
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
    let mut over = Vec::new();
    if let Some(most) = limit("maxLength") {
        let more = if schema["format"] == "byte" {
            base64(&"x".repeat(most as usize / 4 * 3 + 3))
        } else {
            "x".repeat(most as usize + 1)
        };
        over.push(("maxLength", more.into()));
    }
    if let Some(most) = limit("maximum").filter(|most| *most < u64::MAX) {
        over.push(("maximum", (most + 1).into()));
    }
    if limit("minimum").is_some() {
        over.push(("minimum", (-1).into()));
    }
    if let Some(most) = limit("maxItems") {
        over.push(("maxItems", vec![example(&schema["items"]); most as usize + 1].into()));
    }
    if limit("minItems").is_some_and(|least| least > 0) {
        over.push(("minItems", json!([])));
    }
    over
}

#[test]
fn every_operation_is_there_and_refuses_what_it_does_not_take() {
    let server = Server::with(&[("registration.enabled", "true")]);
    for user in ["alice", "bob", "carol"] {
        server.add_user(user, "phone");
    }
    let web = Web::administrator(&server, "alice");
    let group = web.done("POST", "/conversations", Some(json!({ "title": "", "users": ["bob"] })));
    let messages = format!("/conversations/{}/messages", group["conversation"]);
    let sent = web.done("POST", &messages, Some(json!({ "text": "hi" })));
    let asking = Asking::of(&server);
    let operations = asking.operations(&group["conversation"], &sent["sequence"]);
    assert!(operations.len() > 40, "{}", operations.len());
    for operation in &operations {
        let Operation { method, path, described } = operation;
        let unknown = format!("?{UNKNOWN}=1");
        let (status, answer) = asking.ask(operation, &unknown, None);
        assert!(matches!(status, 400 | 415 | 422), "{method} {path}{unknown}: {status} {answer}");
        let Some(schema) = asking.body_of(operation) else {
            asking.refused(operation, &json!({ UNKNOWN: 1 }), "a body");
            continue;
        };
        assert!(described["responses"].get("413").is_some(), "{method} {path}");
        for alternative in alternatives(&schema) {
            let good = example(&alternative);
            for body in with_unknown(&good) {
                let (status, answer) = asking.ask(operation, "", Some(&body));
                assert_eq!(status, 422, "{method} {path} takes {body}: {answer}");
                assert!(answer["detail"].as_str().is_some_and(|it| it.contains(UNKNOWN)), "{method} {path}: {answer}");
            }
            for (name, schema) in alternative["properties"].as_object().expect("properties") {
                for (limit, value) in over(schema) {
                    let mut body = least(&alternative);
                    body[name] = value;
                    let (status, answer) = asking.ask(operation, "", Some(&body));
                    // A code that is too long is a wrong one.
                    let is_refused = matches!(status, 409 | 413 | 422) || name == "code" && status == 403;
                    assert!(is_refused, "{method} {path}: {name} over {limit}: {status} {answer}");
                }
            }
        }
    }
}

#[test]
fn a_page_is_no_longer_than_it_may_be() {
    let server = Server::start();
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    server.add_user("bob", "phone");
    let id = web.done("POST", "/conversations", Some(json!({ "title": "", "users": ["bob"] })));
    let messages = format!("/conversations/{}/messages", id["conversation"]);
    for list in ["/conversations", "/contacts", &messages] {
        web.done("GET", &format!("{list}?limit=100"), None);
        web.refused("GET", &format!("{list}?limit=101"), None, 400);
        web.refused("GET", &format!("{list}?limit=-1"), None, 400);
    }
    web.refused("GET", "/conversations?after=9007199254740992", None, 400);
    web.refused("GET", "/conversations/9007199254740992", None, 404);
    web.refused("GET", "/contacts?after=a/b", None, 422);
    web.refused("GET", "/presence?users=bob,%2E", None, 422);
}

#[test]
fn the_server_does_what_its_openapi_document_says() {
    let server = Server::with(&[("retention.history", "forever")]);
    for user in ["alice", "bob", "carol"] {
        server.add_user(user, "phone");
    }
    let notice = notice(&server);
    let checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    ];
    // A refusal is one for its size too.
    let settings = "[checks.negative_data_rejection]\nexpected-statuses = [\"4xx\"]\n";
    std::fs::write(server.data().join("schemathesis.toml"), settings).expect("written");
    let run = Command::new(python())
        .args(["-m", "schemathesis.cli", "run", &format!("{}/v1/openapi.json", notice.url)])
        .args(["--header", &format!("Authorization: Bearer {}", notice.token)])
        .args(["--checks", &checks.join(","), "--mode", "all"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--no-color"])
        .current_dir(server.data())
        .output()
        .expect("python starts");
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
}
