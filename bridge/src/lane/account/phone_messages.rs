//! Messages to phone numbers. The sender's lane hands such a message to the lane that owns the number, which knows who has it, or
//! makes a user that waits for whoever will; then it is a message like any other.

use std::collections::BTreeMap;

use bytes::Bytes;
use godwit_core::command::{Command, CommandOrigin, Draft, To};
use godwit_core::decide::content;
use godwit_core::refusal::Refusal;
use godwit_core::state_cache::FILES_MAX;
use godwit_core::stored::{DeviceRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::media::MediaId;
use godwit_schemas::phone::PhoneNumber;

use crate::admin::AdminError;
use crate::audit::Actor;
use crate::lane::Lane;
use crate::lane::account::Accounts;
use crate::lane::account::caller::answer;
use crate::lane::account::phone::FIRST_MESSAGE_COST;
use crate::lane::account::removal::AfterRemoval;
use crate::lane::context::Context;
use crate::media::access;
use crate::messages::{AdminReply, Continuation, LaneMessage, ToPhone};
use crate::phone::{self, PhoneHash};
use crate::writes;
use godwit_store::{Store, StoreError, keys};

impl<S: Store, B: Bus> Lane<S, B> {
    /// A message to a number, in the sender's lane.
    pub(in crate::lane) async fn post_to_phone(
        &mut self,
        origin: CommandOrigin,
        by: Actor,
        number: PhoneNumber,
        draft: Draft,
    ) -> Result<(), StoreError> {
        let hash = phone::hash(number);
        let written_to = keys::written_to(&origin.user, &hash);
        let mut found = self.context.store.multi_get(&[keys::phone(&hash), written_to.clone()]).await?;
        let (has_written, owner) = (found.pop().flatten().is_some(), found.pop().flatten());
        if !has_written {
            if let Err(refused) = self.accounts.may_write_first(&self.context, &origin.user, by, &draft).await? {
                self.context.refuse_post(origin, refused);
                return Ok(());
            }
            self.round.write(writes::set(written_to, Some(Bytes::new())));
        }
        if let Some(user) = self.state.still_there(&self.context, owner).await? {
            self.dispatch(Command::Post { origin, to: To::User(user), draft });
            return Ok(());
        }
        let lane = self.context.lane_of(&self.accounts.phones.names.of(&hash));
        self.context.send(lane, LaneMessage::ToPhone(ToPhone { hash, origin, draft }));
        Ok(())
    }

    /// A message to a number, in the number's lane.
    pub(in crate::lane) async fn post_to_owner(&mut self, message: ToPhone) -> Result<(), StoreError> {
        if let Some(held) = self.accounts.phones.held.get_mut(&message.hash) {
            held.push(message);
            return Ok(());
        }
        let ToPhone { hash, origin, draft } = message;
        let user = match self.state.registered(&self.context, &hash).await? {
            Some(user) => user,
            None => {
                let waiting = self.accounts.phones.names.of(&hash);
                if self.state.user_record(&self.context, &waiting).await?.is_none() {
                    self.accounts.phones.held.insert(hash, vec![ToPhone { hash, origin, draft }]);
                    self.make_waiting(waiting, hash);
                    return Ok(());
                }
                waiting
            }
        };
        self.dispatch(Command::Post { origin, to: To::User(user), draft });
        Ok(())
    }

    /// A user for a number that nobody has: with a device that has an inbox and lets nobody in.
    fn make_waiting(&mut self, user: UserId, hash: PhoneHash) {
        let id = self.accounts.allocate_device(&mut self.round, &user).get();
        let record = UserRecord {
            devices: vec![DeviceRecord { id, ..Default::default() }],
            waiting: true,
            ..Default::default()
        };
        let ready = self.context.then_phone_ready(hash);
        self.change_user(user, Some(record), ready);
    }

    /// What is held goes on, in its order.
    pub(in crate::lane) async fn phone_ready(&mut self, hash: PhoneHash) -> Result<(), StoreError> {
        for message in self.accounts.phones.held.remove(&hash).unwrap_or_default() {
            self.post_to_owner(message).await?;
        }
        Ok(())
    }

    /// Tells whose inbox `user` is to get, who claims the number: left behind by an earlier attempt, or of the user that
    /// waits, which is removed for that.
    pub(in crate::lane) async fn next_waiting(
        &mut self,
        hash: PhoneHash,
        user: &UserId,
        reply: AdminReply<Option<DeviceId>>,
    ) -> Result<(), StoreError> {
        let left = self.context.store.multi_get(&[keys::phone_inbox(&hash)]).await?.pop().flatten();
        if let Some(device) = left.as_deref().and_then(keys::parse_counter) {
            answer(reply, Ok(Some(DeviceId::new(device))));
            return Ok(());
        }
        let waiting = self.accounts.phones.names.of(&hash);
        match self.accounts.changeable(&self.context, &mut self.state, &waiting).await? {
            Ok(record) if record.waiting && waiting != *user => {
                self.remove_user(waiting, AfterRemoval::HandOver(hash, reply)).await?;
            }
            Ok(_) | Err(AdminError::NoUser(_)) => answer(reply, Ok(None)),
            Err(error) => answer(reply, Err(error)),
        }
        Ok(())
    }

    /// What was in the inbox has gone elsewhere.
    pub(in crate::lane) async fn handed_over(
        &mut self,
        hash: PhoneHash,
        device: DeviceId,
        then: Continuation,
    ) -> Result<(), StoreError> {
        self.round.write(writes::set(keys::phone_inbox(&hash), None));
        self.requests.erase(vec![device], then);
        Ok(())
    }
}

impl Accounts {
    /// Whether a user may send this to a number that it has never written to. Knows nothing of the number; takes from what
    /// the user may do today.
    pub(in crate::lane) async fn may_write_first<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        by: Actor,
        draft: &Draft,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let mut files = BTreeMap::new();
        for file in draft.media.iter().take(FILES_MAX) {
            let Ok(id) = file.id.parse::<MediaId>() else { continue };
            if let Some(known) = access::shareable(&context.store, id, user, context.now_s).await? {
                files.insert(id, known);
            }
        }
        if let Err(refused) = content(&context.rules, false, draft, |id| files.get(&id)) {
            return Ok(Err(refused));
        }
        Ok(self.phones.pay(context, user, by, FIRST_MESSAGE_COST))
    }
}
