//! Users are removed: first they leave their conversations, then what is kept of them is cleared away.

use bytes::Bytes;
use godwit_core::command::Command;
use godwit_core::event::DomainEvent;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{ConversationId, DeviceId, UserId};

use crate::lane::Lane;
use crate::lane::account::removal::{AfterRemoval, LEFT_AT_ONCE, Removal};
use crate::writes;
use godwit_store::keys::Tombstone;
use godwit_store::{Store, StoreError, Table, keys};

impl<S: Store, B: Bus> Lane<S, B> {
    /// First the user leaves its conversations; [`Self::forgotten`] goes on when it has left some.
    pub(in crate::lane) async fn remove_user(&mut self, user: UserId, then: AfterRemoval) -> Result<(), StoreError> {
        let removal = Removal { told: ConversationId::default(), waits_for: 0, found: false, then };
        self.accounts.removals.insert(user.clone(), removal);
        self.leave_some(user).await
    }

    /// A conversation has let go of a user who is being removed.
    pub(in crate::lane) async fn forgotten(&mut self, user: UserId) -> Result<(), StoreError> {
        let Some(removal) = self.accounts.removals.get_mut(&user) else { return Ok(()) };
        removal.waits_for = removal.waits_for.saturating_sub(1);
        if removal.waits_for > 0 { Ok(()) } else { self.leave_some(user).await }
    }

    /// Tells the next conversations of a user who is being removed, until a pass over all finds none.
    async fn leave_some(&mut self, user: UserId) -> Result<(), StoreError> {
        loop {
            let Some(told) = self.accounts.removals.get(&user).map(|removal| removal.told) else { return Ok(()) };
            let (_, to) = keys::memberships(&user);
            let (_, from) = keys::membership(&user, ConversationId::new(told.get() + 1));
            let rows = self.context.store.scan(Table::Conversations, &from, &to, LEFT_AT_ONCE, usize::MAX).await?;
            let conversations: Vec<_> = rows.iter().filter_map(|(key, _)| keys::parse_membership(key)).collect();
            let Some(removal) = self.accounts.removals.get_mut(&user) else { return Ok(()) };
            let Some(last) = conversations.last() else {
                if std::mem::take(&mut removal.found) {
                    removal.told = ConversationId::default();
                    continue;
                }
                let Some(removal) = self.accounts.removals.remove(&user) else { return Ok(()) };
                return self.finish_removal(user, removal.then).await;
            };
            (removal.told, removal.waits_for, removal.found) = (*last, conversations.len(), true);
            for conversation in conversations {
                self.dispatch(Command::Forget { user: user.clone(), conversation });
            }
            return Ok(());
        }
    }

    async fn finish_removal(&mut self, user: UserId, then: AfterRemoval) -> Result<(), StoreError> {
        let record = self.state.user_record(&self.context, &user).await?.unwrap_or_default();
        let devices: Vec<_> = record.devices.iter().map(|device| DeviceId::new(device.id)).collect();
        devices.iter().for_each(|device| self.cut(*device));
        self.accounts.phones.give_back_phone(&self.context, &record, &user);
        self.round.revoke_tokens(&self.context, &user, None);
        let then = match then {
            AfterRemoval::Erase(then) => {
                let then = devices.iter().fold(then, |then, device| self.context.then_closed(*device, then));
                self.round.then_erase(&self.context, devices, then)
            }
            AfterRemoval::HandOver(hash, reply) => {
                self.round.then_hand_over(&self.context, hash, devices.first().copied(), reply)
            }
        };
        if !record.waiting {
            self.round.note(|| DomainEvent::Account { user: user.clone(), device: None, added: false });
        }
        self.round.write(writes::set(keys::mark(&Tombstone::User(user.clone())), Some(Bytes::new())));
        self.accounts.being_forgotten.insert(user.clone());
        let forget = self.context.then_forget(user.clone(), then);
        self.change_user(user, None, forget);
        Ok(())
    }
}
