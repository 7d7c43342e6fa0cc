//! Files go up and down by links, which bind what they are for.

use std::io::Write as _;
use std::net::TcpStream;

use godwit_schemas::client::{self, request::Call};
use serde_json::{Value, json};

use super::depot::{
    announcement, complete, content, create_upload, files, get, part_of, put, put_all, send, shown, upload,
};
use crate::chat::phone::Phone;
use crate::chat::web::Web;
use crate::mqtt::{VERSIONS, Version};
use crate::server::Server;

#[test]
fn who_may_see_the_message_has_the_file_and_nobody_else() {
    for version in VERSIONS {
        let server = Server::start();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let photo = content(100_000, 1);
        let mut at_alice = Phone::connect(&server, &alice, version);
        let mut at_bob = Phone::connect(&server, &bob, version);
        let announced = at_alice.done(Call::CreateUpload(create_upload(&photo))).upload.expect("an upload");
        let media = announced.media.clone();
        let post = |phone: &mut Phone| {
            let media = vec![client::Media {
                id: media.clone(),
                name: "pic.jpg".into(),
                thumbnail: "small".into(),
                ..Default::default()
            }];
            let to = Some(client::send::To::User("bob".into()));
            let send = client::Send { to, body: "look".into(), media, ..Default::default() };
            phone.client.publish("send", &prost::Message::encode_to_vec(&send))
        };
        if version == Version::V5 {
            assert_eq!(post(&mut at_alice), 0x90, "not before it is complete");
        }
        assert_eq!(put(&shown(&announced.link.expect("a link")), &photo), 200);
        let finish = |media: &String| Call::CompleteUpload(client::CompleteUpload { media: media.clone() });
        assert!(at_alice.done(finish(&media)).upload.expect("an upload").complete);
        at_alice.done(finish(&media));
        let fetch = || Call::DownloadLink(client::DownloadLink { media: media.clone(), conversation: 0 });
        at_bob.refused(fetch(), 0x90);
        assert_eq!(post(&mut at_alice), 0);
        at_bob.change();
        let message = at_bob.message();
        let got = &message.media[0];
        assert_eq!((&got.name[..], &got.thumbnail[..], got.size), ("pic.jpg", &b"small"[..], 100_000));
        assert_eq!((&got.content_type[..], got.sha256.clone()), ("image/jpeg", create_upload(&photo).sha256));

        // Everybody has the message; the file can still be fetched.
        let link = at_bob.done(fetch()).download.expect("a link");
        assert_eq!(get(&shown(&link)), (200, photo.clone()));
        let within = client::DownloadLink { media: media.clone(), conversation: message.conversation };
        at_bob.done(Call::DownloadLink(within));
        let path = format!("/media/{media}/download");
        Web::of(&server, &alice).done("GET", &path, None);
        Web::of(&server, &carol).refused("GET", &path, None, 404);
        Web::of(&server, &bob).refused("GET", &format!("{path}?conversation=1"), None, 404);
        at_bob.done(Call::DeleteConversation(client::DeleteConversation { conversation: message.conversation }));
        at_bob.refused(fetch(), 0x90);
    }
}

#[test]
fn a_link_is_good_for_what_it_was_made_for() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let web = Web::of(&server, &alice);
    let photo = content(5_000, 1);
    let upload = web.done("POST", "/media", Some(announcement(&photo)));
    let link = &upload["link"];
    let with = |key: &str, value: Value| {
        let mut changed = link.clone();
        changed[key] = value;
        changed
    };
    let url = link["url"].as_str().expect("a URL");
    assert_eq!(put(link, &content(5_000, 2)), 400, "other bytes");
    assert_eq!(put(link, &photo[1..]), 403, "another length");
    assert_eq!(put(&with("headers", json!({})), &photo), 403, "without the hash");
    let mut headers = link["headers"].clone();
    headers["content-type"] = "text/html".into();
    assert_eq!(put(&with("headers", headers), &photo), 403, "another type");
    let path = upload["media"].as_str().expect("a name");
    assert_eq!(put(&with("url", url.replacen(path, "another", 1).into()), &photo), 403, "another object");
    assert_eq!(put(&with("url", url.replacen("Expires=900", "Expires=901", 1).into()), &photo), 403, "a longer life");
    let bare = url.split('?').next().expect("a URL");
    assert_eq!(put(&with("url", bare.into()), &photo), 403, "nobody");
    assert_eq!(get(&with("method", "GET".into())).0, 403, "another method");
    web.refused("POST", &format!("/media/{path}/complete"), None, 422);
    assert_eq!(files(&server, ""), 0, "nothing of all that is kept");
    put_all(&upload, &photo);
    complete(&web, &upload);
}

#[test]
fn a_link_ends() {
    let server = Server::with(&[("media.link_s", "1")]);
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    let photo = content(500, 1);
    let upload = web.done("POST", "/media", Some(announcement(&photo)));
    crate::until("the link expires", || put(&upload["link"], &photo) == 403);
    let again = web.done("POST", "/media", Some(announcement(&photo)));
    assert_eq!(again["media"], upload["media"]);
}

#[test]
fn an_upload_goes_on_part_by_part() {
    let mut server = Server::with(&[("media.multipart_bytes", "65536")]);
    let alice = server.add_user("alice", "phone");
    let film = content(200_000, 1);
    let begun = Web::of(&server, &alice).done("POST", "/media", Some(announcement(&film)));
    let parts = begun["parts"].as_array().expect("parts");
    assert_eq!((parts.len(), begun["part_bytes"].as_u64(), &begun["link"]), (4, Some(65_536), &Value::Null));
    assert_eq!(put(&parts[0]["link"], part_of(&begun, &parts[0], &film)), 200);
    assert_eq!(put(&parts[3]["link"], &film[..65_536]), 403, "the last one is shorter");
    cut_off(&parts[1]["link"], &film[65_536..100_000], 65_536);
    server.kill_and_start();

    let web = Web::of(&server, &alice);
    let resumed = web.done("POST", "/media", Some(announcement(&film)));
    assert_eq!((&resumed["media"], &resumed["stored"]), (&begun["media"], &json!([1])));
    let media = resumed["media"].as_str().expect("a name");
    web.refused("POST", &format!("/media/{media}/complete"), None, 422);
    let rest = web.done("GET", &format!("/media/{media}?after=2"), None);
    let numbers: Vec<_> = rest["parts"].as_array().expect("parts").iter().map(|it| it["part"].as_u64()).collect();
    assert_eq!(numbers, [Some(3), Some(4)]);
    put_all(&resumed, &film);
    complete(&web, &resumed);
    assert_eq!((files(&server, "objects"), files(&server, "")), (1, 1));
    let bob = server.add_user("bob", "phone");
    send(&web, "bob", media, json!({}));
    let link = Web::of(&server, &bob).done("GET", &format!("/media/{media}/download"), None);
    assert_eq!(get(&link), (200, film));
}

/// A PUT whose connection breaks in the middle.
fn cut_off(link: &Value, bytes: &[u8], announced: usize) {
    let url = link["url"].as_str().expect("a URL").strip_prefix("http://").expect("http");
    let (host, path) = url.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("connected");
    write!(stream, "PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {announced}\r\n\r\n").expect("written");
    stream.write_all(bytes).expect("written");
}

#[test]
fn what_is_there_is_told_only_to_those_who_have_it() {
    let server = Server::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| Web::of(&server, &server.add_user(user, "phone")));
    let photo = content(3_000, 1);
    let media = upload(&alice, &photo);
    let announce = |web: &Web| web.done("POST", "/media", Some(announcement(&photo)));
    assert_eq!(announce(&bob)["complete"], false, "not shared with bob yet");
    send(&alice, "bob", &media, json!({}));
    let again = announce(&alice);
    assert!(again["complete"] == true && again["media"] != media.as_str());
    let at_bob = announce(&bob);
    assert_eq!((&at_bob["complete"], at_bob["link"].is_object()), (&json!(false), true), "bob's own, begun before");
    put_all(&at_bob, &photo);
    complete(&bob, &at_bob);
    assert_eq!(announce(&bob)["complete"], true);

    let at_carol = announce(&carol);
    assert_eq!(at_carol["complete"], false);
    put_all(&at_carol, &photo);
    let joined = complete(&carol, &at_carol);
    crate::until("the copies are joined", || files(&server, "objects") == 1);
    send(&carol, "bob", &joined, json!({}));
    let link = bob.done("GET", &format!("/media/{joined}/download"), None);
    assert_eq!(get(&link), (200, photo));
}

#[test]
fn a_bridge_by_itself_serves_files_too() {
    let server = Server::halves(&[]);
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    upload(&web, &content(3_000, 1));
    assert_eq!(files(&server, "objects"), 1);
}
