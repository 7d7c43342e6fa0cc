//! End-to-end tests: the real program, real sockets, clients that were not written here.
//!
//! - `server`: starts, kills and restarts `godwit`; `clients`: runs mosquitto_pub, mosquitto_sub, paho-mqtt and mqtt.js.
//! - `mqtt`: a client of our own, for what no decent client sends, and for bytes that must be exact.
//! - `webhook`: an operator's endpoint. `backup`: what is put back from a backup.
//! - `chat`: what chat users do, over MQTT and HTTP.
//! - `attack`: who wants to break it, measured by what others notice.
//! - `siege`: the same by those who are let in, beside two who exchange 200 messages in a second.
//! - `identity`: accounts that people make themselves, and what proves who they are.
//! - `push`: a push service. `cluster`: several brokers and bridges, on NATS.
//! - `clock`: somebody sets the wall clock. `golden`: a store that an earlier program has written.
//! - `documents`: the commands and programs of the documents.
//! - `sdk`: the client library against the real server, also through a bad network.
//! - Everything else is tests, a file for each promise.
//!
//! Nothing here waits for a time: it waits for what must happen, and fails when that takes longer than [`PATIENCE`].
//! That something does *not* arrive is shown by sending something else behind it.

mod admin;
mod admin_tokens;
mod attack;
mod backup;
mod backup_command;
mod bad_input;
mod certificates;
mod chat;
mod clients;
mod clock;
mod cluster;
mod crash;
mod deb;
mod disk;
mod documents;
mod events;
mod first_chat;
mod golden;
mod halves;
mod haproxy;
mod identity;
mod inboxes;
mod insist;
mod metrics;
mod mosquitto;
mod mqtt;
mod mqttjs;
mod outsiders;
mod page;
mod paho;
mod proxied;
mod push;
mod reload;
mod retries;
mod sdk;
mod server;
mod siege;
mod slow;
mod soak;
mod terminal;
mod ticks;
mod tls;
mod webhook;
mod websocket;
mod window;

use std::time::{Duration, Instant};

/// How long anything may take on a slow and busy machine. Longer than a client waits for a lost answer (30 s) before it asks again.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `done` says so, looking often; `what` says in a failure what did not come.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "did not happen within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
