//! P1 with clients that were not written here, and that have more to send than the server takes at once. It dies three times
//! while they do; they connect again and send all that is not acknowledged, in one go. In the end everything is.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use serde_json::json;

use crate::PATIENCE;
use crate::clients::{lines_of, mqttjs_command, paho_command};
use crate::mqtt::{CLEAN, Client, Version};
use crate::server::{Account, Server};

/// More than Receive Maximum, again and again.
const MESSAGES: usize = 400;
/// The server is killed when so many are acknowledged.
const KILLS: [usize; 3] = [1, 100, 250];

/// The client's program. Killed when dropped.
struct Sender {
    child: Child,
    lines: Receiver<String>,
}

impl Sender {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the client starts");
        let lines = lines_of(&mut child);
        Self { child, lines }
    }

    /// Waits until so many are acknowledged.
    fn reaches(&self, acknowledged: usize) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{acknowledged} are acknowledged"));
            if line.parse::<usize>().expect("a number") >= acknowledged {
                return;
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn all_are_acknowledged(start: impl Fn(&Server, &Account, u8, u8) -> Command) {
    for version in [4, 5] {
        for qos in [1, 2] {
            let mut server = Server::start();
            let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
            let sender = Sender::start(start(&server, &alice, version, qos));
            for acknowledged in KILLS {
                sender.reaches(acknowledged);
                server.kill_and_start();
            }
            sender.reaches(MESSAGES);
            let mut bob = Client::connect(server.mqtt(), &bob, Version::V5, CLEAN);
            bob.subscribe("inbox/#");
            let mut missing: BTreeSet<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
            while !missing.is_empty() {
                missing.remove(&bob.body());
            }
        }
    }
}

#[test]
fn paho_gets_everything_acknowledged() {
    all_are_acknowledged(|server, alice, version, qos| {
        paho_command(server, "insist", version, &[alice], json!({ "messages": MESSAGES, "qos": qos }))
    });
}

#[test]
fn mqttjs_gets_everything_acknowledged() {
    all_are_acknowledged(|server, alice, version, qos| {
        let account = [&alice.user, &alice.device, &alice.password];
        let url = format!("mqtt://{}", server.mqtt());
        let setting = json!({ "url": url, "account": account, "version": version, "qos": qos, "messages": MESSAGES });
        mqttjs_command("insist", setting)
    });
}
