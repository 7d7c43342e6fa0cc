//! One command against the world: who may, what is the order, who receives it, who is told.
//!
//! Called by a lane, for each command of a batch in turn, when the world has all that the command needs. Decisions
//! of a batch see each other's effects; nothing is told to anybody before the commit is on disk.

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;
use prost::Message as _;

use crate::command::{Command, Origin, To};
use crate::conversation::{Conversation, Raised, Sent, Watermark};
use crate::entry::{Entry, Kind};
use crate::outcome::{Change, Effect, EffectKind, NewEntry, Outcome};
use crate::world::World;

mod call;

/// Settings that decisions depend on, the same on all lanes.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Largest message body.
    pub body_bytes_max: usize,
    /// Most members of a group.
    pub group_members_max: usize,
    /// Life of an inbox entry.
    pub retention_s: u32,
}

/// Longest title of a group in bytes.
pub const TITLE_BYTES_MAX: usize = 256;

/// A refusal: its reason code, and a sentence for people.
type Refused = (Reason, &'static str);

const NO_USER: Refused = (Reason::TOPIC_NAME_INVALID, "no such user");
const NO_CONVERSATION: Refused = (Reason::TOPIC_NAME_INVALID, "no such conversation");
const NO_MEMBER: Refused = (Reason::NOT_AUTHORIZED, "not a member of this conversation");
// PUBACK has no "packet too large" (MQTT 5.0, 3.4.2.1).
const BODY_TOO_LARGE: Refused = (Reason::QUOTA_EXCEEDED, "body over the limit");
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
            Command::Post { origin, to, body, client_sequence, expires_in_s } => {
                let answer = self.post(&origin, &to, body, client_sequence, expires_in_s);
                self.answer(origin, answer);
            }
            Command::Read { origin, conversation, up_to } => {
                let answer = self.read(&origin, conversation, up_to);
                self.answer(origin, answer.map(|()| Default::default()));
            }
            Command::Call { origin, id, call, correlation } => self.call(origin, id, call, correlation),
            Command::Acked { user, device, conversation, up_to, senders, orders } => {
                self.acked(&user, device, conversation, up_to, &senders, &orders);
            }
            Command::ReceiptAcked { user, device, conversation, member, watermark } => {
                self.receipt_acked(&user, device, conversation, member, watermark);
            }
            Command::Forget { user, conversation } => self.forget(&user, conversation),
        }
    }

    fn post(
        &mut self,
        origin: &Origin,
        to: &To,
        body: Bytes,
        client_sequence: u64,
        expires_in_s: u32,
    ) -> Result<(ConversationId, Seq), Refused> {
        if body.len() > self.rules.body_bytes_max {
            return Err(BODY_TOO_LARGE);
        }
        let id = match to {
            To::Conversation(id) => *id,
            To::User(user) => self.open_direct(&origin.user, user)?,
        };
        let room = self.has_room(id, Some(origin.device));
        if client_sequence > 0 {
            self.forget_old_counts(id, origin.device);
        }
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        let sent = conversation.send(&origin.user, origin.device, client_sequence, room);
        let sent = sent.map_err(|reason| match reason {
            Reason::NOT_AUTHORIZED => NO_MEMBER,
            Reason::QUOTA_EXCEEDED => INBOX_FULL,
            reason => (reason, NO_USER.1),
        })?;
        let (sequence, sender) = match sent {
            Sent::New(sequence, sender) => (sequence, sender),
            Sent::Again(sequence) => return Ok((id, sequence)),
        };
        self.out.changes.push(Change::State(id));
        self.out.durable = true;
        let lifetime_s =
            if expires_in_s == 0 { self.rules.retention_s } else { expires_in_s.min(self.rules.retention_s) };
        let entry = Entry {
            expires_at_s: self.now_s.saturating_add(lifetime_s),
            kind: Kind::Message,
            conversation: id,
            sequence,
            sender,
            sender_name: Bytes::copy_from_slice(origin.user.as_str().as_bytes()),
            stored_at_s: self.now_s,
            limited: expires_in_s != 0,
            content: body,
        };
        self.fan_out(id, entry.encode(), Some(origin.device));
        Ok((id, sequence))
    }

    /// The direct conversation of the two, made if there is none.
    fn open_direct(&mut self, from: &UserId, to: &UserId) -> Result<ConversationId, Refused> {
        let pair = World::pair(from, to);
        if let Some(id) = self.world.direct(&pair) {
            return Ok(id);
        }
        if self.world.user(from).is_none() || self.world.user(to).is_none() {
            return Err(NO_USER);
        }
        if !self.world.has_room([from, to], None) {
            return Err(INBOX_FULL);
        }
        let users = if from == to { vec![from.clone()] } else { vec![from.clone(), to.clone()] };
        let id = self.create(Partition::of_pair(from, to), false, "", &users);
        self.world.set_direct(pair.clone(), Some(id));
        self.out.changes.push(Change::Pair(pair.0, pair.1, Some(id)));
        Ok(id)
    }

    /// Makes room for the count of a device that has none yet.
    fn forget_old_counts(&mut self, id: ConversationId, device: DeviceId) {
        let Some(conversation) = self.world.conversation(id).filter(|it| it.accepted(device) == 0) else { return };
        let users = conversation.members.iter().filter_map(|member| self.world.user(&member.user));
        let devices: Vec<_> = users.flat_map(|user| &user.devices).map(|device| device.id).collect();
        if let Some(conversation) = self.world.conversation_mut(id) {
            conversation.keep_counts_of(&devices);
        }
    }

    /// Whether every inbox that a message or a change of the conversation goes to takes it.
    fn has_room(&self, id: ConversationId, except: Option<DeviceId>) -> bool {
        let members = self.world.conversation(id).map_or(&[][..], |conversation| &conversation.members);
        self.world.has_room(members.iter().map(|member| &member.user), except)
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
        self.out.changes.extend(users.iter().map(|user| Change::Membership(user.clone(), id, true)));
        self.out.durable = true;
        let change = client::change::Change::Opened(opened);
        let entry = self.change_entry(id, sequence, Ordinal::default(), change);
        self.fan_out(id, entry, None);
        id
    }

    /// The inbox entry of a change.
    fn change_entry(&self, id: ConversationId, sequence: Seq, by: Ordinal, change: client::change::Change) -> Bytes {
        let change =
            client::Change { conversation: id.get(), sequence: sequence.get(), by: by.get(), change: Some(change) };
        let entry = Entry {
            expires_at_s: self.now_s.saturating_add(self.rules.retention_s),
            kind: Kind::Change,
            conversation: id,
            sequence,
            sender: by,
            sender_name: Bytes::new(),
            stored_at_s: self.now_s,
            limited: false,
            content: change.encode_to_vec().into(),
        };
        entry.encode()
    }

    /// An entry for every device of every member but one.
    fn fan_out(&mut self, id: ConversationId, value: Bytes, except: Option<DeviceId>) {
        let Some(conversation) = self.world.conversation(id) else { return };
        for member in &conversation.members {
            let Some(user) = self.world.user(&member.user) else { continue };
            let devices = user.devices.iter().filter(|device| Some(device.id) != except);
            self.out.entries.extend(devices.map(|device| NewEntry {
                device: device.id,
                partition: user.partition,
                value: value.clone(),
            }));
        }
    }

    /// An entry for the devices of one user.
    fn enter(&mut self, user: &UserId, value: &Bytes) {
        let Some(user) = self.world.user(user) else { return };
        let entries = user.devices.iter();
        let entries =
            entries.map(|device| NewEntry { device: device.id, partition: user.partition, value: value.clone() });
        self.out.entries.extend(entries);
    }

    fn read(&mut self, origin: &Origin, id: ConversationId, up_to: Seq) -> Result<(), Refused> {
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        if conversation.member(&origin.user).is_none() {
            return Err(NO_MEMBER);
        }
        self.out.durable = true;
        let Some(raised) = conversation.raise(&origin.user, Seq::default(), up_to) else { return Ok(()) };
        self.out.changes.push(Change::State(id));
        let Some(conversation) = self.world.conversation(id) else { return Ok(()) };
        // Who has sent nothing since the last receipt has nothing to learn; the reader's other devices have.
        let concerned = conversation.members.iter();
        let concerned = concerned.filter(|m| m.ordinal == raised.member || m.last_sent > raised.before.read);
        let users: Vec<_> = concerned.map(|member| member.user.clone()).collect();
        self.tell(id, &users, raised, Some(origin.device));
        // The reading device knows more than what it was still to be told of its own user.
        self.out.changes.push(Change::ReceiptGone(origin.device, id, raised.member));
        Ok(())
    }

    fn acked(
        &mut self,
        user: &UserId,
        device: DeviceId,
        id: ConversationId,
        up_to: Seq,
        senders: &[Ordinal],
        orders: &[Order],
    ) {
        self.out.changes.extend(orders.iter().map(|order| Change::EntryGone(device, *order)));
        let lowest = orders.iter().copied().min().unwrap_or_default();
        let kind = EffectKind::Settled { lowest, entries: orders.len() as u32 };
        self.out.effects.push(Effect { partition: Partition::of_user(user), device, kind });
        let Some(conversation) = self.world.conversation_mut(id) else { return };
        let Some(raised) = conversation.raise(user, up_to, Seq::default()) else { return };
        self.out.changes.push(Change::State(id));
        let Some(conversation) = self.world.conversation(id) else { return };
        // Senders of what came, and whoever was passed: a device that is new acknowledges what came after it, and its
        // user's other devices will not raise the watermark again.
        let passed = |last: Seq| last > raised.before.delivered && last <= raised.after.delivered;
        let told = conversation.members.iter().filter(|m| senders.contains(&m.ordinal) || passed(m.last_sent));
        let users: Vec<_> = told.filter(|m| m.ordinal != raised.member).map(|m| m.user.clone()).collect();
        self.tell(id, &users, raised, None);
    }

    /// A receipt for the devices of `users` that read events.
    fn tell(&mut self, id: ConversationId, users: &[UserId], raised: Raised, except: Option<DeviceId>) {
        for user in users.iter().filter_map(|user| self.world.user(user)) {
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
        self.out.changes.push(Change::Membership(user.clone(), id, false));
        self.out.durable = true;
        let (partition, device) = (Partition::of_user(user), DeviceId::default());
        self.out.effects.push(Effect { partition, device, kind: EffectKind::Forgotten(user.clone()) });
        let Some(conversation) = self.world.conversation(id) else { return };
        if conversation.member(user).is_none() {
            return;
        }
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
        let by = conversation.member(by).map_or(Ordinal::default(), |member| member.ordinal);
        let sequence = conversation.advance();
        let Some(gone) = conversation.part(user, &devices) else { return };
        self.out.changes.push(Change::Conversation(id));
        self.out.changes.push(Change::Membership(user.clone(), id, false));
        self.out.durable = true;
        let entry = self.change_entry(id, sequence, by, client::change::Change::Removed(gone.ordinal.get()));
        self.fan_out(id, entry.clone(), None);
        self.enter(user, &entry);
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
fn opened(conversation: &Conversation) -> client::Opened {
    let members = conversation.members.iter().map(|member| client::Member {
        ordinal: member.ordinal.get(),
        user: member.user.to_string(),
        role: member.role.into(),
    });
    client::Opened { group: conversation.group, title: conversation.title.clone(), members: members.collect() }
}

#[cfg(test)]
mod tests;
