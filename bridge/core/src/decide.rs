//! One command against the world: who may, what is the order, who receives it, who is told.
//!
//! Called by a lane, for each command of a batch in turn, when the world has all that the command needs. Decisions
//! of a batch see each other's effects; nothing is told to anybody before the commit is on disk.

use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use crate::command::{Command, Origin};
use crate::conversation::{Conversation, Raised, Watermark};
use crate::fact::{self, Fact};
use crate::load::Load;
use crate::outcome::{Change, Effect, EffectKind, Outcome};
use crate::retention::{Policy, Retention};
use crate::world::World;

mod amend;
mod call;
mod group;
mod keep;
mod live;
mod media;
mod membership;
mod post;

pub use self::call::changes_something;

/// Settings that decisions depend on, the same on all lanes.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Largest message body.
    pub body_bytes_max: usize,
    /// Most members of a group.
    pub group_members_max: usize,
    /// Most conversations of a user; 0: as many as there are.
    pub conversations_per_user: u32,
    /// Life of an inbox entry.
    pub retention_s: u32,
    /// What is kept of messages that were delivered.
    pub history: Policy,
    /// How long after it was sent a message may be taken back or edited.
    pub recall_window_s: u32,
    /// How long a file is there after its message has been delivered to all.
    pub media_grace_s: u32,
}

/// Longest title of a group in bytes.
pub const TITLE_BYTES_MAX: usize = 256;

/// A refusal: its reason code, and a sentence for people.
type Refused = (Reason, &'static str);

const NO_USER: Refused = (Reason::TOPIC_NAME_INVALID, "no such user");
const NO_CONVERSATION: Refused = (Reason::TOPIC_NAME_INVALID, "no such conversation");
const NO_MEMBER: Refused = (Reason::NOT_AUTHORIZED, "not a member of this conversation");
const INBOX_FULL: Refused = (Reason::QUOTA_EXCEEDED, "the inbox of a recipient is full");

/// Decides one command. `now_s`: second since 1970, never going back.
pub fn decide(world: &mut World, rules: &Rules, now_s: u32, command: Command, out: &mut Outcome) {
    Decision { world, rules, now_s, out }.run(command);
}

struct Decision<'a> {
    world: &'a mut World,
    rules: &'a Rules,
    now_s: u32,
    out: &'a mut Outcome,
}

impl Decision<'_> {
    fn run(&mut self, command: Command) {
        match command {
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
            Command::Acked { user, device, conversation, up_to, senders, orders, bytes, apart } => {
                self.let_go(device, conversation, &apart);
                self.settle(&user, device, &orders, bytes);
                self.acked(&user, conversation, up_to, &senders);
            }
            Command::Released { device, conversation, apart } => self.let_go(device, conversation, &apart),
            Command::ReceiptAcked { user, device, conversation, member, watermark } => {
                self.receipt_acked(&user, device, conversation, member, watermark);
            }
            Command::Forget { user, conversation } => self.forget(&user, conversation),
        }
    }

    /// Whether every inbox that a message or a change of the conversation goes to takes it.
    fn has_room(&self, id: ConversationId, except: Option<DeviceId>) -> Result<(), Refused> {
        let members = self.world.conversation(id).map_or(&[][..], |conversation| &conversation.members);
        let room = self.world.has_room(members.iter().map(|member| &member.user), except);
        if room { Ok(()) } else { Err(INBOX_FULL) }
    }

    /// A new conversation with its first event.
    fn create(&mut self, partition: Partition, group: bool, title: &str, users: &[UserId]) -> ConversationId {
        let (id, counter) = self.world.allocate_conversation(partition);
        let mut conversation = Conversation::new(id, group, title, users);
        let sequence = conversation.advance();
        let opened = opened(&conversation);
        self.world.add_conversation(conversation);
        self.out.changes.push(Change::NextConversation(partition, counter));
        self.out.changes.push(Change::Conversation(id));
        users.iter().for_each(|user| self.count(user, id, true));
        self.out.durable = true;
        let creator = users.first();
        let change = client::change::Change::Opened(opened);
        self.note_change(id, sequence, creator, &change, None);
        let entry = self.change_entry(id, sequence, Ordinal::default(), change);
        let recipients = self.recipients(id, |user| group || creator.is_none_or(|creator| !user.blocks(creator)));
        self.spread(entry, recipients);
        id
    }

    fn read(&mut self, origin: &Origin, id: ConversationId, up_to: Seq) -> Result<(), Refused> {
        let conversation = self.world.conversation(id).ok_or(NO_CONVERSATION)?;
        conversation.member(&origin.user).ok_or(NO_MEMBER)?;
        self.out.durable = true;
        self.mark_read(&origin.user, id, up_to, Some(origin.device));
        Ok(())
    }

    /// The user has read up to here, on this device.
    fn mark_read(&mut self, user: &UserId, id: ConversationId, up_to: Seq, on: Option<DeviceId>) {
        let Some(conversation) = self.world.conversation_mut(id) else { return };
        let Some(raised) = conversation.raise(user, Seq::default(), up_to) else { return };
        self.out.changes.push(Change::State(id));
        self.out.note(|| Fact::Read { conversation: id, user: user.clone(), up_to: raised.after.read });
        let Some(conversation) = self.world.conversation(id) else { return };
        // Who has sent nothing since the last receipt has nothing to learn; the reader's other devices have.
        let concerned = conversation.members.iter();
        let concerned = concerned.filter(|m| m.ordinal == raised.member || m.last_sent > raised.before.read);
        let users: Vec<_> = concerned.map(|member| member.user.clone()).collect();
        self.tell(id, &users, raised, on);
        // The reading device knows more than what it was still to be told of its own user.
        self.out.changes.extend(on.map(|device| Change::ReceiptGone(device, id, raised.member)));
    }

    /// A device has these entries.
    fn settle(&mut self, user: &UserId, device: DeviceId, orders: &[Order], bytes: u64) {
        self.out.changes.extend(orders.iter().map(|order| Change::EntryGone(device, *order)));
        let lowest = orders.iter().copied().min().unwrap_or_default();
        let kind = EffectKind::Settled { lowest, load: Load { entries: orders.len() as u32, bytes } };
        self.out.effects.push(Effect { partition: Partition::of_user(user), device, kind });
    }

    /// The user has everything up to here.
    fn acked(&mut self, user: &UserId, id: ConversationId, up_to: Seq, senders: &[Ordinal]) {
        let Some(conversation) = self.world.conversation_mut(id) else { return };
        let Some(raised) = conversation.raise(user, up_to, Seq::default()) else { return };
        self.out.changes.push(Change::State(id));
        self.out.note(|| Fact::Delivered { conversation: id, user: user.clone(), up_to: raised.after.delivered });
        let Some(conversation) = self.world.conversation(id) else { return };
        // Senders of what came, and whoever was passed: a device that is new acknowledges what came after it, and its
        // user's other devices will not raise the watermark again.
        let passed = |last: Seq| last > raised.before.delivered && last <= raised.after.delivered;
        let told = conversation.members.iter().filter(|m| senders.contains(&m.ordinal) || passed(m.last_sent));
        let users: Vec<_> = told.filter(|m| m.ordinal != raised.member).map(|m| m.user.clone()).collect();
        self.tell(id, &users, raised, None);
    }

    /// A receipt for the devices of `users` that read events. Whom the member has blocked hears nothing of it.
    fn tell(&mut self, id: ConversationId, users: &[UserId], raised: Raised, except: Option<DeviceId>) {
        let direct = self.world.conversation(id).filter(|conversation| !conversation.group);
        let member = direct.and_then(|it| it.member_by_ordinal(raised.member));
        let member = member.and_then(|member| self.world.user(&member.user));
        let hears = |user: &&UserId| member.is_none_or(|member| !member.blocks(user));
        for user in users.iter().filter(hears).filter_map(|user| self.world.user(user)) {
            for device in user.devices.iter().filter(|d| d.reads_events && Some(d.id) != except) {
                self.out.changes.push(Change::Receipt(device.id, id, raised.member, raised.after));
                let kind = EffectKind::Tick { conversation: id, member: raised.member, watermark: raised.after };
                self.out.effects.push(Effect { partition: user.partition, device: device.id, kind });
            }
        }
    }

    fn receipt_acked(
        &mut self,
        user: &UserId,
        device: DeviceId,
        id: ConversationId,
        ordinal: Ordinal,
        watermark: Watermark,
    ) {
        // If a newer one is on its way, it is kept until that is acknowledged.
        if self.world.conversation(id).is_none_or(|it| !it.owes(user, ordinal, watermark)) {
            self.out.changes.push(Change::ReceiptGone(device, id, ordinal));
        }
    }

    fn forget(&mut self, user: &UserId, id: ConversationId) {
        self.out.durable = true;
        let (partition, device) = (Partition::of_user(user), DeviceId::default());
        self.out.effects.push(Effect { partition, device, kind: EffectKind::Forgotten(user.clone()) });
        let Some(conversation) = self.world.conversation(id).filter(|it| it.member(user).is_some()) else {
            // The row is all that there is.
            return self.count(user, id, false);
        };
        if !conversation.group {
            let others = conversation.members.iter().find(|member| member.user != *user);
            let pair = World::pair(user, others.map_or(user, |other| &other.user));
            self.out.changes.push(Change::Pair(pair.0.clone(), pair.1.clone(), None));
            self.world.set_direct(pair, None);
        }
        self.part(id, user, user);
    }

    /// Takes a member out, and tells everybody, the member included.
    fn part(&mut self, id: ConversationId, user: &UserId, by: &UserId) {
        let devices: Vec<_> = self.world.user(user).map_or(Vec::new(), |u| u.devices.iter().map(|d| d.id).collect());
        let Some(conversation) = self.world.conversation_mut(id) else { return };
        let ordinal = conversation.member(by).map_or(Ordinal::default(), |member| member.ordinal);
        let sequence = conversation.advance();
        let Some(gone) = conversation.part(user, &devices) else { return };
        let deserted = conversation.members.is_empty();
        self.count(user, id, false);
        self.out.durable = true;
        let change = client::change::Change::Removed(gone.ordinal.get());
        self.note_change(id, sequence, Some(by), &change, Some(user));
        let entry = self.change_entry(id, sequence, ordinal, change);
        if deserted {
            self.enter(&entry, self.devices_of(user));
            return self.abandon(id);
        }
        self.out.changes.push(Change::Conversation(id));
        // The member itself is told too, which is none any more.
        let mut recipients = self.recipients(id, |_| true);
        recipients.extend(self.devices_of(user));
        self.spread(entry, recipients);
    }

    /// Nobody is in a conversation any more: nothing is kept of it but what devices have still to get.
    fn abandon(&mut self, id: ConversationId) {
        self.world.remove_conversation(id);
        self.out.changes.push(Change::ConversationGone(id));
        let (partition, device) = (Partition::of_conversation(id), DeviceId::default());
        self.out.effects.push(Effect { partition, device, kind: EffectKind::Abandoned(id) });
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
            let (change, named) = fact::called(change);
            Fact::Changed { conversation, sequence, by: by.clone(), change, member: named.or_else(|| member.cloned()) }
        });
    }

    /// Answers a publish, and keeps the answer for a retry.
    fn answer(&mut self, origin: Origin, answer: Result<(ConversationId, Seq), Refused>) {
        let (reason, text, (conversation, sequence)) = match answer {
            Ok(place) => (Reason::SUCCESS, "", place),
            Err((reason, text)) => (reason, text, Default::default()),
        };
        if let (Some(doubt), true) = (origin.doubt, reason.is_success()) {
            let doubt = crate::doubt::Doubt { conversation: conversation.get(), sequence: sequence.get(), ..doubt };
            self.out.changes.push(Change::Doubt(origin.device, doubt));
        }
        if let Some(to) = origin.reply_to {
            let kind = EffectKind::Published { to, reason, text, conversation, sequence };
            self.out.effects.push(Effect { partition: Partition::of_user(&origin.user), device: origin.device, kind });
        }
    }
}

/// The snapshot that a new member sees first.
pub fn opened(conversation: &Conversation) -> client::Opened {
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
        retention: (conversation.retention != Retention::default()).then(|| conversation.retention.to_message()),
    }
}

#[cfg(test)]
mod tests;
