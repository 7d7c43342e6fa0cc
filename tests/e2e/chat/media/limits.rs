//! What is refused: too much, and what is no file.

use godwit_schemas::client::{self, request::Call};
use serde_json::{Value, json};

use super::depot::{announcement, content, create_upload, upload};
use crate::chat::phone::Phone;
use crate::chat::web::{Web, base64};
use crate::mqtt::Version;
use crate::server::Server;

fn with(key: &str, value: Value) -> Option<Value> {
    let mut announced = announcement(&content(60, 1));
    announced[key] = value;
    Some(announced)
}

#[test]
fn a_user_uploads_so_much_in_a_day() {
    let limits =
        [("media.user_bytes_per_day", "100"), ("media.user_uploads_per_day", "3"), ("media.file_bytes_max", "90")];
    let server = Server::with(&limits);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let web = Web::of(&server, &alice);
    web.refused("POST", "/media", Some(announcement(&content(91, 1))), 409);
    upload(&web, &content(60, 1));
    web.refused("POST", "/media", Some(announcement(&content(60, 2))), 409);
    web.done("POST", "/media", Some(announcement(&content(40, 3))));
    web.done("POST", "/media", Some(announcement(&content(40, 3))));
    assert_eq!(web.done("POST", "/media", Some(announcement(&content(60, 1))))["complete"], true, "that is no upload");
    web.refused("POST", "/media", Some(announcement(&content(60, 1))), 409);
    let mut phone = Phone::connect(&server, &alice, Version::V4);
    phone.refused(Call::CreateUpload(create_upload(&content(5, 4))), 0x97);
    Phone::connect(&server, &bob, Version::V5).done(Call::CreateUpload(create_upload(&content(60, 1))));
}

#[test]
fn what_is_no_file_is_refused() {
    let server = Server::with(&[("media.content_types", "image/*,text/plain")]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let web = Web::of(&server, &alice);
    for (key, value) in [
        ("size", json!(0)),
        ("sha256", base64("short").into()),
        ("content_type", "text/html".into()),
        ("content_type", "image".into()),
        ("content_type", "image/png\r\nx-a: b".into()),
        ("content_type", "".into()),
    ] {
        web.refused("POST", "/media", with(key, value), 422);
    }
    for content_type in ["image/png", "TEXT/plain"] {
        web.done("POST", "/media", with("content_type", content_type.into()));
    }
    web.refused("POST", "/media", with("conversation", json!(1)), 404);
    let of_bob = Web::of(&server, &bob).done("POST", "/conversations", Some(json!({ "user": "bob" })));
    web.refused("POST", "/media", with("conversation", of_bob["conversation"].clone()), 403);
    for media in ["nothing", "AAAAAAAAAAAAAAAAAAAAAA"] {
        web.refused("GET", &format!("/media/{media}"), None, 404);
        web.refused("POST", &format!("/media/{media}/complete"), None, 404);
        web.refused("GET", &format!("/media/{media}/download"), None, 404);
    }
}

#[test]
fn a_message_refers_to_what_its_sender_has() {
    let server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|user| Web::of(&server, &server.add_user(user, "phone")));
    let media = upload(&alice, &content(60, 1));
    let opened = bob.done("POST", "/conversations", Some(json!({ "user": "alice" })));
    let path = format!("/conversations/{}/messages", opened["conversation"]);
    let message = |files: Vec<Value>| Some(json!({ "body": "", "media": files }));
    bob.refused("POST", &path, message(vec![json!({ "id": media })]), 404);
    let many = vec![json!({ "id": media }); 17];
    alice.refused("POST", &path, message(many), 422);
    alice.refused("POST", &path, message(vec![json!({ "id": media, "name": "n".repeat(256) })]), 422);
    let large = base64(&"x".repeat(45_000));
    let pair = vec![json!({ "id": media, "thumbnail": large }), json!({ "id": media, "thumbnail": "" })];
    alice.done("POST", &path, message(pair));
    // What bob has seen he can pass on.
    bob.done("POST", &path, message(vec![json!({ "id": media })]));
    let mut phone = Phone::connect(&server, &server.add_device("bob", "tv"), Version::V5);
    let draft = |count| client::Send {
        to: Some(client::send::To::User("alice".into())),
        client_sequence: count,
        media: vec![client::Media { id: media.clone(), ..Default::default() }],
        ..Default::default()
    };
    let send = |phone: &mut Phone, count| phone.client.publish("send", &prost::Message::encode_to_vec(&draft(count)));
    assert_eq!(send(&mut phone, 1), 0);
    for sequence in 2..5 {
        alice.ask("DELETE", &format!("{path}/{sequence}"), None);
        bob.ask("DELETE", &format!("{path}/{sequence}"), None);
    }
    crate::until("bob cannot pass it on any more", || send(&mut phone, 2) == 0x90);
    assert_eq!(send(&mut phone, 1), 0, "a retry of what was accepted");
}

#[test]
fn without_an_object_store_there_are_no_files() {
    let server = Server::with(&[("media.listen", "")]);
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    web.refused("POST", "/media", Some(announcement(&content(60, 1))), 422);
}
