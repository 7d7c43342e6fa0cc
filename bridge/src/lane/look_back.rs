//! Commands about a message that was sent before: they wait until it is on disk, and then look for what was left of it.
//! Rare, and the only commands that read other lanes' inboxes: the store is the same for all.

use godwit_core::command::Command;
use godwit_core::entry::Entry;
use godwit_core::record::SessionRecord;
use godwit_core::world::{Place, Traces};
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, Order};

use super::Lane;
use super::read::decoded;
use crate::store::{Store, StoreError, Table, keys};

/// Rows read at once.
const ROWS: usize = 256;

impl<S: Store, B: Bus> Lane<S, B> {
    /// A command of this lane: for the next commit, unless it has to wait for an earlier one.
    pub(super) fn queue(&mut self, command: Command) {
        self.due |= !command.can_wait();
        let ticket = if self.commands.is_empty() { self.sealed } else { self.sealed + 1 };
        if command.looks_back_at().is_some() && ticket > self.confirmed {
            self.looking_back.push((ticket, command));
        } else {
            self.commands.push(command);
        }
    }

    /// A commit is on disk: what waited for it goes on.
    pub(super) fn look_back(&mut self) {
        let confirmed = self.confirmed;
        let ready = self.looking_back.extract_if(.., |(ticket, _)| *ticket <= confirmed);
        self.commands.extend(ready.map(|(_, command)| command));
    }

    /// Reads what was left of a message of a conversation that is known, with its members.
    pub(super) async fn read_traces(&mut self, place: Place) -> Result<(), StoreError> {
        let row = self.store.multi_get(&[keys::message(place.0, place.1)]).await?.pop().flatten();
        let mut traces = Traces { row: row.and_then(|row| Entry::decode(row).ok()), ..Traces::default() };
        let (from, to) = keys::media::references(place);
        for (key, value) in self.store.scan(Table::Media, &from, &to, ROWS, usize::MAX).await? {
            traces.references.extend(keys::media::parse_last(&key).zip(decoded("reference", &place.0, &value)));
        }
        let members = self.world.conversation(place.0).into_iter().flat_map(|conversation| &conversation.members);
        let users = members.filter_map(|member| self.world.user(&member.user));
        let devices: Vec<_> = users.flat_map(|user| user.devices.iter().map(|device| device.id)).collect();
        for device in devices {
            if let Some((order, copy)) = self.find_copy(device, place).await? {
                traces.copies.push((device, order));
                traces.copy = Some(copy);
            }
        }
        self.world.found_traces(place, traces);
        Ok(())
    }

    /// Where reading a device's inbox may begin, as far as is on disk: before that, all there was is gone.
    pub(super) async fn stored_low(&mut self, device: DeviceId) -> Result<Order, StoreError> {
        let session = self.store.multi_get(&[keys::session(device)]).await?.pop().flatten();
        let session = session.and_then(|value| decoded::<SessionRecord>("session", &device, &value));
        Ok(Order::new(session.unwrap_or_default().low))
    }

    /// The entry of a message in a device's inbox. Costs what is undelivered there.
    async fn find_copy(&mut self, device: DeviceId, place: Place) -> Result<Option<(Order, Entry)>, StoreError> {
        let (mut from, to) = keys::inbox_from(device, self.stored_low(device).await?);
        loop {
            let rows = self.store.scan(Table::Inbox, &from, &to, ROWS, usize::MAX).await?;
            let last = rows.last().filter(|_| rows.len() == ROWS).map(|(key, _)| keys::behind(key));
            for (key, value) in rows {
                let (Some(order), Ok(entry)) = (keys::parse_order(&key), Entry::decode(value)) else { continue };
                if (entry.conversation, entry.sequence) == place {
                    return Ok(Some((order, entry)));
                }
            }
            let Some(next) = last else { return Ok(None) };
            from = next;
        }
    }
}
