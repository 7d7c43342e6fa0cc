//! A device gets a new password. The old one is void, at once if an operator says so and otherwise when the new one is used,
//! and what was let in with it is shown out.

use godwit_schemas::client::{RenewPassword, request::Call};
use serde_json::json;

use super::web::{authorization, get, post};
use crate::chat::phone::Phone;
use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

const PATH: &str = "/v1/users/alice/devices/phone/password";

fn login(server: &Server, account: &Account) -> (u8, bool) {
    Client::open(server.mqtt(), Version::V5).login(account, RESUME).expect("CONNACK")
}

#[test]
fn an_operator_s_new_password_cuts_the_connection_and_keeps_the_inbox() {
    for version in VERSIONS {
        let server = Server::start();
        let (old, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut thief = Client::connect(server.mqtt(), &old, version, RESUME);
        assert_eq!(thief.subscribe("inbox/#"), 1);
        let ended = server.run(&["device", "password", "alice", "phone"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let new: Account = serde_json::from_str(&ended.stdout).expect("an account");
        assert_eq!((&new.user[..], &new.device[..]), ("alice", "phone"));
        assert_eq!(thief.closed(), (version == Version::V5).then_some(0x87));
        assert_eq!(login(&server, &old).0, 0x86);
        let mut at_bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
        assert_eq!(at_bob.publish("to/alice", b"hello"), 0);
        let mut at_alice = Client::connect(server.mqtt(), &new, version, RESUME);
        assert!(at_alice.session_present);
        assert_eq!(at_alice.body(), "hello");
        assert_eq!(server.run(&["device", "password", "alice", "watch"]).code, Some(1));
    }
}

#[test]
fn a_device_renews_its_own_password_and_no_other_s() {
    let server = Server::start();
    let (phone, tablet) = (server.add_user("alice", "phone"), server.add_device("alice", "tablet"));
    let bob = server.add_user("bob", "phone");
    let renew = |account: &Account| post(&server, PATH, &[("authorization", &authorization(account))], &json!({}));
    let mut at_phone = Client::connect(server.mqtt(), &phone, Version::V5, RESUME);
    assert_eq!([renew(&tablet).status, renew(&bob).status], [403, 403]);
    assert_eq!(renew(&phone).status, 201, "its answer is lost");
    at_phone.settle();
    let renewed = renew(&phone);
    assert_eq!((renewed.status, renewed.headers["cache-control"].to_str().expect("text")), (201, "no-store"));
    let new: Account = serde_json::from_value(renewed.body).expect("an account");
    at_phone.settle();
    // A request with the new one: the old one is void, and who was let in with it is shown out.
    let own = "/v1/users/alice/devices";
    assert_eq!(get(&server, own, &[("authorization", &authorization(&new))]), 200);
    assert_eq!(at_phone.closed(), Some(0x87));
    assert_eq!(get(&server, own, &[("authorization", &authorization(&phone))]), 401);
    assert_eq!((login(&server, &phone).0, login(&server, &new)), (0x86, (0, true)));
}

#[test]
fn an_administrator_s_new_password_voids_the_old_one_at_once() {
    let mut server = Server::start();
    let phone = server.add_user("alice", "phone");
    let notice = std::fs::read(server.data().join("admin.json")).expect("admin.json");
    let notice: serde_json::Value = serde_json::from_slice(&notice).expect("JSON");
    let bearer = format!("Bearer {}", notice["token"].as_str().expect("a token"));
    let renewed = post(&server, PATH, &[("authorization", &bearer)], &json!({}));
    let new: Account = serde_json::from_value(renewed.body).expect("an account");
    assert_eq!(login(&server, &phone).0, 0x86);
    server.kill_and_start();
    assert_eq!((login(&server, &phone).0, login(&server, &new).0), (0x86, 0));
}

/// The connection breaks after the server has written the new password, and before the device has it.
#[test]
fn over_mqtt_a_new_password_counts_from_its_first_use_on() {
    for version in VERSIONS {
        let mut server = Server::start();
        let (old, tablet) = (server.add_user("alice", "phone"), server.add_device("alice", "tablet"));
        let renew = || Call::RenewPassword(RenewPassword { device: "phone".to_owned() });
        let mut phone = Phone::connect(&server, &old, version);
        let lost = Account { password: phone.done(renew()).password, ..old.clone() };
        drop(phone);
        server.kill_and_start();
        let mut phone = Phone::connect(&server, &old, version);
        let new = Account { password: phone.done(renew()).password, ..old.clone() };
        Phone::connect(&server, &tablet, version).refused(renew(), 0x87);
        phone.client.settle();
        assert_eq!(login(&server, &lost).0, 0x86, "only the last one is good");
        assert_eq!(login(&server, &new), (0, true));
        assert_eq!(phone.client.closed().is_some(), version == Version::V5);
        assert_eq!((login(&server, &old).0, login(&server, &new).0), (0x86, 0));
    }
}
