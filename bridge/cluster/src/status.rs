//! What operators are shown of a cluster.

use serde::Serialize;

use crate::ClusterError;
use crate::patience::within;
use crate::registry::{Member, MemberState, Registry};

/// How long a database that does not answer is waited for.
const STATUS_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// A cluster, as its members describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// How many leaders there were; 0: none.
    pub term: u64,
    /// Of rows of the journal; 0: nobody ever led.
    pub format: u8,
    /// Those who said within a day that they are there.
    pub members: Vec<MemberStatus>,
    /// The leader's journal; none: nobody ever led.
    pub journal: Option<JournalStatus>,
    /// Journals of earlier leaders that are not in tables.
    pub inherited: usize,
}

/// A process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// As it calls itself.
    pub name: String,
    /// Its journal, in hexadecimal: tells it from others of the same name.
    pub log: String,
    /// What it is doing, as it said last.
    pub state: &'static str,
    /// Whether the cluster takes it for its leader.
    pub leads: bool,
    /// Milliseconds since it said so, by the clocks of both machines.
    pub heard_ms_ago: u64,
}

/// How far a journal is written and applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalStatus {
    /// The segment that is written to.
    pub segment: u32,
    /// Rows that were written.
    pub position: u64,
    /// The first segment that is kept.
    pub first_segment: u32,
    /// Rows that are not in tables yet.
    pub not_applied: u64,
}

/// `now_ms`: since 1970.
///
/// # Errors
/// The database does not answer.
pub(crate) async fn status<R: Registry>(registry: &R, now_ms: u64) -> Result<ClusterStatus, ClusterError> {
    let placement = within(STATUS_MAX, "read who leads", || registry.placement()).await?;
    let members = within(STATUS_MAX, "read who is there", || registry.members()).await?;
    let owner = placement.as_ref().map(|placement| placement.owner);
    let journal = match owner.and_then(|owner| members.iter().find(|member| member.log == owner)) {
        None => None,
        Some(leader) => {
            let head = within(STATUS_MAX, "read how far the journal is applied", || registry.head(leader.log)).await?;
            Some(JournalStatus {
                segment: leader.segment,
                position: leader.position,
                first_segment: head.segment,
                not_applied: leader.position.saturating_sub(head.position),
            })
        }
    };
    let member = |member: Member| MemberStatus {
        leads: owner == Some(member.log) && member.state == MemberState::Leading,
        name: member.name,
        log: member.log.to_string(),
        state: match member.state {
            MemberState::Standby => "standby",
            MemberState::Leading => "leading",
            MemberState::Released => "released",
        },
        heard_ms_ago: now_ms.saturating_sub(member.beat_ms),
    };
    Ok(ClusterStatus {
        term: placement.as_ref().map_or(0, |placement| placement.term),
        format: placement.as_ref().map_or(0, |placement| placement.format),
        members: members.into_iter().map(member).collect(),
        journal,
        inherited: placement.map_or(0, |placement| placement.replay.len()),
    })
}
