//! What is cleared away: users (their profiles and contacts: `contacts`) and devices that are no more, and the history of
//! conversations that nobody is in any more. The commit that makes them so marks them, and the one that clears them takes
//! the mark away: a crash in between leaves nothing behind that the next start would not find.

use std::collections::BTreeMap;

use godwit_core::command::Command;
use godwit_core::entry::Entry;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{ConversationId, DeviceId, Seq};
use godwit_schemas::partition::Partition;

use super::Lane;
use crate::mail::{Done, Then};
use crate::store::keys::{Marked, OfMessage};
use crate::store::{Row, Store, StoreError, Table, Write, keys};
use crate::writes;

/// Rows that are read at once, and about how many bytes.
const ROWS: usize = 256;
const BYTES: usize = 1 << 20;

impl<S: Store, B: Bus> Lane<S, B> {
    /// What an earlier start has marked and not cleared.
    pub(super) async fn clear_what_is_marked(&mut self) -> Result<(), StoreError> {
        let (from, to) = keys::marks();
        let rows = self.store.scan(Table::Directory, &from, &to, usize::MAX, usize::MAX).await?;
        let own = |partition: Partition| partition.lane(self.lanes.len() as u32) == self.number;
        let marked: Vec<_> = rows.iter().filter_map(|(key, _)| keys::parse_mark(key)).collect();
        let marked: Vec<_> = marked.into_iter().filter(|marked| own(marked.partition())).collect();
        for marked in marked {
            match marked {
                Marked::User(user) => self.forget_people(user, Box::new(|| ())).await?,
                Marked::Device(device) => self.erase(vec![device], Box::new(|| ())).await?,
                Marked::Conversation(id) => self.clear_history(id).await?,
            }
        }
        Ok(())
    }

    /// Removes everything that is kept for devices that are no more.
    pub(super) async fn erase(&mut self, devices: Vec<DeviceId>, then: Then) -> Result<(), StoreError> {
        for device in &devices {
            self.release_bodies(*device).await?;
            let writes = &mut self.next.writes;
            writes.push(writes::delete_range(Table::Inbox, keys::inbox(*device)));
            writes.push(writes::delete_range(Table::Receipts, keys::receipts(*device)));
            writes.push(writes::delete_range(Table::Directory, keys::doubts(*device)));
            writes.push(writes::set(keys::session(*device), None));
            writes.push(writes::set(keys::backlog(*device), None));
            writes.push(writes::set(keys::mark(&Marked::Device(*device)), None));
        }
        self.when_durable(Done::Erased(devices, then));
        Ok(())
    }

    /// Bodies that are kept apart need not be kept for this device any more.
    async fn release_bodies(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let (mut from, to) = keys::inbox_from(device, self.stored_low(device).await?);
        loop {
            let rows = self.store.scan(Table::Inbox, &from, &to, ROWS, usize::MAX).await?;
            let last = rows.last().filter(|_| rows.len() == ROWS).map(|(key, _)| keys::behind(key));
            let entries = rows.into_iter().filter_map(|(_, value)| Entry::decode(value).ok());
            let mut apart = BTreeMap::<_, Vec<_>>::new();
            for entry in entries.filter(Entry::is_reference) {
                apart.entry(entry.conversation).or_default().push(entry.sequence);
            }
            for (conversation, apart) in apart {
                self.dispatch(Command::Released { device, conversation, apart });
            }
            let Some(next) = last else { return Ok(()) };
            from = next;
        }
    }

    /// Removes the history of a conversation that nobody is in. Devices that left it earlier may have still to get bodies
    /// that are kept apart: those stay as long as an inbox could refer to them.
    pub(super) async fn clear_history(&mut self, id: ConversationId) -> Result<(), StoreError> {
        let (start, end) =
            (keys::message(id, Seq::default()).1, keys::message(ConversationId::new(id.get() + 1), Seq::default()).1);
        let mut from = start.clone();
        let mut kept = Vec::new();
        loop {
            let rows = self.store.scan(Table::Messages, &from, &end, ROWS, BYTES).await?;
            let Some((last, _)) = rows.last() else { break };
            from = keys::behind(last);
            kept.extend(rows.into_iter().filter_map(|row| self.needed(row)));
        }
        self.next.writes.push(Write::DeleteRange(Table::Messages, start, end));
        self.unshare_files(id).await?;
        self.next.writes.extend(kept);
        self.next.writes.push(writes::set(keys::mark(&Marked::Conversation(id)), None));
        self.next.durable = true;
        Ok(())
    }

    /// Nobody may have the files any more that were shared there.
    async fn unshare_files(&mut self, id: ConversationId) -> Result<(), StoreError> {
        let (mut from, to) = keys::media::references_in(id);
        loop {
            let rows = self.store.scan(Table::Media, &from, &to, ROWS, usize::MAX).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = keys::behind(last);
            for (key, _) in &rows {
                let shared = keys::media::parse_referring(key).zip(keys::media::parse_last(key));
                let Some((place, file)) = shared else { continue };
                writes::unshare(place, file, self.now_s, &mut self.next.writes);
            }
        }
    }

    /// What of a row an inbox may still refer to, and no longer than that.
    fn needed(&self, (key, value): Row) -> Option<Write> {
        let value = match keys::parse_of_message(&key)? {
            (_, OfMessage::Entry) => {
                let entry = Entry::decode(value).ok().filter(|entry| entry.apart.is_some())?;
                let waits_until_s = entry.stored_at_s.saturating_add(self.rules.retention_s);
                let expires_at_s = entry.expires_at_s.min(waits_until_s);
                (expires_at_s > self.now_s).then(|| Entry { expires_at_s, ..entry }.encode())?
            }
            (_, OfMessage::Holders) => value,
            (_, OfMessage::Reaction(_)) => return None,
        };
        Some(Write::Put(Table::Messages, key.to_vec(), value))
    }
}
