//! Calls about contacts, and what other lanes say of them.

use godwit_core::call::{ContactsCall, ConversationCall, RoutedCall};
use godwit_core::command::{Command, CommandOrigin};
use godwit_core::outbox::{Item, Link};
use godwit_core::outcome::EffectKind;
use godwit_core::refusal;
use godwit_core::state_cache::StateCache;
use godwit_core::stored::ContactRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::UserId;

use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::account::contacts::{CONTACTS_MAX, ContactList, LABEL_BYTES_MAX, WaitingContactCall};
use crate::lane::presence::query::PresenceCall;
use crate::lane::query::slices::{ReadKind, SliceJob};
use crate::lane::query::turns::TurnOwner;
use crate::messages::{LaneMessage, People};
use crate::writes;
use godwit_store::{Store, StoreError, keys};

impl<S: Store, B: Bus> Lane<S, B> {
    /// A call about the caller's profile or contacts. Returns what is to be done in slices.
    pub(in crate::lane) async fn contacts_call(
        &mut self,
        caller: CallContext,
        call: ContactsCall,
    ) -> Result<Option<SliceJob>, StoreError> {
        if let Some(on_its_way) = self.accounts.contacts.on_their_way.get_mut(&caller.origin.user) {
            on_its_way.waiting.push_back(WaitingContactCall::Call(Box::new((caller, call))));
            return Ok(None);
        }
        match call {
            ContactsCall::GetProfile(call) => self.context.get_profile(caller, &call).await?,
            ContactsCall::SetProfile(call) => self.set_profile(caller, call).await?,
            ContactsCall::AddContact(call) => self.add_contact(caller, call).await?,
            ContactsCall::RemoveContact(call) => self.remove_contact(caller, &call.user).await?,
            ContactsCall::ListContacts(call) => {
                let list = ContactList::new(&call, self.connections.room_of(&caller));
                return Ok(Some(self.reading(caller, ReadKind::Contacts(list))));
            }
            ContactsCall::GetPresence(call) => match PresenceCall::new(call) {
                Ok(asking) => return Ok(Some(self.reading(caller, ReadKind::Presences(asking)))),
                Err(refused) => self.context.refuse(caller, refused),
            },
        }
        Ok(None)
    }

    pub(in crate::lane) async fn handle_people(&mut self, message: People) -> Result<(), StoreError> {
        match message {
            People::Told(lane, told) => self.hear(lane, told),
            People::Look(look, users) => self.presence.look(&self.context, &mut self.state, look, users).await?,
            People::Seen(lane, look, presences) => self.seen(lane, &look, presences),
            People::ContactAdded(user, contact, answer) => self.contact_added(user, contact, answer).await?,
            People::Forget(user, then) => self.accounts.forget_people(&mut self.requests, user, then),
            People::Forgotten(user, then) => {
                self.accounts.being_forgotten.remove(&user);
                then();
            }
        }
        Ok(())
    }

    /// A commit is on disk: what waited for it goes on, up to what changes something again.
    pub(in crate::lane) async fn go_on_with_contacts(&mut self) -> Result<(), StoreError> {
        while let Some((ticket, _)) = self.accounts.contacts.by_ticket.first()
            && *ticket <= self.round.confirmed()
            && let Some((_, user)) = self.accounts.contacts.by_ticket.pop_first()
        {
            let on_its_way = self.accounts.contacts.on_their_way.remove(&user);
            let mut waiting = on_its_way.map(|it| it.waiting).unwrap_or_default();
            let mut taken_in = Vec::new();
            while let Some(next) = waiting.pop_front() {
                match next {
                    WaitingContactCall::Call(waited) => {
                        let (caller, call) = *waited;
                        if let Some(rest) = self.call(caller, RoutedCall::Contacts(call)).await? {
                            self.requests.turns.push(TurnOwner::User(user.clone()), rest);
                        }
                    }
                    WaitingContactCall::Gone(user, contact, told_on) => {
                        let is_done = self.contact_gone(user, contact, told_on).await?;
                        if let Some(link) = told_on.filter(|_| is_done) {
                            self.is_carried_out(link);
                            taken_in.push(link);
                        }
                    }
                }
                if let Some(again) = self.accounts.contacts.on_their_way.get_mut(&user) {
                    again.waiting.append(&mut waiting);
                }
            }
            for link in taken_in {
                self.take_in(link).await?;
            }
        }
        Ok(())
    }

    async fn add_contact(&mut self, caller: CallContext, call: client::AddContact) -> Result<(), StoreError> {
        let user = caller.origin.user.clone();
        let refused = match UserId::new(&call.user) {
            Err(_) => Some(refusal::NO_USER),
            Ok(contact) if contact == user => Some(refusal::YOURSELF),
            Ok(_) if call.label.len() > LABEL_BYTES_MAX => Some(refusal::LABEL_TOO_LARGE),
            Ok(contact) if self.state.user_record(&self.context, &contact).await?.is_none() => Some(refusal::NO_USER),
            Ok(_) => None,
        };
        let (None, Ok(contact)) = (refused, UserId::new(&call.user)) else {
            self.context.refuse(caller, refused.unwrap_or(refusal::NO_USER));
            return Ok(());
        };
        let (is_new, count) = self.context.contact_and_count(&user, &contact).await?;
        if is_new && count >= CONTACTS_MAX as u64 {
            self.context.refuse(caller, refusal::TOO_MANY_CONTACTS);
            return Ok(());
        }
        if is_new {
            self.presence.changes_sight(&self.context, &mut self.state, &self.round, &user, &contact).await?;
        }
        self.round.write(writes::put(keys::contact(&user, &contact), &ContactRecord { label: call.label }));
        if is_new {
            self.round.write(writes::set(keys::contact_count(&user), Some(writes::counter(count + 1))));
            self.watch(&contact, &user, true);
        }
        let (of, answer) = (user.clone(), caller.answer(client::Response::default()));
        let then = self.context.then_send(move || LaneMessage::People(People::ContactAdded(of, contact, answer)));
        self.accounts.contacts.settle(&mut self.round, &user, then);
        Ok(())
    }

    /// On disk. Who is removed from now on finds it there; who was removed meanwhile did not.
    async fn contact_added(
        &mut self,
        user: UserId,
        contact: UserId,
        answer: Vec<EffectKind>,
    ) -> Result<(), StoreError> {
        if self.state.user_record(&self.context, &contact).await?.is_none() {
            self.contact_gone(user, contact, None).await?;
        } else {
            self.context.look_at(&user, &contact);
            self.accept_direct(&user, &contact).await?;
        }
        for effect in answer {
            self.effect(effect).await?;
        }
        Ok(())
    }

    /// A contact is no stranger: what it has opened is no request any more.
    async fn accept_direct(&mut self, user: &UserId, contact: &UserId) -> Result<(), StoreError> {
        let (low, high) = StateCache::pair(user, contact);
        let direct = self.context.store.multi_get(&[keys::pair(&low, &high)]).await?.pop().flatten();
        if let Some(conversation) = direct.as_deref().and_then(keys::parse_counter) {
            // Nobody waits for an answer.
            let origin = CommandOrigin {
                user: user.clone(),
                device: None,
                fingerprint: None,
                reply_to: None,
                publish_record: None,
                handed_over: false,
            };
            let call = ConversationCall::Accept(client::Accept { conversation });
            let (correlation, secret) = Default::default();
            self.dispatch(Command::Call { origin, id: 0, call, correlation, secret });
        }
        Ok(())
    }

    async fn remove_contact(&mut self, caller: CallContext, name: &str) -> Result<(), StoreError> {
        let user = caller.origin.user.clone();
        let Ok(contact) = UserId::new(name) else {
            self.context.refuse(caller, refusal::NO_USER);
            return Ok(());
        };
        if self.take_out(&user, &contact).await? {
            self.watch(&contact, &user, false);
            let done = self.context.then_respond(caller, client::Response::default());
            self.accounts.contacts.settle(&mut self.round, &user, done);
        } else {
            self.context.answer_call(caller, client::Response::default());
        }
        Ok(())
    }

    /// False: it is no contact.
    async fn take_out(&mut self, user: &UserId, contact: &UserId) -> Result<bool, StoreError> {
        let (is_none, count) = self.context.contact_and_count(user, contact).await?;
        if is_none {
            return Ok(false);
        }
        self.presence.changes_sight(&self.context, &mut self.state, &self.round, user, contact).await?;
        self.round.write(writes::set(keys::contact(user, contact), None));
        self.round.write(writes::set(keys::contact_count(user), Some(writes::counter(count.saturating_sub(1)))));
        Ok(true)
    }

    /// The contact's partition is told who watches it.
    fn watch(&mut self, contact: &UserId, by: &UserId, begins: bool) {
        let partitions = self.context.origin.partitions;
        let link = Link { from: partitions.of_user(by), to: partitions.of_user(contact) };
        self.exchange.send(link, Item::Watch { contact: contact.clone(), by: by.clone(), begins });
    }

    /// A contact of a user of this lane is no more. `told_on`: where its partition said so, which by then has forgotten who
    /// watched it. False: it waits for the user's earlier calls.
    pub(in crate::lane) async fn contact_gone(
        &mut self,
        user: UserId,
        contact: UserId,
        told_on: Option<Link>,
    ) -> Result<bool, StoreError> {
        if let Some(on_its_way) = self.accounts.contacts.on_their_way.get_mut(&user) {
            on_its_way.waiting.push_back(WaitingContactCall::Gone(user, contact, told_on));
            return Ok(false);
        }
        // Of a user that is no more the contacts are cleared away anyway.
        let is_there = self.state.user_record(&self.context, &user).await?.is_some();
        if is_there && self.take_out(&user, &contact).await? {
            if told_on.is_none() {
                self.watch(&contact, &user, false);
            }
            self.is_not_shown(&user, &contact);
            self.accounts.contacts.settle(&mut self.round, &user, Box::new(|| ()));
        }
        Ok(true)
    }
}
