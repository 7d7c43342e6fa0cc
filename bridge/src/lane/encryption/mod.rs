//! What users leave with the server so that others' devices can encrypt to theirs, and what they keep there for their own: keys,
//! identities, vaults. A user's own lane alone writes that. Calls that would read what an earlier call has not got to disk yet
//! wait here, so a key package is given to one claimer, and a row of a vault is put once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use godwit_core::call::{EncryptionCall, RoutedCall};
use godwit_core::keys::Ticket;
use godwit_core::refusal;
use godwit_core::stored::UserRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::UserId;
use sha2::{Digest as _, Sha256};

use self::claim::Claims;
use crate::encryption::checker::Checker;
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::lane::query::slices::SliceJob;
use crate::lane::query::turns::TurnOwner;
use crate::lane::round::Round;
use crate::messages::{AfterCommit, Continuation, Encryption as EncryptionMessage, LaneMessage};
use godwit_store::{Store, StoreError};

pub(in crate::lane) mod claim;
pub(in crate::lane) mod commit;
pub(in crate::lane) mod group;
pub(in crate::lane) mod identity;
pub(in crate::lane) mod link;
pub(in crate::lane) mod publish;
pub(in crate::lane) mod vault;

/// What is under way.
pub(in crate::lane) struct Encryption {
    /// Users of whom something is being checked, or changed by a commit that is not on disk yet.
    busy: BTreeMap<UserId, Busy>,
    /// Those with a commit, by it.
    by_ticket: BTreeSet<(Ticket, UserId)>,
    claims: Claims,
    /// Absent: conversations cannot be encrypted.
    checker: Option<Checker>,
}

#[derive(Default)]
struct Busy {
    /// `None`: it is being checked.
    ticket: Option<Ticket>,
    /// Of each device so many calls as it may have under way, and of each claimer likewise.
    waiting: VecDeque<Waiting>,
}

enum Waiting {
    Call(Box<(CallContext, EncryptionCall)>),
    Claim(Box<CallContext>, UserId),
}

impl Encryption {
    pub(in crate::lane) fn new(checker: Option<Checker>) -> Self {
        Self { busy: BTreeMap::new(), by_ticket: BTreeSet::new(), claims: Claims::default(), checker }
    }

    /// Until that is over, other calls about the user's keys wait.
    fn begin(&mut self, user: &UserId) {
        self.busy.entry(user.clone()).or_default();
    }

    /// What was written of a user's keys gets on disk; then.
    fn settle(&mut self, round: &mut Round, user: &UserId, then: Continuation) {
        let ticket = round.next_ticket();
        self.busy.entry(user.clone()).or_default().ticket = Some(ticket);
        self.by_ticket.insert((ticket, user.clone()));
        round.when_durable(AfterCommit::Then(then));
    }
}

impl<S: Store> Context<S> {
    /// Answers in the lane of the caller, which may be another.
    fn then_answer(&self, caller: CallContext, response: client::Response) -> Continuation {
        let lane = self.lanes[self.lane_of(&caller.origin.user) as usize].clone();
        Box::new(move || {
            // If it is gone the server is ending.
            let _ = lane.send(LaneMessage::Effects(caller.answer(response)));
        })
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// A call about the caller's keys, or others'.
    pub(in crate::lane) async fn encryption_call(
        &mut self,
        caller: CallContext,
        record: UserRecord,
        call: EncryptionCall,
    ) -> Result<Option<SliceJob>, StoreError> {
        if self.context.settings.encryption.is_none() {
            self.context.refuse(caller, refusal::NO_ENCRYPTION_HERE);
            return Ok(None);
        }
        if let Some(busy) = self.encryption.busy.get_mut(&caller.origin.user) {
            busy.waiting.push_back(Waiting::Call(Box::new((caller, call))));
            return Ok(None);
        }
        match call {
            EncryptionCall::PublishKeys(call) => self.publish_keys(caller, &record, call).await?,
            EncryptionCall::ClaimKeys(call) => self.claim_keys(caller, &call),
            EncryptionCall::GetIdentity(call) => {
                let room = self.connections.room_of(&caller);
                self.context.get_identity(caller, &call, room).await?;
            }
            EncryptionCall::PutVault(call) => self.put_vault(caller, call).await?,
            EncryptionCall::GetVault(call) => {
                let room = self.connections.room_of(&caller);
                self.context.get_vault(caller, &call, room).await?;
            }
            EncryptionCall::AcceptLink(call) => self.accept_link(caller, &record, call),
            EncryptionCall::TakeLink(call) => self.take_link(caller, &call).await?,
        }
        Ok(None)
    }

    pub(in crate::lane) async fn handle_encryption(&mut self, message: EncryptionMessage) -> Result<(), StoreError> {
        match message {
            EncryptionMessage::KeysChecked(caller, checked) => {
                let user = caller.origin.user.clone();
                self.keys_checked(*caller, checked).await?;
                if self.encryption.busy.get(&user).is_some_and(|busy| busy.ticket.is_none()) {
                    // It was refused.
                    self.go_on_with_keys_of(user).await?;
                }
            }
            EncryptionMessage::Claim(caller, user) => self.claim(*caller, user).await?,
        }
        Ok(())
    }

    /// A commit is on disk: what waited for it goes on, up to what changes something again.
    pub(in crate::lane) async fn go_on_with_keys(&mut self) -> Result<(), StoreError> {
        while let Some((ticket, _)) = self.encryption.by_ticket.first()
            && *ticket <= self.round.confirmed()
            && let Some((_, user)) = self.encryption.by_ticket.pop_first()
        {
            self.go_on_with_keys_of(user).await?;
        }
        Ok(())
    }

    async fn go_on_with_keys_of(&mut self, user: UserId) -> Result<(), StoreError> {
        let mut waiting = self.encryption.busy.remove(&user).unwrap_or_default().waiting;
        while let Some(next) = waiting.pop_front() {
            match next {
                Waiting::Call(waited) => {
                    let (caller, call) = *waited;
                    if let Some(rest) = self.call(caller, RoutedCall::Encryption(call)).await? {
                        self.requests.turns.push(TurnOwner::User(user.clone()), rest);
                    }
                }
                Waiting::Claim(caller, of) => self.claim(*caller, of).await?,
            }
            if let Some(again) = self.encryption.busy.get_mut(&user) {
                again.waiting.append(&mut waiting);
            }
        }
        Ok(())
    }
}

/// Tells certificates and key packages apart. Never 0.
fn fingerprint(bytes: &[u8]) -> u64 {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    hash.first_chunk::<8>().map_or(1, |first| u64::from_be_bytes(*first)).max(1)
}
