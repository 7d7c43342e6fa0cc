//! Keys for end-to-end encryption, beside the engine: one task per client sees to it that the server has what others encrypt to
//! this device with, and that the device comes to be certified. Nothing it knows is lost with it: keys are in the ledger before
//! the server is handed what belongs to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use godwit_schemas::client::request::Call;
use godwit_schemas::client::{
    ClaimKeys, CommitGroup, GetGroup, GetIdentity, GetVault, MlsGroup, PublishKeys, PutVault, Response, TakeLink,
};
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};
use godwit_schemas::reason::Reason;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use crate::client::ask;
use crate::engine::{EngineCommand, EngineShared, now_s};
use crate::error::{EncryptionFailure, Error};
use crate::ledger::groups::{BrokenGroup, ClaimedPackage, GroupWork};
use crate::ledger::identity::{OwnState, PACKAGES};
use crate::network::backoff::Backoff;
use crate::status::Status;

/// How often a device that waits to be linked asks for the answer.
const LINK_POLL: Duration = Duration::from_secs(2);
/// How often it is looked whether the server has enough key packages.
const CHECK: Duration = Duration::from_secs(6 * 60 * 60);
/// How often it is looked whether an epoch is too old.
const GROUPS: Duration = Duration::from_secs(60);
/// Ends of a tree that is handed out in pages: larger ones are not asked for.
const TREE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Fewer than these are topped up.
const PACKAGES_MIN: u32 = 16;

/// How far a client is with end-to-end encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncryptionState {
    /// The client was opened without it, the server does not offer it, or there was no connection yet.
    #[default]
    NotThere,
    /// The user has keys on another device, and this one has none of them: link it, or type the recovery code.
    Unlinked,
    /// Others can encrypt to this device.
    Ready,
}

/// What handles and the task share.
#[derive(Debug, Default)]
pub(crate) struct EncryptionShared {
    /// There may be something to do.
    pub(crate) wake: Notify,
    pub(crate) state: watch::Sender<EncryptionState>,
    /// More of the outbox may leave than before.
    changed: AtomicBool,
    /// Held by whoever hands in a commit, from before it is made until it is answered.
    pub(crate) committing: tokio::sync::Mutex<()>,
}

impl EncryptionShared {
    /// A conversation is in another epoch, or more is known of it.
    pub(crate) fn changed(&self) {
        self.changed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether that is so since this was asked last.
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }
}

/// What the task needs. Does not keep the client open.
#[derive(Debug, Clone)]
pub(crate) struct EncryptionContext {
    pub(crate) shared: Arc<EngineShared>,
    pub(crate) commands: mpsc::WeakSender<EngineCommand>,
    pub(crate) call_timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) pauses: Pauses,
    pub(crate) user: UserId,
    pub(crate) device: DeviceName,
}

/// What did not come about, and is left alone for a while: longer each time, up to [`GROUPS`].
#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    dice: fastrand::Rng,
    paused: Vec<(GroupWork, Backoff, Instant)>,
}

impl Pauses {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: fastrand::Rng::with_seed(seed), paused: Vec::new() }
    }

    /// Forgets what is not to be done any more.
    fn keep(&mut self, work: &[GroupWork]) {
        self.paused.retain(|(paused, ..)| work.contains(paused));
    }

    fn find(&self, work: &GroupWork) -> Option<Instant> {
        self.paused.iter().find(|(paused, ..)| paused == work).map(|(_, _, until)| *until)
    }

    fn done(&mut self, work: &GroupWork) {
        self.paused.retain(|(paused, ..)| paused != work);
    }

    fn failed(&mut self, work: GroupWork, now: Instant) {
        if let Some((_, backoff, until)) = self.paused.iter_mut().find(|(paused, ..)| *paused == work) {
            *until = now + backoff.next();
            return;
        }
        let mut backoff = Backoff::new(GROUPS, self.dice.u64(..));
        let until = now + backoff.next();
        self.paused.push((work, backoff, until));
    }

    /// How long nothing is to be tried again.
    fn shortest(&self, now: Instant) -> Duration {
        let waits = self.paused.iter().map(|(_, _, until)| until.saturating_duration_since(now));
        waits.min().unwrap_or(GROUPS).min(GROUPS)
    }
}

/// Key packages of all devices of a user, but of this one: none if the user has no keys.
///
/// # Errors
///
/// As of calls; [`EncryptionFailure::NoKeys`], [`EncryptionFailure::Forked`].
pub(crate) async fn claim(
    shared: &EngineShared,
    user: &UserId,
    (commands, timeout): (&mpsc::WeakSender<EngineCommand>, Duration),
) -> Result<Vec<ClaimedPackage>, Error> {
    meet(shared, user, (commands, timeout)).await?;
    let call = Call::ClaimKeys(ClaimKeys { user: user.to_string() });
    let response = ask(commands.upgrade().ok_or(Error::Closed)?, timeout, call).await?;
    let claimed = response.claimed.into_iter().map(|it| ClaimedPackage {
        user: user.clone(),
        device: it.device,
        package: it.key_package.to_vec(),
    });
    Ok(claimed.collect())
}

/// Asks the server who a user is, all pages of it, and keeps that.
///
/// # Errors
///
/// As of calls; [`EncryptionFailure::NoKeys`], [`EncryptionFailure::Forked`].
pub(crate) async fn meet(
    shared: &EngineShared,
    user: &UserId,
    (commands, timeout): (&mpsc::WeakSender<EngineCommand>, Duration),
) -> Result<(), Error> {
    let (mut chain, mut certificates, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        let call = Call::GetIdentity(GetIdentity { user: user.to_string(), after });
        let response = ask(commands.upgrade().ok_or(Error::Closed)?, timeout, call).await?;
        let identity = response.identity.unwrap_or_default();
        if after == 0 {
            chain = identity.chain;
        }
        certificates.extend(identity.certificates.into_iter().map(|it| it.certificate));
        if response.next <= after {
            break;
        }
        after = response.next;
    }
    let who = user.clone();
    if shared.ledger.call(move |it| it.met(&who, &chain, &certificates)).await?? {
        shared.news.send_modify(|news| *news += 1);
    }
    Ok(())
}

/// The group of a conversation as it is now, with its tree.
///
/// # Errors
///
/// As of calls; with 0x83 the conversation is in another epoch than `epoch`, or is not encrypted.
pub(crate) async fn group(
    id: ConversationId,
    epoch: u64,
    (commands, timeout): (&mpsc::WeakSender<EngineCommand>, Duration),
) -> Result<MlsGroup, Error> {
    let mut whole: Option<(MlsGroup, Vec<u8>)> = None;
    loop {
        let (tree_offset, epoch) = whole.as_ref().map_or((0, epoch), |(it, tree)| (tree.len() as u64, it.epoch));
        let call = Call::GetGroup(GetGroup { conversation: id.get(), tree_offset, epoch });
        let response = ask(commands.upgrade().ok_or(Error::Closed)?, timeout, call).await?;
        let page = response.mls_group.map(|it| *it).unwrap_or_default();
        let (group, tree) = whole.get_or_insert_with(|| (page.clone(), Vec::new()));
        tree.extend_from_slice(&page.tree);
        let (have, of) = (tree.len() as u64, group.tree_bytes.min(TREE_BYTES_MAX));
        if have >= of || page.tree.is_empty() {
            group.tree = std::mem::take(tree).into();
            return Ok(std::mem::take(group));
        }
    }
}

/// Hands in a commit that was made, and waits for the answer. What it does comes by the inbox, in its place.
///
/// # Errors
///
/// As of calls. If it was refused, it is forgotten.
pub(crate) async fn hand_in(
    shared: &EngineShared,
    commit: CommitGroup,
    (commands, timeout): (&mpsc::WeakSender<EngineCommand>, Duration),
) -> Result<(), Error> {
    let id = ConversationId::new(commit.conversation);
    let answer = ask(commands.upgrade().ok_or(Error::Closed)?, timeout, Call::CommitGroup(commit)).await;
    if let Err(Error::Refused(_)) = &answer {
        // Which epoch the conversation is in comes by the inbox.
        shared.ledger.call(move |it| it.commit_refused(id, 0)).await?;
    }
    answer.map(drop)
}

/// Until the client is closed.
pub(crate) async fn run(mut context: EncryptionContext) {
    let mut status = context.shared.status.subscribe();
    loop {
        match status.wait_for(|status| matches!(status, Status::Online | Status::Closed)).await.as_deref() {
            Ok(Status::Online) => {}
            _ => return,
        }
        let wait = match context.step().await {
            Ok(wait) => {
                context.backoff.reset();
                wait
            }
            Err(Error::Closed) => return,
            Err(error) => {
                debug!(%error, "encryption waits");
                context.backoff.next()
            }
        };
        status.mark_unchanged();
        tokio::select! {
            () = context.shared.encryption.wake.notified() => {}
            () = sleep(wait) => {}
            // A new connection may be one to a server with other settings.
            _ = status.changed() => {}
        }
    }
}

impl EncryptionContext {
    async fn call(&self, call: Call) -> Result<Response, Error> {
        let commands = self.commands.upgrade().ok_or(Error::Closed)?;
        ask(commands, self.call_timeout, call).await
    }

    fn is(&self, state: EncryptionState) {
        self.shared.encryption.state.send_if_modified(|known| std::mem::replace(known, state) != state);
    }

    /// Does what is to be done, and says after how long to look again.
    async fn step(&mut self) -> Result<Duration, Error> {
        match meet(&self.shared, &self.user, (&self.commands, self.call_timeout)).await {
            Ok(()) | Err(Error::Encryption(EncryptionFailure::NoKeys(_))) => {}
            Err(Error::Refused(refusal)) if refusal.reason == Reason::IMPLEMENTATION_SPECIFIC => {
                self.is(EncryptionState::NotThere);
                return Ok(CHECK);
            }
            Err(error) => return Err(error),
        }
        let device = self.device.clone();
        let me = self.user.clone();
        let state = self.shared.ledger.call(move |it| {
            if it.own_state(now_s())? == OwnState::New && it.chain(&me)?.is_none() {
                it.begin_identity(&device, now_s())?;
            }
            it.own_state(now_s())
        });
        match state.await? {
            OwnState::New | OwnState::Uncertified { linking: false } => {
                self.is(EncryptionState::Unlinked);
                Ok(CHECK)
            }
            OwnState::Uncertified { linking: true } => {
                self.is(EncryptionState::Unlinked);
                self.take_link().await
            }
            OwnState::Unpublished => self.publish(0, true).await,
            OwnState::Published { old } => {
                let there = self.call(Call::PublishKeys(PublishKeys::default())).await?.keys_left;
                if old || there < PACKAGES_MIN {
                    return self.publish(there, old).await;
                }
                self.is(EncryptionState::Ready);
                self.groups().await
            }
        }
    }

    /// Does what is to be done about conversations' groups.
    async fn groups(&mut self) -> Result<Duration, Error> {
        let work = self.shared.ledger.call(|it| it.group_work(now_s())).await?;
        self.pauses.keep(&work);
        for one in work {
            let paused = self.pauses.find(&one);
            if paused.is_some_and(|until| until > Instant::now()) {
                continue;
            }
            let shared = self.shared.clone();
            let _alone = shared.encryption.committing.lock().await;
            match self.do_group(&one, paused.is_some()).await {
                Ok(()) => self.pauses.done(&one),
                Err(error @ (Error::Refused(_) | Error::Encryption(_))) => {
                    debug!(%error, ?one, "about a group");
                    self.pauses.failed(one, Instant::now());
                }
                Err(error) => return Err(error),
            }
        }
        self.shared.ledger_changed().await?;
        self.fill_vault().await?;
        Ok(self.pauses.shortest(Instant::now()))
    }

    /// Has the server keep the keys of new epochs for this user's other devices.
    async fn fill_vault(&self) -> Result<(), Error> {
        loop {
            let rows = self.shared.ledger.call(|it| it.rows_for_vault()).await?;
            if rows.is_empty() {
                return Ok(());
            }
            match self.call(Call::PutVault(PutVault { rows: rows.clone() })).await {
                Ok(_) => {}
                // The vault is full, or the server has none: this device reads on without it.
                Err(Error::Refused(refusal)) if !refusal.retry_helps() => debug!(%refusal, "about the vault"),
                Err(error) => return Err(error),
            }
            self.shared.ledger.call(move |it| it.vaulted(&rows)).await?;
        }
    }

    async fn read_vault(&self, id: ConversationId) -> Result<(), Error> {
        let (mut rows, mut after) = (Vec::new(), 0);
        loop {
            let response = self.call(Call::GetVault(GetVault { conversation: id.get(), after })).await?;
            rows.extend(response.vault);
            if response.next <= after {
                break;
            }
            after = response.next;
        }
        self.shared.ledger.call(move |it| it.take_vault(id, &rows)).await
    }

    /// `again`: it was tried before, and has waited since.
    async fn do_group(&self, work: &GroupWork, again: bool) -> Result<(), Error> {
        let (ledger, with) = (&self.shared.ledger, (&self.commands, self.call_timeout));
        match work {
            GroupWork::Join(id, epoch) => {
                let (id, epoch) = (*id, *epoch);
                match group(id, epoch, with).await {
                    Ok(found) => ledger.call(move |it| it.join(id, epoch, &found.tree, now_s())).await,
                    Err(Error::Refused(refusal)) if !refusal.retry_helps() => {
                        ledger.call(move |it| it.give_up_welcome(id, epoch)).await
                    }
                    Err(error) => Err(error),
                }
            }
            GroupWork::JoinFromOutside(id) => {
                let id = *id;
                let there = group(id, 0, with).await?;
                if self.is_broken(id, &there).await? {
                    return self.found_anew(id, &there, again).await;
                }
                let MlsGroup { epoch, group_info, tree, .. } = there;
                let commit = ledger.call(move |it| it.join_from_outside(id, epoch, (&group_info, &tree), now_s()));
                match commit.await? {
                    Some(commit) => hand_in(&self.shared, commit, with).await,
                    None => Ok(()),
                }
            }
            GroupWork::Commit(id) => {
                let id = *id;
                let there = group(id, 0, with).await?;
                if self.is_broken(id, &there).await? {
                    return self.found_anew(id, &there, again).await;
                }
                let gone: Vec<_> = there.owed.into_iter().map(|it| (it.user, Some(it.device))).collect();
                let commit = ledger.call(move |it| it.commit_group(id, &[], &gone, now_s())).await??;
                hand_in(&self.shared, commit, with).await
            }
            GroupWork::Meet(_, users) => {
                for user in users {
                    meet(&self.shared, user, with).await?;
                }
                self.shared.encryption.wake.notify_one();
                Ok(())
            }
            GroupWork::Vault(id, users) => {
                for user in users {
                    match meet(&self.shared, user, with).await {
                        Ok(()) | Err(Error::Encryption(_) | Error::Refused(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                self.read_vault(*id).await
            }
            GroupWork::Confirm(id) => {
                let id = *id;
                let current = match group(id, 0, with).await {
                    Ok(group) => group.epoch,
                    Err(Error::Refused(refusal)) if !refusal.retry_helps() => 0,
                    Err(error) => return Err(error),
                };
                ledger.call(move |it| it.confirm_commit(id, current)).await
            }
        }
    }

    async fn is_broken(&self, id: ConversationId, there: &MlsGroup) -> Result<bool, Error> {
        // All that is looked at, without the tree.
        let there = MlsGroup { epoch: there.epoch, outdated: there.outdated, ..Default::default() };
        self.shared.ledger.call(move |it| it.is_broken(id, &there)).await
    }

    /// Founds the group of a conversation anew, with all devices of its members. Waits first, for a time that chance gives: one of
    /// those who find the group broken is enough, and the server takes one. The others are let in by that one.
    async fn found_anew(&self, id: ConversationId, there: &MlsGroup, waited: bool) -> Result<(), Error> {
        if !waited {
            return Err(EncryptionFailure::NotNow.into());
        }
        let with = (&self.commands, self.call_timeout);
        let broken = BrokenGroup { epoch: there.epoch, reset_generation: there.reset_generation };
        let mut claimed = Vec::new();
        for user in self.shared.ledger.call(move |it| it.present_members(id)).await? {
            match claim(&self.shared, &user, with).await {
                Ok(of_user) => claimed.extend(of_user),
                // Whoever has no keys any more joins when there are some.
                Err(Error::Encryption(EncryptionFailure::NoKeys(_))) => {}
                Err(error) => return Err(error),
            }
        }
        info!(conversation = id.get(), epoch = there.epoch, "founds a broken group anew");
        let commit = self.shared.ledger.call(move |it| it.found_group(id, Some(broken), &claimed, now_s())).await??;
        hand_in(&self.shared, commit, with).await
    }

    async fn publish(&self, there: u32, anew: bool) -> Result<Duration, Error> {
        let ledger = &self.shared.ledger;
        let keys = ledger.call(move |it| it.keys_to_publish(there.min(PACKAGES), anew, now_s())).await?;
        let begins = !keys.identity.is_empty();
        match self.call(Call::PublishKeys(keys)).await {
            Ok(_) => {}
            Err(Error::Refused(refusal)) if begins && !refusal.retry_helps() => {
                info!(%refusal, "another device of this user was first to make keys");
                ledger.call(|it| it.give_up_identity()).await?;
                return Ok(Duration::ZERO);
            }
            Err(error) => return Err(error),
        }
        ledger.call(move |it| it.published(anew, now_s())).await?;
        self.is(EncryptionState::Ready);
        Ok(CHECK)
    }

    /// Asks whether an older device has answered this one's offer.
    async fn take_link(&self) -> Result<Duration, Error> {
        let Some(link) = self.shared.ledger.call(|it| it.awaited_link()).await? else { return Ok(Duration::ZERO) };
        let sealed = match self.call(Call::TakeLink(TakeLink { link: link.into() })).await {
            Ok(response) => response.sealed,
            Err(Error::Refused(refusal)) if !refusal.retry_helps() => return Ok(LINK_POLL),
            Err(error) => return Err(error),
        };
        let device = self.device.clone();
        match self.shared.ledger.call(move |it| it.linked(&device, &sealed)).await? {
            Ok(()) => Ok(Duration::ZERO),
            Err(error) => {
                info!(%error, "what came for this device is not for it");
                Ok(LINK_POLL)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_left_alone_longer_each_time_and_alone() {
        let mut pauses = Pauses::new(7);
        let (one, two) = (GroupWork::Commit(ConversationId::new(1)), GroupWork::Commit(ConversationId::new(2)));
        let now = Instant::now();
        assert_eq!((pauses.shortest(now), pauses.find(&one)), (GROUPS, None));
        let mut longest = Duration::ZERO;
        for failures in 0..40 {
            pauses.failed(one.clone(), now);
            let wait = pauses.shortest(now);
            assert!(wait <= GROUPS.min(Duration::from_millis(500) * (1 << failures.min(20))), "{failures}: {wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest > GROUPS / 2, "{longest:?}");
        assert_eq!(pauses.find(&two), None);
        pauses.failed(two.clone(), now);
        pauses.done(&one);
        assert!(pauses.find(&one).is_none() && pauses.find(&two).is_some());
        pauses.keep(&[one]);
        assert_eq!(pauses.find(&two), None);
    }
}
