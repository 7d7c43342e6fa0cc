//! One conversation: its members, its order, and how far each member is. Keeps P4 (one order for all), P5 (who may)
//! and, by client sequences, P3 (a retried send takes effect once).

use godwit_schemas::client::Role;
use godwit_schemas::ids::{ConversationId, DeviceId, Ordinal, Seq, UserId};
use godwit_schemas::reason::Reason;

use crate::group::{Invite, Settings, reaches};
use crate::record::{AcceptedRecord, ConversationRecord, MemberRecord, ProgressRecord, StateRecord};
use crate::retention::Retention;

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
    /// Messages of others that it has not read, at most.
    pub unread: u64,
    /// It joined after this.
    pub joined_after: Seq,
    /// It has deleted everything up to here for itself.
    pub hidden: Seq,
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
    /// What members of a group may do.
    pub settings: Settings,
    /// Invites to a group.
    pub invites: Vec<Invite>,
    /// How long messages are kept.
    pub retention: Retention,
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
            settings: Settings::default(),
            invites: Vec::new(),
            retention: Retention::default(),
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

    /// Whether the user is a member of at least this role. In a direct conversation all are alike.
    pub fn may(&self, user: &UserId, least: Role) -> bool {
        self.member(user).is_some_and(|member| !self.group || reaches(member.role, least))
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

    /// Orders a message, if there is `room` for it in every inbox. Whom it is `unseen_by` does not count it.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` if the user is no member; `TOPIC_NAME_INVALID` if the other side of a direct conversation
    /// is gone; `QUOTA_EXCEEDED` if there is no room.
    pub fn send(
        &mut self,
        user: &UserId,
        device: DeviceId,
        client_sequence: u64,
        unseen_by: Option<&UserId>,
        room: bool,
    ) -> Result<Sent, Reason> {
        let index = self.members.iter().position(|member| member.user == *user).ok_or(Reason::NOT_AUTHORIZED)?;
        if !self.group && self.members.len() < 2 && self.next_ordinal > 1 {
            return Err(Reason::TOPIC_NAME_INVALID);
        }
        if let Some(place) = self.place_of_accepted(device, client_sequence) {
            return Ok(Sent::Again(place));
        }
        if !room {
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let seq = self.advance();
        if client_sequence > 0 {
            self.accept(device, client_sequence, seq);
        }
        for (at, member) in self.members.iter_mut().enumerate() {
            if at == index {
                member.last_sent = seq;
            } else if unseen_by != Some(&member.user) {
                member.unread += 1;
            }
        }
        Ok(Sent::New(seq, self.members[index].ordinal))
    }

    /// The device's last count; 0: none yet.
    pub fn accepted(&self, device: DeviceId) -> u64 {
        self.accepted.iter().find(|(id, ..)| *id == device).map_or(0, |(_, last, _)| *last)
    }

    /// Where the send of this count stands, if it was accepted before; 0: it was not the device's last.
    pub fn place_of_accepted(&self, device: DeviceId, client_sequence: u64) -> Option<Seq> {
        let again = client_sequence > 0 && client_sequence <= self.accepted(device);
        again.then(|| self.place_of(device, client_sequence))
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

    /// Forgets the counts of devices that are no member's, but for the last few. Keeps P8: they would be written with each
    /// message; and P3: a retry may be on its way when its device is removed, and some count that are never a member's.
    pub fn keep_counts_of(&mut self, devices: &[DeviceId]) {
        /// More are not removed while a retry is on its way.
        const LAST: usize = 4;
        let strangers = self.accepted.iter().filter(|(device, ..)| !devices.contains(device));
        let mut places: Vec<_> = strangers.map(|(.., at)| *at).collect();
        places.sort_unstable();
        let from = places.iter().nth_back(LAST - 1).copied().unwrap_or_default();
        self.accepted.retain(|(device, _, at)| devices.contains(device) || *at >= from);
    }

    /// Adds a member.
    pub fn join(&mut self, user: UserId, role: Role) -> Ordinal {
        let ordinal = Ordinal::new(self.next_ordinal);
        self.next_ordinal += 1;
        // What came before is not this member's to receive or read.
        let watermark = Watermark { delivered: self.last_seq, read: self.last_seq };
        // Its joining, which was given its place, is the first that it sees.
        let joined_after = Seq::new(self.last_seq.get().saturating_sub(1));
        let (last_sent, hidden) = (Seq::default(), Seq::default());
        self.members.push(Member { ordinal, user, role, last_sent, watermark, unread: 0, joined_after, hidden });
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
        member.unread = member.unread.min(last.get() - read.get());
        Some(Raised { member: member.ordinal, before, after })
    }

    /// The user wants to see nothing of what was so far.
    pub fn hide(&mut self, user: &UserId) {
        let last = self.last_seq;
        if let Some(member) = self.members.iter_mut().find(|member| member.user == *user) {
            member.hidden = last;
        }
    }

    /// A message is taken back: it is unread no more. (Nobody who joined later counts it.)
    pub fn uncount(&mut self, sequence: Seq, sender: Ordinal) {
        for member in self.members.iter_mut().filter(|member| member.ordinal != sender) {
            if member.watermark.read < sequence && member.joined_after < sequence {
                member.unread = member.unread.saturating_sub(1);
            }
        }
    }

    /// Everything that a member may see in history is above this.
    pub fn floor(&self, member: &Member) -> Seq {
        let joined = if self.settings.history_for_new { Seq::default() } else { member.joined_after };
        joined.max(member.hidden)
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
            joined_after: member.joined_after.get(),
        });
        let record = ConversationRecord {
            group: self.group,
            title: self.title.clone(),
            members: members.collect(),
            next_ordinal: self.next_ordinal,
            settings: (self.settings != Settings::default()).then(|| self.settings.to_message()),
            invites: self.invites.iter().map(Invite::to_record).collect(),
            retention: (self.retention != Retention::default()).then(|| self.retention.to_message()),
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
            unread: member.unread,
            hidden: member.hidden.get(),
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
                unread: progress.unread,
                joined_after: Seq::new(member.joined_after),
                hidden: Seq::new(progress.hidden),
            });
        }
        let accepted = state.accepted.iter();
        let accepted = accepted.map(|it| (DeviceId::new(it.device), it.client_sequence, Seq::new(it.sequence)));
        Some(Self {
            id,
            group: record.group,
            title: record.title.clone(),
            members,
            settings: record.settings.as_ref().map_or_else(|| Some(Settings::default()), Settings::parse)?,
            invites: record.invites.iter().map(Invite::from_record).collect::<Option<_>>()?,
            retention: record.retention.as_ref().map_or_else(Retention::default, Retention::parse),
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
        assert_eq!(it.send(&user("alice"), phone, 0, None, true), Ok(Sent::New(Seq::new(1), Ordinal::new(0))));
        assert_eq!(it.send(&user("bob"), DeviceId::new(2), 0, None, true), Ok(Sent::New(Seq::new(2), Ordinal::new(1))));
        assert_eq!(it.send(&user("carol"), DeviceId::new(3), 0, None, true), Err(Reason::NOT_AUTHORIZED));
        assert_eq!(it.last_seq, Seq::new(2));
    }

    #[test]
    fn a_count_takes_effect_once_for_each_device() {
        let mut it = group(&["alice", "bob"]);
        let (phone, tablet) = (DeviceId::new(1), DeviceId::new(2));
        let mut send = |device, count| it.send(&user("alice"), device, count, None, true).unwrap();
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
        assert_eq!(it.send(&user("alice"), phone, 1, None, true), Ok(Sent::New(Seq::new(1), Ordinal::new(0))));
        assert_eq!(it.send(&user("alice"), phone, 2, None, false), Err(Reason::QUOTA_EXCEEDED));
        assert_eq!(
            it.send(&user("alice"), phone, 1, None, false),
            Ok(Sent::Again(Seq::new(1))),
            "a retry needs no room"
        );
        assert_eq!(it.send(&user("alice"), phone, 2, None, true), Ok(Sent::New(Seq::new(2), Ordinal::new(0))));
    }

    #[test]
    fn a_direct_conversation_ends_with_its_other_side() {
        let users = [user("alice"), user("bob")];
        let mut it = Conversation::new(ConversationId::new(65), false, "", &users);
        it.part(&user("bob"), &[]);
        assert_eq!(it.send(&user("alice"), DeviceId::new(1), 0, None, true), Err(Reason::TOPIC_NAME_INVALID));
        let mut own = Conversation::new(ConversationId::new(66), false, "", &users[..1]);
        assert!(own.send(&user("alice"), DeviceId::new(1), 0, None, true).is_ok());
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
            it.send(&user("alice"), DeviceId::new(1), 0, None, true).unwrap();
        }
        let mut raise = |delivered, read| it.raise(&user("bob"), Seq::new(delivered), Seq::new(read));
        let mark = |delivered, read| Watermark { delivered: Seq::new(delivered), read: Seq::new(read) };
        assert_eq!(raise(2, 0).unwrap().after, mark(2, 0));
        assert_eq!(raise(1, 0), None);
        assert_eq!(raise(0, 4).unwrap().after, mark(4, 4));
        assert_eq!(raise(99, 99).unwrap().after, mark(5, 5));
    }

    #[test]
    fn what_others_sent_is_unread_until_it_is_read_or_taken_back() {
        let mut it = group(&["alice", "bob", "carol"]);
        let unread = |it: &Conversation, name| it.member(&user(name)).unwrap().unread;
        for unseen_by in [None, None, None, Some(user("carol"))] {
            it.send(&user("alice"), DeviceId::new(1), 0, unseen_by.as_ref(), true).unwrap();
        }
        assert_eq!([unread(&it, "alice"), unread(&it, "bob"), unread(&it, "carol")], [0, 4, 3]);
        it.raise(&user("bob"), Seq::default(), Seq::new(1));
        assert_eq!(unread(&it, "bob"), 3);
        it.uncount(Seq::new(2), Ordinal::new(0));
        it.uncount(Seq::new(1), Ordinal::new(0));
        assert_eq!(unread(&it, "bob"), 2, "the first was read");
        it.raise(&user("bob"), Seq::default(), Seq::new(4));
        assert_eq!(unread(&it, "bob"), 0);
    }

    #[test]
    fn a_member_sees_what_came_after_it_joined_and_what_it_has_not_deleted() {
        let mut it = group(&["alice", "bob"]);
        it.send(&user("alice"), DeviceId::new(1), 0, None, true).unwrap();
        it.advance();
        it.join(user("carol"), Role::Member);
        let floor = |it: &Conversation| it.floor(it.member(&user("carol")).unwrap()).get();
        assert_eq!(floor(&it), 1);
        it.settings.history_for_new = true;
        assert_eq!(floor(&it), 0);
        it.send(&user("alice"), DeviceId::new(1), 0, None, true).unwrap();
        it.hide(&user("carol"));
        assert_eq!(floor(&it), 3);
    }

    #[test]
    fn survives_storage() {
        let mut it = group(&["alice", "bob", "carol"]);
        it.send(&user("alice"), DeviceId::new(1), 7, None, true).unwrap();
        it.raise(&user("bob"), Seq::new(1), Seq::new(0));
        it.part(&user("carol"), &[]);
        it.retention.expires_in_s = 60;
        it.hide(&user("bob"));
        it.settings.may_send = Role::Admin;
        it.invites.push(Invite { secret: [1; 16], by: Ordinal::new(0), expires_at_s: 9 });
        let (record, state) = it.to_records();
        assert_eq!(Conversation::from_records(it.id, &record, &state), Some(it));
    }
}
