//! A device gets a new password: the old one is void at once, and what was let in with it is shown out.

use godwit_schemas::client::{RenewPassword, request::Call};
use serde_json::json;

use super::web::{authorization, post};
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
    at_phone.settle();
    let renewed = renew(&phone);
    assert_eq!((renewed.status, renewed.headers["cache-control"].to_str().expect("text")), (201, "no-store"));
    let new: Account = serde_json::from_value(renewed.body).expect("an account");
    assert_eq!(at_phone.closed(), Some(0x87));
    assert_eq!(renew(&phone).status, 401, "the old password is void");
    assert_eq!((login(&server, &phone).0, login(&server, &new)), (0x86, (0, true)));
}

#[test]
fn over_mqtt_the_connection_that_asks_stays() {
    let server = Server::start();
    let (old, tablet) = (server.add_user("alice", "phone"), server.add_device("alice", "tablet"));
    let renew = || Call::RenewPassword(RenewPassword { device: "phone".to_owned() });
    let mut phone = Phone::connect(&server, &old, Version::V5);
    let password = phone.done(renew()).password;
    phone.client.settle();
    assert_eq!(login(&server, &old).0, 0x86);
    Phone::connect(&server, &tablet, Version::V5).refused(renew(), 0x87);
    phone.client.settle();
    let new = Account { password, ..old };
    assert_eq!(login(&server, &new), (0, true));
}
