//! What every journal must do. An implementation's own test calls [`run`] with an empty journal. Outcomes may be unknown:
//! the suite then does what writers must do, and asks again.

use bytes::Bytes;

use super::{Journal, LogId, Outcome, ROW_BYTES, Seal, Segment};

/// An outcome is known after so many tries.
const TRIES: usize = 100;

/// Runs the suite; panics at the first promise that is not kept.
pub(crate) async fn run<J: Journal>(journal: &J) {
    rows_are_read_back(journal).await;
    a_journal_goes_on_in_the_next_segment(journal).await;
    what_is_sealed_takes_nothing_more(journal).await;
    what_is_removed_takes_nothing_more(journal).await;
    of_a_writer_and_a_sealer_one_wins(journal).await;
}

fn first() -> Segment {
    Segment { log: LogId::draw().expect("random"), number: 0 }
}

fn row(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Until the outcome is known.
async fn known(mut call: impl AsyncFnMut() -> Outcome) -> Outcome {
    let mut last = String::new();
    for _ in 0..TRIES {
        match call().await {
            Outcome::Unknown(cause) => last = cause,
            outcome => return outcome,
        }
    }
    panic!("unknown for ever: {last}");
}

async fn open<J: Journal>(journal: &J, at: Segment) -> Outcome {
    known(async || journal.open(at).await).await
}

async fn append<J: Journal>(journal: &J, at: Segment, position: u64, text: &str) -> Outcome {
    known(async || journal.append(at, position, row(text)).await).await
}

async fn roll<J: Journal>(journal: &J, at: Segment) -> Outcome {
    known(async || journal.roll(at).await).await
}

async fn seal<J: Journal>(journal: &J, at: Segment, by: LogId) -> Seal {
    let mut last = String::new();
    for _ in 0..TRIES {
        match journal.seal(at, by).await {
            Ok(seal) => return seal,
            Err(error) => last = error.to_string(),
        }
    }
    panic!("unknown for ever: {last}");
}

async fn texts<J: Journal>(journal: &J, at: Segment) -> Vec<(u64, Bytes)> {
    journal.read(at, 0, 100).await.expect("read")
}

async fn rows_are_read_back<J: Journal>(journal: &J) {
    let at = first();
    assert_eq!(append(journal, at, 0, "early").await, Outcome::Fenced, "nothing was opened");
    assert_eq!(open(journal, at).await, Outcome::Applied);
    assert_eq!(open(journal, at).await, Outcome::Applied, "again");
    for position in 5..9 {
        assert_eq!(append(journal, at, position, &position.to_string()).await, Outcome::Applied);
    }
    assert_eq!(append(journal, at, 8, "8").await, Outcome::Applied, "the same row again");
    let large = Bytes::from(vec![7; ROW_BYTES]);
    assert_eq!(known(async || journal.append(at, 9, large.clone()).await).await, Outcome::Applied);
    let by = first().log;
    assert_eq!(seal(journal, at, by).await, Seal::By(by));
    let small: Vec<_> = (5..9).map(|position: u64| (position, row(&position.to_string()))).collect();
    assert_eq!(journal.read(at, 0, 4).await.expect("read"), small);
    assert_eq!(journal.read(at, 7, 2).await.expect("read"), small[2..], "from a position on");
    assert_eq!(journal.read(at, 9, 10).await.expect("read"), [(9, large)]);
    assert_eq!(journal.read(at, 10, 10).await.expect("read"), []);
}

async fn a_journal_goes_on_in_the_next_segment<J: Journal>(journal: &J) {
    let at = first();
    assert_eq!(roll(journal, at).await, Outcome::Fenced, "nothing was opened");
    open(journal, at).await;
    assert_eq!(append(journal, at, 0, "a").await, Outcome::Applied);
    assert_eq!(append(journal, at.next(), 1, "b").await, Outcome::Fenced, "not open yet");
    assert_eq!(open(journal, at.next()).await, Outcome::Applied);
    assert_eq!(roll(journal, at).await, Outcome::Applied);
    assert_eq!(roll(journal, at).await, Outcome::Applied, "again");
    assert_eq!(append(journal, at, 1, "b").await, Outcome::Fenced, "it is over");
    assert_eq!(open(journal, at).await, Outcome::Fenced, "for ever");
    assert_eq!(append(journal, at.next(), 1, "b").await, Outcome::Applied);
    let by = first().log;
    assert_eq!(seal(journal, at, by).await, Seal::Rolled);
    assert_eq!(seal(journal, at.next(), by).await, Seal::By(by));
    assert_eq!(texts(journal, at).await, [(0, row("a"))]);
    assert_eq!(texts(journal, at.next()).await, [(1, row("b"))]);
}

async fn what_is_sealed_takes_nothing_more<J: Journal>(journal: &J) {
    let (at, by, other) = (first(), first().log, first().log);
    assert_eq!(seal(journal, at, by).await, Seal::Missing);
    open(journal, at).await;
    append(journal, at, 0, "a").await;
    assert_eq!(seal(journal, at, by).await, Seal::By(by));
    assert_eq!(seal(journal, at, by).await, Seal::By(by), "again");
    assert_eq!(seal(journal, at, other).await, Seal::By(by), "the first");
    assert_eq!(append(journal, at, 1, "zombie").await, Outcome::Fenced);
    assert_eq!(append(journal, at, 0, "a").await, Outcome::Fenced, "not even the same row");
    assert_eq!(open(journal, at.next()).await, Outcome::Applied, "which is harmless:");
    assert_eq!(roll(journal, at).await, Outcome::Fenced, "it never goes on there");
    assert_eq!(open(journal, at).await, Outcome::Fenced);
    assert_eq!(texts(journal, at).await, [(0, row("a"))]);
}

async fn what_is_removed_takes_nothing_more<J: Journal>(journal: &J) {
    let (at, by) = (first(), first().log);
    open(journal, at).await;
    append(journal, at, 0, "a").await;
    open(journal, at.next()).await;
    roll(journal, at).await;
    append(journal, at.next(), 1, "b").await;
    seal(journal, at.next(), by).await;
    for at in [at, at.next()] {
        journal.remove(at).await.expect("removed");
        journal.remove(at).await.expect("again");
        assert_eq!(texts(journal, at).await, []);
        assert_eq!(append(journal, at, 2, "zombie").await, Outcome::Fenced);
        assert_eq!(roll(journal, at).await, Outcome::Fenced);
        assert_eq!(seal(journal, at, by).await, Seal::Missing);
    }
}

async fn of_a_writer_and_a_sealer_one_wins<J: Journal>(journal: &J) {
    for _ in 0..5 {
        let (at, by) = (first(), first().log);
        open(journal, at).await;
        let (appended, sealed) = futures::join!(append(journal, at, 0, "a"), seal(journal, at, by));
        assert_eq!(sealed, Seal::By(by));
        match appended {
            Outcome::Applied => assert_eq!(texts(journal, at).await, [(0, row("a"))], "told, so it is there"),
            // An answer may have been lost of a try that was applied.
            outcome => assert_eq!(outcome, Outcome::Fenced),
        }
    }
}
