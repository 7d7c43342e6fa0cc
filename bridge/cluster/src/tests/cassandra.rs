//! What needs Cassandra: three nodes of `tests/cluster/cassandra`, whose folder is in `GODWIT_TEST_CASSANDRA`. `make test-cluster`
//! starts them and runs these tests, one after the other.

use std::path::PathBuf;
use std::process::Command;

use godwit_store::conformance;

use super::*;
use crate::cassandra::{Database, of_nodes};
use crate::journal::{Journal as _, LogId, Segment};
use crate::registry::{Placement, Registry as _};
use crate::{Cluster, ClusterError, ClusterSettings, connect};

/// The folder of the nodes. `None`: there are none, which is said.
fn nodes() -> Option<PathBuf> {
    let folder = std::env::var_os("GODWIT_TEST_CASSANDRA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: it needs Cassandra, see make test-cluster");
    }
    folder
}

/// The server's time in these tests is what a test says, and does not matter.
fn time() -> Time {
    let clock: ClockS = Arc::new(|| 1_000);
    clock.into()
}

/// Settings of a cluster of this run's own, of this name.
fn settings(cluster: &str) -> ClusterSettings {
    crate::settings::tests::settings(&format!("{cluster}_{}", std::process::id()))
}

async fn member(cluster: &str, name: &str) -> Cluster {
    let settings = ClusterSettings { name: name.to_owned(), ..settings(cluster) };
    connect(settings, time()).await.expect("connected")
}

async fn cql(statement: &str) {
    let database = Database::connect(&settings("any")).await.expect("connected");
    database.session().query_unpaged(statement, ()).await.expect("carried out");
}

#[tokio::test]
async fn journal_and_tables_conform() {
    if nodes().is_none() {
        return;
    }
    let cluster = member("conformance", "a").await;
    crate::journal::conformance::run(&cluster.candidate.journal).await;
    crate::tables::conformance::run(&cluster.candidate.tables).await;
}

#[tokio::test]
async fn the_store_conforms() {
    if nodes().is_none() {
        return;
    }
    let mut last: Option<Leadership> = None;
    conformance::run(async |clock| {
        if let Some(last) = last.take() {
            last.release().await;
        }
        let cluster = connect(settings("conformance"), clock.into()).await.expect("connected");
        // With so little memory a commit waits until the one before is in tables.
        let candidate = Candidate { overlay_bytes: 1, ..cluster.candidate };
        let (store, leadership) = candidate.lead().await.expect("leads");
        last = Some(leadership);
        let all = |table| Write::DeleteRange(table, vec![], vec![0xFF; 7]);
        let mut writes = vec![all(Table::Inbox), all(Table::Receipts)];
        writes.push(Write::DeleteRange(Table::Conversations, vec![0], vec![9]));
        writes.extend([b"a", b"b", b"k"].map(|key| Write::Delete(Table::Directory, key.to_vec())));
        writes.push(Write::Delete(Table::Conversations, b"k".to_vec()));
        commit(&store, writes).await;
        store
    })
    .await;
}

#[tokio::test]
async fn a_zombie_is_refused() {
    if nodes().is_none() {
        return;
    }
    let (first, second) = (member("zombie", "a").await, member("zombie", "b").await);
    let (store, leadership) = first.lead().await.expect("leads");
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    assert!(leadership.is_confirmed());
    let status = second.status().await.expect("status");
    assert_eq!((status.term, status.members.iter().filter(|member| member.leads).count()), (1, 1));
    // While it sleeps, somebody takes its journal.
    let owner = first.candidate.registry.placement().await.expect("read").expect("placed").owner;
    let by = LogId::draw().expect("random");
    second.candidate.journal.seal(Segment { log: owner, number: 0 }, by).await.expect("sealed");
    let error = store.commit(vec![put(receipt(1, 1), b"y")], Durability::Synced).await.expect_err("refused");
    assert!(error.cause.contains("another process"), "{error}");
    leadership.lost().await;
    drop((store, leadership));
    // As a server does: in a task of its own.
    let (store, leadership) = tokio::spawn(async move { second.lead().await }).await.expect("no panic").expect("leads");
    assert_eq!(leadership.term(), 2);
    assert_eq!(get(&store, receipt(1, 1)).await.as_deref(), Some(&b"x"[..]));
    leadership.release().await;
}

#[tokio::test]
async fn a_thread_without_io_reads_and_commits() {
    if nodes().is_none() {
        return;
    }
    let cluster = member("thread", "a").await;
    // With so little memory the second commit waits until the first is in tables, and the read asks these.
    let candidate = Candidate { overlay_bytes: 1, ..cluster.candidate };
    let (store, leadership) = candidate.lead().await.expect("leads");
    let committer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            commit(&store, vec![put(receipt(1, 1), b"x")]).await;
            commit(&store, vec![put(receipt(1, 2), b"x")]).await;
            assert!(get(&store, receipt(1, 1)).await.is_some());
        });
    });
    tokio::task::spawn_blocking(move || committer.join().expect("no panic")).await.expect("no panic");
    leadership.release().await;
}

/// What was acknowledged, by conversation.
type Acknowledged = Arc<Mutex<Vec<u64>>>;

/// Commits a receipt after the other, until its store fails.
async fn write<S: Store>(store: S, next: Arc<std::sync::atomic::AtomicU64>, acknowledged: Acknowledged) {
    loop {
        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if store.commit(vec![put(receipt(1, n), b"x")], Durability::Synced).await.is_err() {
            return;
        }
        acknowledged.lock().expect("no panic").push(n);
    }
}

#[tokio::test]
async fn takeovers_lose_nothing_while_nodes_are_killed_one_at_a_time() {
    let Some(folder) = nodes() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cluster/cassandra");
    let node = async |command: &str, n: u32| {
        let (script, command, folder) = (script.to_owned(), command.to_owned(), folder.clone());
        let run = move || Command::new(script).arg(command).arg(folder).arg(n.to_string()).status();
        let status = tokio::task::spawn_blocking(run).await.expect("no panic").expect("it runs");
        assert!(status.success());
    };
    let (next, acknowledged) = (Arc::default(), Acknowledged::default());
    let count = || acknowledged.lock().expect("no panic").len();
    for (terms, n) in [(1, 1), (3, 2), (5, 3)] {
        let (store, leadership) = member("killed", "a").await.lead().await.expect("leads");
        assert_eq!(leadership.term(), terms, "nobody has taken over from somebody who lives");
        let writing = tokio::spawn(write(store, Arc::clone(&next), acknowledged.clone()));
        sleep(Duration::from_secs(2)).await;
        node("kill", n).await;
        let before = count();
        sleep(Duration::from_secs(8)).await;
        assert!(count() > before + 10, "it goes on with two nodes: {before}, {}", count());
        // The leader dies while the node is away.
        drop(leadership);
        writing.await.expect("no panic");
        let others = ClusterSettings { nodes: vec![crate::settings::tests::node(n % 3 + 1)], ..settings("killed") };
        let (store, leadership) = connect(others, time()).await.expect("connected").lead().await.expect("leads");
        assert_eq!(leadership.term(), terms + 1);
        let all: Vec<_> = acknowledged.lock().expect("no panic").iter().map(|n| receipt(1, *n)).collect();
        for (key, value) in all.iter().zip(store.multi_get(&all).await.expect("read")) {
            assert!(value.is_some(), "{key:?} was acknowledged");
        }
        node("restart", n).await;
        leadership.release().await;
    }
    println!("{} commits, none lost", count());
}

async fn refusal(keyspace: &str) -> String {
    let settings = ClusterSettings { keyspace: keyspace.to_owned(), ..settings("any") };
    match connect(settings, time()).await {
        Err(error @ (ClusterError::Refused(_) | ClusterError::Setting(_))) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("taken"),
    }
}

#[tokio::test]
async fn what_would_break_promises_is_refused() {
    if nodes().is_none() {
        return;
    }
    for (keyspace, replication, said) in [
        ("refused_simple", "'class': 'SimpleStrategy', 'replication_factor': 3", "SimpleStrategy"),
        ("refused_one", "'class': 'NetworkTopologyStrategy', 'datacenter1': 1", "1 replicas"),
        ("refused_foreign", "'class': 'NetworkTopologyStrategy', 'datacenter1': 3", "not Godwit's"),
    ] {
        let keyspace = &settings(keyspace).keyspace;
        cql(&format!("CREATE KEYSPACE {keyspace} WITH replication = {{{replication}}}")).await;
        if said.contains("Godwit") {
            cql(&format!("CREATE TABLE {keyspace}.other (id int PRIMARY KEY)")).await;
        }
        let text = refusal(keyspace).await;
        assert!(text.contains(said), "{text}");
    }
    let elsewhere = ClusterSettings { datacenter: "elsewhere".to_owned(), ..settings("refused_elsewhere") };
    let error = connect(elsewhere, time()).await.err().expect("refused");
    assert!(error.to_string().contains("datacenter1"), "{error}");
    let nowhere = ClusterSettings { nodes: vec!["127.0.0.1:1".to_owned()], ..settings("refused") };
    let error = connect(nowhere, time()).await.err().expect("refused");
    assert!(error.is_passing(), "{error}");
}

#[tokio::test]
async fn data_of_a_newer_build_are_refused() {
    if nodes().is_none() {
        return;
    }
    let cluster = member("newer", "a").await;
    let owner = LogId::draw().expect("random");
    let newer = Placement { version: 1, format: 2, term: 1, owner, replay: vec![] };
    assert!(cluster.candidate.registry.place(None, &newer).await.expect("placed"));
    let error = cluster.lead().await.err().expect("refused");
    assert!(error.to_string().contains("format 2"), "{error}");
    assert!(refusal(&settings("newer").keyspace).await.contains("format 2"));
}

#[tokio::test]
async fn settings_of_every_node_are_read() {
    if nodes().is_none() {
        return;
    }
    let database = Database::connect(&settings("any")).await.expect("connected");
    let found = of_nodes(&database, "commitlog_sync").await.expect("read");
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|(_, sync)| sync.as_deref() == Some("batch")), "{found:?}");
}
