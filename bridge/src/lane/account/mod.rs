//! Users of this lane: their records, devices, contacts, profiles and phone numbers.

use std::collections::{BTreeMap, BTreeSet};

use godwit_core::stored::UserRecord;
use godwit_schemas::ids::DeviceId;
use godwit_schemas::ids::UserId;
use godwit_schemas::partition::Partitions;

use self::contacts::Contacts;
use self::phone::Phones;
use self::push::UnsettledPushes;
use self::removal::Removal;
use crate::admin::AdminError;
use crate::lane::context::Context;
use crate::lane::round::Round;
use crate::lane::state::State;
use crate::media::MediaHandle;
use crate::phone::PhoneNames;
use crate::writes;
use godwit_store::{Store, StoreError, keys};

pub(in crate::lane) mod caller;
pub(in crate::lane) mod calls;
pub(in crate::lane) mod contact_calls;
pub(in crate::lane) mod contacts;
pub(in crate::lane) mod media;
pub(in crate::lane) mod mutes;
pub(in crate::lane) mod password;
pub(in crate::lane) mod phone;
pub(in crate::lane) mod phone_messages;
pub(in crate::lane) mod picture;
pub(in crate::lane) mod profile;
pub(in crate::lane) mod push;
pub(in crate::lane) mod removal;
pub(in crate::lane) mod remove_user;
pub(in crate::lane) mod users;
pub(in crate::lane) mod window;

/// Changes of users that are under way.
pub(in crate::lane) struct Accounts {
    removals: BTreeMap<UserId, Removal>,
    /// Users that are no more, and of whom not everything is cleared away yet.
    being_forgotten: BTreeSet<UserId>,
    pub(in crate::lane) phones: Phones,
    contacts: Contacts,
    /// The last device that was made in each partition.
    last_device: Vec<u64>,
    partitions: Partitions,
    /// Absent: there is no object store.
    media: Option<MediaHandle>,
    /// Where devices are pushed, as far as it is not on disk yet.
    pushes: UnsettledPushes,
}

impl Accounts {
    /// The user is on its way out: nothing more is taken from it.
    pub(in crate::lane) fn is_being_removed(&self, user: &UserId) -> bool {
        self.removals.contains_key(user)
    }

    /// The user is no more, and not everything of it is cleared away yet.
    pub(in crate::lane) fn is_being_forgotten(&self, user: &UserId) -> bool {
        self.being_forgotten.contains(user)
    }

    /// Nobody can take the user's name until everything of it is cleared away.
    pub(in crate::lane) fn forgets(&mut self, user: UserId) {
        self.being_forgotten.insert(user);
    }

    pub(in crate::lane) fn new(
        names: PhoneNames,
        partitions: Partitions,
        last_device: Vec<u64>,
        media: Option<MediaHandle>,
    ) -> Self {
        Self {
            removals: BTreeMap::new(),
            being_forgotten: BTreeSet::new(),
            phones: Phones::new(names),
            contacts: Contacts::default(),
            last_device,
            partitions,
            media,
            pushes: UnsettledPushes::default(),
        }
    }

    pub(in crate::lane) async fn changeable<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &mut State,
        user: &UserId,
    ) -> Result<Result<UserRecord, AdminError>, StoreError> {
        if self.removals.contains_key(user) {
            return Ok(Err(AdminError::BeingRemoved(user.clone())));
        }
        Ok(state.user_record(context, user).await?.ok_or_else(|| AdminError::NoUser(user.clone())))
    }

    /// A number for a new device of the user. The next commit counts it.
    pub(in crate::lane) fn allocate_device(&mut self, round: &mut Round, user: &UserId) -> DeviceId {
        let partition = self.partitions.of_user(user);
        let last = &mut self.last_device[usize::from(partition.get())];
        *last += 1;
        round.write(writes::set(keys::device_counter(partition), Some(writes::counter(*last))));
        DeviceId::new(self.partitions.number(partition, *last))
    }
}
