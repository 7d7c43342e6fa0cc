//! Messages to phone numbers, and who has which. A number belongs to the lane of the user that would wait for it
//! ([`crate::phone`]): there it is decided whether a message goes to whoever has registered or waits, and a user claims
//! it. A sender's lane looks first, and passes on what is not simple.
//!
//! Whoever asks whether somebody has a number pays for it, from one budget, and is told the same whatever the number: it is
//! the same call whether the number is registered, waits or was never heard of. A message to a number is such a question,
//! until it was asked once. So all that can be refused for other reasons is refused before the number is looked at.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use godwit_core::command::CommandOrigin;
use godwit_core::outcome::EffectKind;
use godwit_core::refusal::{self, Refusal};
use godwit_core::state_cache::StateCache;
use godwit_core::stored::UserRecord;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use tokio::sync::oneshot;

use crate::admin::AdminError;
use crate::audit::Actor;
use crate::lane::account::caller::answer;
use crate::lane::context::Context;
use crate::lane::query::page::ReadAnswer;
use crate::lane::round::Round;
use crate::lane::state::State;
use crate::messages::{AdminReply, AdminRequest, AfterCommit, Continuation, LaneMessage, ToPhone};
use crate::phone::{PhoneHash, PhoneNames};
use crate::writes;
use godwit_store::{Store, StoreError, keys};

/// Most numbers in one call.
pub(crate) const LOOKUP_MAX: usize = 1_000;
/// How many of them are looked up in one slice.
const LOOKUP_SLICE: usize = 100;
/// What a user's first message to a number costs, in lookups: it makes a user, or is a message from a stranger.
pub(in crate::lane) const FIRST_MESSAGE_COST: u32 = 50;
const DAY_S: u32 = 24 * 3_600;

/// What a lane knows of phone numbers. In memory only.
pub(in crate::lane) struct Phones {
    pub(super) names: PhoneNames,
    /// Messages to numbers whose user is just being made, or changes.
    pub(super) held: BTreeMap<PhoneHash, Vec<ToPhone>>,
    /// The day, and the lookups of this lane's users in it.
    spent: (u32, HashMap<UserId, u32>),
}

/// Numbers that are looked up, as far as they are.
pub(in crate::lane) struct LookUp {
    hashes: Vec<PhoneHash>,
    looked_up: usize,
    found: Vec<client::FoundPhone>,
}

impl Phones {
    pub(in crate::lane) fn new(names: PhoneNames) -> Self {
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

    /// Takes so many lookups from what a user may do today. An administrator may do what it likes.
    pub(super) fn pay<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        by: Actor,
        cost: u32,
    ) -> Result<(), Refusal> {
        let most = context.settings.phone_lookups_per_day;
        if by.is_administrator() || self.spend(user, cost, most, context.now_s) {
            Ok(())
        } else {
            Err(refusal::TOO_MANY_PHONE_NUMBERS)
        }
    }

    /// Somebody is to have the number: messages to it are held from here on.
    pub(in crate::lane) async fn claim_phone<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &mut State,
        hash: PhoneHash,
        user: &UserId,
    ) -> Result<Result<(), AdminError>, StoreError> {
        if self.held.contains_key(&hash) {
            return Ok(Err(AdminError::PhoneBusy));
        }
        if state.registered(context, &hash).await?.is_some_and(|owner| owner != *user) {
            return Ok(Err(AdminError::PhoneTaken));
        }
        self.held.insert(hash, Vec::new());
        Ok(Ok(()))
    }

    /// The user goes: somebody else may have its number. If this is lost, a number whose user is no more counts as free.
    pub(in crate::lane) fn give_back_phone<S: Store>(&self, context: &Context<S>, record: &UserRecord, user: &UserId) {
        let Ok(hash) = PhoneHash::try_from(&record.phone_sha256[..]) else { return };
        let lane = context.lane_of(&self.names.of(&hash));
        let request = AdminRequest::ReleasePhone(hash, user.clone(), oneshot::channel().0);
        context.send(lane, LaneMessage::Admin(Actor::Administrator, request));
    }

    /// Which of some hashed numbers are users'. Whoever has not registered is known to who has written to it already.
    pub(in crate::lane) fn look_up_phones<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        by: Actor,
        call: &client::LookUpPhones,
    ) -> Result<LookUp, Refusal> {
        let hashes: Option<Vec<PhoneHash>> = call.sha256.iter().map(|hash| hash[..].try_into().ok()).collect();
        let Some(hashes) = hashes.filter(|hashes| (1..=LOOKUP_MAX).contains(&hashes.len())) else {
            return Err(refusal::BAD_PHONE_HASHES);
        };
        self.pay(context, user, by, hashes.len() as u32)?;
        Ok(LookUp { hashes, looked_up: 0, found: Vec::new() })
    }

    /// A slice of it.
    pub(in crate::lane) async fn look_up_on<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        look_up: &mut LookUp,
    ) -> Result<ReadAnswer, StoreError> {
        let hashes = &look_up.hashes[look_up.looked_up..look_up.hashes.len().min(look_up.looked_up + LOOKUP_SLICE)];
        let owners = context.store.multi_get(&hashes.iter().map(keys::phone).collect::<Vec<_>>()).await?;
        let pairs = hashes.iter().map(|hash| {
            let (low, high) = StateCache::pair(user, &self.names.of(hash));
            keys::pair(&low, &high)
        });
        let written_to = context.store.multi_get(&pairs.collect::<Vec<_>>()).await?;
        for ((hash, owner), written_to) in hashes.iter().zip(owners).zip(written_to) {
            let owner = owner.as_deref().and_then(parse_owner);
            let waiting = owner.is_none() && written_to.is_some();
            if let Some(user) = owner.or_else(|| waiting.then(|| self.names.of(hash))) {
                let sha256 = Bytes::copy_from_slice(hash);
                look_up.found.push(client::FoundPhone { sha256, user: user.to_string(), waiting });
            }
        }
        look_up.looked_up += hashes.len();
        let over = look_up.looked_up == look_up.hashes.len();
        Ok(over.then(|| Ok(client::Response { found: std::mem::take(&mut look_up.found), ..Default::default() })))
    }
}

impl<S: Store> Context<S> {
    pub(in crate::lane) fn refuse_post(&self, origin: CommandOrigin, Refusal { reason, text }: Refusal) {
        let Some(to) = origin.reply_to else { return };
        let (conversation, sequence, repeated, mls_epoch) = (None, None, None, 0);
        let kind = EffectKind::Published { to, reason, text, conversation, sequence, repeated, mls_epoch };
        // In the next round: the publish is still being taken.
        self.then_send(move || LaneMessage::Effects(vec![kind]))();
    }

    pub(in crate::lane) fn then_phone_ready(&self, hash: PhoneHash) -> Continuation {
        self.then_send(move || LaneMessage::PhoneReady(hash))
    }
}

impl State {
    /// Who has registered with a number.
    pub(in crate::lane) async fn registered<S: Store>(
        &mut self,
        context: &Context<S>,
        hash: &PhoneHash,
    ) -> Result<Option<UserId>, StoreError> {
        let owner = context.store.multi_get(&[keys::phone(hash)]).await?.pop().flatten();
        self.still_there(context, owner).await
    }

    /// Whom the value of [`keys::phone`] names; one that has been removed may have left it behind.
    pub(in crate::lane) async fn still_there<S: Store>(
        &mut self,
        context: &Context<S>,
        owner: Option<Bytes>,
    ) -> Result<Option<UserId>, StoreError> {
        let Some(owner) = owner.as_deref().and_then(parse_owner) else { return Ok(None) };
        Ok(self.user_record(context, &owner).await?.map(|_| owner))
    }
}

impl Round {
    /// The user that waited is going: in the commit that removes it is kept whose inbox it leaves behind. Tells that when
    /// all lanes know, and what they decided before is on disk.
    pub(in crate::lane) fn then_hand_over<S: Store>(
        &mut self,
        context: &Context<S>,
        hash: PhoneHash,
        device: Option<DeviceId>,
        reply: AdminReply<Option<DeviceId>>,
    ) -> Continuation {
        let left = device.map(|device| writes::counter(device.get()));
        self.write(writes::set(keys::phone_inbox(&hash), left));
        context.then_send(move || LaneMessage::Flush(Box::new(move || answer(reply, Ok(device)))))
    }

    /// Whose the number is from here on; `None`: as before. What is held goes on, then `then`.
    pub(in crate::lane) fn settle_phone<S: Store>(
        &mut self,
        context: &Context<S>,
        hash: PhoneHash,
        owner: Option<&UserId>,
        then: Continuation,
    ) {
        let ready = context.then_phone_ready(hash);
        let done = move || {
            ready();
            then();
        };
        let Some(owner) = owner else { return done() };
        let value = Bytes::copy_from_slice(owner.as_str().as_bytes());
        self.write(writes::set(keys::phone(&hash), Some(value)));
        self.when_durable(AfterCommit::Then(Box::new(done)));
    }

    pub(in crate::lane) async fn release_phone<S: Store>(
        &mut self,
        context: &Context<S>,
        hash: PhoneHash,
        user: &UserId,
        then: Continuation,
    ) -> Result<(), StoreError> {
        let owner = context.store.multi_get(&[keys::phone(&hash)]).await?.pop().flatten();
        if owner.as_deref().and_then(parse_owner).as_ref() == Some(user) {
            self.write(writes::set(keys::phone(&hash), None));
        }
        self.when_durable(AfterCommit::Then(then));
        Ok(())
    }
}

fn parse_owner(value: &[u8]) -> Option<UserId> {
    UserId::new(std::str::from_utf8(value).ok()?).ok()
}
