//! How many conversations each user is in. Conversations of a user are written by many lanes, so none of them could count;
//! the committer can, since it writes for all: in the commit that makes or ends memberships it reads the counts and writes
//! them anew. Called for commits that have such changes, and costs nothing otherwise (P8).

use std::collections::BTreeMap;

use godwit_core::outcome::Change;
use godwit_schemas::ids::UserId;

use crate::store::{Store, StoreError, Write, keys};
use crate::writes;

/// See the module: by how much counts change.
#[derive(Debug, Default)]
pub(crate) struct Memberships(BTreeMap<UserId, i64>);

impl Memberships {
    pub(crate) fn of(changes: &[Change]) -> Self {
        let mut it = Self::default();
        for change in changes {
            if let Change::Membership(user, _, joins) = change {
                *it.0.entry(user.clone()).or_default() += if *joins { 1 } else { -1 };
            }
        }
        it
    }

    pub(crate) fn add(&mut self, more: Self) {
        more.0.into_iter().for_each(|(user, change)| *self.0.entry(user).or_default() += change);
    }

    /// The counts as they are with these changes. No other commit may come in between.
    pub(crate) async fn write<S: Store>(self, store: &S, out: &mut Vec<Write>) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = self.0.keys().map(keys::membership_count).collect();
        let found = store.multi_get(&keys).await?;
        for ((key, value), change) in keys.into_iter().zip(found).zip(self.0.into_values()) {
            let before = value.as_deref().and_then(keys::parse_counter).unwrap_or(0);
            let count = Some(before.saturating_add_signed(change)).filter(|count| *count > 0);
            out.push(writes::set(key, count.map(writes::counter)));
        }
        Ok(())
    }
}
