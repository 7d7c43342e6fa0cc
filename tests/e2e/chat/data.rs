//! A user's data: exported as a whole, erased as a whole, and read again only where it changed.

use godwit_schemas::client::{self, request::Call};
use serde_json::{Value, json};

use super::phone::Phone;
use super::web::{Web, base64, notice};
use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn of_type<'a>(export: &'a [Value], wanted: &'a str) -> impl Iterator<Item = &'a Value> {
    export.iter().filter(move |line| line["type"] == wanted)
}

#[test]
fn an_export_has_what_was_sent_and_received_and_nothing_of_others() {
    let server = Server::with(&[("retention.history", "forever")]);
    let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
    let [mut alice, _, mut carol] = accounts.each_ref().map(|it| Phone::connect(&server, it, Version::V5));
    let web = Web::of(&server, &accounts[0]);
    carol.send("to/bob", "not for alice");
    let sent: Vec<_> = (0..120).map(|number| format!("message {number}")).collect();
    sent.iter().for_each(|body| alice.send("to/bob", body));
    web.done("PUT", "/blocked/carol", None);
    web.done("PATCH", "/profile", Some(json!({ "name": "Alice", "presence_to": "nobody" })));
    web.done("PUT", "/contacts/bob", Some(json!({ "label": "Bobby" })));
    let create = client::CreateGroup { title: "hikers".into(), users: vec!["carol".into()] };
    let group = alice.done(Call::CreateGroup(create)).conversation;

    let (status, _, text) = web.get("/export", &[]);
    let export = lines(&text);
    assert_eq!((status, &export[0]["type"], &export[0]["user"]), (200, &"export".into(), &"alice".into()));
    assert_eq!(export.last().expect("lines")["type"], "end");
    let devices: Vec<_> = of_type(&export, "device").map(|line| line["device"].clone()).collect();
    assert_eq!(devices, ["phone"]);
    assert_eq!(of_type(&export, "blocked").map(|line| line["user"].clone()).collect::<Vec<_>>(), ["carol"]);
    let profile: Vec<_> = of_type(&export, "profile").map(|line| (&line["name"], &line["presence_to"])).collect();
    assert_eq!(profile, [(&"Alice".into(), &"nobody".into())]);
    let contacts: Vec<_> = of_type(&export, "contact").map(|line| (&line["user"], &line["label"])).collect();
    assert_eq!(contacts, [(&"bob".into(), &"Bobby".into())]);
    let groups: Vec<_> = of_type(&export, "conversation").filter(|line| line["group"] == true).collect();
    assert_eq!((groups.len(), &groups[0]["title"], &groups[0]["conversation"]), (1, &"hikers".into(), &group.into()));
    let bodies: Vec<_> = of_type(&export, "message").map(|line| line["body"].clone()).collect();
    assert_eq!(bodies, sent.iter().map(|body| base64(body)).map(Value::from).collect::<Vec<_>>());
    assert!(of_type(&export, "message").all(|line| line["waits_for"].is_null() && line["time_s"].is_u64()));
    assert_eq!(of_type(&export, "change").count(), 2, "two openings");

    let printed = server.run(&["user", "export", "alice"]);
    assert_eq!((printed.code, lines(&printed.stdout).len()), (Some(0), export.len()), "{}", printed.stderr);
    let nobody = server.run(&["user", "export", "nobody"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(1), ""), "{}", nobody.stderr);
    Web::new(&server, "alice", String::new()).refused("GET", "/export", None, 401);
}

#[test]
fn without_history_an_export_has_what_waits_for_each_device() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let laptop = server.add_device("bob", "laptop");
    Phone::connect(&server, &alice, Version::V5).send("to/bob", "hello");
    let mut at_laptop = Phone::connect(&server, &laptop, Version::V5);
    at_laptop.change();
    assert_eq!(at_laptop.message().body, "hello");
    at_laptop.client.settle();
    let waiting = || {
        let export = lines(&Web::of(&server, &bob).get("/export", &[]).2);
        of_type(&export, "message").map(|line| (line["body"].clone(), line["waits_for"].clone())).collect::<Vec<_>>()
    };
    crate::until("the laptop has it", || waiting() == [(base64("hello").into(), "phone".into())]);
}

/// That the account is gone, for its devices and for whoever takes the name.
fn is_gone(server: &Server, account: &Account, friend: &mut Phone, conversation: u64) {
    let refused = Client::open(server.mqtt(), Version::V5).login(account, RESUME).expect("CONNACK");
    assert_eq!(refused, (0x86, false));
    assert_eq!(friend.client.publish(&format!("to/{}", account.user), b"anybody?"), 0x90);
    assert_eq!(friend.client.publish(&format!("send/{conversation}"), b"anybody?"), 0x90);
    let call = client::GetHistory { conversation, ..Default::default() };
    let history = friend.done(Call::GetHistory(call)).history;
    assert_eq!(history.len(), 3, "opened, hello, removed: what others received stays theirs");
    let anew = server.add_user(&account.user, &account.device);
    assert_eq!(Web::of(server, &anew).done("GET", "/conversations", None)["conversations"], json!([]));
    assert_eq!(Web::of(server, &anew).done("GET", "/blocked", None)["users"], json!([]));
}

#[test]
fn who_is_erased_is_gone_over_both_ways() {
    for version in VERSIONS {
        let server = Server::with(&[("retention.history", "forever")]);
        let friend = server.add_user("friend", "phone");
        let mut friend = Phone::connect(&server, &friend, Version::V5);
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob] = accounts.each_ref().map(|it| Phone::connect(&server, it, version));
        let mut conversations = Vec::new();
        for phone in [&mut alice, &mut bob] {
            phone.send("to/friend", "hello");
            conversations.push(phone.done(Call::OpenDirect(client::OpenDirect { user: "friend".into() })).conversation);
            phone.done(Call::Block(client::Block { user: "friend".into() }));
        }
        // Over HTTP.
        Web::of(&server, &accounts[0]).done("DELETE", "", None);
        assert_eq!(alice.client.closed(), (version == Version::V5).then_some(0x98));
        Web::of(&server, &accounts[0]).refused("DELETE", "", None, 401);
        Web::administrator(&server, "alice").refused("DELETE", "", None, 404);
        is_gone(&server, &accounts[0], &mut friend, conversations[0]);
        // Over MQTT.
        let erase = Call::EraseAccount(client::EraseAccount {});
        assert_eq!(bob.cut_off_by(erase), (version == Version::V5).then_some(0x98));
        crate::until("bob is gone", || Web::administrator(&server, "bob").ask("GET", "/devices", None).0 == 404);
        is_gone(&server, &accounts[1], &mut friend, conversations[1]);
    }
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let server = Server::with(&[("retention.history", "forever")]);
    let (alice, _) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let web = Web::of(&server, &alice);
    let id = web.done("POST", "/conversations", Some(json!({ "user": "bob" })))["conversation"].clone();
    let (list, messages) = ("/conversations".to_owned(), format!("/conversations/{id}/messages"));
    let send = || web.done("POST", &messages, Some(json!({ "body": base64("hello") })));
    send();
    let tag = |path: &str| {
        let (status, headers, _) = web.get(path, &[]);
        assert_eq!(
            (status, &headers["cache-control"]),
            (200, &"private, no-cache".parse().expect("a header")),
            "{path}"
        );
        headers["etag"].to_str().expect("text").to_owned()
    };
    let again = |path: &str, tag: &str| {
        let (status, headers, text) = web.get(path, &[("if-none-match", tag)]);
        assert_eq!(status == 304, text.is_empty(), "{path}: {status} {text}");
        assert!(headers.contains_key("etag"));
        status
    };
    for path in [&list, &messages] {
        let before = tag(path);
        assert_eq!([again(path, &before), again(path, "\"other\"")], [304, 200], "{path}");
        send();
        assert_eq!(again(path, &before), 200, "{path}");
    }
    for path in ["/devices".to_owned(), "/blocked".to_owned(), format!("/conversations/{id}")] {
        assert_eq!(again(&path, &tag(&path)), 304, "{path}");
    }
    let refused = Web::new(&server, "alice", format!("Bearer {}x", notice(&server).token));
    assert_eq!(refused.get(&list, &[("if-none-match", "*")]).0, 401);
}
