//! A store that an earlier program has written (tests/golden) is what its users left: history, inboxes, people, groups, files
//! and passwords, as tests/golden/expected.json has them. `GODWIT_GOLDEN=record` writes that file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use godwit_schemas::client::{self, event};
use prost::Message as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::backup::copy;
use crate::chat::media::depot::get;
use crate::chat::web::Web;
use crate::clock::Clock;
use crate::identity::issuer::now_s;
use crate::mqtt::{Client, Packet, RESUME, Version};
use crate::server::{Account, Server};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
/// How long a recording waits for one more message.
const SILENCE: Duration = Duration::from_secs(2);
/// What says how long ago something was.
const AGES: [&str; 3] = ["age_s", "full_age_s", "last_seen_age_min"];

/// golden.json: what the maker says of the store.
#[derive(Deserialize)]
struct Golden {
    made_at_s: i64,
    settings: BTreeMap<String, String>,
    accounts: BTreeMap<String, Account>,
    /// Passwords that were renewed and not used yet.
    renewed: BTreeMap<String, String>,
    conversations: BTreeMap<String, u64>,
    media: BTreeMap<String, String>,
}

impl Golden {
    fn read() -> Self {
        let text = fs::read(Path::new(FOLDER).join("golden.json")).expect("golden.json");
        serde_json::from_slice(&text).expect("what the maker wrote")
    }

    /// A server on a copy of the store, on the day on which it was made.
    fn server(&self) -> (Clock, Server) {
        let clock = Clock::ahead_by(self.made_at_s + 1 - now_s() as i64);
        let settings: Vec<_> = self.settings.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        let mut server = Server::prepare("serve", &settings);
        copy(&Path::new(FOLDER).join("data"), server.data());
        server.set_variables(&clock.environment());
        server.start_again();
        (clock, server)
    }

    fn web(&self, server: &Server, account: &str) -> Web {
        Web::of(server, &self.accounts[account])
    }
}

#[test]
fn a_store_of_an_earlier_program_is_what_its_users_left() {
    let golden = Golden::read();
    let (_clock, server) = golden.server();
    let file = Path::new(FOLDER).join("expected.json");
    let is_recording = std::env::var("GODWIT_GOLDEN").is_ok_and(|what| what == "record");
    let expected = if is_recording {
        Value::Null
    } else {
        serde_json::from_slice(&fs::read(&file).expect("expected.json")).expect("JSON")
    };
    let mut found = Map::new();
    found.insert("http".to_owned(), over_http(&golden, &server));
    found.insert("inboxes".to_owned(), inboxes(&golden, &server, &expected["inboxes"]));
    if is_recording {
        let text = serde_json::to_string_pretty(&found).expect("JSON");
        return fs::write(&file, text + "\n").expect("written");
    }
    for (part, expected) in expected.as_object().expect("parts") {
        for (name, expected) in expected.as_object().expect("answers") {
            assert_eq!(&found[part][name], expected, "{part}: {name}");
        }
    }
}

#[test]
fn files_of_an_earlier_program_are_there_and_go_on() {
    let golden = Golden::read();
    let (_clock, server) = golden.server();
    let (alice, bob) = (golden.web(&server, "alice/phone"), golden.web(&server, "bob/laptop"));
    let [shared, unfinished] = ["shared", "unfinished"].map(|name| &golden.media[name]);
    let direct = golden.conversations["direct"];
    let link = bob.done("GET", &format!("/media/{shared}/download?conversation={direct}"), None);
    let link = link.get("link").cloned().unwrap_or(link);
    let (status, bytes) = get(&link);
    assert_eq!((status, bytes.len()), (200, 2_500));
    // One of three parts is there.
    let upload = alice.done("GET", &format!("/media/{unfinished}"), None);
    assert_eq!(upload["parts"].as_array().map(Vec::len), Some(2), "{upload}");
    alice.refused("POST", &format!("/media/{unfinished}/complete"), None, 422);
    alice.done("DELETE", &format!("/media/{unfinished}"), None);
}

#[test]
fn what_was_under_way_when_an_earlier_program_ended_goes_on() {
    let golden = Golden::read();
    let (_clock, server) = golden.server();
    let direct = golden.conversations["direct"];
    // A send that is repeated.
    let alice = golden.web(&server, "alice/phone");
    let again = alice.post_once(&format!("/conversations/{direct}/messages"), "golden", json!({ "text": "sent once" }));
    assert_eq!((again.0, &again.1["repeated"]), (200, &json!(true)), "{}", again.1);
    // A password that was renewed and not used.
    let old = &golden.accounts["bob/phone"];
    let new = Account { password: golden.renewed["bob/phone"].clone(), ..old.clone() };
    let login = |account| Client::open(server.mqtt(), Version::V5).login(account, RESUME).expect("CONNACK");
    assert_eq!(login(old), (0, true));
    assert_eq!(login(&new), (0, true));
    assert_eq!(login(old).0, 0x86);
    // A user who was being removed.
    alice.refused("GET", "/people/frank/profile", None, 404);
    let frank = server.add_user("frank", "phone");
    assert_eq!(Web::of(&server, &frank).done("GET", "/conversations", None)["conversations"], json!([]));
}

/// What users are shown, by who asks and the path.
fn over_http(golden: &Golden, server: &Server) -> Value {
    let mut answers = Map::new();
    for (account, user) in golden.accounts.iter().filter(|(name, _)| name.ends_with("/phone")) {
        let web = golden.web(server, account);
        let mut paths: Vec<_> = [
            "/server",
            "/contacts",
            "/profile",
            "/people/alice/profile",
            "/presence?users=alice,bob,erin",
            "/blocked",
            "/devices",
            "/conversations",
        ]
        .map(str::to_owned)
        .into();
        let list = web.done("GET", "/conversations", None);
        for conversation in list["conversations"].as_array().expect("a list") {
            let id = &conversation["conversation"];
            paths.push(format!("/conversations/{id}"));
            paths.push(format!("/conversations/{id}/messages?oldest_first=true&limit=100"));
            if conversation["group"] == true && user.user == "alice" {
                paths.push(format!("/conversations/{id}/invites"));
            }
        }
        for path in paths {
            let (status, mut answer) = web.ask("GET", &path, None);
            forget_ages(&mut answer);
            answers.insert(format!("{} {path}", user.user), json!({ "status": status, "answer": answer }));
        }
    }
    answers.into()
}

fn forget_ages(answer: &mut Value) {
    match answer {
        Value::Array(items) => items.iter_mut().for_each(forget_ages),
        Value::Object(fields) => {
            fields.retain(|key, _| !AGES.contains(&&key[..]));
            fields.values_mut().for_each(forget_ages);
        }
        _ => {}
    }
}

/// What waits for each device, as it comes.
fn inboxes(golden: &Golden, server: &Server, expected: &Value) -> Value {
    let mut inboxes = Map::new();
    for (name, account) in &golden.accounts {
        let mut client = Client::connect(server.mqtt(), account, Version::V5, RESUME);
        let filter = if name == "bob/laptop" || name == "erin/phone" { "inbox/#" } else { "inbox" };
        let is_resumed = client.session_present;
        // What is sent first is not sent again because of this.
        assert_eq!(client.subscribe(filter), 1);
        let mut waits = Vec::new();
        match expected[name]["waits"].as_array() {
            // Not acknowledged: others would be told.
            Some(expected) => waits.extend(expected.iter().map(|_| shown(&client.delivery()))),
            None => {
                while let Ok(Some(packet)) = client.try_next(SILENCE) {
                    if let Packet::Publish(publish) = packet {
                        waits.push(shown(&publish));
                    }
                }
            }
        }
        client.settle();
        assert!(client.is_idle(), "{name} is sent more than {waits:?}");
        inboxes.insert(name.clone(), json!({ "resumed": is_resumed, "waits": waits }));
    }
    inboxes.into()
}

/// A delivery. Of an event: its bytes, which no change of names touches.
fn shown(publish: &crate::mqtt::Publish) -> Value {
    let crate::mqtt::Publish { topic, payload, from, seq, .. } = publish;
    if topic != "inbox" {
        return json!({ "topic": topic, "from": from, "seq": seq, "body": String::from_utf8_lossy(payload) });
    }
    let mut event = client::Event::decode(&payload[..]).expect("an Event");
    let mut body = None;
    if let Some(event::Event::Message(message)) = &mut event.event {
        message.age_s = 0;
        body = Some(String::from_utf8_lossy(&message.body).chars().take(40).collect::<String>());
    }
    let hex: String = event.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "topic": topic, "event": hex, "body": body })
}

#[test]
fn a_store_of_a_newer_program_is_refused_and_an_older_one_carried_over() {
    let (clock, mut server) = Golden::read().server();
    let format = server.data().join("store/FORMAT");
    assert_eq!(fs::read_to_string(&format).expect("it was without, and has one now"), "1\n");
    server.kill();
    fs::write(&format, "2\n").expect("written");
    let before = files(&server.data().join("store"));
    let (code, log) = server.try_start_again().expect_err("it is refused");
    assert!(code == Some(1) && log.contains("it has format 2") && log.contains("upgrade.md"), "{log}");
    assert_eq!(files(&server.data().join("store")), before, "nothing was changed");
    fs::write(&format, "1\n").expect("written");
    server.start_again();
    drop(clock);
}

/// Names and sizes of files.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|it| (it.file_name().into_string().expect("text"), it.metadata().expect("a file").len())).collect()
}
