//! What an operator says of a cluster.

use std::fmt;

use crate::ClusterError;

/// Where the cluster's data are, and what this process is called there.
#[derive(Clone)]
pub struct ClusterSettings {
    /// Nodes of Cassandra, `host:port`. The others are found through them.
    pub nodes: Vec<String>,
    /// Made with `replication` if it is missing. One cluster has it for itself.
    pub keyspace: String,
    /// The data centre that has all replicas.
    pub datacenter: String,
    /// Replicas of every row. With 3, any node may fail; with fewer, none.
    pub replication: u8,
    /// User and password.
    pub login: Option<(String, String)>,
    /// What this process is called in [`crate::ClusterStatus`]: its host, say.
    pub name: String,
    /// Whether nodes may acknowledge what is not on their disks. Then a loss of power in two places at once may lose what was
    /// acknowledged, and even let two processes lead. Otherwise such nodes are refused.
    pub accept_periodic_commitlog: bool,
}

/// Without the password.
impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, keyspace, datacenter, replication, login, name, accept_periodic_commitlog } = self;
        f.debug_struct("ClusterSettings")
            .field("nodes", nodes)
            .field("keyspace", keyspace)
            .field("datacenter", datacenter)
            .field("replication", replication)
            .field("user", &login.as_ref().map(|(user, _)| user))
            .field("name", name)
            .field("accept_periodic_commitlog", accept_periodic_commitlog)
            .finish()
    }
}

/// The longest name of a keyspace that Cassandra takes.
const KEYSPACE_MAX: usize = 48;

impl ClusterSettings {
    /// What is written into statements must need no quoting.
    pub(crate) fn check(&self) -> Result<(), ClusterError> {
        let wrong = |text: String| Err(ClusterError::Setting(text));
        let is_word = |text: &str, more: &[char]| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c));
        if self.nodes.is_empty() {
            return wrong("no node of Cassandra is named".to_owned());
        }
        let keyspace = &self.keyspace;
        let begins_well = keyspace.starts_with(|c: char| c.is_ascii_lowercase());
        let is_lower = !keyspace.chars().any(|c| c.is_ascii_uppercase());
        if !begins_well || !is_lower || !is_word(keyspace, &['_']) || keyspace.len() > KEYSPACE_MAX {
            return wrong(format!(
                "{keyspace:?} is no name of a keyspace: a small letter, then up to 47 of a-z, 0-9 and _"
            ));
        }
        if self.datacenter.is_empty() || !is_word(&self.datacenter, &['_', '-', '.']) {
            return wrong(format!(
                "{:?} is no name of a data centre: letters, digits, `_`, `-` and `.`",
                self.datacenter
            ));
        }
        if self.replication == 0 {
            return wrong("a replication of 0 keeps nothing: say 3".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A node of `tests/cluster/cassandra`, from 1 to 3.
    pub(crate) fn node(number: u32) -> String {
        let net = std::env::var("GODWIT_TEST_CASSANDRA_NET").unwrap_or_else(|_| "127.0.0".to_owned());
        format!("{net}.{number}:9042")
    }

    /// Settings of a cluster on these nodes.
    pub(crate) fn settings(keyspace: &str) -> ClusterSettings {
        ClusterSettings {
            nodes: vec![node(1)],
            keyspace: keyspace.to_owned(),
            datacenter: "datacenter1".to_owned(),
            replication: 3,
            login: None,
            name: "test".to_owned(),
            accept_periodic_commitlog: false,
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let login = Some(("godwit".to_owned(), "secret".to_owned()));
        let shown = format!("{:?}", ClusterSettings { login, ..settings("godwit") });
        assert!(shown.contains("godwit") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_would_need_quoting_is_refused() {
        assert!(settings("godwit_2").check().is_ok());
        for keyspace in ["", "2", "_a", "Godwit", "a-b", "a;b", "a\"b", &"a".repeat(49)] {
            assert!(settings(keyspace).check().is_err(), "{keyspace:?}");
        }
        for datacenter in ["", "a'b", "a b"] {
            let settings = ClusterSettings { datacenter: datacenter.to_owned(), ..settings("godwit") };
            assert!(settings.check().is_err(), "{datacenter:?}");
        }
        assert!(ClusterSettings { replication: 0, ..settings("godwit") }.check().is_err());
        assert!(ClusterSettings { nodes: vec![], ..settings("godwit") }.check().is_err());
    }
}
