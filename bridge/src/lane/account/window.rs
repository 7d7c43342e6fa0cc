//! The operator's window: who is connected, how a device's inbox is, and users that are shut out for a while. Shows what the server
//! does for a device, and never what users write.

use godwit_core::entry::{Entry, EntryKind};
use godwit_core::stored::{ConversationRecord, SessionRecord, StateRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{ConversationId, DeviceId, DeviceName, Order, UserId};
use godwit_schemas::reason::Reason;

use crate::admin::{
    AdminError, ClientListing, ConversationReport, DeviceReport, InboxEntry, InboxPage, InboxReport, MemberReport,
};
use crate::audit::Actor;
use crate::lane::Lane;
use crate::lane::account::caller::answer;
use crate::lane::context::Context;
use crate::messages::{AdminReply, Continuation};
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

/// About how many bytes of an inbox are read for a page.
const PAGE_BYTES: usize = 1 << 20;

impl<S: Store> Context<S> {
    /// A conversation as it is on disk.
    pub(in crate::lane) async fn conversation_report(
        &self,
        id: ConversationId,
    ) -> Result<Result<ConversationReport, AdminError>, StoreError> {
        let mut stored = self.store.multi_get(&[keys::conversation(id), keys::state(id)]).await?.into_iter();
        let record = stored.next().flatten().and_then(|it| decoded::<ConversationRecord>("conversation", &id, &it));
        let Some(record) = record else { return Ok(Err(AdminError::NoConversation(id))) };
        let state = stored.next().flatten().and_then(|it| decoded::<StateRecord>("state", &id, &it));
        let StateRecord { last_seq, progress, .. } = state.unwrap_or_default();
        let members = record.members.into_iter().map(|member| {
            let progress = progress.iter().find(|it| it.ordinal == member.ordinal).cloned().unwrap_or_default();
            MemberReport {
                user: member.user,
                role: member.role,
                delivered: progress.delivered,
                read: progress.read,
                last_sent: progress.last_sent,
                joined_after: member.joined_after,
            }
        });
        Ok(Ok(ConversationReport { group: record.group, last_sequence: last_seq, members: members.collect() }))
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// The connected devices of these users of this lane.
    pub(in crate::lane) async fn clients(&mut self, users: Vec<UserId>) -> Result<Vec<ClientListing>, StoreError> {
        let mut clients = Vec::new();
        for user in users {
            let Some(record) = self.state.user_record(&self.context, &user).await? else { continue };
            for device in &record.devices {
                clients.extend(self.client(&user, &device.name, DeviceId::new(device.id)));
            }
        }
        Ok(clients)
    }

    /// A device's connection, if it has one.
    fn client(&self, user: &UserId, name: &str, device: DeviceId) -> Option<ClientListing> {
        let session = self.connections.sessions.get(&device)?;
        let connection = session.connection.as_deref()?;
        Some(ClientListing {
            user: user.to_string(),
            device: name.to_owned(),
            protocol: if connection.protocol == 4 { "3.1.1" } else { "5" },
            broker: format!("{:016x}", connection.key.edge),
            connection: connection.key.connection,
            session_expiry_s: connection.expiry_s,
            token_ends_at_s: connection.ends_at_s,
            in_flight: connection.deliveries.in_flight(),
            publishes: session.under_way,
        })
    }

    /// One device: its connection, and how its inbox is.
    pub(in crate::lane) async fn device_report(
        &mut self,
        user: UserId,
        name: DeviceName,
        reply: AdminReply<DeviceReport>,
    ) -> Result<(), StoreError> {
        let (_, device) = match self.device_of(&user, &name).await? {
            Ok(found) => found,
            Err(error) => {
                answer(reply, Err(error));
                return Ok(());
            }
        };
        let wanted = [keys::session(device), keys::full_since(device)];
        let mut stored = self.context.store.multi_get(&wanted).await?.into_iter();
        let session = stored.next().flatten().and_then(|it| decoded::<SessionRecord>("session", &device, &it));
        let full_since_s = stored.next().flatten().as_deref().and_then(keys::parse_counter);
        let is_full = self.delivery.backlogs.is_full(device);
        let report = DeviceReport {
            connection: self.client(&user, name.as_str(), device),
            seen_day: session.map(|session| session.seen_day).filter(|day| *day > 0),
            inbox: InboxReport {
                entries: self.delivery.backlogs.entries(device),
                is_full,
                full_since_s: full_since_s.filter(|_| is_full),
            },
        };
        answer(reply, Ok(report));
        Ok(())
    }

    /// Entries of a device's inbox behind an order, at most `limit`: where they stand, and nothing of what they say.
    pub(in crate::lane) async fn inbox_page(
        &mut self,
        user: UserId,
        name: DeviceName,
        (after, limit): (Order, usize),
        reply: AdminReply<InboxPage>,
    ) -> Result<(), StoreError> {
        let (_, device) = match self.device_of(&user, &name).await? {
            Ok(found) => found,
            Err(error) => {
                answer(reply, Err(error));
                return Ok(());
            }
        };
        let (from, to) = keys::inbox_after(device, after);
        let page = self.context.store.page(Table::Inbox, &from, &to, limit, PAGE_BYTES).await?;
        let entries = page.rows.into_iter().filter_map(|(key, value)| {
            let order = keys::parse_order(&key)?;
            let entry = Entry::decode(value).ok()?;
            Some(InboxEntry {
                order: order.get(),
                conversation: entry.conversation.get(),
                sequence: entry.sequence.get(),
                kind: match entry.kind {
                    EntryKind::Message => "message",
                    EntryKind::Recalled => "recalled",
                    EntryKind::Change => "change",
                },
                bytes: entry.content_len(),
                stored_at_s: entry.stored_at_s,
                expires_at_s: entry.expires_at_s,
            })
        });
        let entries: Vec<_> = entries.collect();
        let next = page.next.and_then(|_| entries.last().map(|last| last.order));
        answer(reply, Ok(InboxPage { entries, next }));
        Ok(())
    }

    /// Ends a device's connection. It may come again.
    pub(in crate::lane) async fn kick(
        &mut self,
        by: Actor,
        user: UserId,
        name: DeviceName,
        reply: AdminReply<()>,
    ) -> Result<(), StoreError> {
        match self.device_of(&user, &name).await? {
            Err(error) => answer(reply, Err(error)),
            Ok((_, device)) => {
                let then: Continuation = Box::new(move || answer(reply, Ok(())));
                let then = self.context.then_noted(by, "device_kicked", &user, Some(name.as_str()), then);
                self.dismiss(device, Reason::ADMINISTRATIVE_ACTION);
                self.connections.revocations.when_closed(device, then);
            }
        }
        Ok(())
    }

    /// Shuts a user out, or lets it in again. Its inboxes, passwords and conversations stay as they are. Answered when all lanes know,
    /// and its connections are closed.
    pub(in crate::lane) fn suspend(
        &mut self,
        by: Actor,
        user: UserId,
        mut record: UserRecord,
        suspended: bool,
        reply: AdminReply<()>,
    ) {
        let mut then: Continuation = Box::new(move || answer(reply, Ok(())));
        if record.is_suspended() == suspended {
            return then();
        }
        record.suspended_at_s = if suspended { self.context.now_s } else { 0 };
        if suspended {
            for device in record.devices.iter().map(|device| DeviceId::new(device.id)) {
                self.dismiss(device, Reason::ADMINISTRATIVE_ACTION);
                then = self.context.then_closed(device, then);
            }
        }
        let event = if suspended { "user_suspended" } else { "user_resumed" };
        let then = self.context.then_noted(by, event, &user, None, then);
        self.change_user(user, Some(record), then);
    }

    /// A device by its name.
    async fn device_of(
        &mut self,
        user: &UserId,
        name: &DeviceName,
    ) -> Result<Result<(UserRecord, DeviceId), AdminError>, StoreError> {
        let Some(record) = self.state.user_record(&self.context, user).await? else {
            return Ok(Err(AdminError::NoUser(user.clone())));
        };
        let device = record.devices.iter().find(|device| device.name == name.as_str());
        let device = device.map(|device| DeviceId::new(device.id));
        Ok(match device {
            Some(device) => Ok((record, device)),
            None => Err(AdminError::NoDevice(user.clone(), name.clone())),
        })
    }
}
