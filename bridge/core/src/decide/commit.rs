//! The MLS group of a conversation is founded, goes to its next epoch, or is made anew. A commit is looked at twice: as it comes,
//! so that nothing is checked in vain, and when it was checked beside the lane. By then the epoch may have moved, and who is a
//! member; only the second time decides.
//!
//! One commit of an epoch counts. It takes a place in the order like any change: messages before it are of epochs before it. A
//! change of the members that comes with it takes the same place.

use bytes::Bytes;
use godwit_schemas::client::{self, Role, change, commit_group::With};
use godwit_schemas::ids::{ConversationId, DeviceId, Ordinal, Seq, UserId};
use godwit_schemas::reason::Reason;

use super::call::done;
use super::fanout::DeviceLocation;
use super::{Decision, Placed};
use crate::command::GroupCommit;
use crate::conversation::Conversation;
use crate::entry::Entry;
use crate::mls::{CheckedGroup, CheckedLeaf, EPOCH_S, EpochBeginning, EpochStep, MlsLeaf, MlsState};
use crate::outcome::{Effect, EffectKind, StoreChange};
use crate::recent::PlaceContent;
use crate::refusal::{self, Refusal};
use crate::stored::{MlsGroupRecord, MlsLeafRecord};

/// Most leaves that one commit adds: their key packages stand in it.
const ADDED_MAX: usize = 32;

/// What a commit comes to.
enum Verdict {
    /// It is to be checked.
    Check,
    /// It has begun this epoch, by a change in this place.
    Begun(u64, Seq),
}

impl Decision<'_> {
    pub(super) fn commit(&mut self, commit: Box<GroupCommit>) {
        let id = commit.conversation();
        let response = match self.judge(&commit) {
            Ok(Verdict::Check) => {
                let partition = self.cache.partitions().of_conversation(id);
                self.out.effects.push(Effect { partition, kind: EffectKind::Check(commit) });
                return;
            }
            Ok(Verdict::Begun(mls_epoch, sequence)) => {
                client::Response { mls_epoch, sequence: sequence.get(), ..done(id) }
            }
            Err(refused) => {
                let mls_epoch = self.cache.conversation(id).map_or(0, Conversation::mls_epoch);
                client::Response { mls_epoch, ..refused.to_response() }
            }
        };
        let GroupCommit { origin, id: number, correlation, .. } = *commit;
        if let Some(to) = origin.reply_to {
            let response = Box::new(client::Response { id: number, ..response });
            let kind = EffectKind::Responded { to, response, correlation };
            self.out.effects.push(Effect { partition: self.cache.partitions().of_user(&origin.user), kind });
        }
        self.answer(origin, Ok(Placed { conversation: Some(id), ..Placed::default() }));
    }

    fn judge(&mut self, commit: &GroupCommit) -> Result<Verdict, Refusal> {
        let (id, by) = (commit.conversation(), &commit.origin.user);
        let rules = self.rules.encryption.ok_or(refusal::NO_ENCRYPTION_HERE)?;
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        conversation.member(by).ok_or(refusal::NOT_IN_CONVERSATION)?;
        self.certified(by, commit.origin.device).ok_or(refusal::NOT_CERTIFIED)?;
        // First of all: what has changed since it was accepted does not make a repetition another commit.
        if let Some(mls) = &conversation.mls
            && let Some(sequence) = mls.accepted_before(commit.call.epoch, &commit.hash)
        {
            return Ok(Verdict::Begun(mls.epoch, sequence));
        }
        match &conversation.mls {
            None => self.may_found(conversation, by, commit)?,
            Some(mls) => self.may_commit(conversation, mls, commit, rules.commits_per_minute)?,
        }
        match &commit.checked {
            None => Ok(Verdict::Check),
            Some(Err(text)) => Err(Refusal { reason: Reason::PAYLOAD_FORMAT_INVALID, text }),
            Some(Ok(checked)) => self.begin(commit, checked, rules.leaves_max),
        }
    }

    /// The certificate of a device of a user.
    fn certified(&self, user: &UserId, device: Option<DeviceId>) -> Option<u64> {
        let devices = &self.cache.user(user)?.devices;
        let device = devices.iter().find(|it| Some(it.id) == device)?;
        Some(device.certificate).filter(|certificate| *certificate != 0)
    }

    /// Somebody can encrypt to the user.
    pub(super) fn has_keys(&self, user: &UserId) -> bool {
        self.cache.user(user).is_some_and(|user| user.devices.iter().any(|device| device.certificate != 0))
    }

    fn may_found(&self, conversation: &Conversation, by: &UserId, commit: &GroupCommit) -> Result<(), Refusal> {
        if !commit.founds() || commit.call.epoch != 0 {
            return Err(refusal::NOT_ENCRYPTED);
        }
        if !conversation.may(by, Role::Admin) {
            return Err(refusal::ROLE_TOO_LOW);
        }
        let have_keys = conversation.members.iter().all(|member| self.has_keys(&member.user));
        if have_keys { Ok(()) } else { Err(refusal::MEMBER_WITHOUT_KEYS) }
    }

    fn may_commit(
        &self,
        conversation: &Conversation,
        mls: &MlsState,
        commit: &GroupCommit,
        per_minute: u32,
    ) -> Result<(), Refusal> {
        if commit.founds() && commit.call.epoch == 0 {
            return Err(refusal::ALREADY_ENCRYPTED);
        }
        if commit.call.epoch != mls.epoch {
            return Err(refusal::ANOTHER_MLS_EPOCH);
        }
        let is_outdated = mls.is_outdated(conversation.floor_of_places());
        match commit.founds() {
            true if mls.is_new(self.now_s) && !is_outdated => Err(refusal::MLS_RESET_TOO_SOON),
            false if is_outdated => Err(refusal::MLS_GROUP_OUTDATED),
            false if mls.commits_in_minute(self.now_s) >= per_minute => Err(refusal::TOO_MANY_COMMITS),
            _ => Ok(()),
        }
    }

    /// Everything that may refuse it comes before anything that changes.
    fn begin(&mut self, commit: &GroupCommit, checked: &CheckedGroup, leaves_max: usize) -> Result<Verdict, Refusal> {
        let (id, by) = (commit.conversation(), commit.origin.user.clone());
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        let floor = conversation.floor_of_places();
        let is_next = match &conversation.mls {
            None => checked.epoch >> 32 == 0,
            Some(mls) if commit.founds() => mls.is_followed_by(checked.epoch, floor, self.now_s),
            Some(mls) => checked.epoch == mls.epoch + 1,
        };
        if !is_next {
            return Err(refusal::ANOTHER_MLS_EPOCH);
        }
        if checked.leaves.len() > leaves_max || (checked.added > ADDED_MAX && !commit.founds()) {
            return Err(refusal::TOO_MANY_LEAVES);
        }
        let (added, removed) = self.may_change_members(id, &by, commit.call.with.as_ref())?;
        let leaves = self.leaves_of(id, &checked.leaves, added.as_ref(), removed.as_ref())?;
        let committer = self.leaf_of(&checked.committer).ok_or(refusal::NOT_YOUR_COMMIT)?;
        if checked.committer.user != by || Some(committer.device) != commit.origin.device {
            return Err(refusal::NOT_YOUR_COMMIT);
        }
        self.has_room(id, &by, commit.origin.device)?;

        // The place is the next, and is given where the change of the members is made.
        let sequence = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?.next_place();
        let begun_by = EpochBeginning { before: commit.call.epoch, hash: commit.hash, sequence };
        self.keep_group(id, checked, &commit.call.group_info, &leaves);
        let now_s = self.now_s;
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        match &mut conversation.mls {
            Some(mls) if !commit.founds() => mls.begin(checked.epoch, begun_by, leaves, now_s),
            mls => *mls = Some(Box::new(MlsState::founded(checked.epoch, begun_by, leaves, floor, now_s))),
        }
        let step = self.step_of(commit, checked);
        match (added, removed) {
            (Some(user), _) => self.enrolled(id, user, &by, Some(step)),
            (None, Some(user)) => self.part(id, &user, &by, Some(step)),
            (None, None) => self.epoch_begun(id, &by, step),
        }
        Ok(Verdict::Begun(checked.epoch, sequence))
    }

    /// Who is added or removed by it, if that is allowed.
    fn may_change_members(
        &mut self,
        id: ConversationId,
        by: &UserId,
        with: Option<&With>,
    ) -> Result<(Option<UserId>, Option<UserId>), Refusal> {
        match with {
            None => Ok((None, None)),
            Some(With::Add(name)) => {
                self.allow(id, by, |it| it.settings.may_add)?;
                Ok((Some(self.may_add_member(id, by, name)?), None))
            }
            Some(With::Remove(name)) => {
                self.allow(id, by, |_| Role::Admin)?;
                Ok((None, Some(self.may_remove_member(id, by, name)?)))
            }
        }
    }

    /// The devices in the group, which all are certified ones of members.
    fn leaves_of(
        &self,
        id: ConversationId,
        checked: &[CheckedLeaf],
        added: Option<&UserId>,
        removed: Option<&UserId>,
    ) -> Result<Vec<MlsLeaf>, Refusal> {
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        let is_member =
            |user: &UserId| added == Some(user) || (removed != Some(user) && conversation.member(user).is_some());
        let leaf = |leaf: &CheckedLeaf| self.leaf_of(leaf).filter(|_| is_member(&leaf.user));
        let mut leaves = checked.iter().map(leaf).collect::<Option<Vec<_>>>().ok_or(refusal::LEAF_NOT_ALLOWED)?;
        leaves.sort_unstable();
        leaves.dedup_by_key(|leaf| leaf.device);
        if leaves.len() == checked.len() { Ok(leaves) } else { Err(refusal::LEAF_NOT_ALLOWED) }
    }

    /// The device that a leaf names, if it has the certificate that stands there.
    fn leaf_of(&self, leaf: &CheckedLeaf) -> Option<MlsLeaf> {
        let devices = &self.cache.user(&leaf.user)?.record.devices;
        let device = devices.iter().find(|it| it.name == leaf.device.as_str() && it.certificate == leaf.certificate)?;
        Some(MlsLeaf { device: DeviceId::new(device.id), certificate: leaf.certificate })
    }

    /// What the next commit is checked against, and what a device joins with.
    fn keep_group(&mut self, id: ConversationId, checked: &CheckedGroup, group_info: &Bytes, leaves: &[MlsLeaf]) {
        let record = |leaf: &CheckedLeaf| {
            let device =
                self.leaf_of(leaf).map(|it| it.device).filter(|it| leaves.iter().any(|leaf| leaf.device == *it));
            MlsLeafRecord {
                device: device.map_or(0, DeviceId::get),
                certificate: leaf.certificate,
                user: leaf.user.to_string(),
                name: leaf.device.to_string(),
            }
        };
        let record = MlsGroupRecord {
            epoch: checked.epoch,
            state: checked.state.clone(),
            tree: checked.tree.clone(),
            group_info: group_info.clone(),
            leaves: checked.leaves.iter().map(record).collect(),
        };
        self.out.changes.push(StoreChange::MlsGroup(id, Box::new(record)));
    }

    /// The next epoch has begun, and the members are the same.
    fn epoch_begun(&mut self, id: ConversationId, by: &UserId, step: EpochStep) {
        let Some(conversation) = self.cache.conversation_mut(id) else { return };
        let sequence = conversation.advance(None, PlaceContent::Other);
        conversation.accept(by);
        self.out.changes.push(StoreChange::Conversation(id));
        self.out.durable = true;
        let by = self.ordinal(id, by);
        let everybody = if step.founds { self.plain_and_certified(id) } else { self.recipients(id, |_| true) };
        self.spread_step(id, (sequence, by), &step, None, everybody);
    }

    /// Tells these of a step: of the commit, or who is let in by a welcome.
    pub(super) fn spread_step(
        &mut self,
        id: ConversationId,
        place: (Seq, Ordinal),
        step: &EpochStep,
        change: Option<change::Change>,
        recipients: Vec<DeviceLocation>,
    ) {
        let (welcomed, others): (Vec<_>, _) =
            recipients.into_iter().partition(|(device, _)| step.welcomes.contains_key(device));
        self.spread(self.step_entry(id, place, step.told.clone(), change.clone()), others);
        self.enter_step(id, place, step, change, welcomed);
    }

    /// The same for who has nothing to do with the commit, in inboxes alone.
    pub(super) fn enter_step(
        &mut self,
        id: ConversationId,
        place: (Seq, Ordinal),
        step: &EpochStep,
        change: Option<change::Change>,
        recipients: Vec<DeviceLocation>,
    ) {
        for recipient in recipients {
            let welcome = step.welcomes.get(&recipient.0).cloned().unwrap_or_default();
            let told = client::MlsChange { commit: Bytes::new(), welcome, ..step.told.clone() };
            let entry = self.step_entry(id, place, told, change.clone());
            self.enter(&entry, vec![recipient]);
        }
    }

    /// It stays until messages of the epoch have expired.
    fn step_entry(
        &self,
        id: ConversationId,
        (sequence, by): (Seq, Ordinal),
        told: client::MlsChange,
        change: Option<change::Change>,
    ) -> Entry {
        let change = client::Change { change, mls: Some(Box::new(told)), ..Default::default() };
        let entry = self.entry_of_change(id, sequence, by, change);
        Entry { expires_at_s: entry.expires_at_s.saturating_add(EPOCH_S), ..entry }
    }

    /// What is told of the epoch that a commit begins.
    fn step_of(&self, commit: &GroupCommit, checked: &CheckedGroup) -> EpochStep {
        let device = |user: &str, name: &str| {
            let user = UserId::new(user).ok()?;
            let devices = &self.cache.user(&user)?.record.devices;
            devices.iter().find(|it| it.name == name).map(|it| DeviceId::new(it.id))
        };
        let welcomes = commit.call.welcomes.iter();
        let welcomes = welcomes.filter_map(|it| Some((device(&it.user, &it.device)?, it.welcome.clone())));
        let told = client::MlsChange {
            epoch: checked.epoch,
            commit: commit.call.commit.clone(),
            welcome: Bytes::new(),
            device: checked.committer.device.to_string(),
        };
        EpochStep { told, welcomes: welcomes.collect(), founds: commit.founds() }
    }
}
