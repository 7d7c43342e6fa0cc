//! A process that has the store is killed at any moment, while it starts too, and while tables are written and compacted: the
//! next start is never refused, and has what was acknowledged.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::*;

const TEST: &str = "rocks::tests::killed::at_any_moment";
/// Makes this test the process that is to be killed, on the store in this folder.
const FOLDER: &str = "GODWIT_STORE_VICTIM";

fn row(number: u64) -> (Vec<u8>, Vec<u8>) {
    let mut random = Random(number);
    let value = [&[0xff; 4][..], &random.bytes(300 + (number % 5_000) as usize)].concat();
    (number.to_be_bytes().to_vec(), value)
}

/// The first number of which there is no row.
async fn count(store: &RocksStore) -> u64 {
    let last = store.scan(Table::Directory, &[0], &[1], 1, 1).await.unwrap();
    last.first().map_or(0, |(_, number)| u64::from_be_bytes(number[..].try_into().unwrap()) + 1)
}

/// Writes rows and says so, until it is killed.
async fn write(folder: &Path) {
    let store = open(folder, &TINY).unwrap();
    for number in count(&store).await.. {
        let (key, value) = row(number);
        let table = [Table::Inbox, Table::Messages, Table::Receipts, Table::Media][(number / 7 % 4) as usize];
        let mut writes = vec![put(table, &key, &value), put(Table::Directory, &[0], &number.to_be_bytes())];
        if number % 50 == 0 {
            writes.push(put(Table::Conversations, &key, &[]));
        }
        let buffered = vec![Write::Delete(Table::Inbox, row(number / 2).0)];
        store.commit(buffered, Durability::Buffered).await.unwrap();
        store.commit(writes, Durability::Synced).await.unwrap();
        println!("row {number}");
        if number % 400 == 399 {
            store.flush().unwrap();
        }
    }
}

/// `GODWIT_STORE_KILLS` says how often.
#[tokio::test]
async fn at_any_moment() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return write(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let kills = variable("GODWIT_STORE_KILLS").unwrap_or(30);
    let mut random = Random(variable("GODWIT_STORE_SEED").unwrap_or(1));
    let mut acknowledged = 0;
    // Each victim may have been killed between a commit and the line that says so.
    let mut unsaid = 0;
    for kill in 0..kills {
        let mut victim = Command::new(std::env::current_exe().unwrap());
        victim.args(["--exact", TEST, "--nocapture"]).env(FOLDER, folder.path());
        let mut victim = victim.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let reader = thread::spawn(move || {
            let rows = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("row ")?.parse::<u64>().ok());
            rows.last()
        });
        // Any moment will do: some while it starts, some later.
        let most_us = [40_000, 400_000][random.below(2)];
        thread::sleep(Duration::from_micros(random.below(most_us) as u64));
        victim.kill().unwrap();
        let ended = victim.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code().is_none(), "kill {kill}: it ended by itself: {said}");
        unsaid += 1;
        if let Some(last) = reader.join().unwrap() {
            (acknowledged, unsaid) = (last + 1, 1);
        }
        // Most starts are the next victim's.
        if kill % 5 == 4 || kill + 1 == kills {
            let store = open(folder.path(), &TINY).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
            let count = count(&store).await;
            assert!(
                (acknowledged..=acknowledged + unsaid).contains(&count),
                "kill {kill}: {count}, not {acknowledged}"
            );
            for number in count.saturating_sub(2_000)..count {
                let (key, value) = row(number);
                let table = [Table::Inbox, Table::Messages, Table::Receipts, Table::Media][(number / 7 % 4) as usize];
                let deleted = table == Table::Inbox && number <= count / 2;
                let found = store.multi_get(&[(table, key)]).await.unwrap().remove(0);
                assert!(deleted || found.as_deref() == Some(&value[..]), "kill {kill}: row {number}");
            }
        }
    }
    assert!(acknowledged > 100, "{acknowledged} rows: it does not get far enough to show anything");
}
