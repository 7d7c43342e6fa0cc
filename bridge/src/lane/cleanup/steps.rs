//! The steps of each cleanup: what is left of removed devices, users and conversations is deleted, a page of rows at a time.
//! Called by `run`. Keeps P6.

use godwit_core::entry::Entry;
use godwit_core::outbox::{Item, Link};
use godwit_core::stored::ProfileRecord;
use godwit_schemas::ids::{ConversationId, DeviceId, Seq, UserId};

use crate::lane::account::Accounts;
use crate::lane::cleanup::{Cleanup, MEMBERSHIPS, Next, WATCHERS};
use crate::lane::context::Context;
use crate::lane::exchange::Exchange;
use crate::lane::query::Requests;
use crate::lane::query::slices::SliceJob;
use crate::lane::query::turns::TurnOwner;
use crate::lane::round::Round;
use crate::lane::round::copy_search::{BYTES, ROWS};
use crate::messages::{AfterCommit, Continuation, LaneMessage, People};
use crate::writes;
use godwit_store::keys::{MessageRowKind, Tombstone};
use godwit_store::record::decoded;
use godwit_store::{Row, RowPage, Store, StoreError, Table, Write, keys};

impl Requests {
    /// Removes everything that is kept for devices that are no more.
    pub(in crate::lane) fn erase(&mut self, devices: Vec<DeviceId>, then: Continuation) {
        self.clear(Cleanup::Devices { left: devices, gone: Vec::new(), from: None, then });
    }

    /// Removes the history of a conversation that nobody is in. Devices that left it earlier may have still to get bodies
    /// that are kept apart: those stay as long as an inbox could refer to them.
    pub(in crate::lane) fn clear_history(&mut self, id: ConversationId) {
        self.clear(Cleanup::History { id, from: keys::message(id, Seq::default()).1 });
    }

    pub(in crate::lane) fn clear(&mut self, clearing: Cleanup) {
        self.turns.push(TurnOwner::House, SliceJob::Clear(Box::new(clearing)));
    }
}

impl Accounts {
    /// Forgets a user that is no more and that all lanes know to be so: its conversations, its contacts and its profile, and
    /// that others had it as a contact. Until that is done nobody can take its name.
    pub(in crate::lane) fn forget_people(&mut self, requests: &mut Requests, user: UserId, then: Continuation) {
        self.forgets(user.clone());
        requests.clear(Cleanup::Memberships { user, then });
    }
}

impl Round {
    pub(in crate::lane) async fn clear_messages<S: Store>(
        &mut self,
        context: &Context<S>,
        id: ConversationId,
        from: Vec<u8>,
    ) -> Result<Cleanup, StoreError> {
        let end = keys::message(ConversationId::new(id.get() + 1), Seq::default()).1;
        let RowPage { rows, next } = context.store.page(Table::Messages, &from, &end, ROWS, BYTES).await?;
        let rest = match next {
            Some(from) => Cleanup::History { id, from },
            None => Cleanup::Files { id, from: keys::media::references_in(id).0 },
        };
        let writes: Vec<_> = rows.into_iter().map(|row| context.without_history(row)).collect();
        self.write_all(writes);
        Ok(rest)
    }

    /// Nobody may have the files any more that were shared there.
    pub(in crate::lane) async fn unshare_files<S: Store>(
        &mut self,
        context: &Context<S>,
        id: ConversationId,
        from: Vec<u8>,
    ) -> Result<Next, StoreError> {
        let (_, to) = keys::media::references_in(id);
        let RowPage { rows, next } = context.store.page(Table::Media, &from, &to, ROWS, BYTES).await?;
        for (key, _) in &rows {
            let shared = keys::media::parse_referring(key).zip(keys::media::parse_last(key));
            let Some((place, file)) = shared else { continue };
            writes::unshare(place, file, context.now_s, self.writes());
        }
        if let Some(from) = next {
            return Ok(Next::Now(Cleanup::Files { id, from }));
        }
        self.write(writes::set(keys::mark(&Tombstone::Conversation(id)), None));
        self.set_durable();
        Ok(Next::Nothing)
    }
}

impl Exchange {
    /// What the user is still in. A lane that did not know yet may have let it in after it had left the others.
    pub(in crate::lane) async fn leave_conversations<S: Store>(
        &mut self,
        context: &Context<S>,
        user: UserId,
        then: Continuation,
    ) -> Result<Next, StoreError> {
        let partitions = context.origin.partitions;
        let home = partitions.of_user(&user);
        let (from, to) = keys::memberships(&user);
        let rows = context.store.scan(Table::Conversations, &from, &to, MEMBERSHIPS, usize::MAX).await?;
        let conversations: Vec<_> = rows.iter().filter_map(|(key, _)| keys::parse_membership(key)).collect();
        if conversations.is_empty() {
            let from = keys::contacts_after(&user, None).0;
            return Ok(Next::Now(Cleanup::Contacts { user, from, then }));
        }
        for conversation in conversations {
            let link = Link { from: home, to: partitions.of_conversation(conversation) };
            self.send(link, Item::Forget { user: user.clone(), conversation });
        }
        Ok(Next::WhenTakenIn(home, Cleanup::Memberships { user, then }))
    }

    /// What the user had as contacts, and its profile.
    pub(in crate::lane) async fn clear_contacts<S: Store>(
        &mut self,
        context: &Context<S>,
        round: &mut Round,
        user: UserId,
        from: Vec<u8>,
        then: Continuation,
    ) -> Result<Next, StoreError> {
        let partitions = context.origin.partitions;
        let home = partitions.of_user(&user);
        let (_, to) = keys::contacts_after(&user, None);
        let RowPage { rows, next } = context.store.page(Table::Directory, &from, &to, ROWS, BYTES).await?;
        for contact in rows.iter().filter_map(|(key, _)| keys::parse_second_user(key)) {
            round.write(writes::set(keys::contact(&user, &contact), None));
            let link = Link { from: home, to: partitions.of_user(&contact) };
            self.send(link, Item::Watch { contact, by: user.clone(), begins: false });
        }
        if let Some(from) = next {
            return Ok(Next::WhenTakenIn(home, Cleanup::Contacts { user, from, then }));
        }
        let profile = context.store.multi_get(&[keys::profile(&user)]).await?.pop().flatten();
        let profile = profile.and_then(|value| decoded::<ProfileRecord>("profile", &user, &value));
        round.forget_files(context, &user, &profile.unwrap_or_default().picture).await?;
        let rows = [
            keys::contact_count(&user),
            keys::profile(&user),
            keys::last_seen(&user),
            keys::watched(&user),
            keys::membership_count(&user),
            keys::identity(&user),
            keys::link(&user),
            keys::vault_count(&user),
        ];
        round.write_all(rows.map(|key| writes::set(key, None)));
        round.write(writes::delete_range(Table::Directory, keys::all_written_to(&user)));
        round.write(writes::delete_range(Table::Directory, keys::certificates_after(&user, 0)));
        round.write(writes::delete_range(Table::Conversations, keys::vault(&user)));
        let from = keys::watchers_after(&user, None).0;
        // An earlier start may have told some who have not taken it in.
        Ok(Next::WhenTakenIn(home, Cleanup::Watchers { user, from, then }))
    }

    /// Those who have the user as a contact are told, a slice of them at a time. When all have taken it in, nothing is left of
    /// the user.
    pub(in crate::lane) async fn tell_watchers<S: Store>(
        &mut self,
        context: &Context<S>,
        round: &mut Round,
        user: UserId,
        from: Vec<u8>,
        then: Continuation,
    ) -> Result<Next, StoreError> {
        let partitions = context.origin.partitions;
        let home = partitions.of_user(&user);
        let (_, to) = keys::watchers_after(&user, None);
        let rows = context.store.scan(Table::Directory, &from, &to, WATCHERS, usize::MAX).await?;
        let Some((last, _)) = rows.last() else {
            round.write(writes::set(keys::mark(&Tombstone::User(user.clone())), None));
            let forgotten = context.then_send(move || LaneMessage::People(People::Forgotten(user, then)));
            round.when_durable(AfterCommit::Then(forgotten));
            return Ok(Next::Nothing);
        };
        for watcher in rows.iter().filter_map(|(key, _)| keys::parse_second_user(key)) {
            round.write(writes::set(keys::watcher(&user, &watcher), None));
            let link = Link { from: home, to: partitions.of_user(&watcher) };
            self.send(link, Item::ContactGone { user: watcher, contact: user.clone() });
        }
        let from = keys::behind(last);
        Ok(Next::WhenTakenIn(home, Cleanup::Watchers { user, from, then }))
    }
}

impl<S: Store> Context<S> {
    /// What becomes of a row: an inbox may still refer to it, and no longer than that.
    fn without_history(&self, (key, value): Row) -> Write {
        let needed = match keys::parse_of_message(&key) {
            Some((_, MessageRowKind::Entry)) => {
                let entry = Entry::decode(value).ok().filter(|entry| entry.apart.is_some());
                entry.and_then(|entry| {
                    let waits_until_s = entry.stored_at_s.saturating_add(self.rules.retention_s);
                    let expires_at_s = entry.expires_at_s.min(waits_until_s);
                    (expires_at_s > self.now_s).then(|| Entry { expires_at_s, ..entry }.encode())
                })
            }
            Some((_, MessageRowKind::Holders)) => Some(value),
            Some((_, MessageRowKind::Own | MessageRowKind::Reaction(_) | MessageRowKind::OwnReaction(_))) | None => {
                None
            }
        };
        match needed {
            Some(value) => Write::Put(Table::Messages, key.to_vec(), value),
            None => Write::Delete(Table::Messages, key.to_vec()),
        }
    }
}
