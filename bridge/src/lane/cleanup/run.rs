//! What is marked is cleared away, a slice at a time: also what an earlier start has marked and not finished. A mark goes with
//! the last step, in the same commit.

use std::collections::BTreeMap;

use godwit_core::entry::Entry;
use godwit_core::outbox::{Item, Link};
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::DeviceId;

use crate::lane::Lane;
use crate::lane::cleanup::{BYTES, Cleanup, Next, ROWS};
use crate::lane::query::slices::SliceJob;
use crate::messages::{AfterCommit, Continuation};
use crate::writes;
use godwit_store::keys::Tombstone;
use godwit_store::{RowPage, Store, StoreError, Table, keys};

impl<S: Store, B: Bus> Lane<S, B> {
    /// What an earlier start has marked and not cleared.
    pub(in crate::lane) async fn clear_what_is_marked(&mut self) -> Result<(), StoreError> {
        let (mut from, to) = keys::marks();
        loop {
            let rows = self.context.store.scan(Table::Directory, &from, &to, ROWS, usize::MAX).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = keys::behind(last);
            for marked in rows.iter().filter_map(|(key, _)| keys::parse_mark(key)) {
                if self.context.owner(marked.partition(self.context.origin.partitions)) != self.context.number {
                    continue;
                }
                match marked {
                    Tombstone::User(user) => self.accounts.forget_people(&mut self.requests, user, Box::new(|| ())),
                    Tombstone::Device(device) => self.requests.erase(vec![device], Box::new(|| ())),
                    Tombstone::Conversation(id) => self.requests.clear_history(id),
                }
            }
        }
    }

    /// A slice. Returns what is left.
    pub(in crate::lane) async fn clear_on(&mut self, clearing: Box<Cleanup>) -> Result<Option<SliceJob>, StoreError> {
        let Lane { round, context, exchange, .. } = self;
        let next = match *clearing {
            Cleanup::Devices { left, gone, from, then } => self.clear_device(left, gone, from, then).await?,
            Cleanup::History { id, from } => Next::Now(round.clear_messages(context, id, from).await?),
            Cleanup::Files { id, from } => round.unshare_files(context, id, from).await?,
            Cleanup::Memberships { user, then } => exchange.leave_conversations(context, user, then).await?,
            Cleanup::Contacts { user, from, then } => exchange.clear_contacts(context, round, user, from, then).await?,
            Cleanup::Watchers { user, from, then } => exchange.tell_watchers(context, round, user, from, then).await?,
        };
        match next {
            Next::Now(rest) => return Ok(Some(SliceJob::Clear(Box::new(rest)))),
            Next::WhenTakenIn(from, rest) => {
                self.exchange.when_taken_in(from, rest);
                self.round.hasten();
            }
            Next::Nothing => {}
        }
        Ok(None)
    }

    /// Bodies that are kept apart need not be kept for a device any more; then goes all that is its own.
    async fn clear_device(
        &mut self,
        mut left: Vec<DeviceId>,
        mut gone: Vec<DeviceId>,
        from: Option<Vec<u8>>,
        then: Continuation,
    ) -> Result<Next, StoreError> {
        let Some(device) = left.last().copied() else {
            self.round.when_durable(AfterCommit::Erased(gone, then));
            return Ok(Next::Nothing);
        };
        let (first, to) = keys::inbox_from(device, self.context.stored_low(device).await?);
        let RowPage { rows, next: from } =
            self.context.store.page(Table::Inbox, &from.unwrap_or(first), &to, ROWS, BYTES).await?;
        let entries = rows.into_iter().filter_map(|(_, value)| Entry::decode(value).ok());
        let mut apart = BTreeMap::<_, Vec<_>>::new();
        for entry in entries.filter(Entry::is_reference) {
            apart.entry(entry.conversation).or_default().push(entry.sequence);
        }
        let partitions = self.context.origin.partitions;
        let (home, sends) = (partitions.of_device(device), !apart.is_empty());
        for (conversation, apart) in apart {
            let link = Link { from: home, to: partitions.of_conversation(conversation) };
            self.exchange.send(link, Item::Released { device, conversation, apart });
        }
        if from.is_none() {
            let writes = self.round.writes();
            writes.push(writes::delete_range(Table::Inbox, keys::inbox(device)));
            writes.push(writes::delete_range(Table::Receipts, keys::receipts(device)));
            writes.push(writes::delete_range(Table::Directory, keys::publish_records(device)));
            writes.push(writes::delete_range(Table::Directory, keys::key_packages(device)));
            writes.push(writes::set(keys::device_keys(device), None));
            writes.push(writes::set(keys::session(device), None));
            writes.push(writes::set(keys::backlog(device), None));
            writes.push(writes::set(keys::full_since(device), None));
            writes.push(writes::set(keys::mark(&Tombstone::Device(device)), None));
            self.erase_push(device).await?;
            gone.extend(left.pop());
        }
        let rest = Cleanup::Devices { left, gone, from, then };
        Ok(if sends { Next::WhenTakenIn(home, rest) } else { Next::Now(rest) })
    }
}
