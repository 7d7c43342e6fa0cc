//! What is true in a run: who exists, what is on disk, who said, received and acknowledged what. Built from events; the
//! checkers judge by it.

use std::collections::{BTreeMap, BTreeSet};

use godwit_core::entry::{Entry, Kind};
use godwit_schemas::client::{self, change::Change};
use prost::Message as _;

use crate::event::{Event, Place, What};
use crate::plan::Traits;

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
    pub(crate) gone: Option<Step>,
    /// It is known to the server as a reader of events.
    pub(crate) subscribed: Option<Step>,
    /// Connections it has begun.
    pub(crate) connections: u64,
    /// Its inbox: every entry that it ever had.
    pub(crate) held: BTreeMap<Place, Held>,
}

impl Device {
    /// It is there to stay.
    pub(crate) fn stays(&self) -> bool {
        self.added.is_some() && self.leaving.is_none()
    }

    /// Entries of its inbox, expired ones too.
    pub(crate) fn waiting(&self) -> usize {
        self.held.values().filter(|held| held.erased.is_none()).count()
    }
}

/// An inbox entry.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) expires_at_s: u32,
    pub(crate) message: bool,
    pub(crate) received: bool,
    pub(crate) acked: bool,
    /// Its deletion was asked for.
    pub(crate) erased: Option<Moment>,
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
}

/// What stands at a place of a conversation. A new member sees a change as the opening.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) message: Option<(String, u32)>,
    pub(crate) change: Option<client::Change>,
    pub(crate) opened: Option<client::Opened>,
    pub(crate) stored: Step,
}

/// Something that a device said: a body or a title that nobody else has.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) device: usize,
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
    pub(crate) now_s: u32,
    pub(crate) devices: Vec<Device>,
    pub(crate) log: BTreeMap<Place, Slot>,
    pub(crate) said: BTreeMap<String, Said>,
    pub(crate) readings: BTreeMap<(u64, String), Reading>,
    /// Of `said`, calls that leave no words in a place.
    pub(crate) untitled: BTreeSet<String>,
    /// What was said in the last entry.
    pub(crate) newest: Option<String>,
    pub(crate) left: Left,
    pub(crate) cost: Cost,
    /// Starts of the bridge.
    pub(crate) starts: u64,
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
    /// When an inbox was at least half full for the last time.
    pub(crate) half_full_ms: Option<u64>,
    pub(crate) now_ms: u64,
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
                subscribed: None,
                connections: 0,
                held: BTreeMap::new(),
            }),
            Event::Added { device } => self.devices[*device].added = Some(step),
            Event::Leaving { device } => self.devices[*device].leaving = Some(step),
            Event::Gone { device } => self.devices[*device].gone = Some(step),
            Event::Numbered { user, name, id } => {
                let device = self.devices.iter_mut().find(|it| it.user == *user && it.name == *name);
                device.into_iter().for_each(|it| it.id = Some(*id));
            }
            Event::Subscribed { device } => {
                self.devices[*device].subscribed.get_or_insert(step);
            }
            Event::Sent { device, say, again, titled } => {
                if !titled {
                    self.untitled.insert(say.clone());
                }
                let fresh = Said {
                    device: *device,
                    first_sent: step,
                    publishes: 0,
                    stored: 0,
                    places: BTreeSet::new(),
                    told: BTreeSet::new(),
                };
                let said = self.said.entry(say.clone()).or_insert(fresh);
                said.publishes += u64::from(!again);
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
        if let Event::Stored { id, .. } | Event::Erased { id, .. } = event
            && self.device_of(*id).is_some_and(|(_, device)| device.waiting() * 2 >= self.inbox_entries as usize)
        {
            self.half_full_ms = Some(self.now_ms);
        }
        let there = self.devices.iter().filter(|device| device.gone.is_none()).count();
        self.devices_max = self.devices_max.max(there);
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
        let slot = self.log.entry(place).or_insert_with(|| Slot { stored, ..Slot::default() });
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
            expires_at_s: entry.expires_at_s,
            message: entry.kind == Kind::Message,
            received: false,
            acked: false,
            erased: None,
        };
        if let Some(device) = self.devices.iter_mut().find(|it| it.id == Some(id)) {
            device.held.entry(place).or_insert(held);
        }
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

    /// Whoever has or had this ordinal, and where they joined.
    pub(crate) fn member_ever(&self, conversation: u64, ordinal: u32) -> Option<(String, u64)> {
        let place = |sequence| Place { conversation, sequence };
        self.log.range(place(0)..place(u64::MAX)).find_map(|(at, slot)| {
            let opened = slot.opened.iter().filter(|_| at.sequence == 1).flat_map(|opened| &opened.members);
            let added = slot.change.iter().filter_map(|change| match &change.change {
                Some(Change::Added(member)) => Some(member),
                _ => None,
            });
            let member = opened.chain(added).find(|member| member.ordinal == ordinal)?;
            Some((member.user.clone(), at.sequence))
        })
    }

    pub(crate) fn has_expired(&self, held: &Held) -> bool {
        held.expires_at_s <= self.now_s
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
            Kind::Message | Kind::Recalled => {
                let say = String::from_utf8_lossy(&entry.content).into_owned();
                Self::Message { say, sender: entry.sender.get() }
            }
            Kind::Change => Self::Change(client::Change::decode(entry.content.clone()).unwrap_or_default()),
        }
    }
}
