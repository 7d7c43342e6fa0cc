//! What this crate sends, judged by code that was not written here: a mock of Apple's push service, decryption and verification
//! in Python, and connections that are told to go away.
//!
//! | variable | without it the test says that it is skipped |
//! |---|---|
//! | `GODWIT_TEST_PUSHY` | a folder with the jars of com.eatthepath:pushy and an slf4j; `java` from version 17 |
//! | `GODWIT_TEST_PUSH_PYTHON` | a Python with http-ece, py-vapid and google-auth |

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod goaway;
mod listener;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use godwit_push::guard::{Guard, Resolve};
use godwit_push::providers::{ProviderSettings, Providers};
use godwit_push::seal::{DeviceKeys, seal};
use godwit_push::{
    ApnsSettings, FcmSettings, Gateway as _, Push, Target, Urgency, Verdict, WallClock, WebSettings, generate_key,
};
use serde_json::{Value, json};

use self::listener::Listener;

/// The variable by which a test that was started again knows that its certificate is trusted.
const TRUSTED: &str = "GODWIT_TEST_PUSH_TRUSTED";

#[expect(clippy::disallowed_methods, reason = "strangers compare it with their own clock")]
const WALL: WallClock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers")
}

/// What a variable names, or a note that the test is skipped.
fn named(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: {variable} is not set");
    }
    found
}

/// A certificate for localhost that this process trusts, and its key: the test is started once more, since only the
/// environment says what is trusted. `None`: it has been, and has passed.
fn trusted(test: &str) -> Option<(PathBuf, PathBuf)> {
    if let Some(folder) = std::env::var_os(TRUSTED).map(PathBuf::from) {
        return Some((folder.join("cert.pem"), folder.join("key.pem")));
    }
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([test, "--exact", "--nocapture"]).env(TRUSTED, folder.path());
    let ended = again.env("SSL_CERT_FILE", folder.path().join("cert.pem")).status().unwrap();
    assert!(ended.success(), "{test}: {ended}");
    None
}

fn push(target: Target, sealed: Vec<u8>) -> Push {
    let (collapse, ttl) = ("conversation-7".to_owned(), Duration::from_secs(3_600));
    Push { target, sealed, collapse, ttl, urgency: Urgency::High, badge: 3 }
}

async fn send(providers: &Arc<Providers>, target: Target) -> Verdict {
    providers.clone().send(push(target, vec![7; 300])).await
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn judged(python: &Path, asked: &Value) -> Value {
    let mut judge = Command::new(python);
    let mut judge = judge.arg(folder().join("judge.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    judge.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let ended = judge.wait_with_output().unwrap();
    assert!(ended.status.success(), "the judge refuses it: {asked}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn apple_as_pushy_mocks_it_takes_our_pushes() {
    let Some(jars) = named("GODWIT_TEST_PUSHY") else { return };
    let Some((certificate, key)) = trusted("apple_as_pushy_mocks_it_takes_our_pushes") else { return };
    // Of the team: the mock has the public half.
    let team = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let public = certificate.with_file_name("team.pem");
    std::fs::write(&public, team.public_key_pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut java = Command::new("java");
    java.arg("-cp").arg(jars.join("*")).arg(folder().join("MockApns.java"));
    java.arg(certificate).arg(key).arg(public).arg(port.to_string()).stdout(Stdio::piped());
    let mut running = Running(java.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line == "listening").unwrap();

    let apns = ApnsSettings {
        key: team.serialize_pem().into_bytes(),
        key_id: "KEY1234567".to_owned(),
        team_id: "TEAM123456".to_owned(),
        topics: vec!["org.example.chat".to_owned(), "org.example.other".to_owned()],
        endpoint: Some(format!("https://localhost:{port}")),
    };
    let settings = |apns| ProviderSettings { apns: Some(apns), ..ProviderSettings::default() };
    let providers = Arc::new(Providers::new(settings(apns.clone()), WALL).unwrap());
    let to =
        |byte: [u8; 2], topic: &str| Target::Apns { token: byte.repeat(16), topic: topic.to_owned(), sandbox: false };
    assert_eq!(send(&providers, to([0x00, 0xAA], "org.example.chat")).await, Verdict::Accepted);
    let said = lines.find(|line| line.starts_with("accepted")).unwrap();
    let [_, topic, kind, priority, collapse, _, payload] = said.splitn(7, '|').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((topic, kind, collapse), ("org.example.chat", "ALERT", "conversation-7"), "{priority}");
    let payload: Value = serde_json::from_str(payload).unwrap();
    assert_eq!((&payload["aps"]["mutable-content"], &payload["aps"]["badge"]), (&json!(1), &json!(3)));
    let gone = send(&providers, to([0x11, 0xBB], "org.example.chat")).await;
    assert_eq!(gone, Verdict::Gone { seen_at_ms: Some(1_700_000_000_000) });
    assert!(matches!(send(&providers, to([0x00, 0xAA], "org.example.other")).await, Verdict::Suspect(_)));
    assert!(matches!(send(&providers, to([0x22, 0x22], "org.example.chat")).await, Verdict::Suspect(_)));
    // Another team's key.
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let stranger = ApnsSettings { key: other.serialize_pem().into_bytes(), ..apns };
    let providers = Arc::new(Providers::new(settings(stranger), WALL).unwrap());
    let refused = send(&providers, to([0x00, 0xAA], "org.example.chat")).await;
    assert_eq!(refused, Verdict::Refused("403 InvalidProviderToken".to_owned()));
    // Many at once, on one connection.
    let providers: Vec<_> = (0..200).map(|_| send(&providers, to([0x00, 0xAA], "org.example.chat"))).collect();
    assert_eq!(futures::future::join_all(providers).await.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_decrypts_a_web_push_and_knows_who_sent_it() {
    let Some(python) = named("GODWIT_TEST_PUSH_PYTHON") else { return };
    let keys = judged(&python, &json!({ "judge": "keys" }));
    let auth = [9; 16];
    let point = URL_SAFE_NO_PAD.decode(keys["p256dh"].as_str().unwrap()).unwrap();
    let listener = Listener::start(vec![(201, String::new())]).await;
    let guard = Guard { hosts: vec!["127.0.0.1".to_owned()], allow_private: true };
    let web = WebSettings { subject: "mailto:push@example.org".to_owned(), guard };
    let providers = Providers::new(ProviderSettings { web: Some(web), ..ProviderSettings::default() }, WALL).unwrap();
    providers.use_key(&generate_key().unwrap()).unwrap();
    let sealed = seal(&DeviceKeys::new(&point, &auth).unwrap(), b"hello bob").unwrap();
    let target = Target::Web { endpoint: format!("http://{}/x", listener.address) };
    assert_eq!(Arc::new(providers).send(push(target, sealed)).await, Verdict::Accepted);
    let sent = listener.requests().remove(0);
    assert_eq!((sent.header("content-encoding"), sent.header("ttl")), ("aes128gcm", "3600"));
    let judged = judged(
        &python,
        &json!({
            "judge": "web",
            "private": keys["private"],
            "auth": URL_SAFE_NO_PAD.encode(auth),
            "body": URL_SAFE_NO_PAD.encode(&sent.body),
            "authorization": sent.header("authorization"),
        }),
    );
    assert_eq!(URL_SAFE_NO_PAD.decode(judged["plain"].as_str().unwrap()).unwrap(), b"hello bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn google_s_library_verifies_our_assertion() {
    let Some(python) = named("GODWIT_TEST_PUSH_PYTHON") else { return };
    let made = Command::new(&python).arg(folder().join("account.py")).output().unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let token = json!({ "access_token": "ya29", "expires_in": 3_599, "token_type": "Bearer" }).to_string();
    let other = json!({ "access_token": "ya30", "expires_in": 3_599, "token_type": "Bearer" }).to_string();
    let answers =
        vec![(200, token), (200, "{}".to_owned()), (401, "{}".to_owned()), (200, other), (200, "{}".to_owned())];
    let listener = Listener::start(answers).await;
    let at = format!("http://{}", listener.address);
    let fcm = FcmSettings {
        service_account: made["account"].to_string().into_bytes(),
        endpoint: Some(at.clone()),
        token_endpoint: Some(format!("{at}/token")),
    };
    let settings = ProviderSettings { fcm: Some(fcm), ..ProviderSettings::default() };
    let providers = Arc::new(Providers::new(settings, WALL).unwrap());
    let target = || Target::Fcm { token: "device".to_owned() };
    assert_eq!(send(&providers, target()).await, Verdict::Accepted);
    assert_eq!(send(&providers, target()).await, Verdict::Accepted, "with a new access token");
    let [granted, first, _, _, again] = listener.requests().try_into().unwrap();
    let form = String::from_utf8(granted.body).unwrap();
    let assertion = form.rsplit_once("assertion=").unwrap().1;
    let claims = judged(&python, &json!({ "judge": "fcm", "assertion": assertion, "public": made["public"] }));
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/firebase.messaging");
    assert_eq!(claims["iss"], made["account"]["client_email"]);
    assert_eq!(first.path, "/v1/projects/godwit-test/messages:send");
    assert_eq!((first.header("authorization"), again.header("authorization")), ("Bearer ya29", "Bearer ya30"));
    let message: Value = serde_json::from_slice(&first.body).unwrap();
    let android = json!({ "priority": "HIGH", "collapse_key": "wake", "ttl": "3600s" });
    assert_eq!((&message["message"]["token"], &message["message"]["android"]), (&json!("device"), &android));
}

/// A resolver that somebody else has a hand in.
#[derive(Debug)]
struct Rebinding(SocketAddr);

impl Resolve for Rebinding {
    fn resolve(&self, _: String, _: u16) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        let addresses = vec!["1.1.1.1:443".parse().unwrap(), self.0];
        Box::pin(async move { Ok(addresses) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_home_is_not_followed() {
    let listener = Listener::start(Vec::new()).await;
    let guard = Guard { hosts: vec!["*".to_owned()], allow_private: false };
    let web = WebSettings { subject: "mailto:push@example.org".to_owned(), guard };
    let settings = ProviderSettings { web: Some(web), ..ProviderSettings::default() };
    let resolver = Arc::new(Rebinding(listener.address));
    let providers = Arc::new(Providers::resolving(settings, WALL, resolver).unwrap());
    providers.use_key(&generate_key().unwrap()).unwrap();
    let target = || Target::Web { endpoint: "https://push.example.org/x".to_owned() };
    for _ in 0..3 {
        assert_eq!(send(&providers, target()).await, Verdict::Later { after: None });
    }
    assert_eq!(listener.connections(), 0, "nobody has come");
    assert!(providers.pause(target().service()).is_some(), "and nobody tries for a while");
}
