//! The first chat of the README, with mosquitto's clients: the receiver is offline, the server is killed, the receiver
//! comes back. And what a plain client can do without protobuf.

use crate::clients::{Shell, Subscriber, VERSIONS, publish};
use crate::documents::{Block, blocks};
use crate::server::Server;

#[test]
fn the_readme_is_right_to_the_letter() {
    let mut server = Server::start();
    let mut shell = Shell::start(&server);
    let (mut commands, mut sessions) = (0, 0);
    for Block { language, text } in blocks("README.md", Some("A first chat")) {
        let lines: Vec<_> = text.lines().collect();
        match language.as_str() {
            "sh" => {
                shell.run(&lines.join("\n"));
                commands += 1;
                if lines.iter().any(|line| line.starts_with("kill -9")) {
                    server.start_again();
                }
            }
            "console" => {
                for line in lines {
                    match line.strip_prefix("$ ") {
                        Some(command) => shell.begin(command),
                        None => assert_eq!(shell.line(), line),
                    }
                    sessions += 1;
                }
            }
            _ => {}
        }
    }
    assert!(commands >= 3 && sessions >= 4, "the blocks are found");
    shell.end();
}

#[test]
fn a_message_survives_until_its_receiver_comes() {
    for version in VERSIONS {
        let mut server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        publish(&server, &alice, version, "to/bob", "hello");
        server.kill_and_start();
        let mut first = Subscriber::start(&server, &bob, version, 1);
        assert_eq!(first.next().1, "hello", "MQTT {version}");
        first.end();

        // It was acknowledged and is gone: what comes next is the next message, also after another crash.
        publish(&server, &alice, version, "to/bob", "again");
        server.kill_and_start();
        let mut second = Subscriber::start(&server, &bob, version, 1);
        assert_eq!(second.next().1, "again", "MQTT {version}");
        second.end();
    }
}

#[test]
fn a_receiver_that_is_there_gets_it_at_once() {
    for version in VERSIONS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut subscriber = Subscriber::start(&server, &bob, version, 3);
        for body in ["one", "two", "three"] {
            publish(&server, &alice, version, "to/bob", body);
            assert_eq!(subscriber.next().1, body, "MQTT {version}");
        }
        subscriber.end();
    }
}

#[test]
fn the_senders_other_devices_get_a_copy_and_an_answer_goes_to_the_conversation() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let laptop = server.add_device("alice", "laptop");
    let mut at_bob = Subscriber::start(&server, &bob, "5", 1);
    publish(&server, &alice, "5", "to/bob", "hello");
    let (topic, body) = at_bob.next();
    assert_eq!(body, "hello");
    at_bob.end();
    let conversation = topic.strip_prefix("inbox/").expect("inbox/<conversation>");
    publish(&server, &bob, "311", &format!("send/{conversation}"), "hi alice");

    // The laptop sees both sides; the phone that sent the first sees only the second.
    let expected = [("laptop", laptop, &["hello", "hi alice"][..]), ("phone", alice, &["hi alice"])];
    for (device, account, bodies) in expected {
        let mut subscriber = Subscriber::start(&server, &account, "5", bodies.len());
        for body in bodies {
            assert_eq!(subscriber.next(), (topic.clone(), (*body).to_owned()), "{device}");
        }
        subscriber.end();
    }
}

#[test]
fn every_device_of_the_receiver_gets_it() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let devices = [server.add_user("bob", "phone"), server.add_device("bob", "laptop"), server.add_device("bob", "tv")];
    publish(&server, &alice, "5", "to/bob", "to all of you");
    for device in devices {
        let mut subscriber = Subscriber::start(&server, &device, "5", 1);
        assert_eq!(subscriber.next().1, "to all of you", "{}", device.device);
        subscriber.end();
    }
}
