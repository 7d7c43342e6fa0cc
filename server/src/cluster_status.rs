//! `godwit cluster status`: asks the cluster's store, with the settings of a member, and needs no member to be running.

use std::fmt::Write as _;

use anyhow::Context as _;
use godwit_cluster::{ClusterStatus, JournalStatus, MemberStatus};
use godwit_store::time::Time;

use crate::cli::SettingsArgs;
use crate::commands::{print, print_json};
use crate::exit::{CommandFailure, UNREACHABLE, USAGE};
use crate::serve::cluster::PreparedStore;
use crate::settings;

/// Prints who leads, who is there, and how far the store is.
pub(crate) fn status(json: bool, place: &SettingsArgs) -> Result<(), CommandFailure> {
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let cluster = settings.cluster.as_ref().and_then(|cluster| Some((cluster, cluster.cassandra.as_ref()?)));
    let Some((cluster, cassandra)) = cluster else {
        let text = "cluster.cassandra: these settings name no cluster: say --config FILE";
        return Err(CommandFailure::new(USAGE, text));
    };
    let mut problems = Vec::new();
    let store = PreparedStore::read(cluster, cassandra, &mut problems);
    if !problems.is_empty() {
        return Err(CommandFailure::new(USAGE, problems.join("\n")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let asked = runtime.block_on(async {
        let cluster = store.connect(Time::of_system(settings.time)).await?;
        cluster.status().await.context("ask the cluster's store")
    });
    let status = asked.map_err(|error| CommandFailure::new(UNREACHABLE, format!("{error:#}")))?;
    if json { print_json(&status) } else { print(table(&status).trim_end()) }
}

/// For people.
fn table(status: &ClusterStatus) -> String {
    let leader = status.members.iter().find(|member| member.leads).map_or("nobody", |member| member.name.as_str());
    let mut text = format!("leader    {leader}, term {}\n", status.term);
    if let Some(JournalStatus { segment, position, not_applied, .. }) = status.journal {
        _ = writeln!(text, "journal   segment {segment}, {position} rows, {not_applied} of them not in tables yet");
    }
    if status.inherited > 0 {
        _ = writeln!(text, "inherited {} journals of earlier leaders, not in tables yet", status.inherited);
    }
    let widest = status.members.iter().map(|member| member.name.chars().count()).max().unwrap_or(0).max("member".len());
    _ = writeln!(text, "\n{:widest$}  {:8}  heard of", "member", "state");
    for MemberStatus { name, state, heard_ms_ago, .. } in &status.members {
        let seconds = *heard_ms_ago as f64 / 1_000.0;
        _ = writeln!(text, "{name:widest$}  {state:8}  {seconds:.1} s ago");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_shown_at_a_glance() {
        let member = |name: &str, state, leads| MemberStatus {
            name: name.to_owned(),
            log: "1f".to_owned(),
            state,
            leads,
            heard_ms_ago: 400,
        };
        let journal = JournalStatus { segment: 12, position: 4_711, first_segment: 11, not_applied: 87 };
        let status = ClusterStatus {
            term: 7,
            format: 1,
            members: vec![member("bridge-1/42", "leading", true), member("b", "standby", false)],
            journal: Some(journal),
            inherited: 0,
        };
        let expected = "\
leader    bridge-1/42, term 7
journal   segment 12, 4711 rows, 87 of them not in tables yet

member       state     heard of
bridge-1/42  leading   0.4 s ago
b            standby   0.4 s ago
";
        assert_eq!(table(&status), expected);
        let new = ClusterStatus { term: 0, members: Vec::new(), journal: None, ..status };
        assert_eq!(table(&new).lines().next(), Some("leader    nobody, term 0"));
    }
}
