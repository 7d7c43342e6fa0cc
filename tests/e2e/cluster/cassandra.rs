//! The three Cassandra nodes that `make test-cluster` has started, by the script that starts them: `tests/cluster/cassandra`.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many there are, numbered from 1 on.
pub(super) const COUNT: u64 = 3;

/// Nodes that are there for one test at a time: it may kill them.
#[derive(Debug)]
pub(super) struct Cassandra {
    folder: String,
    _alone: MutexGuard<'static, ()>,
}

impl Cassandra {
    /// `None`, with a word about it: there are none.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests wants to know")]
    pub(super) fn of_environment() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let Ok(folder) = std::env::var("GODWIT_TEST_CASSANDRA") else {
            eprintln!("skipped: it needs Cassandra, see make test-cluster");
            return None;
        };
        // A test that has failed says so by itself.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self { folder, _alone: alone })
    }

    /// Settings of a cluster with a keyspace of its own.
    pub(super) fn settings() -> [(&'static str, String); 3] {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let keyspace = format!("godwit_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Where the script has them listen.
        let net = std::env::var("GODWIT_TEST_CASSANDRA_NET").unwrap_or("127.0.0".to_owned());
        let nodes: Vec<_> = (1..=COUNT).map(|node| format!("{net}.{node}:9042")).collect();
        // There is no object store that all bridges reach.
        [("cluster.cassandra", nodes.join(",")), ("cluster.keyspace", keyspace), ("media.listen", String::new())]
    }

    /// Has the script do something to a node: kill, restart, pause or resume.
    pub(super) fn tell(&self, what: &str, node: u64) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cluster/cassandra");
        let status = Command::new(script).args([what, &self.folder, &node.to_string()]).status();
        assert!(status.expect("the script starts").success(), "{what} node {node}");
    }
}
