//! The HTTP API itself: who gets in, and whether the server does what its OpenAPI document says.

use std::process::Command;

use serde_json::json;

use super::web::{Web, base64, notice};
use crate::clients::python;
use crate::server::Server;

#[test]
fn only_the_user_itself_and_administrators_get_in() {
    let server = Server::start();
    let (alice, _) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    Web::of(&server, &alice).done("GET", "/devices", None);
    Web::administrator(&server, "alice").done("GET", "/devices", None);
    Web::administrator(&server, "nobody").refused("GET", "/devices", None, 404);
    Web::administrator(&server, "..").refused("GET", "/devices", None, 422);
    let basic = |text: &str| format!("Basic {}", base64(text));
    let password = &alice.password;
    let cases = [
        ("alice", String::new(), 401),
        ("alice", "Bearer x".to_owned(), 401),
        ("alice", basic("alice/phone:wrong"), 401),
        ("alice", basic(&format!("alice/tv:{password}")), 401),
        ("alice", basic(&format!("alice/a b:{password}")), 401),
        ("alice", basic(&format!("alice:{password}")), 401),
        ("bob", basic(&format!("alice/phone:{password}")), 403),
        ("bob", basic(&format!("bob/phone:{password}")), 401),
    ];
    for (user, authorization, status) in cases {
        Web::new(&server, user, authorization.clone()).refused("GET", "/devices", None, status);
    }
    let web = Web::of(&server, &alice);
    web.refused("POST", "/conversations", Some(json!({ "user": "bob", "more": 1 })), 422);
    web.refused("GET", "/conversations?limit=x", None, 400);
    web.refused("PUT", "/conversations", None, 405);
}

#[test]
fn the_server_does_what_its_openapi_document_says() {
    let server = Server::with(&[("retention.history", "forever")]);
    for user in ["alice", "bob", "carol"] {
        server.add_user(user, "phone");
    }
    let notice = notice(&server);
    let run = Command::new(python())
        .args(["-m", "schemathesis.cli", "run", &format!("{}/v1/openapi.json", notice.url)])
        .args(["--header", &format!("Authorization: Bearer {}", notice.token)])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "1", "--no-color"])
        .current_dir(server.data())
        .output()
        .expect("python starts");
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
}
