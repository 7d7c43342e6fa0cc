//! What earlier leaders have committed and not applied: sealing their journals and reading them. Keeps P1 over takeovers.

use tracing::{info, warn};

use crate::ClusterError;
use crate::applier::Inherited;
use crate::journal::{Journal, LogId, Seal, Segment};
use crate::patience::patiently;
use crate::record::{Record, RecordError, RecordReader};
use crate::registry::{Head, Registry};

/// Rows that are read at once: 8 MiB at most.
const ROWS: usize = 32;

/// A sealed journal, from its head on.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) records: Vec<Record>,
    /// Of its last record, applied or not.
    pub(crate) clock_us: u64,
    pub(crate) inherited: Inherited,
}

/// Seals a journal and reads what is not applied of it.
///
/// # Errors
/// It is damaged, or of a later format. Whether the database answers is waited for.
pub(crate) async fn replay<J: Journal, R: Registry>(
    journal: &J,
    registry: &R,
    log: LogId,
    by: LogId,
) -> Result<Replayed, ClusterError> {
    loop {
        let head = patiently("read how far a journal is applied", || registry.head(log)).await;
        let read = match seal(journal, log, head, by).await {
            Some(last) => read(journal, log, head, last).await.map(|(records, clock_us)| (records, clock_us, last)),
            None => Err(damaged(Segment { log, number: head.segment }, "a segment is missing")),
        };
        // Its writer, which may still run, first says that it has applied more, and then removes that.
        let head_now = patiently("read how far a journal is applied", || registry.head(log)).await;
        if head_now != head {
            info!(%log, "the journal was shortened while it was read, and is read again");
            continue;
        }
        let (records, clock_us, last) = read?;
        return Ok(Replayed { records, clock_us, inherited: Inherited { log, first: head.first, last } });
    }
}

/// Takes a journal away from its writer. Returns its last segment; `None`: a segment is missing.
pub(crate) async fn seal<J: Journal>(journal: &J, log: LogId, head: Head, by: LogId) -> Option<u32> {
    let mut at = Segment { log, number: head.segment };
    loop {
        match patiently("seal the journal of the last leader", || journal.seal(at, by)).await {
            Seal::By(_) => return Some(at.number),
            Seal::Rolled => at = at.next(),
            Seal::Missing => return None,
        }
    }
}

async fn read<J: Journal>(journal: &J, log: LogId, head: Head, last: u32) -> Result<(Vec<Record>, u64), ClusterError> {
    let (mut reader, mut records) = (RecordReader::default(), Vec::<Record>::new());
    let (mut position, mut clock_us) = (head.position, head.clock_us);
    for number in head.segment..=last {
        let at = Segment { log, number };
        loop {
            let rows = patiently("read a journal", || journal.read(at, position, ROWS)).await;
            for (found, row) in &rows {
                if *found != position {
                    return Err(damaged(at, "a row is missing"));
                }
                position += 1;
                let Some(record) = reader.push(row).map_err(|error| unreadable(at, *found, error))? else { continue };
                if record.clock_us <= clock_us {
                    return Err(damaged(at, "its clock goes back"));
                }
                clock_us = record.clock_us;
                records.push(record);
            }
            if rows.len() < ROWS {
                break;
            }
        }
    }
    if !reader.is_between_records() {
        // Whoever waited for it was told nothing.
        warn!(%log, "the last commit of the journal is not whole, and does not count");
    }
    Ok((records, clock_us))
}

fn damaged(at: Segment, what: &str) -> ClusterError {
    ClusterError::Damaged { place: at.to_string(), what: what.to_owned() }
}

fn unreadable(at: Segment, position: u64, error: RecordError) -> ClusterError {
    ClusterError::Damaged { place: format!("{at}, row {position}"), what: error.to_string() }
}
