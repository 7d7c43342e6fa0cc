//! What is true in a run: who exists, what is on disk, who said, received and acknowledged what. Built from events; the
//! checkers judge by it.

use std::collections::{BTreeMap, BTreeSet};

use godwit_core::entry::{Entry, EntryKind};
use godwit_schemas::client::{self, change::Change};
use prost::Message as _;

use crate::event::{Event, Place, What};
use crate::plan::Traits;

/// An inbox that may be full at times takes less.
pub(crate) const SMALL_INBOX: u32 = 1_000;

/// A moment: the number of an event.
pub(crate) type Step = u64;

/// A device that was ever added.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) traits: Traits,
    pub(crate) id: Option<u64>,
    /// The operator was told that it is there.
    pub(crate) added: Option<Step>,
    /// Its removal was asked for.
    pub(crate) leaving: Option<Step>,
    /// The operator was told that it is gone.
    pub(crate) gone: Option<Told>,
    /// Passwords that were asked for, besides the first.
    pub(crate) renewing: usize,
    /// Of these, when the operator was told: the one before is void.
    pub(crate) renewed: Vec<Told>,
    /// It is known to the server as a reader of events.
    pub(crate) subscribed: Option<Step>,
    /// Connections it has begun.
    pub(crate) connections: u64,
    /// When its inbox was at least a quarter full, and half full, for the last time.
    pub(crate) quarter_full_ms: Option<u64>,
    pub(crate) half_full_ms: Option<u64>,
    /// It never connects, and is pushed.
    pub(crate) is_pager: bool,
    /// When it was pushed last.
    pub(crate) pushed: Option<Step>,
    /// Its inbox: every entry that it ever had.
    pub(crate) held: BTreeMap<Place, Held>,
}

impl Device {
    /// It is there to stay.
    pub(crate) fn stays(&self) -> bool {
        self.added.is_some() && self.leaving.is_none()
    }

    /// Since when its password of this number, counted from 0, is certainly void.
    pub(crate) fn void_since(&self, credential: usize) -> Option<Told> {
        self.renewed.get(credential).copied().or(self.gone)
    }

    /// Somebody has asked for its password of this number to be void.
    pub(crate) fn may_be_void(&self, credential: usize) -> bool {
        self.leaving.is_some() || self.renewing > credential
    }

    /// Entries of its inbox, expired ones too.
    pub(crate) fn waiting(&self) -> usize {
        self.held.values().filter(|held| held.erased.is_none()).count()
    }
}

/// An inbox entry.
#[derive(Debug)]
pub(crate) struct Held {
    /// It is owed until then, by the time that really passes.
    owed_until_ms: u64,
    pub(crate) message: bool,
    pub(crate) received: bool,
    pub(crate) acked: bool,
    /// Its deletion was asked for.
    pub(crate) erased: Option<Moment>,
}

/// When the operator was told something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) step: Step,
    pub(crate) at_ms: u64,
}

/// When something happened to a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at_ms: u64,
    /// Which of its connections.
    pub(crate) connection: u64,
    /// Which start of the bridge.
    pub(crate) start: u64,
}

/// What the server's work costs.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// Frames that lanes were handed, with acknowledgements counted one by one.
    pub(crate) asked: u64,
    /// Keys that were read.
    pub(crate) keys: u64,
    /// Rows that scans returned.
    pub(crate) rows: u64,
    /// Bytes of the largest record that is no inbox entry.
    pub(crate) largest: usize,
    /// Most devices whose counts a conversation kept.
    pub(crate) counts: usize,
}

/// What the store has when all is calm.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Inbox entries of devices that should have none.
    pub(crate) entries: Vec<String>,
    /// Receipts of devices that should have none.
    pub(crate) receipts: Vec<String>,
    /// Words in rows that are no inbox entries.
    pub(crate) words: BTreeSet<String>,
    /// Devices whose inbox counts as full.
    pub(crate) full: Vec<usize>,
    /// What counts as unread.
    pub(crate) counts: Vec<Count>,
    /// What rows of one partition say of another, and that one's do not.
    pub(crate) apart: Vec<String>,
}

/// How many messages count as unread by the member of this ordinal, who has read up to `read`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) conversation: u64,
    pub(crate) by: u32,
    pub(crate) read: u64,
    /// The last place that the conversation has.
    pub(crate) last: u64,
    pub(crate) unread: u64,
}

/// What stands at a place of a conversation. A new member sees a change as the opening.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) message: Option<(String, u32)>,
    pub(crate) change: Option<client::Change>,
    pub(crate) opened: Option<client::Opened>,
    pub(crate) stored: Step,
    pub(crate) expires_at_s: u32,
    /// Devices whose inbox may have counted as half full when it was stored, and as full.
    pub(crate) half: BTreeSet<usize>,
    pub(crate) full: BTreeSet<usize>,
}

impl Slot {
    /// Members as somebody was told who was added here, if nobody else was told: whoever is not known yet is that one.
    fn newcomers(&self, sequence: u64) -> &[client::Member] {
        match &self.opened {
            Some(opened) if sequence > 1 && self.change.is_none() => &opened.members,
            _ => &[],
        }
    }

    /// Somebody was added here, and nobody else was told.
    pub(crate) fn is_secret(&self, place: Place) -> bool {
        !self.newcomers(place.sequence).is_empty()
    }
}

/// Something that a device said: a body or a title that nobody else has.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) device: usize,
    pub(crate) credential: usize,
    /// It is counted, and for the users of these names: the same may be said to several.
    pub(crate) counted_to: BTreeSet<String>,
    pub(crate) first_sent: Step,
    /// Publishes of it, retries not counted.
    pub(crate) publishes: u64,
    /// Of these, answered with success.
    pub(crate) stored: u64,
    pub(crate) places: BTreeSet<Place>,
    /// Places that its answers told: where nobody else can have it, that is all there is of it.
    pub(crate) told: BTreeSet<Place>,
}

/// How far a user has read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) sent: u64,
    pub(crate) stored: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) step: Step,
    /// The server's time, as far as it ever was.
    pub(crate) now_s: u32,
    pub(crate) devices: Vec<Device>,
    pub(crate) log: BTreeMap<Place, Slot>,
    pub(crate) said: BTreeMap<String, Said>,
    pub(crate) readings: BTreeMap<(u64, String), Reading>,
    /// Users that the operator has asked to be erased, since when.
    pub(crate) erasures: BTreeMap<String, Step>,
    /// Of `said`, calls that leave no words in a place.
    pub(crate) untitled: BTreeSet<String>,
    /// What was said in the last entry.
    pub(crate) newest: Option<String>,
    pub(crate) left: Left,
    pub(crate) cost: Cost,
    /// Starts of the bridge.
    pub(crate) starts: u64,
    /// When the last one was.
    last_start: Step,
    /// Of these, after a loss of power.
    pub(crate) power_losses: u64,
    /// Most devices that there were at a time.
    pub(crate) devices_max: usize,
    /// Devices with publishes that have no answer.
    pub(crate) busy: BTreeSet<usize>,
    /// Everything has come right, and every device is to say one thing more.
    pub(crate) last_words: bool,
    /// Devices that have said it.
    pub(crate) done: BTreeSet<usize>,
    pub(crate) inbox_entries: u32,
    /// When an inbox was at least a quarter full for the last time.
    pub(crate) quarter_full_ms: Option<u64>,
    /// Messages that wait for who has not accepted a conversation are limited.
    pub(crate) requests_limited: bool,
    pub(crate) now_ms: u64,
    /// How much of what was done to the wall clock the server may follow.
    pub(crate) followed_ms: u64,
    orders: BTreeMap<(u64, u64), Place>,
}

impl Facts {
    /// Takes an event in. Whatever is wrong with it is for the checkers to say.
    pub(crate) fn take(&mut self, event: &Event) {
        self.step += 1;
        let step = self.step;
        match event {
            Event::Started { power_lost, .. } => {
                self.starts += 1;
                self.last_start = step;
                self.power_losses += u64::from(*power_lost);
            }
            Event::Dialled { device } => self.devices[*device].connections += 1,
            Event::Adding { user, name, traits } => self.devices.push(Device {
                user: user.clone(),
                name: name.clone(),
                traits: *traits,
                id: None,
                added: None,
                leaving: None,
                gone: None,
                renewing: 0,
                renewed: Vec::new(),
                subscribed: None,
                connections: 0,
                quarter_full_ms: None,
                half_full_ms: None,
                is_pager: false,
                pushed: None,
                held: BTreeMap::new(),
            }),
            Event::Added { device } => self.devices[*device].added = Some(step),
            Event::Paged { device } => self.devices[*device].is_pager = true,
            Event::Pushed { device } => {
                self.devices.get_mut(*device).into_iter().for_each(|it| it.pushed = Some(step));
            }
            Event::Leaving { device } => self.devices[*device].leaving = Some(step),
            Event::Erasing { user } => {
                self.erasures.entry(user.clone()).or_insert(step);
            }
            Event::Gone { device } => self.devices[*device].gone = Some(self.told()),
            Event::Renewing { device } => self.devices[*device].renewing += 1,
            Event::Renewed { device } => {
                let told = self.told();
                self.devices[*device].renewed.push(told);
            }
            Event::Numbered { user, name, id } => {
                // Of devices that have the name one after the other, the last: those before are gone.
                let device = self.devices.iter_mut().rfind(|it| it.user == *user && it.name == *name);
                device.into_iter().for_each(|it| it.id = Some(*id));
            }
            Event::Subscribed { device } => {
                self.devices[*device].subscribed.get_or_insert(step);
            }
            Event::Sent { device, credential, say, counted_to, again, titled } => {
                if !titled {
                    self.untitled.insert(say.clone());
                }
                let fresh = Said {
                    device: *device,
                    credential: *credential,
                    counted_to: BTreeSet::new(),
                    first_sent: step,
                    publishes: 0,
                    stored: 0,
                    places: BTreeSet::new(),
                    told: BTreeSet::new(),
                };
                let said = self.said.entry(say.clone()).or_insert(fresh);
                said.publishes += u64::from(!again);
                said.counted_to.extend(counted_to.clone());
            }
            Event::Answered { say, reason: 0, at, .. } => {
                if let Some(said) = self.said.get_mut(say) {
                    said.stored += 1;
                    said.told.extend(at);
                }
            }
            Event::Stored { id, order, entry } => self.stored(*id, *order, entry),
            Event::Received { device, place, .. } => self.mark(*device, *place, |held| held.received = true),
            Event::Acked { device, place } => self.mark(*device, *place, |held| held.acked = true),
            Event::Erased { id, order } => {
                let place = self.place_of(*id, *order);
                let device = self.device_of(*id).map(|(index, device)| (index, device.connections));
                if let (Some((device, connection)), Some(place)) = (device, place) {
                    let now = Moment { at_ms: self.now_ms, connection, start: self.starts };
                    self.mark(device, place, |held| held.erased = Some(now));
                }
            }
            Event::ReadSent { device, place } => self.read(*device, *place).sent.max_with(place.sequence),
            Event::ReadStored { device, place } => self.read(*device, *place).stored.max_with(place.sequence),
            _ => {}
        }
        if let Event::Stored { id, .. } | Event::Erased { id, .. } = event {
            self.note_fullness(*id);
        }
        let there = self.devices.iter().filter(|device| device.gone.is_none()).count();
        self.devices_max = self.devices_max.max(there);
    }

    fn told(&self) -> Told {
        Told { step: self.step, at_ms: self.now_ms }
    }

    /// How full the inbox of a device is, at the moment.
    fn note_fullness(&mut self, id: u64) {
        let (most, now_ms) = (self.inbox_entries as usize, self.now_ms);
        let Some(device) = self.devices.iter_mut().find(|it| it.id == Some(id)) else { return };
        let waiting = device.waiting();
        if waiting * 4 >= most {
            (device.quarter_full_ms, self.quarter_full_ms) = (Some(now_ms), Some(now_ms));
        }
        if waiting * 2 >= most {
            device.half_full_ms = Some(now_ms);
        }
    }

    /// Devices whose inbox may count as full now, or as half full: what the server counts it hears of a little later, and at
    /// a loss of power deletions are lost too, so that there is more than was counted here.
    pub(crate) fn filled(&self, half: bool) -> BTreeSet<usize> {
        /// A quarter of what made an inbox full must be gone before it takes something again: of a half that is three eighths.
        const LATELY_MS: u64 = 30_000;
        if self.inbox_entries >= SMALL_INBOX {
            return BTreeSet::new();
        }
        let share = if half { 4 } else { 2 };
        let is = |device: &Device| {
            let at_ms = if half { device.quarter_full_ms } else { device.half_full_ms };
            let lately = at_ms.is_some_and(|at_ms| at_ms + LATELY_MS >= self.now_ms);
            self.power_losses > 0 || lately || device.waiting() * share >= self.inbox_entries as usize
        };
        self.devices.iter().enumerate().filter(|(_, device)| is(device)).map(|(index, _)| index).collect()
    }

    /// Whether a device may have been left out at a place.
    pub(crate) fn may_lack(&self, device: usize, place: Place, slot: &Slot) -> bool {
        slot.full.contains(&device) || slot.half.contains(&device) && !self.has_accepted(device, place)
    }

    /// Whether the device's user has certainly accepted the conversation before this place: it has made it, or has sent
    /// something.
    fn has_accepted(&self, device: usize, place: Place) -> bool {
        let user = &self.devices[device].user;
        let members = self.members_before(place);
        let Some((ordinal, _)) = members.iter().find(|(_, (member, _))| member == user) else { return false };
        let mut before = self.log.range(Place { sequence: 0, ..place }..place);
        *ordinal == 0 || before.any(|(_, slot)| slot.message.as_ref().is_some_and(|(_, sender)| sender == ordinal))
    }

    fn mark(&mut self, device: usize, place: Place, set: impl FnOnce(&mut Held)) {
        if let Some(held) = self.devices[device].held.get_mut(&place) {
            set(held);
        }
    }

    fn read(&mut self, device: usize, place: Place) -> &mut Reading {
        let user = self.devices[device].user.clone();
        self.readings.entry((place.conversation, user)).or_default()
    }

    fn stored(&mut self, id: u64, order: u64, entry: &Entry) {
        let place = Place { conversation: entry.conversation.get(), sequence: entry.sequence.get() };
        self.orders.insert((id, order), place);
        let stored = self.step;
        if !self.log.contains_key(&place) {
            let (half, full) = (self.filled(true), self.filled(false));
            let expires_at_s = entry.expires_at_s;
            self.log.insert(place, Slot { stored, expires_at_s, half, full, ..Slot::default() });
        }
        let slot = self.log.entry(place).or_default();
        let what = What::of(entry);
        let say = match &what {
            What::Message { say, sender } => {
                slot.message.get_or_insert((say.clone(), *sender));
                Some(say.clone())
            }
            What::Change(client::Change { change: Some(Change::Opened(opened)), .. }) => {
                slot.opened.get_or_insert(opened.clone());
                Some(opened.title.clone()).filter(|_| place.sequence == 1)
            }
            What::Change(change) => {
                slot.change.get_or_insert(change.clone());
                match &change.change {
                    Some(Change::Renamed(title)) => Some(title.clone()),
                    _ => None,
                }
            }
        };
        if let Some(said) = say.as_ref().and_then(|say| self.said.get_mut(say)) {
            said.places.insert(place);
        }
        self.newest = say;
        let held = Held {
            owed_until_ms: self.now_ms + self.owed_for_ms(entry),
            message: entry.kind == EntryKind::Message,
            received: false,
            acked: false,
            erased: None,
        };
        if let Some(device) = self.devices.iter_mut().find(|it| it.id == Some(id)) {
            device.held.entry(place).or_insert(held);
        }
    }

    /// Whether the user had no device of this one's name before.
    pub(crate) fn is_first_of_its_name(&self, device: usize) -> bool {
        let facts = &self.devices[device];
        !self.devices[..device].iter().any(|other| other.user == facts.user && other.name == facts.name)
    }

    /// The device of this number, with its index.
    pub(crate) fn device_of(&self, id: u64) -> Option<(usize, &Device)> {
        self.devices.iter().enumerate().find(|(_, it)| it.id == Some(id))
    }

    /// Where the entry of this order stands in its conversation.
    pub(crate) fn place_of(&self, id: u64, order: u64) -> Option<Place> {
        self.orders.get(&(id, order)).copied()
    }

    /// Members (ordinal and user, with the place where they joined) before `place` takes effect.
    pub(crate) fn members_before(&self, place: Place) -> BTreeMap<u32, (String, u64)> {
        let first = Place { sequence: 0, ..place };
        let mut members = BTreeMap::new();
        for (at, slot) in self.log.range(first..place) {
            if let (Some(opened), 1) = (&slot.opened, at.sequence) {
                let joined = opened.members.iter().map(|it| (it.ordinal, (it.user.clone(), 1)));
                members.extend(joined);
            }
            for member in slot.newcomers(at.sequence) {
                members.entry(member.ordinal).or_insert_with(|| (member.user.clone(), at.sequence));
            }
            match slot.change.as_ref().and_then(|change| change.change.as_ref()) {
                Some(Change::Added(member)) => {
                    members.insert(member.ordinal, (member.user.clone(), at.sequence));
                }
                Some(Change::Removed(ordinal)) => {
                    members.remove(ordinal);
                }
                _ => {}
            }
        }
        members
    }

    /// Members when `place` has taken effect.
    pub(crate) fn members_at(&self, place: Place) -> BTreeMap<u32, (String, u64)> {
        self.members_before(Place { sequence: place.sequence + 1, ..place })
    }

    /// Whether this ordinal is a member's when all is over, and this user is a member too.
    pub(crate) fn are_members(&self, conversation: u64, ordinal: u32, user: &str) -> bool {
        let members = self.members_before(Place { conversation, sequence: u64::MAX });
        members.contains_key(&ordinal) && members.values().any(|(member, _)| member == user)
    }

    /// The two users of a direct conversation, and when it was opened.
    fn direct(&self, conversation: u64) -> Option<(BTreeSet<&str>, Step)> {
        let slot = self.log.get(&Place { conversation, sequence: 1 })?;
        let opened = slot.opened.as_ref().filter(|opened| !opened.group)?;
        Some((opened.members.iter().map(|member| member.user.as_str()).collect(), slot.stored))
    }

    /// When a direct conversation ended because this user, one of the two, was erased.
    fn ended_with(&self, conversation: u64, user: &str) -> Option<Step> {
        let since = *self.erasures.get(user)?;
        let place = |sequence| Place { conversation, sequence };
        let ends = self.log.range(place(1)..place(u64::MAX)).find_map(|(at, slot)| {
            let Some(Change::Removed(ordinal)) = slot.change.as_ref()?.change else { return None };
            let gone = self.members_before(*at).remove(&ordinal)?;
            Some((gone.0, slot.stored))
        });
        ends.filter(|(gone, step)| gone == user && since < *step).map(|(_, step)| step)
    }

    /// Whether the direct conversation of two users is another one now, `after`, than it was: because the one who is written
    /// to was erased, and there is a user of the same name again, or because the bridge has started anew while the one who
    /// writes was being erased.
    pub(crate) fn began_anew(&self, before: u64, after: u64, by: &str, to: &str) -> bool {
        let both = BTreeSet::from([by, to]);
        let of_both = |conversation| self.direct(conversation).filter(|(users, _)| *users == both);
        let (Some(_), Some((_, opened))) = (of_both(before), of_both(after)) else { return false };
        let is_interrupted = self.erasures.get(by).is_some_and(|since| *since < self.last_start);
        let ended = |user| self.ended_with(before, user).is_some_and(|ended| ended < opened);
        ended(to) || is_interrupted && ended(by)
    }

    /// Whoever has or had this ordinal, and where they joined.
    pub(crate) fn member_ever(&self, conversation: u64, ordinal: u32) -> Option<(String, u64)> {
        let place = |sequence| Place { conversation, sequence };
        self.log.range(place(0)..place(u64::MAX)).find_map(|(at, slot)| {
            let opened = slot.opened.iter().filter(|_| at.sequence == 1).flat_map(|opened| &opened.members);
            let added = slot.change.iter().filter_map(|change| match &change.change {
                Some(Change::Added(member)) => Some(member),
                _ => None,
            });
            let newcomers = slot.newcomers(at.sequence);
            let member = opened.chain(added).chain(newcomers).find(|member| member.ordinal == ordinal)?;
            Some((member.user.clone(), at.sequence))
        })
    }

    /// How long an entry must stay that has just got on disk, whatever is done to the wall clock. Only the moment in which it was
    /// made is the server's word.
    fn owed_for_ms(&self, entry: &Entry) -> u64 {
        /// From its making to the disk, at the most.
        const MADE_BEFORE_S: u32 = 10;
        /// Times are whole seconds.
        const ROUNDING_S: u32 = 2;
        let life_s = entry.expires_at_s.saturating_sub(entry.stored_at_s);
        let age_s = self.now_s.saturating_sub(entry.stored_at_s).min(MADE_BEFORE_S);
        // A little faster than real time, the wall clock may be followed.
        u64::from((life_s - life_s / 64).saturating_sub(age_s + ROUNDING_S)) * 1_000
    }

    /// Whether it may be gone because of its age.
    pub(crate) fn has_expired(&self, held: &Held) -> bool {
        held.owed_until_ms <= self.now_ms + self.followed_ms
    }
}

trait MaxWith {
    fn max_with(&mut self, other: Self);
}

impl MaxWith for u64 {
    fn max_with(&mut self, other: Self) {
        *self = (*self).max(other);
    }
}

impl What {
    /// What an entry carries.
    pub(crate) fn of(entry: &Entry) -> Self {
        match entry.kind {
            EntryKind::Message | EntryKind::Recalled => {
                let say = String::from_utf8_lossy(&entry.content).into_owned();
                Self::Message { say, sender: entry.sender.get() }
            }
            EntryKind::Change => Self::Change(client::Change::decode(entry.content.clone()).unwrap_or_default()),
        }
    }
}
