//! People register with a phone number and the code that was sent to it.

use serde_json::{Value, json};

use super::web::{Answer, post};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};
use crate::webhook::{self, Endpoint, SECRET};

pub(crate) const PHONE: &str = "+4930123456";
const OTHER: &str = "+4930654321";

fn server(settings: &[(&str, &str)]) -> Server {
    Server::with(&[&[("registration.enabled", "true")], settings].concat())
}

fn ask(server: &Server, phone: &str) -> Answer {
    post(server, "/v1/registrations", &[], &json!({ "phone": phone }))
}

pub(crate) fn verify(server: &Server, phone: &str, code: &str, device: &str) -> Answer {
    let body = json!({ "phone": phone, "code": code, "device": device });
    post(server, "/v1/registrations/verify", &[], &body)
}

/// The codes in the log, the latest last.
fn codes(server: &Server) -> Vec<String> {
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("a registration code"));
    lines
        .map(|line| line.split_once("code=\"").expect("a code").1.split_once('"').expect("its end").0.to_owned())
        .collect()
}

/// Has a code sent and takes it from the log.
pub(crate) fn code_for(server: &Server, phone: &str) -> String {
    let before = codes(server).len();
    assert_eq!(ask(server, phone).status, 202);
    crate::until("the code stands in the log", || codes(server).len() > before);
    codes(server).pop().expect("a code")
}

fn account(answer: Answer) -> Account {
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    serde_json::from_value(answer.body).expect("an account")
}

#[test]
fn a_number_and_its_code_make_an_account_that_has_what_waited() {
    let mut server = server(&[]);
    let carol = server.add_user("carol", "phone");
    let mut at_carol = Client::connect(server.mqtt(), &carol, Version::V5, RESUME);
    assert_eq!(at_carol.publish(&format!("phone/{}", &PHONE[1..]), b"are you there?"), 0);
    let code = code_for(&server, PHONE);
    // Neither a crash nor a wrong guess harms it.
    server.kill_and_start();
    assert_eq!(verify(&server, PHONE, "nonsense", "phone").status, 403);
    let phone = account(verify(&server, PHONE, &code, "phone"));
    let mut at_phone = Client::connect(server.mqtt(), &phone, Version::V5, RESUME);
    assert_eq!(at_phone.subscribe("inbox/#"), 1);
    assert_eq!(at_phone.body(), "are you there?");
    assert_eq!(verify(&server, PHONE, &code, "thief").status, 403, "a code is good once");

    // Again: another device of the same user, or the same device with a new password.
    let code = code_for(&server, PHONE);
    let tablet = account(verify(&server, PHONE, &code, "tablet"));
    assert_eq!(tablet.user, phone.user);
    at_phone.settle();
    let code = code_for(&server, PHONE);
    let anew = account(verify(&server, PHONE, &code, "phone"));
    assert_eq!((at_phone.closed(), &anew.user), (Some(0x87), &phone.user));
    assert_eq!(Client::open(server.mqtt(), Version::V5).login(&phone, RESUME).expect("CONNACK").0, 0x86);
    assert!(Client::connect(server.mqtt(), &anew, Version::V5, RESUME).session_present);
    assert!(!server.log().contains(&PHONE[1..]), "numbers are not logged");
}

#[test]
fn guessing_uses_a_code_up_and_nothing_tells_who_is_registered() {
    let server = server(&[("registration.tries", "2")]);
    let code = code_for(&server, PHONE);
    account(verify(&server, PHONE, &code, "phone"));
    let said = |answer: Answer| (answer.status, answer.body);
    let registered = [said(ask(&server, PHONE)), said(verify(&server, PHONE, "000", "phone"))];
    let unknown = [said(ask(&server, OTHER)), said(verify(&server, OTHER, "000", "phone"))];
    assert_eq!(registered, unknown);
    assert_eq!(registered[0], (202, Value::Null));

    let code = code_for(&server, OTHER);
    for _ in 0..2 {
        assert_eq!(verify(&server, OTHER, "000", "phone").status, 403);
    }
    assert_eq!(verify(&server, OTHER, &code, "phone").status, 403, "it has borne its guesses");
    let code = code_for(&server, OTHER);
    account(verify(&server, OTHER, &code, "phone"));
}

#[test]
fn codes_are_limited_by_number_and_by_the_address_that_the_proxy_says() {
    let settings = [
        ("http.proxy_from", "127.0.0.0/8"),
        ("registration.per_number_per_hour", "2"),
        ("registration.per_address_per_hour", "3"),
    ];
    let server = server(&settings);
    let asked = |phone: &str, from: &str| {
        let answer = post(&server, "/v1/registrations", &[("x-forwarded-for", from)], &json!({ "phone": phone }));
        let wait_s = answer.headers.get("retry-after").map(|it| it.to_str().expect("text").parse().expect("a number"));
        assert_eq!(wait_s.is_some(), answer.status == 429);
        (answer.status, wait_s.unwrap_or(0))
    };
    let ask = |phone: &str, from: &str| {
        let (status, wait_s) = asked(phone, from);
        assert!(status == 202 || (3_500..=3_600).contains(&wait_s), "{wait_s}");
        status
    };
    assert_eq!([ask(PHONE, "192.0.2.1"), ask(PHONE, "192.0.2.1"), ask(PHONE, "192.0.2.1")], [202, 202, 429]);
    assert_eq!([ask(PHONE, "192.0.2.2"), ask(PHONE, "192.0.2.3")], [202, 202], "others do not wait for that");
    let (status, wait_s) = asked(PHONE, "192.0.2.4");
    assert!(status == 429 && (800..=900).contains(&wait_s), "but there is one in a quarter of an hour: {wait_s}");
    assert_eq!([ask("+4930000001", "2001:db8::1"), ask("+4930000002", "2001:db8::2")], [202, 202]);
    assert_eq!([ask("+4930000003", "2001:db8::3"), ask("+4930000004", "203.0.113.9, 2001:db8::4")], [202, 429]);
    assert_eq!(ask("+4930000004", "2001:db8:1::"), 202);
    // However the proxy writes it; and what cannot be read is as one address.
    for (phone, spelling) in [(5, "198.51.100.1:50000"), (6, "198.51.100.1,"), (7, "\"198.51.100.1\"")] {
        assert_eq!(ask(&format!("+493000001{phone}"), spelling), 202);
    }
    assert_eq!(ask("+4930000018", "198.51.100.1"), 429);
    let words = ["somebody", "unknown", "198.51.100.1:", "_hidden"];
    let said: Vec<_> = (1..).zip(words).map(|(phone, said)| ask(&format!("+493000002{phone}"), said)).collect();
    assert_eq!(said, [202, 202, 202, 429]);
}

#[test]
fn what_cannot_be_is_refused() {
    let server = server(&[]);
    let cases = [
        ("/v1/registrations", json!({ "phone": "4930123456" }), 422),
        ("/v1/registrations", json!({ "phone": PHONE, "more": 1 }), 422),
        ("/v1/registrations", json!({ "phone": "1".repeat(2_000) }), 413),
        ("/v1/registrations/verify", json!({ "phone": PHONE, "code": "1" }), 422),
        ("/v1/registrations/verify", json!({ "phone": PHONE, "code": "1", "device": "a/b" }), 422),
    ];
    for (path, body, status) in cases {
        assert_eq!(post(&server, path, &[], &body).status, status, "{path} {body}");
    }
    let closed = Server::start();
    assert_eq!(ask(&closed, PHONE).status, 404);
    assert_eq!(verify(&closed, PHONE, "1", "phone").status, 404);
}

#[test]
fn codes_go_through_the_gateway_signed_and_again_until_it_takes_them() {
    let gateway = Endpoint::start([webhook::Answer::Status(503)]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).expect("written");
    let server = server(&[
        ("registration.provider", "webhook"),
        ("registration.webhook_url", &gateway.url),
        ("registration.webhook_secret_file", file.to_str().expect("text")),
    ]);
    assert_eq!(ask(&server, PHONE).status, 202);
    let (first, again) = (gateway.next(), gateway.next());
    assert!(first.is_signed() && again.is_signed());
    assert_eq!((&first.id, &first.body), (&again.id, &again.body));
    let sms: Value = serde_json::from_str(&again.body).expect("JSON");
    let code = sms["code"].as_str().expect("a code");
    assert_eq!((sms["phone"].as_str(), code.len()), (Some(PHONE), 6));
    assert!(sms["text"].as_str().is_some_and(|text| text.contains(code)));
    account(verify(&server, PHONE, code, "phone"));
    assert!(!server.log().contains(code), "neither is in the log");
}
