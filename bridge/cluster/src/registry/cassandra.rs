//! The registry in Cassandra. `placement` is changed by lightweight transactions; members and heads are plain rows.

use godwit_store::StoreError;
use scylla::statement::prepared::PreparedStatement;

use super::{Head, Member, MemberState, Placement, Registry};
use crate::ClusterError;
use crate::cassandra::{Database, failed};
use crate::journal::LogId;

/// A registry in Cassandra. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct CassandraRegistry {
    database: Database,
    placement: PreparedStatement,
    place: PreparedStatement,
    beat: PreparedStatement,
    members: PreparedStatement,
    head: PreparedStatement,
    set_head: PreparedStatement,
    forget_head: PreparedStatement,
    forget_member: PreparedStatement,
}

impl CassandraRegistry {
    /// # Errors
    /// The tables are not there, or Cassandra does not answer.
    pub async fn new(database: &Database) -> Result<Self, ClusterError> {
        let plain = async |cql| database.repeatable(cql).await;
        Ok(Self {
            placement: database
                .linearizable(
                    "SELECT version, format, owner, epoch, replay FROM KS.placement WHERE cluster = 'godwit' AND partition = 0",
                )
                .await?,
            place: database
                .conditional(
                    "UPDATE KS.placement SET version = ?, format = ?, owner = ?, epoch = ?, replay = ? \
                     WHERE cluster = 'godwit' AND partition = 0 IF version = ?",
                )
                .await?,
            beat: plain(
                "INSERT INTO KS.member (cluster, incarnation, name, state, epoch, beat, segment, position) \
                 VALUES ('godwit', ?, ?, ?, ?, ?, ?, ?)",
            )
            .await?,
            members: plain(
                "SELECT incarnation, name, state, epoch, beat, segment, position FROM KS.member WHERE cluster = 'godwit'",
            )
            .await?,
            head: plain("SELECT first, segment, position, clock FROM KS.journal_head WHERE log = ?").await?,
            set_head: plain(
                "INSERT INTO KS.journal_head (log, first, segment, position, clock) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            forget_head: plain("DELETE FROM KS.journal_head WHERE log = ?").await?,
            forget_member: plain("DELETE FROM KS.member WHERE cluster = 'godwit' AND incarnation = ?").await?,
            database: database.clone(),
        })
    }
}

fn strange(what: &str) -> StoreError {
    StoreError { doing: "read who leads", cause: format!("{what} is not what Godwit writes") }
}

fn number(state: MemberState) -> i8 {
    match state {
        MemberState::Standby => 0,
        MemberState::Leading => 1,
        MemberState::Released => 2,
    }
}

fn state(number: i8) -> MemberState {
    match number {
        1 => MemberState::Leading,
        2 => MemberState::Released,
        _ => MemberState::Standby,
    }
}

type MemberRow = (i64, Option<String>, Option<i8>, Option<i64>, Option<i64>, Option<i32>, Option<i64>);

/// Rows whose columns were not all written, or not by us, are none.
fn member((log, name, number, term, beat, segment, position): MemberRow) -> Option<Member> {
    Some(Member {
        log: LogId::new(log)?,
        name: name?,
        state: state(number?),
        term: term?.cast_unsigned(),
        beat_ms: beat?.cast_unsigned(),
        segment: segment?.cast_unsigned(),
        position: position?.cast_unsigned(),
    })
}

impl Registry for CassandraRegistry {
    async fn placement(&self) -> Result<Option<Placement>, StoreError> {
        type PlacementRow = (Option<i64>, Option<i32>, Option<i64>, Option<i64>, Option<Vec<i64>>);
        let doing = "read who leads";
        let rows = self.database.rows(doing, &self.placement, ()).await?;
        let row = rows.maybe_first_row::<PlacementRow>().map_err(failed(doing))?;
        let Some((Some(version), format, owner, term, replay)) = row else { return Ok(None) };
        let log = |number| LogId::new(number).ok_or_else(|| strange("a journal"));
        Ok(Some(Placement {
            version,
            format: format.and_then(|format| u8::try_from(format).ok()).ok_or_else(|| strange("the format"))?,
            term: term.ok_or_else(|| strange("the term"))?.cast_unsigned(),
            owner: log(owner.unwrap_or(0))?,
            replay: replay.unwrap_or_default().into_iter().map(log).collect::<Result<_, _>>()?,
        }))
    }

    async fn place(&self, expected: Option<i64>, to: &Placement) -> Result<bool, StoreError> {
        let Placement { version, format, term, owner, replay } = to;
        let replay: Vec<_> = replay.iter().map(|log| log.get()).collect();
        let values = (version, i32::from(*format), owner.get(), term.cast_signed(), replay, expected);
        Ok(self.database.change("change who leads", &self.place, values, "version").await?.applied)
    }

    async fn beat(&self, member: &Member) -> Result<(), StoreError> {
        let Member { log, name, state, term, beat_ms, segment, position } = member;
        let (term, beat_ms) = (term.cast_signed(), beat_ms.cast_signed());
        let values = (log.get(), name, number(*state), term, beat_ms, segment.cast_signed(), position.cast_signed());
        self.database.execute("say that this process is there", &self.beat, values).await
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let doing = "read who is there";
        let rows = self.database.rows(doing, &self.members, ()).await?;
        let rows = rows.rows::<MemberRow>().map_err(failed(doing))?;
        let rows = rows.collect::<Result<Vec<_>, _>>().map_err(failed(doing))?;
        Ok(rows.into_iter().filter_map(member).collect())
    }

    async fn head(&self, log: LogId) -> Result<Head, StoreError> {
        let doing = "read how far a journal is applied";
        let rows = self.database.rows(doing, &self.head, (log.get(),)).await?;
        let row = rows.maybe_first_row::<(i32, i32, i64, i64)>().map_err(failed(doing))?;
        Ok(row.map_or_else(Head::default, |(first, segment, position, clock_us)| Head {
            first: first.cast_unsigned(),
            segment: segment.cast_unsigned(),
            position: position.cast_unsigned(),
            clock_us: clock_us.cast_unsigned(),
        }))
    }

    async fn set_head(&self, log: LogId, head: &Head) -> Result<(), StoreError> {
        let clock = head.clock_us.cast_signed();
        let (first, segment) = (head.first.cast_signed(), head.segment.cast_signed());
        let values = (log.get(), first, segment, head.position.cast_signed(), clock, clock);
        self.database.execute("say how far a journal is applied", &self.set_head, values).await
    }

    async fn forget(&self, log: LogId) -> Result<(), StoreError> {
        self.database.execute("forget a journal", &self.forget_head, (log.get(),)).await?;
        self.database.execute("forget a member", &self.forget_member, (log.get(),)).await
    }
}
