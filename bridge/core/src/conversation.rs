//! One conversation: its members, its order, and how far each member is. Keeps P4 (one order for all) and P5 (who may).

use godwit_schemas::client::Role;
use godwit_schemas::ids::{ConversationId, DeviceId, Ordinal, Seq, UserId};
use godwit_schemas::reason::Reason;

use crate::floor::Floor;
use crate::group::{GroupInvite, GroupSettings, reaches};
use crate::mls::MlsState;
use crate::recent::{PlaceContent, RecentPlaces, Sent, UnreadQuery};
use crate::retention::Retention;
use crate::send_count::SendCounts;
use crate::stored::{ConversationRecord, MemberRecord, PendingRecord, ProgressRecord, StateRecord};

/// How far a member's devices are. Both only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermark {
    /// One of its devices has everything up to here.
    pub delivered: Seq,
    /// The user has read up to here.
    pub read: Seq,
}

/// A member, as its conversation's lane holds it. What a client knows of it is `Member` of godwit-client
/// (`client-sdk/src/conversation.rs`); `client.Member` is what travels.
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
    /// It joined after this.
    pub joined_after: Seq,
    /// It has deleted everything up to here for itself.
    pub hidden: Seq,
    /// What came after this is unseen by it: the other side has said or done it while it was blocked. `None`: nothing is.
    shown: Option<Seq>,
    /// What it has set while the other side had blocked it: so it is for this member alone.
    own_retention: Option<Retention>,
    /// It has not accepted the conversation yet: one who is none of its contacts has opened it, or added it. `None`: it has.
    pub pending: Option<MessageRequest>,
}

/// What waits for a member that has not accepted a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageRequest {
    /// Everything up to here was delivered, or has expired.
    from: Seq,
    /// Second since 1970 at which all after it has expired.
    expires_at_s: u32,
}

/// A conversation as its lane holds it. What a client knows of it is `Conversation` of godwit-client
/// (`client-sdk/src/conversation.rs`).
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
    pub settings: GroupSettings,
    /// Invites to a group.
    pub invites: Vec<GroupInvite>,
    /// How long messages are kept.
    pub retention: Retention,
    /// Sequence of the last message or change.
    pub last_seq: Seq,
    /// How far those are who count their sends.
    pub counts: SendCounts,
    /// What stands in the newest places.
    pub recent: RecentPlaces,
    /// Its MLS group; `None`: it is not encrypted.
    pub mls: Option<Box<MlsState>>,
    next_ordinal: u32,
    /// Places and ordinals go on above it.
    floor: Floor,
}

impl Conversation {
    /// A new one. The first of `users` is the owner (of a group).
    pub fn new(id: ConversationId, group: bool, title: &str, users: &[UserId]) -> Self {
        let mut conversation = Self {
            id,
            group,
            title: title.to_owned(),
            members: Vec::with_capacity(users.len()),
            settings: GroupSettings::default(),
            invites: Vec::new(),
            retention: Retention::default(),
            last_seq: Seq::default(),
            counts: SendCounts::default(),
            recent: RecentPlaces::default(),
            mls: None,
            next_ordinal: 0,
            floor: Floor::default(),
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

    /// The place that is given next.
    pub fn next_place(&self) -> Seq {
        Seq::new(self.floor.raise(self.last_seq.get()) + 1)
    }

    /// Takes the next place in the order. Whom it is `unseen_by` is shown nothing of it.
    pub fn advance(&mut self, unseen_by: Option<&UserId>, what: PlaceContent) -> Seq {
        let before = self.last_seq;
        self.last_seq = self.next_place();
        let left_out = self.last_seq.get() - before.get() - 1;
        for pending in self.members.iter_mut().filter_map(|member| member.pending.as_mut()).filter(|_| left_out > 0) {
            // Nothing waits there.
            pending.from = Seq::new(pending.from.get() + left_out);
        }
        if left_out > 0 {
            self.recent.leave_out(before, self.last_seq);
        }
        self.recent.push(self.last_seq, what);
        if !self.group {
            for member in &mut self.members {
                member.shown = (unseen_by == Some(&member.user)).then(|| member.shown.unwrap_or(before));
            }
        }
        self.last_seq
    }

    /// How much of a direct conversation waits for a member that has not accepted it; `None`: all have.
    pub fn waits_for_acceptance(&mut self, now_s: u32) -> Option<u64> {
        let last = self.last_seq;
        let member = self.members.iter_mut().filter(|_| !self.group).find(|member| member.pending.is_some())?;
        let delivered = member.watermark.delivered;
        let pending = member.pending.as_mut()?;
        pending.from = if pending.expires_at_s <= now_s { last } else { pending.from.max(delivered) };
        Some(last.get() - pending.from.get())
    }

    /// What was ordered last expires then.
    pub fn waits_until(&mut self, expires_at_s: u32) {
        let asked = self.members.iter_mut().filter(|_| !self.group);
        for pending in asked.filter_map(|member| member.pending.as_mut()) {
            pending.expires_at_s = pending.expires_at_s.max(expires_at_s);
        }
    }

    /// The member has accepted the conversation. False: it had before.
    pub fn accept(&mut self, user: &UserId) -> bool {
        let member = self.members.iter_mut().find(|member| member.user == *user);
        member.is_some_and(|member| member.pending.take().is_some())
    }

    /// The member did not choose to be in the conversation.
    pub fn set_pending(&mut self, user: &UserId) {
        let from = self.last_seq;
        if let Some(member) = self.members.iter_mut().find(|member| member.user == *user) {
            member.pending = Some(MessageRequest { from, expires_at_s: 0 });
        }
    }

    /// The store went back since the conversation was made: it goes on above this.
    pub fn go_on_above(&mut self, floor: Floor) {
        self.floor = floor;
    }

    /// How far the store went back since the conversation was made.
    pub fn floor_of_places(&self) -> Floor {
        self.floor
    }

    /// The epoch of its MLS group; 0: it is not encrypted.
    pub fn mls_epoch(&self) -> u64 {
        self.mls.as_ref().map_or(0, |mls| mls.epoch)
    }

    /// The last place of which a member may know.
    pub fn last_shown(&self, member: &Member) -> Seq {
        member.shown.unwrap_or(self.last_seq)
    }

    /// How long messages are kept, as a member sees it.
    pub fn retention_of(&self, member: &Member) -> Retention {
        member.own_retention.unwrap_or(self.retention)
    }

    /// Sets how long messages are kept: for all, or, of one who is blocked, for itself `alone`.
    pub fn set_retention(&mut self, retention: Retention, alone: Option<&UserId>) {
        match alone.and_then(|user| self.members.iter_mut().find(|member| member.user == *user)) {
            Some(member) => member.own_retention = Some(retention),
            None => {
                self.retention = retention;
                self.members.iter_mut().for_each(|member| member.own_retention = None);
            }
        }
    }

    /// Orders a message, if there is `room` for it. Whom it is `unseen_by` does not count it. It is stored at `now_s`, and
    /// vanishes after `life_s`; `None`: it does not.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` if the user is no member; `TOPIC_NAME_INVALID` if the other side of a direct conversation
    /// is gone; `QUOTA_EXCEEDED` if there is no room.
    pub fn send(
        &mut self,
        user: &UserId,
        unseen_by: Option<&UserId>,
        room: bool,
        (now_s, life_s): (u32, Option<u32>),
    ) -> Result<(Seq, Ordinal), Reason> {
        let index = self.members.iter().position(|member| member.user == *user).ok_or(Reason::NOT_AUTHORIZED)?;
        if !self.group && self.members.len() < 2 && self.next_ordinal > 1 {
            return Err(Reason::TOPIC_NAME_INVALID);
        }
        if !room {
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let by = self.members[index].ordinal;
        let sent = Sent { by, at_s: now_s, life_s };
        let seq = self
            .advance(unseen_by, if unseen_by.is_none() { PlaceContent::Message(sent) } else { PlaceContent::Other });
        let member = &mut self.members[index];
        member.last_sent = seq;
        member.pending = None;
        Ok((seq, by))
    }

    /// Adds a member.
    pub fn join(&mut self, user: UserId, role: Role) -> Ordinal {
        let ordinal = Ordinal::new(self.floor.raise_ordinal(self.next_ordinal));
        self.next_ordinal = ordinal.get() + 1;
        // What came before is not this member's to receive or read.
        let watermark = Watermark { delivered: self.last_seq, read: self.last_seq };
        // Its joining, which was given its place, is the first that it sees.
        let joined_after = Seq::new(self.last_seq.get().saturating_sub(1));
        self.members.push(Member {
            ordinal,
            user,
            role,
            last_sent: Seq::default(),
            watermark,
            joined_after,
            hidden: Seq::default(),
            shown: None,
            own_retention: None,
            pending: None,
        });
        ordinal
    }

    /// Takes a member out. The oldest remaining admin, or else member, inherits an owner's role.
    pub fn part(&mut self, user: &UserId, devices: &[DeviceId]) -> Option<Member> {
        let index = self.members.iter().position(|member| member.user == *user)?;
        let gone = self.members.remove(index);
        self.counts.part(user, devices);
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

    /// The user wants to see nothing of what was so far.
    pub fn hide(&mut self, user: &UserId) {
        let last = self.last_seq;
        if let Some(member) = self.members.iter_mut().find(|member| member.user == *user) {
            member.hidden = last;
        }
    }

    /// To count what a member has not read.
    pub fn asked(&self, member: &Member) -> UnreadQuery {
        UnreadQuery { by: member.ordinal, read: member.watermark.read, last: self.last_seq }
    }

    /// Everything that a member may see in history is above this.
    pub fn floor(&self, member: &Member) -> Seq {
        let joined = if self.settings.history_for_new { Seq::default() } else { member.joined_after };
        joined.max(member.hidden)
    }

    /// How far a member is, if that may concern `user` more than what it knows: some of what is new may be its own messages.
    pub fn owes(&self, user: &UserId, of: Ordinal, known: Watermark) -> Option<Watermark> {
        let (of, told) = (self.member_by_ordinal(of)?, self.member(user)?);
        let Watermark { delivered, read } = of.watermark;
        let concerns = if of.user == *user {
            read > known.read
        } else {
            (delivered > known.delivered && told.last_sent > known.delivered)
                || (read > known.read && told.last_sent > known.read)
        };
        concerns.then_some(of.watermark)
    }

    /// The stored form: what seldom changes, and what changes with every message.
    pub fn to_records(&self) -> (ConversationRecord, StateRecord) {
        let members = self.members.iter().map(|member| MemberRecord {
            ordinal: member.ordinal.get(),
            user: member.user.to_string(),
            role: member.role.into(),
            joined_after: member.joined_after.get(),
            own_retention: member.own_retention.map(Retention::to_message),
        });
        let record = ConversationRecord {
            group: self.group,
            title: self.title.clone(),
            members: members.collect(),
            next_ordinal: self.next_ordinal,
            settings: (self.settings != GroupSettings::default()).then(|| self.settings.to_message()),
            invites: self.invites.iter().map(GroupInvite::to_record).collect(),
            retention: (self.retention != Retention::default()).then(|| self.retention.to_message()),
            left: self.counts.to_records().1,
            mls: self.mls.as_ref().map(|mls| Box::new(mls.to_record())),
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
            hidden: member.hidden.get(),
            shown: member.shown.map(Seq::get),
            pending: member.pending.map(|it| PendingRecord { from: it.from.get(), expires_at_s: it.expires_at_s }),
        });
        let accepted = self.counts.here_to_records();
        let recent = self.recent.to_record();
        StateRecord { last_seq: self.last_seq.get(), progress: progress.collect(), accepted, recent }
    }

    /// Reads the stored form. `None` if it is damaged.
    pub fn from_records(id: ConversationId, record: &ConversationRecord, state: &StateRecord) -> Option<Self> {
        let mut members = Vec::with_capacity(record.members.len());
        for (index, member) in record.members.iter().enumerate() {
            let is_its = |progress: &&ProgressRecord| progress.ordinal == member.ordinal;
            // Both are written in the same order.
            let progress = state.progress.get(index).filter(is_its).or_else(|| state.progress.iter().find(is_its));
            let progress = progress.cloned().unwrap_or_default();
            members.push(Member {
                ordinal: Ordinal::new(member.ordinal),
                user: UserId::new(&member.user).ok()?,
                role: Role::try_from(member.role).ok()?,
                last_sent: Seq::new(progress.last_sent),
                watermark: Watermark { delivered: Seq::new(progress.delivered), read: Seq::new(progress.read) },
                joined_after: Seq::new(member.joined_after),
                hidden: Seq::new(progress.hidden),
                shown: progress.shown.map(Seq::new),
                own_retention: member.own_retention.as_ref().map(Retention::parse),
                pending: progress
                    .pending
                    .map(|it| MessageRequest { from: Seq::new(it.from), expires_at_s: it.expires_at_s }),
            });
        }
        Some(Self {
            id,
            group: record.group,
            title: record.title.clone(),
            members,
            settings: record.settings.as_ref().map_or_else(|| Some(GroupSettings::default()), GroupSettings::parse)?,
            invites: record.invites.iter().map(GroupInvite::from_record).collect::<Option<_>>()?,
            retention: record.retention.as_ref().map_or_else(Retention::default, Retention::parse),
            last_seq: Seq::new(state.last_seq),
            counts: SendCounts::from_records(&state.accepted, &record.left),
            recent: RecentPlaces::from_record(&state.recent),
            mls: match &record.mls {
                Some(mls) => Some(Box::new(MlsState::from_record(mls)?)),
                None => None,
            },
            next_ordinal: record.next_ordinal,
            floor: Floor::default(),
        })
    }
}

/// A watermark that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// The member whose watermark moved.
    pub member: Ordinal,
    /// Its watermark before.
    pub before: Watermark,
    /// Its watermark now.
    pub after: Watermark,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send_count::{SendNumber, Sender};

    const NOW: (u32, Option<u32>) = (1_000, None);

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn group(names: &[&str]) -> Conversation {
        let users: Vec<_> = names.iter().map(|name| user(name)).collect();
        Conversation::new(ConversationId::new(65), true, "hikers", &users)
    }

    #[test]
    fn every_message_takes_the_next_place() {
        let mut it = group(&["alice", "bob"]);
        assert_eq!(it.send(&user("alice"), None, true, NOW), Ok((Seq::new(1), Ordinal::new(0))));
        assert_eq!(it.send(&user("bob"), None, false, NOW), Err(Reason::QUOTA_EXCEEDED), "it takes none without room");
        assert_eq!(it.send(&user("bob"), None, true, NOW), Ok((Seq::new(2), Ordinal::new(1))));
        assert_eq!(it.send(&user("carol"), None, true, NOW), Err(Reason::NOT_AUTHORIZED));
    }

    #[test]
    fn a_direct_conversation_ends_with_its_other_side() {
        let users = [user("alice"), user("bob")];
        let mut it = Conversation::new(ConversationId::new(65), false, "", &users);
        it.part(&user("bob"), &[]);
        assert_eq!(it.send(&user("alice"), None, true, NOW), Err(Reason::TOPIC_NAME_INVALID));
        let mut own = Conversation::new(ConversationId::new(66), false, "", &users[..1]);
        assert!(own.send(&user("alice"), None, true, NOW).is_ok());
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
            it.send(&user("alice"), None, true, NOW).unwrap();
        }
        let mut raise = |delivered, read| it.raise(&user("bob"), Seq::new(delivered), Seq::new(read));
        let mark = |delivered, read| Watermark { delivered: Seq::new(delivered), read: Seq::new(read) };
        assert_eq!(raise(2, 0).unwrap().after, mark(2, 0));
        assert_eq!(raise(1, 0), None);
        assert_eq!(raise(0, 4).unwrap().after, mark(4, 4));
        assert_eq!(raise(99, 99).unwrap().after, mark(5, 5));
    }

    #[test]
    fn who_is_not_shown_a_message_does_not_count_it() {
        let mut it = Conversation::new(ConversationId::new(65), false, "", &[user("alice"), user("bob")]);
        for unseen_by in [None, Some(user("bob")), None] {
            it.send(&user("alice"), unseen_by.as_ref(), true, NOW).unwrap();
        }
        let unread =
            |it: &Conversation, name| it.asked(it.member(&user(name)).unwrap()).unread(&it.recent, [], |_| true);
        assert_eq!([unread(&it, "alice"), unread(&it, "bob")], [0, 2]);
        it.raise(&user("bob"), Seq::default(), Seq::new(1));
        assert_eq!(unread(&it, "bob"), 1);
    }

    #[test]
    fn a_member_sees_nothing_from_before_it_joined_or_deleted() {
        let mut it = group(&["alice", "bob"]);
        it.send(&user("alice"), None, true, NOW).unwrap();
        it.advance(None, PlaceContent::Other);
        it.join(user("carol"), Role::Member);
        let floor = |it: &Conversation| it.floor(it.member(&user("carol")).unwrap()).get();
        assert_eq!(floor(&it), 1);
        it.settings.history_for_new = true;
        assert_eq!(floor(&it), 0);
        it.send(&user("alice"), None, true, NOW).unwrap();
        it.hide(&user("carol"));
        assert_eq!(floor(&it), 3);
    }

    #[test]
    fn after_a_restore_it_gives_no_place_and_no_ordinal_again() {
        let mut it = group(&["alice", "bob"]);
        it.send(&user("alice"), None, true, NOW).unwrap();
        let floor = Floor::default().after(1_790_000_000_000);
        it.go_on_above(floor);
        let after = |n| Seq::new(floor.get() + n);
        assert_eq!(it.raise(&user("bob"), Seq::new(99), Seq::new(0)).unwrap().after.delivered, Seq::new(1));
        assert_eq!(it.send(&user("bob"), None, true, NOW).unwrap().0, after(1));
        assert_eq!(it.send(&user("alice"), None, true, NOW).unwrap().0, after(2));
        let joined = it.join(user("carol"), Role::Member);
        assert!(joined.get() > 1_000_000);
        assert_eq!(it.join(user("dave"), Role::Member), Ordinal::new(joined.get() + 1));
        it.raise(&user("bob"), after(2), after(2));
    }

    #[test]
    fn what_a_restore_leaves_out_does_not_wait_for_who_was_asked() {
        let mut it = Conversation::new(ConversationId::new(65), false, "", &[user("alice"), user("bob")]);
        it.set_pending(&user("bob"));
        it.send(&user("alice"), None, true, NOW).unwrap();
        it.go_on_above(Floor::default().after(1_790_000_000_000));
        it.send(&user("alice"), None, true, NOW).unwrap();
        it.waits_until(10);
        assert_eq!(it.waits_for_acceptance(5), Some(2));
    }

    #[test]
    fn survives_storage() {
        let mut it = group(&["alice", "bob", "carol"]);
        it.send(&user("alice"), None, true, NOW).unwrap();
        let phone = |number| SendNumber { by: Sender::Device(DeviceId::new(number)), counter: 3, number: 7 };
        it.counts.accept(phone(1), Seq::new(1));
        it.counts.accept(phone(3), Seq::new(1));
        it.raise(&user("bob"), Seq::new(1), Seq::new(0));
        it.part(&user("carol"), &[DeviceId::new(3)]);
        it.retention.expires_in_s = Some(60);
        it.hide(&user("bob"));
        it.settings.may_send = Role::Admin;
        it.invites.push(GroupInvite { secret: [1; 16], by: Ordinal::new(0), expires_at_s: 9 });
        let (record, state) = it.to_records();
        assert_eq!(Conversation::from_records(it.id, &record, &state), Some(it));
    }
}
