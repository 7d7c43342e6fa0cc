//! A password that the library renews.

use std::fs;
use std::time::Duration;

use godwit_client::{Client, Status};
use tokio::time::sleep;

use super::proxy::{Proxy, Weather};
use super::{builder, soon};
use crate::mqtt::{self, RESUME, Version};
use crate::server::{Account, Server};

async fn online(client: &Client) {
    soon("a connection", client.status().wait_for(|status| *status == Status::Online)).await.expect("open");
}

/// The code of CONNACK for the account with this password.
fn knock(server: &Server, account: &Account, password: &str) -> u8 {
    let account = Account { password: password.to_owned(), ..account.clone() };
    mqtt::Client::open(server.mqtt(), Version::V5).login(&account, RESUME).expect("CONNACK").0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_password_is_used_from_then_on_and_the_old_one_is_void() {
    let server = Server::start();
    let account = server.add_user("alice", "phone");
    let store = server.data().join("alice.sqlite");
    let address = format!("mqtt://{}", server.mqtt());
    let open = || builder(&address, &account).sqlite(&store).open();
    let client = open().await.expect("it opens");
    let first = client.renew_password().await.expect("renewed");
    let second = client.renew_password().await.expect("renewed");
    client.devices().await.expect("it is let in");
    client.close().await.expect("closed");
    assert_ne!(first, second);
    assert_eq!([&account.password, &first].map(|void| knock(&server, &account, void)), [0x86; 2]);
    // The app goes on to bring the one it knows.
    let client = open().await.expect("it opens");
    online(&client).await;
    client.devices().await.expect("it is let in");
    client.close().await.expect("closed");
    assert_eq!(knock(&server, &account, &second), 0);
}

/// The connection is cut when the new password is on the server's disk, and before the device has heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_locks_nobody_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let server = Server::with(&[("audit.file", audit.to_str().expect("text"))]);
    let account = server.add_user("alice", "phone");
    let proxy = Proxy::start(server.mqtt(), Weather::default(), 0).await;
    let store = server.data().join("alice.sqlite");
    let client = builder(&proxy.address(), &account).sqlite(&store).open().await.expect("it opens");
    online(&client).await;
    proxy.hush(true);
    let renewing = client.clone();
    let renewal = tokio::spawn(async move { renewing.renew_password().await });
    let renewed = || fs::read_to_string(&audit).unwrap_or_default().matches("password_renewed").count();
    soon("it is on the server's disk", async {
        while renewed() < 1 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    proxy.cut();
    proxy.hush(false);
    let password = soon("an answer", renewal).await.expect("no panic").expect("renewed");
    assert_eq!(renewed(), 2, "it asked again");
    client.devices().await.expect("it is let in");
    client.close().await.expect("closed");
    let client = builder(&proxy.address(), &account).sqlite(&store).open().await.expect("it opens");
    online(&client).await;
    client.close().await.expect("closed");
    assert_eq!([&account.password, &password].map(|tried| knock(&server, &account, tried)), [0x86, 0]);
}
