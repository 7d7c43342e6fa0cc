//! Tokens that are not good: forged, expired, used again, and what is none at all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{Bystanders, lets_in};
use crate::identity::issuer::{Issuer, now_s};
use crate::mqtt::{CLEAN, Client, VERSIONS, Version};
use crate::server::{Account, Server};

/// How often each is tried.
const TIMES: usize = 20;

#[test]
fn no_token_that_is_not_good_gets_anybody_in_however_often() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let settings = issuer.settings(&[("jwt.create_users", "true")]);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let server = Server::with(&settings);
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let claims =
        |user: &str, exp: u64| json!({ "iss": "tests", "aud": "chat", "sub": user, "device": "phone", "exp": exp });
    let account = |user: &str, password: String| Account { user: user.to_owned(), password, ..carol.clone() };
    let (later, good) = (now_s() + 600, claims("carol", now_s() + 600));
    // It was good, and was used, until its device was removed.
    let used = account("dave", issuer.token(&claims("dave", later)));
    lets_in(&server, &used);
    assert_eq!(server.run(&["user", "remove", "dave"]).code, Some(0));
    let payload = |json: &str| format!("e30.{}.AAAA", URL_SAFE_NO_PAD.encode(json));
    let bad = [
        used,
        account("carol", issuer.token(&claims("carol", now_s() - 31))),
        account("alice", issuer.token(&good)),
        account("carol", stranger.token(&good)),
        account("carol", issuer.unsigned(&good)),
        account("carol", issuer.confused(&good)),
        account("carol", format!("{}A", issuer.token(&good))),
        account("carol", "..".to_owned()),
        account("carol", payload(&"[".repeat(9_000))),
        account("", payload(&"{\"sub\":".repeat(1_000))),
        account("", payload("{\"sub\":\"alice\",\"device\":\"phone\"}")),
        account("", stranger.token(&good)),
    ];
    others.go_on_during(|| {
        for (n, account) in bad.iter().cycle().take(TIMES * bad.len()).enumerate() {
            let version = VERSIONS[n % 2];
            let (reason, _) = Client::open(server.mqtt(), version).login(account, CLEAN).expect("CONNACK");
            assert_eq!(reason, if version == Version::V5 { 0x86 } else { 4 }, "{account:?}");
        }
    });
    lets_in(&server, &carol);
}
