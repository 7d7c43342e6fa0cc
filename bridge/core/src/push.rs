//! Who is told, while it is not connected, that something waits: which inbox entries notify, what a user has muted, how often a
//! device is pushed, and what becomes of an address that a push service refuses. Pure, as the rest: the pusher reads, hands in,
//! and carries out.

use std::collections::VecDeque;
use std::time::Duration;

use godwit_schemas::client::{Change, change};
use godwit_schemas::ids::{ConversationId, Order, Ordinal, Seq, UserId};
use prost::Message as _;

use crate::entry::{Entry, EntryKind};
use crate::stored::{ConversationRecord, MuteRecord, StateRecord};

/// A mute that does not end.
pub const FOREVER_S: u32 = u32::MAX;
/// A conversation is pushed at most once in so long.
const CONVERSATION_PAUSE: Duration = Duration::from_secs(10);
/// Conversations whose last push is remembered of a device...
const CONVERSATIONS_MAX: usize = 32;
/// ...and for how long after its last push.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Whether an entry is something to tell its device's user of: a message of somebody else's, or that it was brought into a
/// conversation. Receipts have no entries; reactions, edits and other changes can wait until the device connects.
pub fn notifies(entry: &Entry, user: &UserId) -> bool {
    match entry.kind {
        EntryKind::Message => {
            !entry.edited && !entry.unseen && entry.sender_name != user.as_str().as_bytes() && !entry.is_silent()
        }
        EntryKind::Recalled => false,
        EntryKind::Change => Change::decode(entry.content.clone()).is_ok_and(|change| brings_in(&change, user)),
    }
}

/// The user is brought into a conversation by somebody else.
fn brings_in(change: &Change, user: &UserId) -> bool {
    let Some(change::Change::Opened(opened)) = &change.change else { return false };
    let own = opened.members.iter().find(|member| member.user == user.as_str());
    // A direct conversation opens with its first message, which notifies by itself.
    opened.group && own.is_some_and(|own| own.ordinal != change.by)
}

/// What a member knows of a conversation already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// Its number there.
    pub ordinal: Ordinal,
    /// It has read up to here, on whichever device.
    pub read: Seq,
}

impl Reader {
    /// From the stored conversation. `None`: the user is no member.
    pub fn of(user: &UserId, conversation: &ConversationRecord, state: &StateRecord) -> Option<Self> {
        let ordinal = conversation.members.iter().find(|member| member.user == user.as_str())?.ordinal;
        let progress = state.progress.iter().find(|progress| progress.ordinal == ordinal);
        let read = progress.map_or(0, |progress| progress.read.max(progress.hidden));
        Some(Self { ordinal: Ordinal::new(ordinal), read: Seq::new(read) })
    }

    /// Whether the entry mentions it.
    pub fn is_mentioned(&self, entry: &Entry) -> bool {
        entry.kind == EntryKind::Message && entry.mentions().contains(&self.ordinal.get())
    }
}

/// Whether a mute keeps an entry back.
pub fn is_muted(mute: Option<&MuteRecord>, now_s: u32, mentioned: bool) -> bool {
    mute.is_some_and(|mute| (mute.until_s == FOREVER_S || mute.until_s > now_s) && !(mute.mentions_only && mentioned))
}

/// How often one device is pushed: a number in a minute, and a conversation once in ten seconds. Times count from any moment.
#[derive(Debug, Clone, Default)]
pub struct Damper {
    /// When pushes were sent, within the last minute.
    sent: VecDeque<Duration>,
    /// What was pushed of each conversation. The oldest first.
    conversations: VecDeque<Shown>,
}

/// What a device was told last of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The conversation; 0: of several.
    pub conversation: ConversationId,
    /// The message's place there.
    pub sequence: Seq,
    /// Its inbox entry.
    pub order: Order,
    /// When.
    pub at: Duration,
}

impl Damper {
    /// When the device may be pushed next; `None`: now.
    pub fn device_waits_until(&mut self, now: Duration, per_minute: u32) -> Option<Duration> {
        const MINUTE: Duration = Duration::from_secs(60);
        while self.sent.front().is_some_and(|sent| *sent + MINUTE <= now) {
            self.sent.pop_front();
        }
        let first = self.sent.front()?;
        (self.sent.len() >= per_minute as usize).then_some(*first + MINUTE)
    }

    /// When a conversation may be pushed next; `None`: now.
    pub fn conversation_waits_until(&self, now: Duration, id: ConversationId) -> Option<Duration> {
        let shown = self.conversations.iter().find(|shown| shown.conversation == id)?;
        Some(shown.at + CONVERSATION_PAUSE).filter(|until| *until > now)
    }

    /// Whether an entry was pushed already.
    pub fn has_pushed(&self, id: ConversationId, order: Order) -> bool {
        self.conversations.iter().any(|shown| shown.conversation == id && order <= shown.order)
    }

    /// What was pushed because of this entry, if nothing was after it.
    pub fn shown(&self, order: Order) -> Option<Shown> {
        self.conversations.iter().find(|shown| shown.order == order).copied()
    }

    /// Something was pushed.
    pub fn pushed(&mut self, shown: Shown) {
        self.sent.push_back(shown.at);
        self.conversations.retain(|it| it.conversation != shown.conversation);
        if self.conversations.len() >= CONVERSATIONS_MAX {
            self.conversations.pop_front();
        }
        self.conversations.push_back(shown);
    }

    /// Nothing of it matters any more.
    pub fn is_idle(&self, now: Duration) -> bool {
        self.sent.back().is_none_or(|at| *at + REMEMBERED <= now)
    }
}

/// How long to wait after so many failures in a row: 2 seconds, doubled each time up to 15 minutes; less by up to a half, by
/// `share` of 65,536, so that devices do not come all at once.
pub fn back_off(failures: u32, share: u16) -> Duration {
    let full = Duration::from_secs(2) * (1 << failures.saturating_sub(1).min(9));
    let full = full.min(Duration::from_secs(900));
    full - full.mul_f64(f64::from(share) / f64::from(1 << 17))
}

/// Evidence against an address that a push service calls none of ours, without being sure: it may be the settings that are
/// wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    since: Duration,
    times: u32,
}

impl Suspicion {
    /// One more refusal. True: the address is none. That takes three refusals over an hour, and that the same service has
    /// accepted another address meanwhile, so that the settings are right.
    pub fn grows(before: Option<Self>, now: Duration, accepted_another: Option<Duration>) -> (Self, bool) {
        let suspicion = before.map_or(Self { since: now, times: 1 }, |it| Self { times: it.times + 1, ..it });
        let long = now.saturating_sub(suspicion.since) >= Duration::from_secs(3_600);
        let settings_are_right = accepted_another.is_some_and(|at| at >= suspicion.since);
        (suspicion, suspicion.times >= 3 && long && settings_are_right)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godwit_schemas::client::{self, Member, Opened};

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn message(from: &'static str) -> Entry {
        Entry {
            sender_name: Bytes::from_static(from.as_bytes()),
            content: Bytes::from_static(b"hi"),
            ..Entry::default()
        }
    }

    fn with(extras: &client::Message) -> Entry {
        Entry { extras: extras.encode_to_vec().into(), ..message("alice") }
    }

    #[test]
    fn messages_of_others_notify_and_silent_ones_do_not() {
        let bob = user("bob");
        assert!(notifies(&message("alice"), &bob));
        assert!(!notifies(&message("bob"), &bob), "his own, for another device of his");
        assert!(!notifies(&with(&client::Message { silent: true, ..Default::default() }), &bob));
        assert!(!notifies(&Entry { edited: true, ..message("alice") }, &bob));
        assert!(!notifies(&Entry { kind: EntryKind::Recalled, ..message("alice") }, &bob));
    }

    #[test]
    fn being_brought_into_a_group_notifies_and_other_changes_do_not() {
        let member = |ordinal, name: &str| Member { ordinal, user: name.to_owned(), role: 0 };
        let opened = |group, by| {
            let opened = Opened { group, members: vec![member(0, "alice"), member(1, "bob")], ..Default::default() };
            let change = Change { by, change: Some(change::Change::Opened(opened)), ..Default::default() };
            Entry { kind: EntryKind::Change, content: change.encode_to_vec().into(), ..Entry::default() }
        };
        assert!(notifies(&opened(true, 0), &user("bob")));
        assert!(!notifies(&opened(true, 0), &user("alice")), "she has made it");
        assert!(!notifies(&opened(false, 0), &user("bob")), "a message comes with it");
        let renamed = Change { change: Some(change::Change::Renamed("x".to_owned())), ..Default::default() };
        let renamed = Entry { content: renamed.encode_to_vec().into(), ..opened(true, 0) };
        assert!(!notifies(&renamed, &user("bob")));
    }

    #[test]
    fn a_mute_ends_by_itself_and_lets_mentions_through_if_it_says_so() {
        let mute = |until_s, mentions_only| MuteRecord { until_s, mentions_only };
        assert!(!is_muted(None, 100, false));
        assert!(is_muted(Some(&mute(101, false)), 100, false));
        assert!(!is_muted(Some(&mute(100, false)), 100, false));
        assert!(is_muted(Some(&mute(FOREVER_S, false)), FOREVER_S, true));
        assert!(!is_muted(Some(&mute(FOREVER_S, true)), 100, true));
        assert!(is_muted(Some(&mute(FOREVER_S, true)), 100, false));
        let reader = Reader { ordinal: Ordinal::new(2), read: Seq::default() };
        assert!(reader.is_mentioned(&with(&client::Message { mentions: vec![1, 2], ..Default::default() })));
        assert!(!reader.is_mentioned(&message("alice")));
    }

    fn shown(at: u64, conversation: u64, order: u64) -> Shown {
        let (conversation, order) = (ConversationId::new(conversation), Order::new(order));
        Shown { conversation, sequence: Seq::new(1), order, at: s(at) }
    }

    #[test]
    fn a_device_is_pushed_so_often_in_a_minute() {
        let mut damper = Damper::default();
        for second in 0..30 {
            assert_eq!(damper.device_waits_until(s(second), 30), None);
            damper.pushed(shown(second, second, second));
        }
        assert_eq!(damper.device_waits_until(s(30), 30), Some(s(60)));
        assert_eq!(damper.device_waits_until(s(60), 30), None, "the first is a minute ago");
        assert!(!damper.is_idle(s(628)) && damper.is_idle(s(629)));
    }

    #[test]
    fn a_conversation_is_pushed_once_in_ten_seconds() {
        let (mut damper, id) = (Damper::default(), ConversationId::new(7));
        damper.pushed(shown(1, 7, 5));
        assert_eq!(damper.conversation_waits_until(s(2), id), Some(s(11)));
        assert_eq!(damper.conversation_waits_until(s(11), id), None);
        assert_eq!(damper.conversation_waits_until(s(2), ConversationId::new(8)), None);
        assert!(damper.has_pushed(id, Order::new(5)) && !damper.has_pushed(id, Order::new(6)));
        assert_eq!(damper.shown(Order::new(5)), Some(shown(1, 7, 5)));
        (0..1_000).for_each(|n| damper.pushed(shown(3, 100 + n, 9 + n)));
        assert_eq!(damper.conversations.len(), CONVERSATIONS_MAX);
    }

    #[test]
    fn waiting_grows_and_is_spread() {
        assert_eq!(back_off(1, 0), s(2));
        assert_eq!(back_off(4, 0), s(16));
        assert_eq!(back_off(100, 0), s(900));
        assert!(back_off(4, u16::MAX) < s(9) && back_off(4, u16::MAX) >= s(8));
    }

    #[test]
    fn an_address_is_given_up_by_evidence_only() {
        let (first, gone) = Suspicion::grows(None, s(0), None);
        assert!(!gone);
        let (second, gone) = Suspicion::grows(Some(first), s(1_800), Some(s(1_000)));
        assert!(!gone, "twice");
        assert!(Suspicion::grows(Some(second), s(3_600), Some(s(1_000))).1);
        assert!(!Suspicion::grows(Some(second), s(3_599), Some(s(1_000))).1, "not an hour");
        assert!(!Suspicion::grows(Some(second), s(3_600), None).1, "it may be the settings");
    }
}
