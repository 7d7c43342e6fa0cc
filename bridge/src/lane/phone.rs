//! Messages to phone numbers, and who has which. A number belongs to the lane of the user that would wait for it
//! ([`crate::phone`]): there it is decided whether a message goes to whoever has registered or waits, and a user claims
//! it. A sender's lane looks first, and passes on what is not simple.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use godwit_core::command::{Command, Draft, Origin, To};
use godwit_core::outcome::{Effect, EffectKind};
use godwit_core::record::{DeviceRecord, UserRecord};
use godwit_core::world::World;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::reason::Reason;
use tokio::sync::oneshot;

use super::Lane;
use super::account::Refused;
use super::users::{AfterRemoval, answer};
use crate::admin::AdminError;
use crate::audit::By;
use crate::mail::{AdminRequest, Done, Mail, Reply, Then, ToPhone};
use crate::phone::{self, Names, PhoneHash};
use crate::store::{Store, StoreError, keys};
use crate::writes;

/// Most numbers in one call.
const LOOKUP_MAX: usize = 1_000;
/// What the first message to a number that nobody has costs, in lookups: it makes a user.
const NEW_USER_COST: u32 = 50;
const DAY_S: u32 = 24 * 3_600;

const BAD_HASH: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "1 to 1,000 hashes of 32 bytes");
const TOO_MANY: Refused = (Reason::QUOTA_EXCEEDED, "too many phone numbers today");

/// What a lane knows of phone numbers. In memory only.
pub(super) struct Phones {
    names: Names,
    /// Messages to numbers whose user is just being made, or changes.
    held: BTreeMap<PhoneHash, Vec<ToPhone>>,
    /// The day, and the lookups of this lane's users in it.
    spent: (u32, HashMap<UserId, u32>),
}

impl Phones {
    pub(super) fn new(names: Names) -> Self {
        Self { names, held: BTreeMap::new(), spent: (0, HashMap::new()) }
    }

    /// Takes `cost` lookups from what the user may do today. False if there are not so many left.
    fn spend(&mut self, user: &UserId, cost: u32, most: u32, now_s: u32) -> bool {
        let day = now_s / DAY_S;
        if self.spent.0 != day {
            self.spent = (day, HashMap::new());
        }
        let spent = self.spent.1.entry(user.clone()).or_default();
        let after = spent.saturating_add(cost);
        let enough = after <= most;
        if enough {
            *spent = after;
        }
        enough
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// A message to a number, in the sender's lane.
    pub(super) async fn post_to_phone(
        &mut self,
        origin: Origin,
        number: PhoneNumber,
        draft: Draft,
    ) -> Result<(), StoreError> {
        let hash = phone::hash(number);
        if let Some(user) = self.registered(&hash).await? {
            self.dispatch(Command::Post { origin, to: To::User(user), draft });
            return Ok(());
        }
        let waiting = self.phones.names.of(&hash);
        let most = self.settings.phone_lookups_per_day;
        if self.user_record(&waiting).await?.is_none()
            && !self.phones.spend(&origin.user, NEW_USER_COST, most, self.now_s)
        {
            self.refuse_post(origin, TOO_MANY);
            return Ok(());
        }
        let lane = self.lane_of(&waiting);
        let _ = self.lanes[lane as usize].send(Mail::ToPhone(ToPhone { hash, origin, draft }));
        Ok(())
    }

    fn refuse_post(&self, origin: Origin, (reason, text): Refused) {
        let Some(to) = origin.reply_to else { return };
        let (conversation, sequence) = Default::default();
        let kind = EffectKind::Published { to, reason, text, conversation, sequence };
        let effect = Effect { partition: Partition::of_user(&origin.user), device: origin.device, kind };
        // In the next round: the publish is still being taken.
        self.then_mail(move || Mail::Effects(vec![effect]))();
    }

    /// Who has registered with a number.
    pub(super) async fn registered(&mut self, hash: &PhoneHash) -> Result<Option<UserId>, StoreError> {
        let owner = self.store.multi_get(&[keys::phone(hash)]).await?.pop().flatten();
        let Some(owner) = owner.as_deref().and_then(parse_owner) else { return Ok(None) };
        // One that has been removed may have left it behind.
        Ok(self.user_record(&owner).await?.map(|_| owner))
    }

    /// A message to a number, in the number's lane.
    pub(super) async fn post_to_owner(&mut self, message: ToPhone) -> Result<(), StoreError> {
        if let Some(held) = self.phones.held.get_mut(&message.hash) {
            held.push(message);
            return Ok(());
        }
        let ToPhone { hash, origin, draft } = message;
        let user = match self.registered(&hash).await? {
            Some(user) => user,
            None => {
                let waiting = self.phones.names.of(&hash);
                if self.user_record(&waiting).await?.is_none() {
                    self.phones.held.insert(hash, vec![ToPhone { hash, origin, draft }]);
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
        let id = self.allocate_device(Partition::of_user(&user)).get();
        let record = UserRecord {
            devices: vec![DeviceRecord { id, ..Default::default() }],
            waiting: true,
            ..Default::default()
        };
        let ready = self.then_phone_ready(hash);
        self.change_user(user, Some(record), ready);
    }

    fn then_phone_ready(&self, hash: PhoneHash) -> Then {
        self.then_mail(move || Mail::PhoneReady(hash))
    }

    /// What is held goes on, in its order.
    pub(super) async fn phone_ready(&mut self, hash: PhoneHash) -> Result<(), StoreError> {
        for message in self.phones.held.remove(&hash).unwrap_or_default() {
            self.post_to_owner(message).await?;
        }
        Ok(())
    }

    /// Somebody is to have the number: messages to it are held from here on.
    pub(super) async fn claim_phone(
        &mut self,
        hash: PhoneHash,
        user: &UserId,
    ) -> Result<Result<(), AdminError>, StoreError> {
        if self.phones.held.contains_key(&hash) {
            return Ok(Err(AdminError::PhoneBusy));
        }
        if self.registered(&hash).await?.is_some_and(|owner| owner != *user) {
            return Ok(Err(AdminError::PhoneTaken));
        }
        self.phones.held.insert(hash, Vec::new());
        Ok(Ok(()))
    }

    /// Tells whose inbox `user` is to get, who claims the number: left behind by an earlier attempt, or of the user that
    /// waits, which is removed for that.
    pub(super) async fn next_waiting(
        &mut self,
        hash: PhoneHash,
        user: &UserId,
        reply: Reply<Option<DeviceId>>,
    ) -> Result<(), StoreError> {
        let left = self.store.multi_get(&[keys::phone_inbox(&hash)]).await?.pop().flatten();
        if let Some(device) = left.as_deref().and_then(keys::parse_counter) {
            answer(reply, Ok(Some(DeviceId::new(device))));
            return Ok(());
        }
        let waiting = self.phones.names.of(&hash);
        match self.changeable(&waiting).await? {
            Ok(record) if record.waiting && waiting != *user => {
                self.remove_user(waiting, AfterRemoval::HandOver(hash, reply)).await?;
            }
            Ok(_) | Err(AdminError::NoUser(_)) => answer(reply, Ok(None)),
            Err(error) => answer(reply, Err(error)),
        }
        Ok(())
    }

    /// The user that waited is going: in the commit that removes it is kept whose inbox it leaves behind. Tells that when
    /// all lanes know, and what they decided before is on disk.
    pub(super) fn then_hand_over(
        &mut self,
        hash: PhoneHash,
        device: Option<DeviceId>,
        reply: Reply<Option<DeviceId>>,
    ) -> Then {
        let left = device.map(|device| writes::counter(device.get()));
        self.next.writes.push(writes::set(keys::phone_inbox(&hash), left));
        self.then_mail(move || Mail::Flush(Box::new(move || answer(reply, Ok(device)))))
    }

    /// What was in the inbox has gone elsewhere.
    pub(super) async fn handed_over(
        &mut self,
        hash: PhoneHash,
        device: DeviceId,
        then: Then,
    ) -> Result<(), StoreError> {
        self.next.writes.push(writes::set(keys::phone_inbox(&hash), None));
        self.erase(vec![device], then).await
    }

    /// Whose the number is from here on; `None`: as before. What is held goes on, then `then`.
    pub(super) fn settle_phone(&mut self, hash: PhoneHash, owner: Option<&UserId>, then: Then) {
        let ready = self.then_phone_ready(hash);
        let done = move || {
            ready();
            then();
        };
        let Some(owner) = owner else { return done() };
        let value = Bytes::copy_from_slice(owner.as_str().as_bytes());
        self.next.writes.push(writes::set(keys::phone(&hash), Some(value)));
        self.when_durable(Done::Then(Box::new(done)));
    }

    pub(super) async fn release_phone(&mut self, hash: PhoneHash, user: &UserId, then: Then) -> Result<(), StoreError> {
        let owner = self.store.multi_get(&[keys::phone(&hash)]).await?.pop().flatten();
        if owner.as_deref().and_then(parse_owner).as_ref() == Some(user) {
            self.next.writes.push(writes::set(keys::phone(&hash), None));
        }
        self.when_durable(Done::Then(then));
        Ok(())
    }

    /// The user goes: somebody else may have its number. If this is lost, a number whose user is no more counts as free.
    pub(super) fn give_back_phone(&self, record: &UserRecord, user: &UserId) {
        let Ok(hash) = PhoneHash::try_from(&record.phone_sha256[..]) else { return };
        let lane = self.lane_of(&self.phones.names.of(&hash));
        let request = AdminRequest::ReleasePhone(hash, user.clone(), oneshot::channel().0);
        let _ = self.lanes[lane as usize].send(Mail::Admin(By::Administrator, request));
    }

    /// Which of some hashed numbers are users'. Whoever has not registered is known to who has written to it already.
    pub(super) async fn look_up_phones(
        &mut self,
        user: &UserId,
        call: &client::LookUpPhones,
    ) -> Result<Result<client::Response, Refused>, StoreError> {
        let hashes: Option<Vec<PhoneHash>> = call.sha256.iter().map(|hash| hash[..].try_into().ok()).collect();
        let Some(hashes) = hashes.filter(|hashes| (1..=LOOKUP_MAX).contains(&hashes.len())) else {
            return Ok(Err(BAD_HASH));
        };
        let most = self.settings.phone_lookups_per_day;
        if !self.phones.spend(user, hashes.len() as u32, most, self.now_s) {
            return Ok(Err(TOO_MANY));
        }
        let owners = self.store.multi_get(&hashes.iter().map(keys::phone).collect::<Vec<_>>()).await?;
        let pairs = hashes.iter().map(|hash| {
            let (low, high) = World::pair(user, &self.phones.names.of(hash));
            keys::pair(&low, &high)
        });
        let written_to = self.store.multi_get(&pairs.collect::<Vec<_>>()).await?;
        let mut found = Vec::new();
        for ((hash, owner), written_to) in hashes.iter().zip(owners).zip(written_to) {
            let owner = owner.as_deref().and_then(parse_owner);
            let waiting = owner.is_none() && written_to.is_some();
            if let Some(user) = owner.or_else(|| waiting.then(|| self.phones.names.of(hash))) {
                let sha256 = Bytes::copy_from_slice(hash);
                found.push(client::FoundPhone { sha256, user: user.to_string(), waiting });
            }
        }
        Ok(Ok(client::Response { found, ..Default::default() }))
    }
}

fn parse_owner(value: &[u8]) -> Option<UserId> {
    UserId::new(std::str::from_utf8(value).ok()?).ok()
}
