//! Devices that are not connected are pushed: the real program, and a push service that was not written with it (`service.js`),
//! which checks who sends, and decrypts as a browser does.

mod soak;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godwit_schemas::client::{self, PushPayload, event::Event, send::To};
use prost::Message as _;
use serde_json::{Value, json};

use crate::chat::web::Web;
use crate::clients::lines_of;
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};
use crate::{PATIENCE, until};

/// What nobody on the way may read.
const SECRET: &str = "canary 7f3a9c";

/// A running push service. Killed when dropped.
struct PushService {
    child: Child,
    lines: Receiver<String>,
    port: u64,
    keys: Value,
}

impl PushService {
    fn start() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/push/service.js");
        let mut command = Command::new("node");
        let mut child = command.arg(&file).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("node starts");
        let lines = lines_of(&mut child);
        let first = lines.recv_timeout(PATIENCE).expect("it says where it is");
        let first: Value = serde_json::from_str(&first).expect("JSON");
        let keys = json!({ "p256dh": first["p256dh"], "auth": first["auth"] });
        Self { child, lines, port: first["port"].as_u64().expect("a port"), keys }
    }

    /// The next push: the line, and what it says.
    fn push(&self) -> (Value, PushPayload) {
        let line = self.lines.recv_timeout(PATIENCE).expect("a push");
        let push: Value = serde_json::from_str(&line).expect("JSON");
        let payload = STANDARD.decode(push["payload"].as_str().unwrap_or_default()).expect("Base64");
        (push, PushPayload::decode(&payload[..]).expect("a payload"))
    }

    /// The next push that it has taken.
    fn taken(&self) -> (Value, PushPayload) {
        loop {
            let (push, payload) = self.push();
            if push["status"] == 201 {
                return (push, payload);
            }
        }
    }

    /// What it was sent so far is forgotten.
    fn drain(&self) {
        while self.lines.try_recv().is_ok() {}
    }

    /// Where a device is pushed that the service treats like this.
    fn address(&self, path: &str) -> Value {
        let endpoint = format!("http://127.0.0.1:{}/{path}", self.port);
        json!({ "web": { "endpoint": endpoint }, "keys": self.keys, "unread": 2 })
    }
}

impl Drop for PushService {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

const SETTINGS: [(&str, &str); 4] = [
    ("push.web_subject", "mailto:push@example.org"),
    ("push.web_hosts", "127.0.0.1"),
    ("push.web_allow_private", "true"),
    ("push.delay_ms", "100"),
];

/// Alice, who writes, and Bob, whose phone is pushed at this path.
struct Scene {
    service: PushService,
    server: Server,
    alice: Account,
    bob: Account,
}

impl Scene {
    fn with(path: &str, settings: &[(&str, &str)]) -> Self {
        let service = PushService::start();
        let server = Server::with(&[&SETTINGS[..], settings].concat());
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let scene = Self { service, server, alice, bob };
        scene.set(path);
        scene
    }

    fn set(&self, path: &str) {
        self.bob().done("PUT", "/devices/phone/push", Some(self.service.address(path)));
    }

    fn bob(&self) -> Web {
        Web::of(&self.server, &self.bob)
    }

    fn provider(&self) -> Value {
        self.bob().done("GET", "/devices/phone/push", None)["provider"].clone()
    }

    /// Returns the conversation.
    fn write(&self, body: &str) -> u64 {
        let alice = Web::of(&self.server, &self.alice);
        let sent = alice.done("POST", "/messages", Some(json!({ "user": "bob", "text": body })));
        sent["conversation"].as_u64().expect("a conversation")
    }

    /// Alice writes until the server has died at this point.
    fn die_at(&mut self, point: &str) {
        self.server.kill();
        self.server.start_armed(point);
        let mut alice = Client::connect(self.server.mqtt(), &self.alice, Version::V5, RESUME);
        for _ in 0..20 {
            let id = alice.packet_id();
            let publish = alice.publish_bytes(id, false, "to/bob", SECRET.as_bytes());
            // It dies on the way.
            if alice.try_send(&publish).is_err() || !matches!(alice.try_next(PATIENCE), Ok(Some(_))) {
                break;
            }
        }
        assert_eq!(self.server.ended(), None, "{point}: killed");
    }

    /// Nothing that was said, and nothing that opens a door, is in the log.
    fn check_log(&self) {
        let log = self.server.log();
        let port = format!(":{}/", self.service.port);
        for secret in [SECRET, &port, self.service.keys["auth"].as_str().expect("a secret")] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
    }
}

#[test]
fn a_phone_that_is_off_is_pushed_what_waits_for_it() {
    let scene = Scene::with("good/bob", &[]);
    let vapid = scene.bob().done("GET", "/devices/phone/push", None)["vapid"].clone();
    let conversation = scene.write(SECRET);
    let (push, payload) = scene.service.push();
    assert_eq!((payload.conversation, payload.sequence, payload.unread), (conversation, 2, 3));
    assert_eq!((payload.sender.as_str(), payload.mention), ("alice", false));
    let Some(Event::Message(message)) = payload.event.and_then(|event| event.event) else { panic!("a message") };
    assert_eq!(message.body, SECRET);
    // Who sends is who the device was told of, for this service and none other.
    assert_eq!(push["claims"]["key"], vapid);
    assert_eq!(push["claims"]["aud"], format!("http://127.0.0.1:{}", scene.service.port));
    assert_eq!(push["claims"]["sub"], "mailto:push@example.org");
    assert_eq!(push["urgency"], "high");
    // Nothing of it was acknowledged.
    let page = scene.bob().done("GET", "/devices/phone/inbox?after=0", None);
    assert_eq!(page["entries"].as_array().expect("a list").len(), 2);
    let mut phone = Client::connect(scene.server.mqtt(), &scene.bob, Version::V5, RESUME);
    phone.subscribe("inbox/#");
    assert_eq!(phone.body(), SECRET);
    scene.check_log();
}

#[test]
fn what_is_silent_muted_or_fetched_is_not_pushed() {
    let scene = Scene::with("good/bob", &[]);
    let conversation = scene.write("first");
    assert_eq!(scene.service.push().1.sequence, 2);
    // Muted but for mentions; silent; then one that mentions him. Each would be pushed before what comes behind it.
    let mute = json!({ "for_s": null, "mentions_only": true });
    scene.bob().done("PUT", &format!("/conversations/{conversation}/mute"), Some(mute));
    scene.write("muted");
    let mut alice = Client::connect(scene.server.mqtt(), &scene.alice, Version::V5, RESUME);
    let send = |body: &str, silent, mentions: &[u32]| client::Send {
        to: Some(To::Conversation(conversation)),
        body: body.to_owned().into(),
        silent,
        mentions: mentions.to_vec(),
        ..Default::default()
    };
    assert_eq!(alice.publish("send", &send("silent", true, &[2]).encode_to_vec()), 0);
    assert_eq!(alice.publish("send", &send("you", false, &[1, 2]).encode_to_vec()), 0);
    let (_, payload) = scene.service.push();
    assert_eq!((payload.sequence, payload.mention), (5, true));
    let listed = scene.bob().done("GET", "/mutes", None);
    assert_eq!(listed["mutes"], json!([{ "conversation": conversation, "for_s": null, "mentions_only": true }]));
    scene.bob().done("DELETE", &format!("/conversations/{conversation}/mute"), None);
    // He fetches it before anybody can push him.
    let mut phone = Client::connect(scene.server.mqtt(), &scene.bob, Version::V5, RESUME);
    phone.subscribe("inbox/#");
    scene.write("fetched");
    while phone.body() != "fetched" {}
    phone.disconnect();
    scene.write("last");
    assert_eq!(scene.service.push().1.sequence, 7);
}

#[test]
fn a_service_that_refuses_resets_or_hangs_gets_the_push_in_the_end() {
    for (path, refused) in [("busy/bob", 429), ("reset/bob", 0), ("hang/bob", 0)] {
        let scene = Scene::with(path, &[]);
        scene.write(SECRET);
        assert_eq!(scene.service.push().0["status"], refused, "{path}");
        let (push, payload) = scene.service.push();
        assert_eq!((push["status"].as_u64(), payload.sequence), (Some(201), 2), "{path}");
        scene.check_log();
    }
}

#[test]
fn a_service_that_takes_no_payload_gets_a_bare_wake() {
    let scene = Scene::with("bare/bob", &[]);
    scene.write(SECRET);
    assert_eq!(scene.service.push().0["status"], 413);
    let (push, payload) = scene.service.push();
    assert_eq!((push["bytes"].as_u64(), payload), (Some(0), PushPayload::default()));
    assert_eq!(scene.provider(), "web", "the address is good");
}

#[test]
fn an_address_that_is_gone_is_given_up_and_noted() {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = folder.path().join("audit");
    let scene = Scene::with("gone/bob", &[("audit.file", audit.to_str().expect("UTF-8"))]);
    scene.write(SECRET);
    assert_eq!(scene.service.push().0["status"], 410);
    until("the address is given up", || scene.provider().is_null());
    scene.set("good/bob");
    assert_eq!(scene.service.taken().1.sequence, 2, "what waits is owed at the new one");
    scene.bob().done("DELETE", "/devices/phone/push", None);
    until("all is noted", || {
        let noted = std::fs::read_to_string(&audit).unwrap_or_default();
        ["push_set", "push_gone", "push_dropped"].iter().all(|event| noted.contains(event))
    });
    let noted = std::fs::read_to_string(&audit).expect("the audit");
    assert!(!noted.contains("/bob\"") && !noted.contains(scene.service.keys["auth"].as_str().expect("a secret")));
    scene.check_log();
}

#[test]
fn a_killed_server_pushes_what_it_owed() {
    for point in ["after-commit:6", "before-push:1", "after-push:1"] {
        let mut scene = Scene::with("good/bob", &[]);
        scene.die_at(point);
        if point.starts_with("after-push") {
            scene.service.taken();
        }
        scene.server.start_again();
        assert!(scene.service.taken().1.sequence >= 2, "{point}");
    }
}

#[test]
fn an_export_says_where_devices_are_pushed_and_no_secrets() {
    let scene = Scene::with("good/bob", &[]);
    let conversation = scene.write("hello");
    let mute = json!({ "for_s": 3_600 });
    scene.bob().done("PUT", &format!("/conversations/{conversation}/mute"), Some(mute));
    let (_, _, export) = scene.bob().get("/export", &[]);
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    assert_eq!((of("push").len(), of("mute").len()), (1, 1), "{export}");
    assert_eq!((&of("push")[0]["device"], &of("push")[0]["provider"]), (&json!("phone"), &json!("web")));
    assert!(!export.contains(&scene.service.port.to_string()), "{export}");
}
