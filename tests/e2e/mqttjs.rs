//! mqtt.js, the client of browsers, in Node.

use serde_json::json;

use crate::clients::mqttjs;
use crate::server::Server;
use crate::tls;

#[test]
fn whoever_is_refused_hears_why() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let account = [&alice.user, &alice.device, &alice.password];
    mqttjs("reasons", json!({ "url": format!("mqtt://{}", server.mqtt()), "account": account }));
}

#[test]
fn messages_go_over_tcp_and_websocket_with_and_without_tls() {
    let (server, certificate, _folder) = tls::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let wss = format!("wss://{}/mqtt", server.wss());
    let urls = [
        format!("mqtt://{}", server.mqtt()),
        format!("mqtts://{}", server.mqtts()),
        format!("ws://{}/mqtt", server.ws()),
        wss.clone(),
    ];
    let refused = [("https://chat.example.org", true), ("https://evil.example.org", false), ("null", false)]
        .map(|(origin, lets_in)| json!({ "url": wss, "origin": origin, "lets_in": lets_in }));
    let accounts = accounts.each_ref().map(|it| [&it.user, &it.device, &it.password]);
    mqttjs("transports", json!({ "urls": urls, "refused": refused, "ca": certificate, "accounts": accounts }));
    server.wait_for_log(&["turned away", "setting=\"mqtt.websocket_origins\"", "addr=127.0.0.1"]);
}
