//! One conversation: its members, its order, and how far each member is. Keeps P4 (one order for all), P5 (who may)
//! and, by client sequences, P3 (a retried send takes effect once).

use godwit_schemas::client::Role;
use godwit_schemas::ids::{ConversationId, DeviceId, Ordinal, Seq, UserId};
use godwit_schemas::reason::Reason;

use crate::record::{AcceptedRecord, ConversationRecord, MemberRecord, ProgressRecord, StateRecord};

/// How far a member's devices are. Both only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermark {
    /// One of its devices has everything up to here.
    pub delivered: Seq,
    /// The user has read up to here.
    pub read: Seq,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number here.
    pub ordinal: Ordinal,
    /// Who it is.
    pub user: UserId,
    /// What it may do.
    pub role: Role,
    /// Its last message: a receipt for later messages only is none of its business.
    pub last_sent: Seq,
    /// How far it is.
    pub watermark: Watermark,
}

/// A conversation as its lane holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its number.
    pub id: ConversationId,
    /// Group rather than direct.
    pub group: bool,
    /// Title of a group.
    pub title: String,
    /// In the order they joined.
    pub members: Vec<Member>,
    /// Sequence of the last message or change.
    pub last_seq: Seq,
    next_ordinal: u32,
    /// Of devices that count their sends: the last accepted one, and its place.
    accepted: Vec<(DeviceId, u64, Seq)>,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is the next message.
    New(Seq, Ordinal),
    /// A retry of one that was accepted; at this place, if it was the device's last one (otherwise 0).
    Again(Seq),
}

impl Conversation {
    /// A new one. The first of `users` is the owner (of a group).
    pub fn new(id: ConversationId, group: bool, title: &str, users: &[UserId]) -> Self {
        let mut conversation = Self {
            id,
            group,
            title: title.to_owned(),
            members: Vec::with_capacity(users.len()),
            last_seq: Seq::default(),
            next_ordinal: 0,
            accepted: Vec::new(),
        };
        for user in users {
            conversation.join(user.clone(), Role::Member);
        }
        if let (true, Some(owner)) = (group, conversation.members.first_mut()) {
            owner.role = Role::Owner;
        }
        conversation
    }

    /// The member that this user is.
    pub fn member(&self, user: &UserId) -> Option<&Member> {
        self.members.iter().find(|member| member.user == *user)
    }

    /// The member of this number.
    pub fn member_by_ordinal(&self, ordinal: Ordinal) -> Option<&Member> {
        self.members.iter().find(|member| member.ordinal == ordinal)
    }

    /// Takes the next place in the order.
    pub fn advance(&mut self) -> Seq {
        self.last_seq = Seq::new(self.last_seq.get() + 1);
        self.last_seq
    }

    /// Orders a message, if there is `room` for it in every inbox.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` if the user is no member; `TOPIC_NAME_INVALID` if the other side of a direct conversation
    /// is gone; `QUOTA_EXCEEDED` if there is no room.
    pub fn send(&mut self, user: &UserId, device: DeviceId, client_sequence: u64, room: bool) -> Result<Sent, Reason> {
        let index = self.members.iter().position(|member| member.user == *user).ok_or(Reason::NOT_AUTHORIZED)?;
        if !self.group && self.members.len() < 2 && self.next_ordinal > 1 {
            return Err(Reason::TOPIC_NAME_INVALID);
        }
        if client_sequence > 0 && client_sequence <= self.accepted(device) {
            return Ok(Sent::Again(self.place_of(device, client_sequence)));
        }
        if !room {
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let seq = self.advance();
        if client_sequence > 0 {
            self.accept(device, client_sequence, seq);
        }
        let member = &mut self.members[index];
        member.last_sent = seq;
        Ok(Sent::New(seq, member.ordinal))
    }

    /// The device's last count; 0: none yet.
    pub fn accepted(&self, device: DeviceId) -> u64 {
        self.accepted.iter().find(|(id, ..)| *id == device).map_or(0, |(_, last, _)| *last)
    }

    /// Where the send of this count stands, if it is the device's last; otherwise 0.
    fn place_of(&self, device: DeviceId, client_sequence: u64) -> Seq {
        let last = self.accepted.iter().find(|(id, last, _)| *id == device && *last == client_sequence);
        last.map_or(Seq::default(), |(_, _, at)| *at)
    }

    fn accept(&mut self, device: DeviceId, client_sequence: u64, at: Seq) {
        match self.accepted.iter_mut().find(|(id, ..)| *id == device) {
            Some(known) => *known = (device, client_sequence, at),
            None => self.accepted.push((device, client_sequence, at)),
        }
    }

    /// Forgets the counts of devices that are no member's any more. Keeps P8: they would be written with each message.
    pub fn keep_counts_of(&mut self, devices: &[DeviceId]) {
        self.accepted.retain(|(device, ..)| devices.contains(device));
    }

    /// Adds a member.
    pub fn join(&mut self, user: UserId, role: Role) -> Ordinal {
        let ordinal = Ordinal::new(self.next_ordinal);
        self.next_ordinal += 1;
        // What came before is not this member's to receive or read.
        let watermark = Watermark { delivered: self.last_seq, read: self.last_seq };
        self.members.push(Member { ordinal, user, role, last_sent: Seq::default(), watermark });
        ordinal
    }

    /// Takes a member out. The oldest remaining admin, or else member, inherits an owner's role.
    pub fn part(&mut self, user: &UserId, devices: &[DeviceId]) -> Option<Member> {
        let index = self.members.iter().position(|member| member.user == *user)?;
        let gone = self.members.remove(index);
        self.accepted.retain(|(device, ..)| !devices.contains(device));
        if gone.role == Role::Owner {
            let heir = self.members.iter().position(|member| member.role == Role::Admin).unwrap_or(0);
            if let Some(heir) = self.members.get_mut(heir) {
                heir.role = Role::Owner;
            }
        }
        Some(gone)
    }

    /// Raises a member's watermark. Reading implies delivery; nobody is ahead of the last message.
    ///
    /// Returns the watermark before and after, or `None` if nothing moved.
    pub fn raise(&mut self, user: &UserId, delivered: Seq, read: Seq) -> Option<Raised> {
        let last = self.last_seq;
        let member = self.members.iter_mut().find(|member| member.user == *user)?;
        let before = member.watermark;
        let read = read.min(last).max(before.read);
        let delivered = delivered.min(last).max(before.delivered).max(read);
        let after = Watermark { delivered, read };
        if after == before {
            return None;
        }
        member.watermark = after;
        Some(Raised { member: member.ordinal, before, after })
    }

    /// Whether `user` may have been told more of a member than `known`. A member that moved without concerning the user
    /// (all that is new is others' messages) has told nothing.
    pub fn owes(&self, user: &UserId, of: Ordinal, known: Watermark) -> bool {
        let (Some(of), Some(told)) = (self.member_by_ordinal(of), self.member(user)) else { return false };
        let Watermark { delivered, read } = of.watermark;
        if of.user == *user {
            return read > known.read;
        }
        (delivered > known.delivered && told.last_sent > known.delivered)
            || (read > known.read && told.last_sent > known.read)
    }

    /// The stored form: what seldom changes, and what changes with every message.
    pub fn to_records(&self) -> (ConversationRecord, StateRecord) {
        let members = self.members.iter().map(|member| MemberRecord {
            ordinal: member.ordinal.get(),
            user: member.user.to_string(),
            role: member.role.into(),
        });
        let record = ConversationRecord {
            group: self.group,
            title: self.title.clone(),
            members: members.collect(),
            next_ordinal: self.next_ordinal,
        };
        (record, self.to_state())
    }

    /// The stored form of what changes with every message.
    pub fn to_state(&self) -> StateRecord {
        let progress = self.members.iter().map(|member| ProgressRecord {
            ordinal: member.ordinal.get(),
            last_sent: member.last_sent.get(),
            delivered: member.watermark.delivered.get(),
            read: member.watermark.read.get(),
        });
        let accepted = self.accepted.iter().map(|(id, last, at)| AcceptedRecord {
            device: id.get(),
            client_sequence: *last,
            sequence: at.get(),
        });
        StateRecord { last_seq: self.last_seq.get(), progress: progress.collect(), accepted: accepted.collect() }
    }

    /// Reads the stored form. `None` if it is damaged.
    pub fn from_records(id: ConversationId, record: &ConversationRecord, state: &StateRecord) -> Option<Self> {
        let mut members = Vec::with_capacity(record.members.len());
        for member in &record.members {
            let progress = state.progress.iter().find(|progress| progress.ordinal == member.ordinal);
            let progress = progress.cloned().unwrap_or_default();
            members.push(Member {
                ordinal: Ordinal::new(member.ordinal),
                user: UserId::new(&member.user).ok()?,
                role: Role::try_from(member.role).ok()?,
                last_sent: Seq::new(progress.last_sent),
                watermark: Watermark { delivered: Seq::new(progress.delivered), read: Seq::new(progress.read) },
            });
        }
        let accepted = state.accepted.iter();
        let accepted = accepted.map(|it| (DeviceId::new(it.device), it.client_sequence, Seq::new(it.sequence)));
        Some(Self {
            id,
            group: record.group,
            title: record.title.clone(),
            members,
            last_seq: Seq::new(state.last_seq),
            next_ordinal: record.next_ordinal,
            accepted: accepted.collect(),
        })
    }
}

/// A watermark that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// Whose.
    pub member: Ordinal,
    /// From.
    pub before: Watermark,
    /// To.
    pub after: Watermark,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn group(names: &[&str]) -> Conversation {
        let users: Vec<_> = names.iter().map(|name| user(name)).collect();
        Conversation::new(ConversationId::new(65), true, "hikers", &users)
    }

    #[test]
    fn order_has_no_gaps_and_only_members_send() {
        let mut it = group(&["alice", "bob"]);
        let phone = DeviceId::new(1);
        assert_eq!(it.send(&user("alice"), phone, 0, true), Ok(Sent::New(Seq::new(1), Ordinal::new(0))));
        assert_eq!(it.send(&user("bob"), DeviceId::new(2), 0, true), Ok(Sent::New(Seq::new(2), Ordinal::new(1))));
        assert_eq!(it.send(&user("carol"), DeviceId::new(3), 0, true), Err(Reason::NOT_AUTHORIZED));
        assert_eq!(it.last_seq, Seq::new(2));
    }

    #[test]
    fn a_count_takes_effect_once_for_each_device() {
        let mut it = group(&["alice", "bob"]);
        let (phone, tablet) = (DeviceId::new(1), DeviceId::new(2));
        let mut send = |device, count| it.send(&user("alice"), device, count, true).unwrap();
        assert_eq!(send(phone, 1), Sent::New(Seq::new(1), Ordinal::new(0)));
        assert_eq!(send(phone, 1), Sent::Again(Seq::new(1)));
        assert_eq!(send(tablet, 1), Sent::New(Seq::new(2), Ordinal::new(0)));
        assert_eq!(send(phone, 3), Sent::New(Seq::new(3), Ordinal::new(0)));
        assert_eq!(send(phone, 2), Sent::Again(Seq::default()), "only of the last one the place is known");
        assert_eq!(send(phone, 3), Sent::Again(Seq::new(3)));
    }

    #[test]
    fn what_there_is_no_room_for_takes_no_place_and_no_count() {
        let mut it = group(&["alice", "bob"]);
        let phone = DeviceId::new(1);
        assert_eq!(it.send(&user("alice"), phone, 1, true), Ok(Sent::New(Seq::new(1), Ordinal::new(0))));
        assert_eq!(it.send(&user("alice"), phone, 2, false), Err(Reason::QUOTA_EXCEEDED));
        assert_eq!(it.send(&user("alice"), phone, 1, false), Ok(Sent::Again(Seq::new(1))), "a retry needs no room");
        assert_eq!(it.send(&user("alice"), phone, 2, true), Ok(Sent::New(Seq::new(2), Ordinal::new(0))));
    }

    #[test]
    fn a_direct_conversation_ends_with_its_other_side() {
        let users = [user("alice"), user("bob")];
        let mut it = Conversation::new(ConversationId::new(65), false, "", &users);
        it.part(&user("bob"), &[]);
        assert_eq!(it.send(&user("alice"), DeviceId::new(1), 0, true), Err(Reason::TOPIC_NAME_INVALID));
        let mut own = Conversation::new(ConversationId::new(66), false, "", &users[..1]);
        assert!(own.send(&user("alice"), DeviceId::new(1), 0, true).is_ok());
    }

    #[test]
    fn roles_are_inherited_and_ordinals_never_reused() {
        let mut it = group(&["alice", "bob", "carol"]);
        assert_eq!(it.part(&user("alice"), &[]).unwrap().role, Role::Owner);
        assert_eq!(it.member(&user("bob")).unwrap().role, Role::Owner);
        assert_eq!(it.join(user("alice"), Role::Member), Ordinal::new(3));
    }

    #[test]
    fn watermarks_only_grow_and_stay_behind_the_order() {
        let mut it = group(&["alice", "bob"]);
        for _ in 0..5 {
            it.send(&user("alice"), DeviceId::new(1), 0, true).unwrap();
        }
        let mut raise = |delivered, read| it.raise(&user("bob"), Seq::new(delivered), Seq::new(read));
        let mark = |delivered, read| Watermark { delivered: Seq::new(delivered), read: Seq::new(read) };
        assert_eq!(raise(2, 0).unwrap().after, mark(2, 0));
        assert_eq!(raise(1, 0), None);
        assert_eq!(raise(0, 4).unwrap().after, mark(4, 4));
        assert_eq!(raise(99, 99).unwrap().after, mark(5, 5));
    }

    #[test]
    fn survives_storage() {
        let mut it = group(&["alice", "bob", "carol"]);
        it.send(&user("alice"), DeviceId::new(1), 7, true).unwrap();
        it.raise(&user("bob"), Seq::new(1), Seq::new(0));
        it.part(&user("carol"), &[]);
        let (record, state) = it.to_records();
        assert_eq!(Conversation::from_records(it.id, &record, &state), Some(it));
    }
}
