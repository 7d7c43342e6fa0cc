//! Settings of a cluster: where its members meet, and where its store is.

use std::path::PathBuf;

use godwit_bus::nats;

use super::layers::Layers;
use super::media::Storage;
use super::{number, user_and_file};

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterSettings {
    /// NATS servers; at least one.
    pub(crate) nats: Vec<String>,
    /// User, and the file with the password.
    pub(crate) nats_login: Option<(String, PathBuf)>,
    /// Authorities that sign the servers' certificates; `None`: those that the system trusts.
    pub(crate) nats_ca: Option<PathBuf>,
    pub(crate) prefix: String,
    /// `None`: the bridge keeps its store by itself.
    pub(crate) cassandra: Option<CassandraSettings>,
    /// What this member is called; `None`: by its host and process.
    pub(crate) name: Option<String>,
}

/// Where the store of a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CassandraSettings {
    /// `host:port`; at least one.
    pub(crate) nodes: Vec<String>,
    /// User, and the file with the password.
    pub(crate) login: Option<(String, PathBuf)>,
    pub(crate) keyspace: String,
    pub(crate) datacenter: String,
    pub(crate) replication: u8,
    pub(crate) allow_periodic_commitlog: bool,
}

/// `storage`: where files are.
pub(super) fn parse(from: &mut Layers, storage: &Storage) -> Option<ClusterSettings> {
    let nats = from.take("cluster.nats", servers);
    let nats_plaintext = from.take("cluster.nats_allow_plaintext", Ok::<bool, String>);
    let nats_login = user_and_file(from, "cluster.nats_user", "cluster.nats_password_file");
    let nats_ca = from.take("cluster.nats_ca", |file: String| Ok((!file.is_empty()).then(|| PathBuf::from(file))));
    let prefix = from.take("cluster.prefix", |prefix: String| nats::check_prefix(&prefix).map(|()| prefix));
    let nodes = from.take("cluster.cassandra", nodes);
    let login = user_and_file(from, "cluster.cassandra_user", "cluster.cassandra_password_file");
    let cassandra_plaintext = from.take("cluster.cassandra_allow_plaintext", Ok::<bool, String>);
    let cassandra = CassandraSettings {
        login,
        keyspace: from.take("cluster.keyspace", keyspace),
        datacenter: from.take("cluster.datacenter", filled),
        replication: number(from, "cluster.replication", 1..=9),
        allow_periodic_commitlog: from.take("cluster.allow_periodic_commitlog", Ok::<bool, String>),
        nodes,
    };
    let name = from.take("cluster.name", |name: String| Ok((!name.is_empty()).then_some(name)));
    if !nats_plaintext && let Some(open) = nats.iter().find(|url| url.starts_with("nats://") && !is_loopback(url)) {
        let text = format!("{open} is not loopback, and nothing would be encrypted: use tls://");
        from.refuse("cluster.nats", format!("{text}, or set cluster.nats_allow_plaintext = true"));
    }
    if !cassandra_plaintext && let Some(open) = cassandra.nodes.iter().find(|node| !is_loopback(node)) {
        let text = format!("{open} is not loopback, and nothing is encrypted: use a private network");
        from.refuse("cluster.cassandra", format!("{text}, and set cluster.cassandra_allow_plaintext = true"));
    }
    if !cassandra.nodes.is_empty() {
        if nats.is_empty() {
            from.refuse(
                "cluster.nats",
                "needed with cluster.cassandra: brokers find the bridge that leads by it".into(),
            );
        }
        if matches!(storage, Storage::Embedded { .. }) {
            let text = "would have the files on one machine, and another bridge may lead: empty it, and set \
                        media.endpoint to an S3 server if there are to be files";
            from.refuse("media.listen", text.to_owned());
        }
    }
    let cassandra = (!cassandra.nodes.is_empty()).then_some(cassandra);
    (!nats.is_empty()).then_some(ClusterSettings { nats, nats_login, nats_ca, prefix, cassandra, name })
}

fn servers(servers: Vec<String>) -> Result<Vec<String>, String> {
    servers.iter().try_for_each(|server| nats::check_server(server)).map(|()| servers)
}

fn nodes(nodes: Vec<String>) -> Result<Vec<String>, String> {
    let good = |node: &String| {
        node.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0))
    };
    match nodes.iter().find(|node| !good(node)) {
        Some(bad) => Err(format!("{bad:?} is not like cassandra-1:9042")),
        None => Ok(nodes),
    }
}

/// What CQL takes without quotes.
fn keyspace(name: String) -> Result<String, String> {
    let mut chars = name.chars();
    let good = chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
        && name.len() <= 48;
    if good { Ok(name) } else { Err(format!("{name:?} is not at most 48 of a-z, 0-9 and _, with a letter first")) }
}

fn filled(text: String) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// Of `nats://host:port`, or of `host:port`.
fn is_loopback(address: &str) -> bool {
    let address = address.rsplit_once("//").map_or(address, |(_, address)| address);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_either_form() {
        for near in
            ["nats://127.0.0.1:4222", "127.0.0.2:9042", "nats://[::1]:4222", "localhost:9042", "tls://localhost"]
        {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["nats://10.0.0.1:4222", "cassandra-1:9042", "nats://localhost.example.org"] {
            assert!(!is_loopback(far), "{far}");
        }
    }

    #[test]
    fn names_are_what_cassandra_takes() {
        assert!(nodes(vec!["cassandra-1:9042".into(), "[::1]:9042".into()]).is_ok());
        for bad in ["cassandra-1", ":9042", "a:0", "a:b", "a:70000"] {
            assert!(nodes(vec![bad.into()]).is_err(), "{bad}");
        }
        assert!(keyspace("godwit_2".into()).is_ok());
        for bad in ["", "2godwit", "Godwit", "god-wit", &"a".repeat(49)] {
            assert!(keyspace(bad.into()).is_err(), "{bad}");
        }
    }
}
