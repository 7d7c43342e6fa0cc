//! Operators' tokens: what each scope opens, that they end, and whose doing is in the audit.

use serde_json::Value;

use crate::server::{Ended, Server};
use crate::until;

/// `godwit admin-token add NAME --scope SCOPE`: the token.
fn make(server: &Server, name: &str, scope: &str) -> String {
    let Ended { code, stdout, stderr } = server.run(&["admin-token", "add", name, "--scope", scope, "--days", "1"]);
    assert_eq!(code, Some(0), "{stderr}");
    let made: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((made["name"].as_str(), made["scope"].as_str()), (Some(name), Some(scope)));
    made["token"].as_str().expect("a token").to_owned()
}

/// The status of a request with a token, without a body.
fn ask(server: &Server, method: &str, path: &str, token: &str) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", server.http()));
    let request = request.header("authorization", format!("Bearer {token}")).body(()).expect("a request");
    agent.run(request).expect("an answer").status().as_u16()
}

#[test]
fn each_scope_opens_what_it_says_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let server = Server::with(&[("audit.file", audit.to_str().expect("text"))]);
    server.add_user("alice", "phone");
    server.add_user("bob", "phone");
    let [read, support, admin] = ["read", "support", "admin"].map(|scope| make(&server, &format!("of-{scope}"), scope));
    until("the server knows the tokens", || ask(&server, "GET", "/v1/admin/users/alice", &admin) == 200);
    for (method, path, statuses) in [
        ("GET", "/v1/admin/users", [200, 200, 200]),
        ("GET", "/v1/admin/clock", [200, 200, 200]),
        // What users have written.
        ("GET", "/v1/users/alice/conversations", [403, 403, 200]),
        ("POST", "/v1/users/alice/devices/phone/password", [403, 403, 201]),
        ("POST", "/v1/admin/clock/follow", [403, 403, 200]),
        ("DELETE", "/v1/admin/users/nobody", [403, 403, 404]),
    ] {
        assert_eq!(
            [&read, &support, &admin].map(|token| ask(&server, method, path, token)),
            statuses,
            "{method} {path}"
        );
    }
    assert_eq!(ask(&server, "DELETE", "/v1/admin/users/bob", &admin), 204);
    let lines = || std::fs::read_to_string(&audit).unwrap_or_default();
    let has = |words: [&str; 3]| lines().lines().any(|line| words.iter().all(|word| line.contains(word)));
    until("the audit says who did it", || has(["\"user_removed\"", "\"user\":\"bob\"", "\"token\":\"of-admin\""]));
    until("the audit says who was refused", || has(["\"http_refused\"", "\"reason\":\"scope\"", "alice"]));
    assert!([&read, &support, &admin].iter().all(|token| !lines().contains(token.as_str())), "no token in the audit");

    // The administrator's own token is as good as ever, and a token that is taken away opens nothing.
    assert_eq!(server.run(&["admin-token", "remove", "of-admin"]).code, Some(0));
    until("the token is void", || ask(&server, "GET", "/v1/admin/users", &admin) == 401);
    assert_eq!(ask(&server, "GET", "/v1/admin/users", &read), 200);
    assert_eq!(server.run(&["user", "list"]).code, Some(0));
}

#[test]
fn tokens_are_listed_without_what_opens_and_mistakes_are_told() {
    let mut server = Server::start();
    let token = make(&server, "grafana", "read");
    let listed = server.run(&["admin-token", "list"]).stdout;
    assert!(listed.contains("\"name\":\"grafana\"") && listed.contains("\"has_ended\":false"), "{listed}");
    let file = std::fs::read_to_string(server.data().join("admin-tokens.toml")).expect("a file");
    assert!(!listed.contains(&token) && !file.contains(&token));
    for (arguments, code, words) in [
        (["admin-token", "add", "grafana", "--scope", "read"], 1, "exists"),
        (["admin-token", "add", "a b", "--scope", "read"], 64, "a name has"),
        (["admin-token", "add", "other", "--scope", "root"], 64, "the scope is"),
    ] {
        let ended = server.run(&arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(server.run(&["admin-token", "remove", "nobody"]).code, Some(1));
    // After a restart it is as good as before.
    server.kill_and_start();
    assert_eq!(ask(&server, "GET", "/v1/admin/users", &token), 200);
    // A server does not start with a file that it cannot read, and says why.
    std::fs::write(server.data().join("admin-tokens.toml"), "[[token]]\nname = \"grafana\"\n").expect("written");
    server.kill();
    let (code, log) = server.try_start_again().expect_err("it is refused");
    assert!(code == Some(64) && log.contains("http.admin_tokens_file"), "{log}");
}
