//! Settings that are read again while the server runs.

use std::fs;

use serde_json::{Value, json};

use crate::mqtt::{Client, RESUME, Version};
use crate::server::Server;
use crate::until;

/// A server with a settings file, and the file.
fn server(text: &str) -> (Server, std::path::PathBuf) {
    let mut server = Server::prepare("serve", &[]);
    let file = server.data().join("godwit.toml");
    fs::write(&file, text).expect("written");
    server.set_config(&file);
    server.start_again();
    (server, file)
}

fn reload(server: &Server) -> Value {
    let ended = server.run(&["settings", "reload"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// Connects and leaves: whether that is logged at `debug`.
fn is_debugged(server: &Server, account: &crate::server::Account) -> bool {
    let before = server.log().len();
    Client::connect(server.mqtt(), account, Version::V5, RESUME).disconnect();
    // A refusal is logged at `info`, behind what the connection before has caused.
    let wrong = crate::server::Account { password: "wrong".to_owned(), ..account.clone() };
    Client::open(server.mqtt(), Version::V5).login(&wrong, RESUME).expect("CONNACK");
    until("it is logged", || server.log()[before..].contains("refused a connection"));
    server.log()[before..].contains("DEBUG")
}

#[test]
fn the_log_level_changes_at_once_and_other_keys_are_named() {
    let (server, file) = server("[log]\nlevel = \"info\"\n");
    let alice = server.add_user("alice", "phone");
    assert_eq!(reload(&server), json!({ "applied": [], "needs_restart": [] }));
    assert!(!is_debugged(&server, &alice));
    let verbose = "[log]\nlevel = \"info,godwit_bridge=debug\"\n[limits]\ndevices_per_user_max = 3\n";
    fs::write(&file, verbose).expect("written");
    let changed = json!({ "applied": ["log.level"], "needs_restart": ["limits.devices_per_user_max"] });
    assert_eq!(reload(&server), changed);
    assert!(is_debugged(&server, &alice));
    // What was applied is in force; what was not is named again.
    assert_eq!(reload(&server), json!({ "applied": [], "needs_restart": ["limits.devices_per_user_max"] }));
    // Wrong settings change nothing; the command, which reads the same file, does not even ask. SIGHUP does the same as it.
    fs::write(&file, "[log]\nlevel = \"loud\"\n").expect("written");
    let refused = server.run(&["settings", "reload"]);
    assert!(refused.code == Some(64) && refused.stderr.contains("log.level"), "{}", refused.stderr);
    server.signal("-HUP");
    server.wait_for_log(&["ERROR", "the settings stay as they are", "log.level"]);
    assert!(is_debugged(&server, &alice));
    fs::write(&file, "[log]\nlevel = \"info\"\n").expect("written");
    server.signal("-HUP");
    server.wait_for_log(&["the settings were read again", "log.level"]);
    assert!(!is_debugged(&server, &alice));
}
