//! Which store this is, and whether it went back to an earlier state of itself. A backup that is put in place knows nothing of
//! what came after it, but clients do. So each start compares what the store says with an [`OutsideMark`] that is kept elsewhere,
//! beside it. If they do not agree the store gets another epoch, which clients are told, and its numbers go on above all that
//! it can have given before (see [`Floor`]).

use godwit_core::floor::Floor;
use godwit_core::stored::OriginRecord;
use godwit_schemas::client;
use godwit_schemas::partition::Partitions;
use godwit_store::{Durability, Store, StoreError, keys};
use prost::Message as _;

use crate::writes;

/// Which store this is. The default: nobody has asked, as in a store that a test holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreOrigin {
    /// Random, for ever: it names the server.
    pub server: u64,
    /// Random, another one each time that the store went back.
    pub epoch: u64,
    /// Where numbers go on.
    pub(crate) floor: Floor,
    /// How it is divided, for ever.
    pub partitions: Partitions,
}

/// What is known of a store outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideMark {
    /// As [`StoreOrigin::server`].
    pub server: u64,
    /// As [`StoreOrigin::epoch`].
    pub epoch: u64,
    /// How often it had started. A store that knows fewer starts is an older state.
    pub starts: u64,
    /// Which files it is in, whatever tells them from a copy of themselves. Empty: nothing does.
    pub files: String,
}

/// Why a store counts as one that went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WentBack {
    /// The mark knows more starts.
    Older,
    /// They name different servers or epochs.
    Another,
    /// There is no mark: the store was brought from elsewhere.
    Unmarked,
    /// The mark is of other files.
    Copied,
    /// There is a mark, and the store is empty.
    Empty,
}

impl WentBack {
    /// For the operator.
    pub fn why(self) -> &'static str {
        match self {
            Self::Older => "the store is from before the last start",
            Self::Another => "the store is not the one that was here at the last start",
            Self::Unmarked => "the store was put here without its mark",
            Self::Copied => "the store's files are not those of the last start: it was copied here",
            Self::Empty => "there was a store here before",
        }
    }
}

impl StoreOrigin {
    /// As stored; `None`: the store has none.
    pub(crate) async fn read<S: Store>(store: &S) -> Result<Option<Self>, StoreError> {
        let stored = store.multi_get(&[keys::origin()]).await?.pop().flatten();
        let damaged = |error: prost::DecodeError| StoreError { doing: "read the origin", cause: error.to_string() };
        let Some(record) = stored.map(|value| OriginRecord::decode(value).map_err(damaged)).transpose()? else {
            return Ok(None);
        };
        let too_many = || StoreError {
            doing: "read the origin",
            cause: format!(
                "the store has {} partitions, and this program knows {}",
                record.partitions,
                Partitions::MAX
            ),
        };
        let partitions = Partitions::new(record.partitions).ok_or_else(too_many)?;
        Ok(Some(Self { server: record.server, epoch: record.epoch, floor: Floor::new(record.floor), partitions }))
    }

    /// For clients.
    pub(crate) fn told(self) -> client::Server {
        let (server, epoch, numbers_above) = (self.server, self.epoch, self.floor.get());
        client::Server { server, epoch, numbers_above, ..client::Server::default() }
    }

    fn record(self) -> OriginRecord {
        let Self { server, epoch, floor, partitions } = self;
        OriginRecord { server, epoch, floor: floor.get(), partitions: partitions.get() }
    }
}

/// Finds out which store this is, and counts a start of it. Durable when it returns; then the mark it returns is to be kept,
/// before anybody is served. `files`: see [`OutsideMark::files`]. `now_ms`: since 1970.
///
/// # Errors
/// The store cannot be read or written, or the system gives no random numbers.
pub async fn settle<S: Store>(
    store: &S,
    mark: Option<&OutsideMark>,
    files: String,
    now_ms: u64,
) -> Result<(OutsideMark, Option<WentBack>), StoreError> {
    let known = KnownStore::read(store).await?;
    let went_back = compare(&known, mark, &files);
    count_start(store, known, mark, went_back, files, now_ms).await
}

/// As [`settle`], of a store that several processes serve in turn, and that is not in files of theirs. Each process keeps the mark
/// of its own last start. So a process without a mark is a new one, and one that knows fewer starts than the store was not the
/// last; only a store that knows fewer starts than a mark went back.
///
/// # Errors
/// As [`settle`].
pub async fn settle_shared<S: Store>(
    store: &S,
    mark: Option<&OutsideMark>,
    now_ms: u64,
) -> Result<(OutsideMark, Option<WentBack>), StoreError> {
    let known = KnownStore::read(store).await?;
    let went_back = mark.and_then(|mark| compare_shared(&known, mark));
    count_start(store, known, mark, went_back, String::new(), now_ms).await
}

/// What a store says of itself.
struct KnownStore {
    origin: Option<StoreOrigin>,
    /// `None`: it is new.
    starts: Option<u64>,
}

impl KnownStore {
    async fn read<S: Store>(store: &S) -> Result<Self, StoreError> {
        let stored = store.multi_get(&[keys::starts()]).await?.pop().flatten();
        let starts = stored.as_deref().and_then(keys::parse_counter);
        Ok(Self { origin: StoreOrigin::read(store).await?, starts })
    }
}

async fn count_start<S: Store>(
    store: &S,
    KnownStore { origin, starts }: KnownStore,
    mark: Option<&OutsideMark>,
    went_back: Option<WentBack>,
    files: String,
    now_ms: u64,
) -> Result<(OutsideMark, Option<WentBack>), StoreError> {
    // A store that has started and has no origin is from before there were origins.
    let partitions = if starts.is_some() { Partitions::UNSAID } else { Partitions::NEW };
    let before = origin.unwrap_or(StoreOrigin { partitions, ..StoreOrigin::default() });
    let server = if origin.is_some() { before.server } else { random()? };
    let origin = match (went_back, origin) {
        (None, Some(known)) => known,
        (None, None) => StoreOrigin { server, epoch: random()?, ..before },
        (Some(_), _) => StoreOrigin { server, epoch: random()?, floor: before.floor.after(now_ms), ..before },
    };
    let known = starts.unwrap_or(0).max(mark.map_or(0, |mark| mark.starts));
    let starts = known + 1;
    let writes =
        vec![writes::put(keys::origin(), &origin.record()), writes::set(keys::starts(), Some(writes::counter(starts)))];
    store.commit(writes, Durability::Synced).await?;
    Ok((OutsideMark { server, epoch: origin.epoch, starts, files }, went_back))
}

fn compare(known: &KnownStore, mark: Option<&OutsideMark>, files: &str) -> Option<WentBack> {
    let Some(mark) = mark else { return known.starts.map(|_| WentBack::Unmarked) };
    let Some(starts) = known.starts else { return Some(WentBack::Empty) };
    if known.origin.is_none_or(|origin| (origin.server, origin.epoch) != (mark.server, mark.epoch)) {
        return Some(WentBack::Another);
    }
    if starts < mark.starts {
        return Some(WentBack::Older);
    }
    (!mark.files.is_empty() && !files.is_empty() && mark.files != files).then_some(WentBack::Copied)
}

fn compare_shared(known: &KnownStore, mark: &OutsideMark) -> Option<WentBack> {
    let Some(starts) = known.starts else { return Some(WentBack::Empty) };
    if known.origin.is_none_or(|origin| origin.server != mark.server) {
        return Some(WentBack::Another);
    }
    (starts < mark.starts).then_some(WentBack::Older)
}

fn random() -> Result<u64, StoreError> {
    loop {
        let drawn = getrandom::u64();
        let drawn = drawn.map_err(|error| StoreError { doing: "draw a random number", cause: error.to_string() })?;
        if drawn > 0 {
            return Ok(drawn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use godwit_store::memory::MemoryStore;
    use godwit_store::{Table, Write};

    const NOW_MS: u64 = 1_790_000_000_000;

    fn empty() -> MemoryStore {
        MemoryStore::new(Arc::new(|| 0))
    }

    async fn start(store: &MemoryStore, mark: Option<&OutsideMark>, files: &str) -> (OutsideMark, Option<WentBack>) {
        settle(store, mark, files.to_owned(), NOW_MS).await.expect("settled")
    }

    async fn copy(of: &MemoryStore) -> MemoryStore {
        let copy = empty();
        let rows = of.scan(Table::Directory, &[], &[0xFF], 1_000, usize::MAX).await.expect("read");
        let rows = rows.into_iter().map(|(key, value)| Write::Put(Table::Directory, key.to_vec(), value));
        copy.commit(rows.collect(), Durability::Synced).await.expect("written");
        copy
    }

    async fn floor(store: &MemoryStore) -> u64 {
        StoreOrigin::read(store).await.expect("read").expect("there").floor.get()
    }

    #[tokio::test]
    async fn a_store_that_stays_where_it_is_stays_what_it_is() {
        let store = empty();
        let (first, went_back) = start(&store, None, "a").await;
        assert_eq!((went_back, floor(&store).await, first.starts), (None, 0, 1));
        let (second, went_back) = start(&store, Some(&first), "a").await;
        assert_eq!(went_back, None);
        assert_eq!(second, OutsideMark { starts: 2, ..first.clone() });
        // It was killed before the mark was kept.
        let (_, went_back) = start(&store, Some(&first), "a").await;
        assert_eq!((went_back, floor(&store).await), (None, 0));
        // Its files tell nothing.
        let (_, went_back) = start(&store, Some(&first), "").await;
        assert_eq!(went_back, None);
    }

    #[tokio::test]
    async fn a_copy_is_recognised_by_its_mark_or_by_its_files() {
        let store = empty();
        let (first, _) = start(&store, None, "a").await;
        let backup = copy(&store).await;
        let (second, _) = start(&store, Some(&first), "a").await;
        for (mark, files, expected) in [
            (Some(&second), "a", WentBack::Older),
            (Some(&second), "", WentBack::Older),
            (Some(&first), "b", WentBack::Copied),
            (None, "b", WentBack::Unmarked),
            (Some(&OutsideMark { epoch: 7, ..first.clone() }), "a", WentBack::Another),
        ] {
            let restored = copy(&backup).await;
            let (now, went_back) = start(&restored, mark, files).await;
            assert_eq!(went_back, Some(expected));
            assert_eq!(now.server, first.server, "the server is the same");
            assert_ne!(now.epoch, first.epoch);
            assert!(now.starts > mark.map_or(0, |mark| mark.starts), "no start has a number twice");
            assert!(floor(&restored).await > 1 << 40);
            assert_eq!(start(&restored, Some(&now), files).await.1, None, "once");
        }
    }

    #[tokio::test]
    async fn an_empty_store_in_place_of_another_repeats_no_number() {
        let store = empty();
        let (first, _) = start(&store, None, "a").await;
        let anew = empty();
        let (now, went_back) = start(&anew, Some(&first), "b").await;
        assert_eq!(went_back, Some(WentBack::Empty));
        assert_ne!(now.server, first.server);
        assert!(floor(&anew).await > 0);
    }

    async fn partitions(store: &MemoryStore) -> u32 {
        StoreOrigin::read(store).await.expect("read").expect("there").partitions.get()
    }

    #[tokio::test]
    async fn a_store_keeps_its_number_of_partitions() {
        let store = empty();
        let (first, _) = start(&store, None, "a").await;
        assert_eq!(partitions(&store).await, 1_024);
        let (_, went_back) = start(&copy(&store).await, Some(&first), "b").await;
        assert_eq!((went_back, partitions(&store).await), (Some(WentBack::Copied), 1_024));

        // Of an earlier build, which says nothing of it; and of one that had no origins.
        let earlier = OriginRecord { server: 1, epoch: 2, floor: 3, partitions: 0 };
        let origin = writes::put(keys::origin(), &earlier);
        let starts = writes::set(keys::starts(), Some(writes::counter(7)));
        for rows in [vec![origin, starts.clone()], vec![starts]] {
            let store = empty();
            store.commit(rows, Durability::Synced).await.expect("written");
            for _ in 0..2 {
                start(&store, None, "a").await;
                assert_eq!(partitions(&store).await, 64);
            }
        }

        let too_many = writes::put(keys::origin(), &OriginRecord { partitions: 1 << 20, ..earlier });
        store.commit(vec![too_many], Durability::Synced).await.expect("written");
        let error = StoreOrigin::read(&store).await.expect_err("more than there can be");
        assert!(error.to_string().contains("1048576 partitions"), "{error}");
    }

    #[tokio::test]
    async fn of_a_shared_store_only_an_older_state_went_back() {
        let store = empty();
        let start = async |store: &MemoryStore, mark| settle_shared(store, mark, NOW_MS).await.expect("settled");
        let (one, went_back) = start(&store, None).await;
        assert_eq!((went_back, one.starts), (None, 1));
        let backup = copy(&store).await;
        let (other, went_back) = start(&store, None).await;
        assert_eq!((went_back, other.starts, other.epoch), (None, 2, one.epoch), "a process that is new");
        let (one, went_back) = start(&store, Some(&one)).await;
        assert_eq!((went_back, one.starts), (None, 3), "a process that was not the last");
        let (back, went_back) = start(&backup, Some(&one)).await;
        assert_eq!(went_back, Some(WentBack::Older));
        assert!(back.epoch != one.epoch && back.starts > one.starts && back.server == one.server);
        assert_eq!(start(&backup, Some(&other)).await.1, None, "it was noticed already");
        assert_eq!(start(&empty(), Some(&one)).await.1, Some(WentBack::Empty));
        assert_eq!(start(&backup, Some(&OutsideMark { server: 0, ..back })).await.1, Some(WentBack::Another));
    }
}
