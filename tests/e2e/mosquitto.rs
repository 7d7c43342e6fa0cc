//! mosquitto_sub with QoS 0, which is what it asks for unless it is told otherwise.

use crate::clients::{Subscriber, VERSIONS, publish};
use crate::server::Server;

#[test]
fn whoever_asks_for_qos_0_loses_nothing() {
    for version in VERSIONS {
        let mut server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        publish(&server, &alice, version, "to/bob", "first");
        let mut subscriber = Subscriber::asking(&server, &bob, version, ("inbox/#", "0"), 1);
        assert_eq!(subscriber.next().1, "first");
        subscriber.end();
        publish(&server, &alice, version, "to/bob", "second");
        server.kill_and_start();
        let mut subscriber = Subscriber::asking(&server, &bob, version, ("inbox/#", "0"), 1);
        let (_, mut body) = subscriber.next();
        if body == "first" {
            // What is acknowledged right before a crash may come again.
            drop(subscriber);
            subscriber = Subscriber::asking(&server, &bob, version, ("inbox/#", "0"), 1);
            body = subscriber.next().1;
        }
        assert_eq!(body, "second");
        subscriber.end();
    }
}
