//! How many conversations each user is in, and how often strangers have added it to groups. Conversations of a user are
//! written by many lanes, so none of them could count; the committer can, since it writes for all: in the commit that makes or
//! ends memberships it reads the counts and writes them anew. Called for commits that have such changes, and costs nothing
//! otherwise (P8).

use std::collections::BTreeMap;

use godwit_core::membership_count::Membership;
use godwit_schemas::ids::UserId;
use godwit_store::{Store, StoreError, Write, keys};

use crate::writes;

/// Memberships that begin or end by a commit, by user.
#[derive(Debug, Default)]
pub(crate) struct Memberships(BTreeMap<UserId, Vec<Membership>>);

impl Memberships {
    /// The user is in one conversation more, or less.
    pub(crate) fn count(&mut self, user: UserId, membership: Membership) {
        self.0.entry(user).or_default().push(membership);
    }

    pub(crate) fn add(&mut self, more: Self) {
        more.0.into_iter().for_each(|(user, changes)| self.0.entry(user).or_default().extend(changes));
    }

    /// The counts as they are with these changes. No other commit may come in between.
    pub(crate) async fn write<S: Store>(self, store: &S, out: &mut Vec<Write>) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = self.0.keys().map(keys::membership_count).collect();
        let found = store.multi_get(&keys).await?;
        for ((key, value), changes) in keys.into_iter().zip(found).zip(self.0.into_values()) {
            let mut crowd = value.as_deref().and_then(keys::parse_crowd).unwrap_or_default();
            changes.into_iter().for_each(|change| crowd.count(change));
            out.push(writes::set(key, keys::crowd(crowd)));
        }
        Ok(())
    }
}
