//! One command against the state cache: who may, what is the order, who receives it, who is told.
//!
//! Called by a lane, for each command of a batch in turn, when the cache has all that the command needs. Decisions
//! of a batch see each other's effects; nothing is told to anybody before the commit is on disk.

use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use crate::command::{Command, CommandOrigin, ReceivedMessages};
use crate::conversation::{Conversation, Raised, Watermark};
use crate::entry::Entry;
use crate::event::{self, DomainEvent};
use crate::membership_count::Membership;
use crate::mls::EpochStep;
use crate::outcome::{Effect, EffectKind, Outcome, StoreChange};
use crate::recent::PlaceContent;
use crate::refusal::{self, Refusal};
use crate::retention::{Policy, Retention};
use crate::state_cache::StateCache;
use crate::usage::InboxUsage;

mod blocked;
mod call;
mod commit;
mod content;
mod edit;
mod fanout;
mod group;
mod live;
mod media;
mod membership;
mod outsider;
mod post;
mod room;
mod seal;

pub use edit::{REACTION_BYTES_MAX, SEALED_REACTION_BYTES_MAX};
pub use media::NAME_BYTES_MAX as FILE_NAME_BYTES_MAX;

pub use self::content::{MENTIONS_MAX, content};

/// Settings that decisions depend on, the same on all lanes.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Largest message body.
    pub body_bytes_max: usize,
    /// Most bytes of a message's properties, as they are encoded.
    pub properties_bytes_max: usize,
    /// Most user properties of a message.
    pub user_properties_max: usize,
    /// Most members of a group.
    pub group_members_max: usize,
    /// Most conversations of a user; 0: as many as there are. Strangers put it into no more than half of that.
    pub conversations_per_user: u32,
    /// Groups that strangers add a user to in a day; 0: however many.
    pub stranger_adds_per_day: u32,
    /// Messages that wait in a direct conversation which its other side has not accepted; 0: however many.
    pub request_messages: u32,
    /// Life of an inbox entry.
    pub retention_s: u32,
    /// What is kept of messages that were delivered.
    pub history: Policy,
    /// How long after it was sent a message may be taken back or edited.
    pub recall_window_s: u32,
    /// How long a file is there after its message has been delivered to all.
    pub media_grace_s: u32,
    /// How conversations can be encrypted; `None`: not at all.
    pub encryption: Option<EncryptionRules>,
}

/// See [`Rules`].
#[derive(Debug, Clone, Copy)]
pub struct EncryptionRules {
    /// What is not sealed is refused.
    pub required: bool,
    /// Most devices in a group.
    pub leaves_max: usize,
    /// Commits that a conversation takes in a minute.
    pub commits_per_minute: u32,
}

/// Longest title of a group in bytes.
pub const TITLE_BYTES_MAX: usize = 256;

/// Decides one command. `now_s`: second since 1970, never going back.
pub fn decide(cache: &mut StateCache, rules: &Rules, now_s: u32, command: Command, out: &mut Outcome) {
    let spared = command.handed_over_by();
    Decision { cache, rules, now_s, out, spared, current_epoch: 0 }.run(command);
}

struct Decision<'a> {
    cache: &'a mut StateCache,
    rules: &'a Rules,
    now_s: u32,
    out: &'a mut Outcome,
    /// Whose inboxes need no room: its messages are handed over to somebody else.
    spared: Option<UserId>,
    /// It was refused because the conversation's group is in this epoch; 0: it was not.
    current_epoch: u64,
}

/// What became of a publish.
#[derive(Default)]
struct Placed {
    conversation: Option<ConversationId>,
    /// `None`: it is no message, or one whose place is not known any more.
    sequence: Option<Seq>,
    /// It was accepted before: the last number of its count that was.
    repeated: Option<u64>,
}

impl Decision<'_> {
    fn run(&mut self, command: Command) {
        match command {
            // It was under way when the device was shut out.
            Command::Post { origin, .. }
            | Command::Live { origin, .. }
            | Command::Read { origin, .. }
            | Command::Call { origin, .. }
                if self.is_void(&origin) =>
            {
                self.answer(origin, Err(refusal::DEVICE_SHUT_OUT));
            }
            Command::Post { origin, to, draft } => {
                let answer = self.post(&origin, &to, draft);
                self.answer(origin, answer);
            }
            Command::Live { origin, conversation, body } => {
                let answer = self.live(&origin, conversation, body);
                self.answer(origin, answer.map(|()| Default::default()));
            }
            Command::Read { origin, conversation, up_to } => {
                let answer = self.read(&origin, conversation, up_to);
                self.answer(origin, answer.map(|()| Default::default()));
            }
            Command::Call { origin, id, call, correlation, secret } => {
                self.call(origin, id, &call, correlation, secret);
            }
            Command::Commit(commit) if self.is_void(&commit.origin) => {
                self.answer(commit.origin, Err(refusal::DEVICE_SHUT_OUT));
            }
            Command::Commit(commit) => self.commit(commit),
            Command::Acked { user, device, conversation, messages, orders, bytes, apart } => {
                self.release(device, conversation, &apart);
                self.settle(&user, device, &orders, bytes);
                if let Some(messages) = messages {
                    self.acked(&user, conversation, &messages);
                }
            }
            Command::Released { device, conversation, apart } => self.release(device, conversation, &apart),
            Command::ReceiptAcked { user, device, conversation, member, watermark } => {
                self.receipt_acked(&user, device, conversation, member, watermark);
            }
            Command::Forget { user, conversation } => self.forget(&user, conversation),
        }
    }

    /// Whether what its device was let in with is void by now.
    fn is_void(&self, origin: &CommandOrigin) -> bool {
        let lets_in =
            |(device, fingerprint)| self.cache.user(&origin.user).is_some_and(|user| user.lets_in(device, fingerprint));
        origin.device.zip(origin.fingerprint).is_some_and(|credential| !lets_in(credential))
    }

    /// A new conversation with its first event.
    fn create(&mut self, partition: Partition, group: bool, title: &str, users: &[UserId]) -> ConversationId {
        let (id, counter) = self.cache.allocate_conversation(partition);
        let mut conversation = Conversation::new(id, group, title, users);
        let creator = users.first();
        let is_blocker = |user: &&UserId| !group && creator.is_some_and(|creator| blocks(self.cache, user, creator));
        let blocker = users.iter().find(is_blocker);
        let sequence = conversation.advance(blocker, PlaceContent::Other);
        let opened = opened(&conversation);
        self.cache.add_conversation(conversation);
        self.out.changes.push(StoreChange::NextConversation(partition, counter));
        self.out.changes.push(StoreChange::Conversation(id));
        for user in users {
            let by_stranger = group && creator.is_some_and(|creator| self.is_stranger(user, creator));
            self.count(user, id, self.begun(by_stranger));
        }
        self.ask_those_who_did_not_choose(id, users);
        self.out.durable = true;
        let entry = |it: &Self, request| {
            let opened = client::Opened { request, ..opened.clone() };
            let change = client::change::Change::Opened(opened);
            Entry { unseen: blocker.is_some(), ..it.change_entry(id, sequence, Ordinal::default(), change) }
        };
        self.note_change(id, sequence, creator, &client::change::Change::Opened(Default::default()), None);
        let recipients = self.recipients(id, |user| blocker.is_none() || creator.is_none_or(|it| !user.blocks(it)));
        let asked = self.devices_asked(id);
        let (asked, others): (Vec<_>, _) = recipients.into_iter().partition(|recipient| asked.contains(recipient));
        self.spread(entry(self, false), others);
        self.enter(&entry(self, true), asked);
        id
    }

    fn read(&mut self, origin: &CommandOrigin, id: ConversationId, up_to: Seq) -> Result<(), Refusal> {
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        conversation.member(&origin.user).ok_or(refusal::NOT_IN_CONVERSATION)?;
        self.out.durable = true;
        self.accept(&origin.user, id);
        self.mark_read(&origin.user, id, up_to, origin.device);
        Ok(())
    }

    /// The user has read up to here, on this device.
    fn mark_read(&mut self, user: &UserId, id: ConversationId, up_to: Seq, on: Option<DeviceId>) {
        let Some(conversation) = self.cache.conversation_mut(id) else { return };
        let Some(raised) = conversation.raise(user, Seq::default(), up_to) else { return };
        self.out.changes.push(StoreChange::State(id));
        self.out.note(|| DomainEvent::Read { conversation: id, user: user.clone(), up_to: raised.after.read });
        let Some(conversation) = self.cache.conversation(id) else { return };
        // Who has sent nothing since the last receipt has nothing to learn; the reader's other devices have.
        let concerned = conversation.members.iter();
        let concerned = concerned.filter(|m| m.ordinal == raised.member || m.last_sent > raised.before.read);
        let users: Vec<_> = concerned.map(|member| member.user.clone()).collect();
        self.tell(id, &users, raised, on);
        // The reading device knows more than what it was still to be told of its own user.
        self.out.changes.extend(on.map(|device| StoreChange::ReceiptGone(device, id, raised.member)));
    }

    /// A device has these entries.
    fn settle(&mut self, user: &UserId, device: DeviceId, orders: &[Order], bytes: u64) {
        self.out.changes.extend(orders.iter().map(|order| StoreChange::EntryGone(device, *order)));
        let lowest = orders.iter().copied().min().unwrap_or_default();
        let kind = EffectKind::Settled { device, lowest, load: InboxUsage { entries: orders.len() as u32, bytes } };
        self.effect_for(user, kind);
    }

    /// The user has everything up to here.
    fn acked(&mut self, user: &UserId, id: ConversationId, messages: &ReceivedMessages) {
        let Some(conversation) = self.cache.conversation_mut(id) else { return };
        let Some(raised) = conversation.raise(user, messages.up_to, Seq::default()) else { return };
        self.out.changes.push(StoreChange::State(id));
        self.out.note(|| DomainEvent::Delivered {
            conversation: id,
            user: user.clone(),
            up_to: raised.after.delivered,
        });
        let Some(conversation) = self.cache.conversation(id) else { return };
        // Senders of what came, and whoever may have been passed: a device that is new acknowledges what came after it, one
        // whose inbox was full lacks some, and its user's other devices will not raise the watermark again.
        let passes = messages.unbroken_from.get() > raised.before.delivered.get() + 1;
        let passed = |last: Seq| passes && last > raised.before.delivered;
        let told = conversation.members.iter().filter(|m| messages.senders.contains(&m.ordinal) || passed(m.last_sent));
        let users: Vec<_> = told.filter(|m| m.ordinal != raised.member).map(|m| m.user.clone()).collect();
        self.tell(id, &users, raised, None);
    }

    /// A receipt for the devices of `users` that read events.
    fn tell(&mut self, id: ConversationId, users: &[UserId], raised: Raised, except: Option<DeviceId>) {
        let cache = &*self.cache;
        let users = users.iter().filter(|user| hears(cache, id, raised.member, user));
        for user in users.filter_map(|user| cache.user(user)) {
            for device in user.devices.iter().filter(|d| d.reads_events && Some(d.id) != except) {
                self.out.changes.push(StoreChange::Receipt(device.id, id, raised.member, raised.after));
                let (device, member, watermark) = (device.id, raised.member, raised.after);
                let kind = EffectKind::Tick { device, conversation: id, member, watermark };
                self.out.effects.push(Effect { partition: user.partition, kind });
            }
        }
    }

    /// What has not been told meanwhile, since it concerned only others, is told now: then all is told, and nothing is kept.
    fn receipt_acked(
        &mut self,
        user: &UserId,
        device: DeviceId,
        id: ConversationId,
        member: Ordinal,
        known: Watermark,
    ) {
        let newer = self.cache.conversation(id).and_then(|it| it.owes(user, member, known));
        match newer.filter(|_| hears(self.cache, id, member, user)) {
            Some(watermark) => {
                self.out.changes.push(StoreChange::Receipt(device, id, member, watermark));
                let kind = EffectKind::Tick { device, conversation: id, member, watermark };
                self.effect_for(user, kind);
            }
            None => self.out.changes.push(StoreChange::ReceiptGone(device, id, member)),
        }
    }

    fn forget(&mut self, user: &UserId, id: ConversationId) {
        self.out.durable = true;
        let kind = EffectKind::Forgotten(user.clone());
        self.effect_for(user, kind);
        let Some(conversation) = self.cache.conversation(id).filter(|it| it.member(user).is_some()) else {
            // The row is all that there is.
            return self.count(user, id, Membership::Ended);
        };
        if !conversation.group {
            let others = conversation.members.iter().find(|member| member.user != *user);
            let pair = StateCache::pair(user, others.map_or(user, |other| &other.user));
            self.out.changes.push(StoreChange::Pair(pair.0.clone(), pair.1.clone(), None));
            self.cache.set_direct(pair, None);
        }
        self.part(id, user, user, None);
        if let Some(conversation) = self.cache.conversation_mut(id) {
            conversation.counts.forget_user(user);
        }
    }

    /// Takes a member out, and tells everybody, the member included. Without a step, what it has in the conversation's group is
    /// owed from here on.
    fn part(&mut self, id: ConversationId, user: &UserId, by: &UserId, step: Option<EpochStep>) {
        let devices: Vec<_> = self.cache.user(user).map_or(Vec::new(), |u| u.devices.iter().map(|d| d.id).collect());
        let Some(conversation) = self.cache.conversation_mut(id) else { return };
        let ordinal = conversation.member(by).map_or(Ordinal::default(), |member| member.ordinal);
        let sequence = conversation.advance(None, PlaceContent::Other);
        let Some(gone) = conversation.part(user, &devices) else { return };
        let deserted = conversation.members.is_empty();
        self.count(user, id, Membership::Ended);
        self.out.durable = true;
        let change = client::change::Change::Removed(gone.ordinal.get());
        self.note_change(id, sequence, Some(by), &change, Some(user));
        // The member itself is told too, which is none any more.
        let recipients = self.devices_of_all_and(id, user);
        if deserted {
            self.enter(&self.change_entry(id, sequence, ordinal, change), recipients);
            return self.abandon(id);
        }
        self.out.changes.push(StoreChange::Conversation(id));
        match step {
            Some(step) => self.spread_step(id, (sequence, ordinal), &step, Some(change), recipients),
            None => self.spread(self.change_entry(id, sequence, ordinal, change), recipients),
        }
    }

    /// For the lane of the user, when the commit is on disk.
    fn effect_for(&mut self, user: &UserId, kind: EffectKind) {
        self.out.effects.push(Effect { partition: self.cache.partitions().of_user(user), kind });
    }

    /// A device's copy of a message is no more. If it was handed out it will not be handed out again.
    fn take_copy_back(&mut self, device: DeviceId, order: Order, bytes: u32) {
        self.out.changes.push(StoreChange::EntryGone(device, order));
        let kind = EffectKind::Recalled(device, order, bytes);
        self.out.effects.push(Effect { partition: self.cache.partitions().of_device(device), kind });
    }

    /// Nobody is in a conversation any more: nothing is kept of it but what devices have still to get.
    fn abandon(&mut self, id: ConversationId) {
        self.cache.remove_conversation(id);
        self.out.changes.push(StoreChange::ConversationGone(id));
        let kind = EffectKind::Abandoned(id);
        self.out.effects.push(Effect { partition: self.cache.partitions().of_conversation(id), kind });
    }

    /// Notes a change for operators. `member`: whom it is about, if the change itself does not say.
    fn note_change(
        &mut self,
        conversation: ConversationId,
        sequence: Seq,
        by: Option<&UserId>,
        change: &client::change::Change,
        member: Option<&UserId>,
    ) {
        let Some(by) = by else { return };
        self.out.note(|| {
            let (change, named) = event::called(change);
            DomainEvent::Changed {
                conversation,
                sequence,
                by: by.clone(),
                change,
                member: named.or_else(|| member.cloned()),
            }
        });
    }

    /// Answers a publish, and keeps the answer for a retry.
    fn answer(&mut self, origin: CommandOrigin, answer: Result<Placed, Refusal>) {
        let (reason, text, Placed { conversation, sequence, repeated }) = match answer {
            Ok(placed) => (Reason::SUCCESS, "", placed),
            Err(Refusal { reason, text }) => (reason, text, Placed::default()),
        };
        if let (Some(device), Some(publish_record), true) = (origin.device, origin.publish_record, reason.is_success())
        {
            let publish_record = crate::retry::PublishRecord {
                conversation: conversation.map_or(0, ConversationId::get),
                sequence: sequence.map_or(0, Seq::get),
                ..publish_record
            };
            self.out.changes.push(StoreChange::PublishRecord(device, publish_record));
        }
        if let Some(to) = origin.reply_to {
            let mls_epoch = self.current_epoch;
            let kind = EffectKind::Published { to, reason, text, conversation, sequence, repeated, mls_epoch };
            self.effect_for(&origin.user, kind);
        }
    }
}

/// Whether a user is told of this member. Between two of whom one has blocked the other there are no receipts.
fn hears(cache: &StateCache, id: ConversationId, member: Ordinal, user: &UserId) -> bool {
    let direct = cache.conversation(id).filter(|conversation| !conversation.group);
    let of = direct.and_then(|it| it.member_by_ordinal(member)).map(|member| &member.user);
    of.is_none_or(|of| !blocks(cache, of, user) && !blocks(cache, user, of))
}

/// Whether `who` has blocked `whom`.
fn blocks(cache: &StateCache, who: &UserId, whom: &UserId) -> bool {
    cache.user(who).is_some_and(|who| who.blocks(whom))
}

/// A conversation as one of its members sees it.
pub fn described(conversation: &Conversation, user: &UserId) -> client::Opened {
    let own = conversation.member(user).map_or(conversation.retention, |member| conversation.retention_of(member));
    let retention = (own != Retention::default()).then(|| own.to_message());
    let request = conversation.member(user).is_some_and(|member| member.pending.is_some());
    client::Opened { retention, request, ..opened(conversation) }
}

/// The snapshot that a new member sees first.
fn opened(conversation: &Conversation) -> client::Opened {
    let members = conversation.members.iter().map(|member| client::Member {
        ordinal: member.ordinal.get(),
        user: member.user.to_string(),
        role: member.role.into(),
    });
    client::Opened {
        group: conversation.group,
        title: conversation.title.clone(),
        members: members.collect(),
        settings: conversation.group.then(|| conversation.settings.to_message()),
        request: false,
        retention: (conversation.retention != Retention::default()).then(|| conversation.retention.to_message()),
        mls_epoch: conversation.mls_epoch(),
    }
}

#[cfg(test)]
mod tests;
