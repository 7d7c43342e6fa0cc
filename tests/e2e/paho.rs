//! paho-mqtt, a client library that was not written here: each test is a script in `paho/`, run with both versions of
//! MQTT where both have what it is about.

use crate::clients::paho;
use crate::server::Server;

#[test]
fn a_session_is_resumed_with_what_came_meanwhile_in_order() {
    for version in [4, 5] {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        paho(&server, "session", version, &[&alice, &bob]);
    }
}

#[test]
fn a_receive_maximum_is_respected() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    paho(&server, "window", 5, &[&alice, &bob]);
}

#[test]
fn an_expired_message_vanishes() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    paho(&server, "expiry", 5, &[&alice, &bob]);
}

#[test]
fn whoever_asks_for_qos_0_loses_nothing() {
    for version in [4, 5] {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        paho(&server, "qos0", version, &[&alice, &bob]);
    }
}

#[test]
fn a_message_that_expires_at_once_does_not_wait() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    paho(&server, "now", 5, &[&alice, &bob]);
}

#[test]
fn small_packets_hold_what_fits() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    paho(&server, "small", 5, &[&alice, &bob]);
}

#[test]
fn whoever_is_refused_hears_why() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    paho(&server, "reasons", 5, &[&alice]);
    for why in ["wrong password", "unknown device", "unknown user"] {
        server.wait_for_log(&["refused a connection", "reason=0x86", why]);
    }
}

#[test]
fn topic_aliases_work_both_ways() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    paho(&server, "alias", 5, &[&alice, &bob]);
}

#[test]
fn a_second_connection_of_a_device_takes_the_first_ones_place() {
    for version in [4, 5] {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        paho(&server, "takeover", version, &[&alice, &bob]);
    }
}

#[test]
fn groups_are_made_and_changed_over_rpc() {
    for version in [4, 5] {
        let server = Server::start();
        let alice = server.add_user("alice", "phone");
        let laptop = server.add_device("alice", "laptop");
        let [bob, carol, dave] = ["bob", "carol", "dave"].map(|user| server.add_user(user, "phone"));
        paho(&server, "groups", version, &[&alice, &laptop, &bob, &carol, &dave]);
    }
}

#[test]
fn what_stands_beside_a_body_is_passed_on() {
    let server = Server::with(&[("retention.history", "forever")]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let tablet = server.add_device("bob", "tablet");
    paho(&server, "properties", 5, &[&alice, &bob, &tablet]);
}
