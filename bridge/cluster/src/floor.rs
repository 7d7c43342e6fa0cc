//! Where the queues of the media service begin. They are read from their beginning, over and over, and lie in a group for each
//! day since 2026. Days that were found empty are not read again, unless something is put there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use godwit_store::keys::{Groups, group, groups};
use godwit_store::{Table, Write};

/// Of one queue.
#[derive(Debug, Default)]
struct Floor {
    /// The first group that may have rows.
    first: Vec<u8>,
    /// How often something was put into the queue.
    puts: u64,
}

/// Of all queues, by the tag of their keys. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Floors(Arc<Mutex<BTreeMap<u8, Floor>>>);

/// What a scan was told. It tells back what it found.
#[derive(Debug)]
pub(crate) struct Hint {
    tag: u8,
    puts: u64,
    /// Whether the scan begins where the queue does.
    whole: bool,
}

impl Floors {
    /// Something is about to become visible in the overlay.
    pub(crate) fn note(&self, write: &Write) {
        let Write::Put(Table::Media, key, _) = write else { return };
        let Some(tag @ (b'g' | b'x')) = key.first() else { return };
        let group = group(Table::Media, key);
        self.locked(|floors| {
            let floor = floors.entry(*tag).or_default();
            floor.puts += 1;
            if group < floor.first {
                floor.first = group;
            }
        });
    }

    /// The groups of a range that may have rows. `None`: of more than can be read.
    pub(crate) fn groups(&self, table: Table, from: &[u8], to: &[u8]) -> Option<(Groups, Option<Hint>)> {
        let groups = groups(table, from, to)?;
        let (Table::Media, Groups::InOrder(mut days), Some(tag)) = (table, groups.clone(), from.first().copied())
        else {
            return Some((groups, None));
        };
        let hint = self.locked(|floors| {
            let floor = floors.entry(tag).or_default();
            days.retain(|day| *day >= floor.first);
            Hint { tag, puts: floor.puts, whole: from.len() == 1 }
        });
        Some((Groups::InOrder(days), Some(hint)))
    }

    /// A scan has found no row in the groups before this one, neither in tables nor in the overlay.
    pub(crate) fn found_empty_before(&self, hint: &Hint, group: &[u8]) {
        self.locked(|floors| {
            let floor = floors.entry(hint.tag).or_default();
            if hint.whole && hint.puts == floor.puts && *floor.first < *group {
                floor.first = group.to_vec();
            }
        });
    }

    fn locked<T>(&self, work: impl FnOnce(&mut BTreeMap<u8, Floor>) -> T) -> T {
        // A panic while the lock is held cannot leave it half changed: every step is one call.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godwit_schemas::media::MediaId;
    use godwit_store::keys::media::{due, due_by};

    use super::*;

    const DAY_S: u32 = 86_400;
    const START_S: u32 = 1_767_225_600;

    fn put(day: u32) -> Write {
        let (table, key) = due(START_S + day * DAY_S, MediaId::new([0; 16]));
        Write::Put(table, key, Bytes::new())
    }

    fn days(floors: &Floors, day: u32) -> (Vec<Vec<u8>>, Hint) {
        let (from, to) = due_by(START_S + day * DAY_S);
        match floors.groups(Table::Media, &from, &to) {
            Some((Groups::InOrder(days), Some(hint))) => (days, hint),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn empty_days_are_read_once_and_again_when_something_was_put_there() {
        let floors = Floors::default();
        let (all, hint) = days(&floors, 100);
        assert_eq!(all.len(), 101);
        floors.found_empty_before(&hint, &all[100]);
        assert_eq!(days(&floors, 100).0.len(), 1);
        floors.note(&put(40));
        assert_eq!(days(&floors, 100).0.len(), 61);
    }

    #[test]
    fn what_was_put_during_a_scan_is_not_passed_over() {
        let floors = Floors::default();
        let (all, hint) = days(&floors, 100);
        floors.note(&put(40));
        floors.found_empty_before(&hint, &all[100]);
        assert_eq!(days(&floors, 100).0.len(), 101);
    }
}
