//! A file goes with the last message that refers to it, whatever happens in between.

use godwit_schemas::client::{self, request::Call};
use serde_json::json;

use super::depot::{announcement, complete, content, files, get, put_all, send, upload};
use crate::chat::phone::Phone;
use crate::chat::web::Web;
use crate::mqtt::Version;
use crate::server::{Account, Server};

fn start(settings: &[(&str, &str)]) -> (Server, Account, Account) {
    let server = Server::with(settings);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    (server, alice, bob)
}

fn gone(server: &Server) {
    crate::until("the object goes", || files(server, "") == 0);
}

/// Bob takes everything that waits for him.
fn receive(server: &Server, bob: &Account) {
    let mut bob = Phone::connect(server, bob, Version::V5);
    bob.change();
    assert_eq!(bob.message().media.len(), 1);
    bob.client.settle();
}

#[test]
fn without_history_it_goes_when_every_device_has_it() {
    let (server, alice, bob) = start(&[("media.grace_s", "0")]);
    let tablet = server.add_device("bob", "tablet");
    // Over HTTP with a device's password: that device gets no copy.
    let web = Web::of(&server, &alice);
    let media = upload(&web, &content(3_000, 1));
    send(&web, "bob", &media, json!({}));
    receive(&server, &bob);
    let path = format!("/media/{media}/download");
    Web::of(&server, &bob).done("GET", &path, None);
    assert_eq!(files(&server, "objects"), 1, "the tablet has still to get it");
    receive(&server, &tablet);
    gone(&server);
    Web::of(&server, &bob).refused("GET", &path, None, 404);
    let again = web.done("POST", "/media", Some(announcement(&content(3_000, 1))));
    assert_eq!(again["complete"], false);
}

#[test]
fn it_goes_when_its_message_vanishes() {
    let (server, alice, _) = start(&[]);
    let web = Web::of(&server, &alice);
    let media = upload(&web, &content(3_000, 1));
    send(&web, "bob", &media, json!({ "expires_in_s": 1 }));
    gone(&server);
}

#[test]
fn it_goes_when_its_last_message_is_taken_back() {
    for history in ["none", "forever"] {
        let (server, alice, bob) = start(&[("retention.history", history)]);
        let web = Web::of(&server, &alice);
        let media = upload(&web, &content(3_000, 1));
        let (conversation, first) = send(&web, "bob", &media, json!({}));
        let (_, second) = send(&web, "bob", &media, json!({}));
        let mut at_bob = Phone::connect(&server, &bob, Version::V5);
        at_bob.change();
        let (_, received) = (at_bob.message(), at_bob.message());
        assert_eq!(received.media[0].id, media);
        at_bob.client.settle();
        if history == "forever" {
            let page = web.done("GET", &format!("/conversations/{conversation}/messages?limit=1"), None);
            assert_eq!(page["messages"][0]["media"][0]["id"], media.as_str());
        }
        at_bob.refused(Call::Recall(client::Recall { conversation, sequence: first }), 0x87);
        let recall = |sequence| web.done("DELETE", &format!("/conversations/{conversation}/messages/{sequence}"), None);
        recall(first);
        at_bob.done(Call::DownloadLink(client::DownloadLink { media: media.clone(), conversation: 0 }));
        recall(second);
        at_bob.refused(Call::DownloadLink(client::DownloadLink { media: media.clone(), conversation: 0 }), 0x90);
        gone(&server);
    }
}

#[test]
fn it_goes_when_nobody_is_in_its_conversation_any_more() {
    let (server, alice, bob) = start(&[("retention.history", "forever")]);
    let (web, at_bob) = (Web::of(&server, &alice), Web::of(&server, &bob));
    let group = web.done("POST", "/conversations", Some(json!({ "title": "trip", "users": ["bob"] })));
    let path = format!("/conversations/{}", group["conversation"]);
    let media = upload(&web, &content(3_000, 1));
    let message = json!({ "body": "", "media": [{ "id": media, "name": "pic.jpg" }] });
    web.done("POST", &format!("{path}/messages"), Some(message));
    web.done("DELETE", &format!("{path}/members/alice"), None);
    at_bob.done("GET", &format!("/media/{media}/download"), None);
    assert_eq!(files(&server, "objects"), 1, "Bob is there still");
    at_bob.done("DELETE", &format!("{path}/members/bob"), None);
    gone(&server);
    at_bob.refused("GET", &format!("/media/{media}/download"), None, 404);
}

#[test]
fn what_nothing_refers_to_is_swept() {
    let (server, alice, _) = start(&[("media.unused_s", "1"), ("media.multipart_bytes", "1024")]);
    let web = Web::of(&server, &alice);
    let (small, large) = (content(1_000, 1), content(3_000, 2));
    for (bytes, completes) in [(&small, true), (&small, false), (&large, true), (&large, false)] {
        let upload = web.done("POST", "/media", Some(announcement(bytes)));
        put_all(&upload, bytes);
        if completes {
            // It may be late.
            web.ask("POST", &format!("/media/{}/complete", upload["media"].as_str().expect("a name")), None);
        }
        crate::until("it is swept", || files(&server, "") == 0);
    }
    let upload = web.done("POST", "/media", Some(announcement(&large)));
    assert_eq!(upload["stored"], json!([]));
    let path = format!("/media/{}", upload["media"].as_str().expect("a name"));
    web.done("DELETE", &path, None);
    web.refused("GET", &path, None, 404);
}

#[test]
fn a_picture_stays_as_long_as_a_profile_shows_it() {
    let (server, alice, bob) = start(&[]);
    let (web, at_bob) = (Web::of(&server, &alice), Web::of(&server, &bob));
    let picture = content(3_000, 1);
    let show = |picture: &str| Some(json!({ "picture": picture }));
    for changes in [true, false] {
        let media = upload(&web, &picture);
        at_bob.refused("PATCH", "/profile", show(&media), 404);
        web.done("PATCH", "/profile", show(&media));
        let link = at_bob.done("GET", &format!("/media/{media}/download"), None);
        assert_eq!(get(&link), (200, picture.clone()));
        web.done("PUT", "/blocked/bob", None);
        at_bob.refused("GET", &format!("/media/{media}/download"), None, 404);
        at_bob.refused("PATCH", "/profile", show(&media), 404);
        web.done("DELETE", "/blocked/bob", None);
        at_bob.done("GET", &format!("/media/{media}/download"), None);
        if changes {
            web.done("PATCH", "/profile", show(""));
        } else {
            assert_eq!(server.run(&["user", "remove", "alice"]).code, Some(0));
        }
        gone(&server);
    }
}

#[test]
fn killed_between_the_steps_of_an_upload_it_goes_on() {
    for (point, size) in [("media-announced", 3_000), ("media-verified", 500), ("media-verified", 3_000)] {
        let (mut server, alice, bob) = start(&[("media.multipart_bytes", "1024")]);
        server.kill();
        server.start_armed(point);
        let photo = content(size, 1);
        let dies = point.to_owned();
        let web = Web::of(&server, &alice);
        if dies == "media-announced" {
            assert!(web.try_ask("POST", "/media", Some(announcement(&photo))).is_err());
        } else {
            let upload = web.done("POST", "/media", Some(announcement(&photo)));
            put_all(&upload, &photo);
            let path = format!("/media/{}/complete", upload["media"].as_str().expect("a name"));
            assert!(web.try_ask("POST", &path, None).is_err());
        }
        assert_eq!(server.ended(), None, "killed");
        server.start_again();
        let web = Web::of(&server, &alice);
        let upload = web.done("POST", "/media", Some(announcement(&photo)));
        put_all(&upload, &photo);
        let media = complete(&web, &upload);
        send(&web, "bob", &media, json!({}));
        Web::of(&server, &bob).done("GET", &format!("/media/{media}/download"), None);
        assert_eq!(files(&server, ""), 1);
    }
}

#[test]
fn killed_between_the_steps_of_its_end_it_goes_all_the_same() {
    for point in ["media-doomed", "media-deleted"] {
        let (mut server, alice, _) = start(&[]);
        let web = Web::of(&server, &alice);
        let media = upload(&web, &content(3_000, 1));
        let (conversation, sequence) = send(&web, "bob", &media, json!({}));
        server.kill();
        server.start_armed(point);
        let web = Web::of(&server, &alice);
        web.done("DELETE", &format!("/conversations/{conversation}/messages/{sequence}"), None);
        assert_eq!(server.ended(), None, "killed");
        server.start_again();
        gone(&server);
        Web::of(&server, &alice).refused("GET", &format!("/media/{media}/download"), None, 404);
    }
}
