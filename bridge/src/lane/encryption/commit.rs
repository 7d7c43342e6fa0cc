//! Commits of MLS groups on their way: from the caller's lane to the conversation's, from there beside it to be checked, and back to
//! be decided (`godwit_core::decide`).

use godwit_core::call::MlsCall;
use godwit_core::command::{Command, GroupCommit};
use godwit_core::mls::{CheckedGroup, CheckedLeaf};
use godwit_core::refusal;
use godwit_core::stored::MlsGroupRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};
use sha2::{Digest as _, Sha256};

use super::fingerprint;
use crate::audit::Actor;
use crate::encryption::checker::Checker;
use crate::encryption::{HandedIn, Invalid, LeafOf, MlsGroupId, NextGroup, PublicGroup, Validator, WelcomeTo};
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::messages::LaneMessage;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

/// Longest commit in bytes.
const COMMIT_BYTES_MAX: usize = 64 << 10;
/// Longest group info or welcome in bytes.
const INFO_BYTES_MAX: usize = 8 << 10;
/// Of all that is handed in together.
const BYTES_MAX: usize = 1 << 20;

impl<S: Store, B: Bus> Lane<S, B> {
    /// A call about a conversation's MLS group.
    pub(in crate::lane) async fn mls_call(&mut self, caller: CallContext, call: MlsCall) -> Result<(), StoreError> {
        if self.encryption.checker.is_none() {
            self.context.refuse(caller, refusal::NO_ENCRYPTION_HERE);
            return Ok(());
        }
        match call {
            MlsCall::CommitGroup(call) => self.commit_group(caller, call),
            MlsCall::GetGroup(call) => self.context.get_group(caller, &call).await?,
        }
        Ok(())
    }

    fn commit_group(&mut self, caller: CallContext, call: client::CommitGroup) {
        let sizes = call.welcomes.iter().map(|it| it.welcome.len()).chain([call.group_info.len()]);
        let is_small = call.commit.len() <= COMMIT_BYTES_MAX && sizes.clone().all(|bytes| bytes <= INFO_BYTES_MAX);
        if !is_small || sizes.sum::<usize>() + call.commit.len() + call.tree.len() > BYTES_MAX {
            return self.context.refuse(caller, refusal::COMMIT_TOO_LARGE);
        }
        let CallContext { origin, id, correlation, .. } = caller;
        let hash = Sha256::new().chain_update(&call.commit).chain_update(&call.group_info).chain_update(&call.tree);
        let hash = hash.finalize().into();
        let commit = GroupCommit { origin, id, correlation, call, hash, checked: None };
        self.dispatch(Command::Commit(Box::new(commit)));
    }

    /// This lane has the conversation: the commit is checked against its group as it is on disk, which is that of the epoch
    /// that the commit was made in, unless it is in vain.
    pub(in crate::lane) async fn check_commit(&mut self, mut commit: Box<GroupCommit>) -> Result<(), StoreError> {
        let id = commit.conversation();
        let stored = match commit.founds() {
            true => None,
            false => self.context.store.multi_get(&[keys::mls_group(id)]).await?.pop().flatten(),
        };
        let stored = stored.and_then(|it| decoded::<MlsGroupRecord>("MLS group", &id, &it));
        let checker = self.encryption.checker.clone();
        let Some(slot) = checker.as_ref().and_then(Checker::slot) else {
            let GroupCommit { origin, id, correlation, .. } = *commit;
            let caller = CallContext { origin, id, correlation, by: Actor::User };
            self.context.then_answer(caller, refusal::TOO_MANY_CHECKS_WAIT.to_response())();
            return Ok(());
        };
        let this_lane = self.context.lanes[self.context.number as usize].clone();
        let (call, now_s) = (commit.call.clone(), self.context.now_s);
        let check = move |validator: &dyn Validator| check(validator, stored, call, now_s);
        slot.check(check, move |checked| {
            commit.checked = Some(checked.map_err(|Invalid(text)| text));
            // If it is gone the server is ending.
            let _ = this_lane.send(LaneMessage::Command(Command::Commit(commit)));
        });
        Ok(())
    }
}

/// Beside the lane.
fn check(
    validator: &dyn Validator,
    stored: Option<MlsGroupRecord>,
    call: client::CommitGroup,
    now_s: u32,
) -> Result<CheckedGroup, Invalid> {
    let welcome = |it: client::Welcome| {
        let (user, device) = (UserId::new(&it.user).ok()?, DeviceName::new(&it.device).ok()?);
        Some(WelcomeTo { user, device, welcome: it.welcome })
    };
    let welcomes = call.welcomes.into_iter().map(welcome).collect::<Option<_>>();
    let welcomes = welcomes.ok_or(Invalid("a welcome for nobody"))?;
    let client::CommitGroup { conversation, commit, group_info, tree, generation, .. } = call;
    let founds = commit.is_empty();
    let handed_in = HandedIn { tree, commit, group_info, welcomes };
    let next = if founds {
        let id = MlsGroupId { conversation: ConversationId::new(conversation), generation };
        validator.found(id, &handed_in, now_s)?
    } else {
        let MlsGroupRecord { state, tree, .. } = stored.ok_or(Invalid("there is no group"))?;
        validator.commit(&PublicGroup { state, tree }, &handed_in, now_s)?
    };
    let NextGroup { group: PublicGroup { state, tree }, epoch, leaves, committer, added } = next;
    let leaves = leaves.into_iter().map(checked_leaf).collect();
    Ok(CheckedGroup { epoch, state, tree, leaves, committer: checked_leaf(committer), added })
}

fn checked_leaf(LeafOf { user, device, certificate }: LeafOf) -> CheckedLeaf {
    CheckedLeaf { user, device, certificate: fingerprint(&certificate) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::encryption::played::PlayedValidator;

    #[test]
    fn a_founded_group_is_checked_by_what_was_handed_in() {
        let call = client::CommitGroup {
            conversation: 65,
            group_info: Bytes::from_static(b"info 65 0 1"),
            tree: Bytes::from_static(b"cert alice phone k1 0"),
            ..Default::default()
        };
        let checked = check(&PlayedValidator, None, call.clone(), 0).unwrap();
        assert_eq!((checked.epoch, checked.leaves.len(), checked.committer.user.as_str()), (1, 1, "alice"));
        let elsewhere = client::CommitGroup { conversation: 66, ..call.clone() };
        assert!(check(&PlayedValidator, None, elsewhere, 0).is_err());
        let commit = client::CommitGroup { commit: Bytes::from_static(b"commit 1"), ..call };
        assert!(check(&PlayedValidator, None, commit, 0).is_err(), "there is no group");
    }
}
