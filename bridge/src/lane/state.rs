//! What the lane knows of the store: the state cache, and how it is filled. What commands need and the cache does not have is
//! read in as few calls as possible.

use std::collections::BTreeMap;

use godwit_core::command::Command;
use godwit_core::conversation::Conversation;
use godwit_core::entry::{Entry, EntryKind};
use godwit_core::keys::MessageKey;
use godwit_core::state_cache::{MissingKey, StateCache};
use godwit_core::stored::{ConversationRecord, StateRecord, UserRecord};
use godwit_schemas::ids::{ConversationId, UserId};

use crate::lane::context::Context;
use crate::lane::round::copy_search::Copies;
use crate::media::access;
use godwit_store::record::decoded;
use godwit_store::{EXPIRY_BYTES, Store, StoreError, keys};

/// Users, conversations and messages as they are once all that was decided is on disk.
pub(in crate::lane) struct State {
    pub(in crate::lane) cache: StateCache,
    /// Copies of messages that were searched for, for the command that is about to be decided.
    pub(in crate::lane) copies: BTreeMap<MessageKey, Copies>,
}

impl State {
    pub(in crate::lane) fn new(cache: StateCache) -> Self {
        Self { cache, copies: BTreeMap::new() }
    }

    /// Afterwards every command of this round can be decided.
    pub(in crate::lane) async fn read_for_commands<S: Store>(
        &mut self,
        context: &Context<S>,
        commands: &[Command],
    ) -> Result<(), StoreError> {
        let mut needs = Vec::new();
        loop {
            for command in commands {
                self.cache.needs(command, &mut needs);
            }
            if needs.is_empty() {
                return Ok(());
            }
            self.read(context, &mut needs).await?;
        }
    }

    pub(in crate::lane) async fn read<S: Store>(
        &mut self,
        context: &Context<S>,
        needs: &mut Vec<MissingKey>,
    ) -> Result<(), StoreError> {
        let mut keys = Vec::with_capacity(needs.len());
        for need in needs.iter() {
            match need {
                MissingKey::User(user) => keys.push(keys::user(user)),
                MissingKey::Pair((low, high)) => keys.push(keys::pair(low, high)),
                MissingKey::Conversation(id) => keys.extend([keys::conversation(*id), keys::state(*id)]),
                MissingKey::Holders((id, sequence)) => keys.push(keys::holders(*id, *sequence)),
                MissingKey::Memberships(user) => keys.push(keys::membership_count(user)),
                MissingKey::Contact(user, of) => keys.push(keys::contact(user, of)),
                MissingKey::Recalled((id, sequence)) => keys.push(keys::message(*id, *sequence)),
                MissingKey::Copies(_) | MissingKey::Media(..) => {}
            }
        }
        let mut found = context.store.multi_get(&keys).await?.into_iter();
        let mut next = || found.next().flatten();
        for need in needs.drain(..) {
            match need {
                MissingKey::User(user) => {
                    let record = next().and_then(|value| decoded::<UserRecord>("user", &user, &value));
                    self.cache.insert_user(user, record);
                }
                MissingKey::Pair(pair) => {
                    let id = next().as_deref().and_then(keys::parse_counter).map(ConversationId::new);
                    self.cache.insert_pair(pair, id);
                }
                MissingKey::Memberships(user) => {
                    let crowd = next().as_deref().and_then(keys::parse_crowd).unwrap_or_default();
                    self.cache.insert_membership_count(user, crowd);
                }
                MissingKey::Contact(user, of) => {
                    let is_contact = next().is_some();
                    self.cache.insert_contact(user, of, is_contact);
                }
                MissingKey::Recalled(place) => {
                    let row = next().and_then(|row| Entry::decode(row).ok());
                    self.cache.set_recalled(place, row.is_some_and(|row| row.kind == EntryKind::Recalled));
                }
                MissingKey::Copies(place) => self.read_traces(context, place).await?,
                MissingKey::Media(id, user) => {
                    let file = access::shareable(&context.store, id, &user, context.now_s).await?;
                    self.cache.insert_media(id, user, file);
                }
                MissingKey::Holders(place) => {
                    let record = next().filter(|value| value.len() >= EXPIRY_BYTES);
                    let record = record.and_then(|value| decoded("holders", &place.0, &value[EXPIRY_BYTES..]));
                    self.cache.insert_holders(place, record);
                }
                MissingKey::Conversation(id) => {
                    let (record, state) = (next(), next());
                    let record = record.and_then(|value| decoded::<ConversationRecord>("conversation", &id, &value));
                    let state = state.and_then(|value| decoded::<StateRecord>("state", &id, &value));
                    let conversation =
                        record.zip(state).and_then(|(record, state)| Conversation::from_records(id, &record, &state));
                    self.cache.insert_conversation(id, conversation);
                }
            }
        }
        Ok(())
    }

    /// The stored user, read if it is not known.
    pub(in crate::lane) async fn user_record<S: Store>(
        &mut self,
        context: &Context<S>,
        id: &UserId,
    ) -> Result<Option<UserRecord>, StoreError> {
        if !self.cache.knows_user(id) {
            self.read(context, &mut vec![MissingKey::User(id.clone())]).await?;
        }
        Ok(self.cache.user(id).map(|user| user.record.clone()))
    }

    /// Reads those of the users that are not known.
    pub(in crate::lane) async fn read_users<'a, S: Store>(
        &mut self,
        context: &Context<S>,
        users: impl Iterator<Item = &'a UserId>,
    ) -> Result<(), StoreError> {
        let unknown = users.filter(|user| !self.cache.knows_user(user)).map(|user| MissingKey::User(user.clone()));
        let mut needs: Vec<_> = unknown.collect();
        self.read(context, &mut needs).await
    }
}
