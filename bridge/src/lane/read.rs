//! Step two of a round: what commands need and the lane does not know yet is read in as few calls as possible.

use bytes::Bytes;
use godwit_core::conversation::Conversation;
use godwit_core::load::Load;
use godwit_core::record::{ConversationRecord, StateRecord, UserRecord};
use godwit_core::world::Need;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, UserId};
use godwit_schemas::partition::{PARTITIONS, Partition};
use prost::Message;
use tracing::error;

use super::Lane;
use crate::media::access;
use crate::phone::Names;
use crate::store::{Durability, EXPIRY_BYTES, Row, Store, StoreError, Table, keys};
use crate::writes;

/// Numbers given so far, as stored.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub(crate) conversations: [u64; PARTITIONS as usize],
    pub(crate) devices: [u64; PARTITIONS as usize],
    pub(crate) last_order: Order,
    /// Of this bridge, the one under way counted.
    pub(crate) starts: u64,
    /// Made once for ever.
    pub(crate) phone_names: Names,
    /// What waits in inboxes that have much.
    pub(crate) backlogs: Vec<(DeviceId, Load)>,
}

impl Counters {
    /// Reads them, and counts this start. Durable when it returns.
    pub(crate) async fn begin<S: Store>(store: &S) -> Result<Self, StoreError> {
        let counters = async |key: fn(Partition) -> keys::Key| {
            let keys: Vec<_> = Partition::all().map(key).collect();
            let found = store.multi_get(&keys).await?;
            let mut numbers = [0; PARTITIONS as usize];
            for (number, value) in numbers.iter_mut().zip(found) {
                *number = value.as_deref().and_then(keys::parse_counter).unwrap_or(0);
            }
            Ok::<_, StoreError>(numbers)
        };
        let found = store.multi_get(&[keys::last_order(), keys::starts()]).await?;
        let mut found = found.into_iter().map(|value| value.as_deref().and_then(keys::parse_counter).unwrap_or(0));
        let last_order = Order::new(found.next().unwrap_or(0));
        let starts = found.next().unwrap_or(0) + 1;
        store.commit(vec![writes::set(keys::starts(), Some(writes::counter(starts)))], Durability::Synced).await?;
        Ok(Self {
            conversations: counters(keys::conversation_counter).await?,
            devices: counters(keys::device_counter).await?,
            last_order,
            starts,
            phone_names: phone_names(store).await?,
            backlogs: backlogs(store).await?,
        })
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Afterwards every command of this round can be decided.
    pub(super) async fn read_for_commands(&mut self) -> Result<(), StoreError> {
        let mut needs = Vec::new();
        loop {
            for command in &self.commands {
                self.world.needs(command, &mut needs);
            }
            if needs.is_empty() {
                return Ok(());
            }
            self.read(&mut needs).await?;
        }
    }

    async fn read(&mut self, needs: &mut Vec<Need>) -> Result<(), StoreError> {
        let mut keys = Vec::with_capacity(needs.len());
        for need in needs.iter() {
            match need {
                Need::User(user) => keys.push(keys::user(user)),
                Need::Pair((low, high)) => keys.push(keys::pair(low, high)),
                Need::Conversation(id) => keys.extend([keys::conversation(*id), keys::state(*id)]),
                Need::Holders((id, sequence)) => keys.push(keys::holders(*id, *sequence)),
                Need::Memberships(user) => keys.push(keys::membership_count(user)),
                Need::Traces(_) | Need::Media(..) => {}
            }
        }
        let mut found = self.store.multi_get(&keys).await?.into_iter();
        let mut next = || found.next().flatten();
        for need in needs.drain(..) {
            match need {
                Need::User(user) => {
                    let record = next().and_then(|value| decoded::<UserRecord>("user", &user, &value));
                    self.world.found_user(user, record);
                }
                Need::Pair(pair) => {
                    let id = next().as_deref().and_then(keys::parse_counter).map(ConversationId::new);
                    self.world.found_pair(pair, id);
                }
                Need::Memberships(user) => {
                    let count = next().as_deref().and_then(keys::parse_counter).unwrap_or(0);
                    self.world.found_memberships(user, u32::try_from(count).unwrap_or(u32::MAX));
                }
                Need::Traces(place) => self.read_traces(place).await?,
                Need::Media(id, user) => {
                    let file = access::shareable(&self.store, id, &user, self.now_s).await?;
                    self.world.found_media(id, user, file);
                }
                Need::Holders(place) => {
                    let record = next().filter(|value| value.len() >= EXPIRY_BYTES);
                    let record = record.and_then(|value| decoded("holders", &place.0, &value[EXPIRY_BYTES..]));
                    self.world.found_holders(place, record);
                }
                Need::Conversation(id) => {
                    let (record, state) = (next(), next());
                    let record = record.and_then(|value| decoded::<ConversationRecord>("conversation", &id, &value));
                    let state = state.and_then(|value| decoded::<StateRecord>("state", &id, &value));
                    let conversation =
                        record.zip(state).and_then(|(record, state)| Conversation::from_records(id, &record, &state));
                    self.world.found_conversation(id, conversation);
                }
            }
        }
        Ok(())
    }

    /// The stored user, read if it is not known.
    pub(super) async fn user_record(&mut self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        if !self.world.knows_user(id) {
            self.read(&mut vec![Need::User(id.clone())]).await?;
        }
        Ok(self.world.user(id).map(|user| user.record.clone()))
    }

    /// Reads those of the users that are not known.
    pub(super) async fn read_users<'a>(&mut self, users: impl Iterator<Item = &'a UserId>) -> Result<(), StoreError> {
        let unknown = users.filter(|user| !self.world.knows_user(user)).map(|user| Need::User(user.clone()));
        let mut needs: Vec<_> = unknown.collect();
        self.read(&mut needs).await
    }

    /// Conversations of a user.
    pub(super) async fn memberships(&mut self, user: &UserId) -> Result<Vec<ConversationId>, StoreError> {
        let (mut from, to) = keys::memberships(user);
        let mut found = Vec::new();
        loop {
            let rows = self.store.scan(Table::Conversations, &from, &to, 1_000, usize::MAX).await?;
            found.extend(rows.iter().filter_map(|(key, _)| keys::parse_membership(key)));
            let Some((last, _)) = rows.last().filter(|_| rows.len() == 1_000) else { return Ok(found) };
            from = keys::behind(last);
        }
    }
}

async fn phone_names<S: Store>(store: &S) -> Result<Names, StoreError> {
    let stored = store.multi_get(&[keys::phone_secret()]).await?.pop().flatten();
    if let Some(secret) = stored.as_deref().and_then(|value| value.try_into().ok()) {
        return Ok(Names::new(secret));
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| StoreError { doing: "draw random bits", cause: error.to_string() })?;
    let write = writes::set(keys::phone_secret(), Some(Bytes::copy_from_slice(&secret)));
    store.commit(vec![write], Durability::Synced).await?;
    Ok(Names::new(secret))
}

async fn backlogs<S: Store>(store: &S) -> Result<Vec<(DeviceId, Load)>, StoreError> {
    let (mut from, to) = keys::backlogs();
    let mut found = Vec::new();
    loop {
        let rows = store.scan(Table::Directory, &from, &to, 1_000, usize::MAX).await?;
        let parsed = |(key, value): &Row| Some((keys::parse_backlog(key)?, keys::parse_load(value)?));
        found.extend(rows.iter().filter_map(parsed));
        let Some((last, _)) = rows.last().filter(|_| rows.len() == 1_000) else { return Ok(found) };
        from = keys::behind(last);
    }
}

/// A stored record; damage is reported and taken for absence.
pub(crate) fn decoded<T: Message + Default>(what: &str, of: &dyn std::fmt::Display, value: &[u8]) -> Option<T> {
    match T::decode(value) {
        Ok(record) => Some(record),
        Err(error) => {
            error!(%of, %error, "damaged {what} record");
            None
        }
    }
}
