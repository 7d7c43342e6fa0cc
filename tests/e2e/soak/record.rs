//! What a round of the soak saw, and what must hold about it.
//!
//! | checked | when |
//! |---|---|
//! | a place in a conversation holds one message, the same for every device (P4) | as it arrives |
//! | a message has one place (P3) | as it arrives |
//! | a device gets it once on a connection, and first in order (P3, P4) | as it arrives |
//! | every device of every member got every message but its own (P2) | before the round ends |
//! | every acknowledged message is there (P1), where its PUBACK said | before the round ends, and after |
//! | places have no gaps, and a sender's messages are in the order of sending (P4) | after |

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Conversation and sequence.
type Place = (u64, u64);

/// A message as its sender knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sent {
    /// Device.
    pub(super) by: String,
    /// User, or `group`.
    pub(super) target: String,
    pub(super) number: u64,
}

impl Sent {
    /// What the message's body begins with.
    pub(super) fn body(&self) -> String {
        format!("{}>{}#{}", self.by, self.target, self.number)
    }

    fn parse(body: &str) -> Option<Self> {
        let (by, rest) = body.split_once('>')?;
        let (target, rest) = rest.split_once('#')?;
        let number = rest.split(' ').next()?.parse().ok()?;
        Some(Self { by: by.to_owned(), target: target.to_owned(), number })
    }

    /// Whether devices of this user get it.
    fn concerns(&self, user: &str) -> bool {
        self.target == "group" || self.target == user || self.by.split('/').next() == Some(user)
    }
}

/// A delivery.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) conversation: u64,
    pub(super) sequence: u64,
    pub(super) body: String,
    /// Counts the device's connections.
    pub(super) connection: u32,
}

/// What one device received: on which connection, last.
#[derive(Debug, Default)]
struct Inbox {
    user: String,
    places: BTreeMap<Place, u32>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Last sequence of each conversation before this round.
    before: BTreeMap<u64, u64>,
    messages: BTreeMap<Place, Sent>,
    places: HashMap<Sent, Place>,
    inboxes: BTreeMap<String, Inbox>,
    acknowledged: BTreeMap<Sent, Option<Place>>,
    /// Acknowledged, and seen by nobody yet.
    missing: BTreeSet<Sent>,
    sent: u64,
    repeated: u64,
    violations: Vec<String>,
}

impl Record {
    /// Of a round on conversations that stand at these sequences.
    pub(super) fn after(before: BTreeMap<u64, u64>) -> Self {
        Self { before, ..Self::default() }
    }

    /// A device takes part.
    pub(super) fn join(&mut self, device: &str, user: &str) {
        self.inboxes.insert(device.to_owned(), Inbox { user: user.to_owned(), ..Inbox::default() });
    }

    /// A message is about to be published for the first time.
    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    /// PUBACK came.
    pub(super) fn acknowledged(&mut self, sent: &Sent, at: Option<Place>) {
        self.acknowledged.insert(sent.clone(), at);
        if !self.places.contains_key(sent) {
            self.missing.insert(sent.clone());
        }
    }

    /// A device was given a message.
    pub(super) fn received(&mut self, device: &str, received: Received) {
        let Received { conversation, sequence, body, connection } = received;
        let place = (conversation, sequence);
        if self.before.get(&conversation).is_some_and(|last| sequence <= *last) {
            // Its PUBACK of an earlier round died with the server.
            self.repeated += 1;
            return;
        }
        let Some(sent) = Sent::parse(&body) else {
            return self.violations.push(format!("{device} got {body:?}, which nobody sent, at {place:?}"));
        };
        let known = self.messages.entry(place).or_insert_with(|| sent.clone());
        if *known != sent {
            return self.violations.push(format!("{place:?} is {known:?}, and {sent:?} for {device}"));
        }
        let first = *self.places.entry(sent.clone()).or_insert(place);
        if first != place {
            self.violations.push(format!("{sent:?} is at {first:?} and at {place:?}"));
        }
        self.missing.remove(&sent);
        let Some(inbox) = self.inboxes.get_mut(device) else { return };
        let latest = inbox.places.range((conversation, 0)..=(conversation, u64::MAX)).next_back().map(|(it, _)| *it);
        match inbox.places.insert(place, connection) {
            Some(earlier) if earlier == connection => {
                self.violations.push(format!("{device} got {place:?} twice on one connection"));
            }
            Some(_) => self.repeated += 1,
            None if latest.is_some_and(|latest| latest > place) => {
                self.violations.push(format!("{device} got {place:?} only after {latest:?}"));
            }
            None => {}
        }
        if sent.by == device || !sent.concerns(&inbox.user) {
            self.violations.push(format!("{device} got {sent:?}, which is not for it"));
        }
    }

    /// Everybody has everything; or there is nothing to wait for any more.
    pub(super) fn is_complete(&self) -> bool {
        !self.violations.is_empty()
            || (self.missing.is_empty() && self.inboxes.iter().all(|(name, it)| self.due(name, it) == it.places.len()))
    }

    /// How many messages this device must have.
    fn due(&self, device: &str, inbox: &Inbox) -> usize {
        self.messages.values().filter(|sent| sent.by != device && sent.concerns(&inbox.user)).count()
    }

    /// What a failure to become complete looks like.
    pub(super) fn shortfall(&self) -> String {
        let short = self.inboxes.iter().map(|(name, it)| (name, it.places.len(), self.due(name, it)));
        let short: Vec<_> = short.filter(|(_, has, due)| has != due).collect();
        let missing: Vec<_> = self.missing.iter().take(10).map(Sent::body).collect();
        let count = self.missing.len();
        format!("devices that have, and must have: {short:?}; acknowledged and with nobody: {count}, like {missing:?}")
    }

    /// Checks what can be checked at the end; returns where the conversations stand.
    pub(super) fn check(&self) -> BTreeMap<u64, u64> {
        assert!(self.violations.is_empty(), "{:#?}", &self.violations[..self.violations.len().min(10)]);
        assert!(self.is_complete(), "{}", self.shortfall());
        let mut last = self.before.clone();
        let mut numbers: BTreeMap<(u64, &str), u64> = BTreeMap::new();
        for (&(conversation, sequence), sent) in &self.messages {
            // The first event of a conversation is the change that opens it.
            let before = last.insert(conversation, sequence).unwrap_or(1);
            assert_eq!(sequence, before + 1, "a gap in conversation {conversation}");
            let number = numbers.entry((conversation, &sent.by)).or_default();
            assert!(sent.number > *number, "{sent:?} stands after number {number}");
            *number = sent.number;
        }
        for (sent, at) in &self.acknowledged {
            let place = self.places.get(sent).copied();
            assert!(place.is_some(), "{sent:?} was acknowledged and is nowhere");
            assert!(at.is_none() || *at == place, "{sent:?} is at {place:?}; its PUBACK said {at:?}");
        }
        last
    }

    /// The round in numbers.
    pub(super) fn summary(&self) -> String {
        let (sent, acknowledged, stored) = (self.sent, self.acknowledged.len(), self.messages.len());
        let unacknowledged = stored - acknowledged;
        let repeated = self.repeated;
        format!(
            "{sent} messages sent, {acknowledged} acknowledged, all of them everywhere once and in order; \
             {unacknowledged} of the others too; {repeated} deliveries repeated after a crash"
        )
    }
}
