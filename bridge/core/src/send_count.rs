//! Counts of sends: by them a conversation knows a send that it has accepted before. Keeps P3 (a retried send takes effect
//! once) for those who count, for ever, with one number for each count.
//!
//! A count belongs to who sends: a device, or over HTTP, where no device needs to be named, a user. Each may have several
//! under names of its own choice: a device that has lost its memory begins another, and an idempotency key is a count of
//! one send. Of those the last few are kept.
//!
//! Who leaves takes its counts along, to a place that is not written with each message, and finds them there when it comes
//! back: a retry may be under way all the while.

use godwit_schemas::ids::{DeviceId, Seq, UserId};

use crate::stored::AcceptedRecord;

/// Counts of one device: the one that it goes on with, and the one before.
const OF_A_DEVICE: usize = 2;
/// Counts of one user over HTTP, keys included.
const OF_A_USER: usize = 16;
/// Counts of devices that are no member's. More are not removed while a retry is on its way, and some that count never
/// were a member's (see `phone` in the bridge).
const OF_STRANGERS: usize = 4;
/// Counts of who has left, all together.
const OF_THOSE_WHO_LEFT: usize = 128;

/// Up to here a count may begin, or jump, as it likes: to any clock, also in nanoseconds.
const FREE_UP_TO: u64 = 1 << 62;
/// Above, it goes no further at a time: a number that was a mistake leaves room for those after it.
const STEP_MAX: u64 = 1 << 32;

/// Who counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// A device.
    Device(DeviceId),
    /// A user, without a device.
    User(UserId),
}

/// The number of a send: whose, in which of its counts (0: the one without a name), and the number itself, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendNumber {
    /// Who counts.
    pub by: Sender,
    /// Which count.
    pub counter: u64,
    /// The number.
    pub number: u64,
}

impl SendNumber {
    /// It is so far above the last accepted one that it must be a mistake.
    pub fn is_absurd_after(&self, last: u64) -> bool {
        self.number > FREE_UP_TO.max(last.saturating_add(STEP_MAX))
    }
}

impl Sender {
    fn keeps(&self) -> usize {
        match self {
            Self::Device(_) => OF_A_DEVICE,
            Self::User(_) => OF_A_USER,
        }
    }
}

/// How far one count is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendCount {
    by: Sender,
    counter: u64,
    /// The last accepted number.
    pub last: u64,
    /// Where that send stands.
    pub at: Seq,
}

/// The counts of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SendCounts {
    /// Written with each message.
    here: Vec<SendCount>,
    /// Of those who have left: written with each change.
    left: Vec<SendCount>,
}

impl SendCounts {
    /// How far a count is; `None`: nothing is known of it.
    pub fn get(&self, by: &Sender, counter: u64) -> Option<&SendCount> {
        let mut all = self.here.iter().chain(&self.left);
        all.find(|count| count.counter == counter && count.by == *by)
    }

    /// The last accepted number of a count; 0: none.
    pub fn last(&self, by: &Sender, counter: u64) -> u64 {
        self.get(by, counter).map_or(0, |count| count.last)
    }

    /// A send of this number stands here. Counts that its sender has not used for long are forgotten.
    pub fn accept(&mut self, SendNumber { by, counter, number }: SendNumber, at: Seq) {
        if let Some(count) = self.here.iter_mut().find(|count| count.counter == counter && count.by == by) {
            (count.last, count.at) = (number, at);
            return;
        }
        while self.here.iter().filter(|count| count.by == by).count() >= by.keeps() {
            let theirs = self.here.iter().enumerate().filter(|(_, count)| count.by == by);
            let Some((oldest, _)) = theirs.min_by_key(|(_, count)| count.at) else { break };
            self.here.remove(oldest);
        }
        self.here.push(SendCount { by, counter, last: number, at });
    }

    /// Forgets the counts of devices that are no member's, but for the last few. Keeps P8: they would be written with each
    /// message; and P3: a retry may be on its way when its device is removed.
    pub fn forget_strangers(&mut self, devices: &[DeviceId]) {
        let is_stranger = |count: &SendCount| matches!(&count.by, Sender::Device(device) if !devices.contains(device));
        let mut places: Vec<_> = self.here.iter().filter(|count| is_stranger(count)).map(|count| count.at).collect();
        places.sort_unstable();
        let from = places.iter().nth_back(OF_STRANGERS - 1).copied().unwrap_or_default();
        self.here.retain(|count| !is_stranger(count) || count.at >= from);
    }

    /// A member with these devices leaves.
    pub fn part(&mut self, user: &UserId, devices: &[DeviceId]) {
        let (theirs, others) = std::mem::take(&mut self.here).into_iter().partition(|it| it.is_of(user, devices));
        self.here = others;
        let mut theirs: Vec<SendCount> = theirs;
        theirs.sort_unstable_by_key(|count| count.at);
        self.left.extend(theirs);
        // Who left first is forgotten first.
        self.left.drain(..self.left.len().saturating_sub(OF_THOSE_WHO_LEFT));
    }

    /// A user with these devices joins, perhaps not for the first time.
    pub fn come_back(&mut self, user: &UserId, devices: &[DeviceId]) {
        let (theirs, others) = std::mem::take(&mut self.left).into_iter().partition(|it| it.is_of(user, devices));
        self.left = others;
        let theirs: Vec<SendCount> = theirs;
        self.here.extend(theirs);
    }

    /// The user is no more: whoever is given the name later inherits nothing.
    pub fn forget_user(&mut self, user: &UserId) {
        self.left.retain(|count| !count.is_of(user, &[]));
    }

    /// The stored form: what changes with every message, and of those who have left.
    pub fn to_records(&self) -> (Vec<AcceptedRecord>, Vec<AcceptedRecord>) {
        (self.here_to_records(), self.left.iter().map(SendCount::to_record).collect())
    }

    /// The stored form of what changes with every message.
    pub fn here_to_records(&self) -> Vec<AcceptedRecord> {
        self.here.iter().map(SendCount::to_record).collect()
    }

    /// Reads the stored form.
    pub fn from_records(here: &[AcceptedRecord], left: &[AcceptedRecord]) -> Self {
        let read = |records: &[AcceptedRecord]| records.iter().filter_map(SendCount::from_record).collect();
        Self { here: read(here), left: read(left) }
    }
}

impl SendCount {
    fn is_of(&self, user: &UserId, devices: &[DeviceId]) -> bool {
        match &self.by {
            Sender::Device(device) => devices.contains(device),
            Sender::User(other) => other == user,
        }
    }

    fn to_record(&self) -> AcceptedRecord {
        let (device, user) = match &self.by {
            Sender::Device(device) => (device.get(), String::new()),
            Sender::User(user) => (0, user.to_string()),
        };
        let (client_sequence, sequence, counter) = (self.last, self.at.get(), self.counter);
        AcceptedRecord { device, client_sequence, sequence, user, counter }
    }

    /// `None`: of nobody. Once all users without a device shared one count: that silences nobody any more.
    fn from_record(record: &AcceptedRecord) -> Option<Self> {
        let by = match record.device {
            0 => Sender::User(UserId::new(&record.user).ok()?),
            device => Sender::Device(DeviceId::new(device)),
        };
        Some(Self { by, counter: record.counter, last: record.client_sequence, at: Seq::new(record.sequence) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn phone(number: u64) -> SendNumber {
        SendNumber { by: Sender::Device(DeviceId::new(1)), counter: 0, number }
    }

    fn key(user: &UserId, counter: u64) -> SendNumber {
        SendNumber { by: Sender::User(user.clone()), counter, number: 1 }
    }

    #[test]
    fn a_user_without_a_device_has_its_own_last_sixteen_counts() {
        let (alice, bob) = (user("alice"), user("bob"));
        let mut counts = SendCounts::default();
        let knows =
            |counts: &SendCounts, user: &UserId, counter| counts.get(&Sender::User(user.clone()), counter).is_some();
        for counter in 0..20 {
            counts.accept(key(&alice, counter), Seq::new(counter + 1));
        }
        assert!(!knows(&counts, &bob, 19));
        assert_eq!((0..20).find(|counter| knows(&counts, &alice, *counter)), Some(4), "sixteen are kept");
        counts.accept(key(&bob, 7), Seq::new(40));
        assert!(knows(&counts, &alice, 4) && knows(&counts, &bob, 7), "nobody makes another's be forgotten");
    }

    #[test]
    fn a_device_may_begin_another_count_and_the_last_one_is_kept() {
        let mut counts = SendCounts::default();
        counts.accept(phone(1_000), Seq::new(1));
        for counter in [7, 8] {
            counts.accept(SendNumber { counter, ..phone(1) }, Seq::new(counter));
        }
        let by = phone(1).by;
        assert_eq!([0, 7, 8].map(|counter| counts.get(&by, counter).map(|it| it.last)), [None, Some(1), Some(1)]);
        counts.accept(SendNumber { counter: 7, ..phone(5) }, Seq::new(9));
        assert_eq!((counts.last(&by, 7), counts.last(&by, 8), counts.last(&by, 9)), (5, 1, 0));
    }

    #[test]
    fn who_leaves_finds_its_counts_when_it_comes_back() {
        let (alice, bob) = (user("alice"), user("bob"));
        let mut counts = SendCounts::default();
        counts.accept(phone(3), Seq::new(1));
        counts.accept(key(&alice, 9), Seq::new(2));
        counts.accept(key(&bob, 9), Seq::new(3));
        counts.part(&alice, &[DeviceId::new(1)]);
        assert_eq!(counts.here_to_records().len(), 1, "written with each message: what may come with one");
        assert_eq!(counts.get(&phone(1).by, 0).map(|it| it.last), Some(3), "and until then");
        let (here, left) = counts.to_records();
        let mut counts = SendCounts::from_records(&here, &left);
        counts.come_back(&alice, &[DeviceId::new(1), DeviceId::new(2)]);
        let (here, left) = counts.to_records();
        assert_eq!((here.len(), left.len(), counts.last(&phone(1).by, 0)), (3, 0, 3));
    }

    #[test]
    fn of_those_who_left_the_first_are_forgotten() {
        let mut counts = SendCounts::default();
        let by = |device| Sender::Device(DeviceId::new(device));
        for device in 1..=OF_THOSE_WHO_LEFT as u64 + 3 {
            counts.accept(SendNumber { by: by(device), counter: 0, number: 1 }, Seq::new(device));
            counts.part(&user("alice"), &[DeviceId::new(device)]);
        }
        assert_eq!([3, 4].map(|device| counts.last(&by(device), 0)), [0, 1]);
    }

    #[test]
    fn a_number_may_be_any_clock_and_a_mistake_leaves_room() {
        let absurd = |number, last| phone(number).is_absurd_after(last);
        let nanoseconds_in_2100 = 4_102_444_800_000_000_000;
        assert!(!absurd(1, 0) && !absurd(nanoseconds_in_2100, 0) && !absurd(FREE_UP_TO, 0));
        assert!(absurd(FREE_UP_TO + 1, 0) && absurd(u64::MAX, 0) && absurd(1 << 63, 0));
        assert!(!absurd(FREE_UP_TO + 1, FREE_UP_TO) && absurd(FREE_UP_TO + STEP_MAX + 1, FREE_UP_TO));
    }

    #[test]
    fn what_was_stored_without_an_owner_silences_nobody() {
        let nobody = AcceptedRecord { client_sequence: 100, sequence: 9, ..AcceptedRecord::default() };
        assert_eq!(SendCounts::from_records(&[nobody], &[]), SendCounts::default());
    }
}
