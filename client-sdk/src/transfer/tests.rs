//! Whoever watches a file hears of its end, however many end at the same moment.

use std::fs;
use std::time::Duration;

use godwit_schemas::ids::{DeviceName, UserId};
use tokio::time::timeout;

use crate::store::VolatileStore;
use crate::{Client, Error, FileFailure};

/// How long anything may take on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Files that end one beside the other.
const FILES: usize = 300;

/// A client that reaches no server.
async fn client() -> Client {
    let (user, device) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
    let builder = Client::builder("mqtt://127.0.0.1:9", user, device, "secret").store(VolatileStore::new());
    builder.open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_watches_one_of_many_files_that_are_gone_is_told() {
    let (client, folder) = (client().await, tempfile::tempdir().unwrap());
    let send = async |name: String| {
        let path = folder.path().join(name);
        fs::write(&path, "x").unwrap();
        (client.send_file(UserId::new("bob").unwrap(), &path).await.unwrap(), path)
    };
    // They wait for a connection, and all others for their turn.
    let first = [send("first".to_owned()).await.0, send("second".to_owned()).await.0];
    let mut files = Vec::new();
    for number in 0..FILES {
        let (file, path) = send(number.to_string()).await;
        fs::remove_file(path).unwrap();
        files.push(file);
    }
    for file in first {
        assert!(file.cancel().await.unwrap());
    }
    for file in files {
        let ended = timeout(PATIENCE, file.sent()).await.expect("its end is told");
        assert!(matches!(ended, Err(Error::File(FileFailure::Gone))), "{ended:?}");
    }
}
