//! P4: all devices see the same in the same places, and a sender's own order is kept.

use std::collections::{BTreeMap, BTreeSet};

use godwit_schemas::client::{Opened, change::Change};

use super::Check;
use crate::event::{Event, Place, What};
use crate::facts::{Facts, SMALL_INBOX, Slot};

#[derive(Default)]
pub(super) struct InOrder {
    /// What was told of each place, besides the log.
    told: BTreeMap<Place, Opened>,
}

impl Check for InOrder {
    fn name(&self) -> &'static str {
        "P4, order"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::Stored { entry, .. } => {
                let place = Place { conversation: entry.conversation.get(), sequence: entry.sequence.get() };
                self.agrees(facts, place, &What::of(entry))
            }
            Event::Received { place, what, from, .. } => {
                self.agrees(facts, *place, what)?;
                let (Some(from), What::Message { sender, .. }) = (from, what) else { return Ok(()) };
                match facts.members_before(*place).get(sender) {
                    Some((user, _)) if user == from => Ok(()),
                    known => Err(format!("{place:?} says it is from {from}, and is from {known:?}")),
                }
            }
            _ => Ok(()),
        }
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        let mut last: BTreeMap<(u64, &str), (u64, Place)> = BTreeMap::new();
        // What was refused when nobody heard of it may succeed later, when members have changed.
        let moved = facts.log.iter().filter(|(_, slot)| matches!(change(slot), Some(Change::Removed(_))));
        let moved: BTreeSet<_> = moved.map(|(place, _)| place.conversation).collect();
        // So may what was refused because of a full inbox, or to wait for acceptance.
        let small = facts.inbox_entries < SMALL_INBOX || facts.requests_limited;
        for (place, slot) in facts.log.iter().filter(|(place, _)| !small && !moved.contains(&place.conversation)) {
            let Some((device, number)) = words(slot).and_then(|say| say.rsplit_once('/')) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            if let Some((before, at)) = last.insert((place.conversation, device), (number, *place))
                && before >= number
            {
                return Err(format!("{device} said {number} before {before}, and they stand at {place:?} and {at:?}"));
            }
        }
        no_holes(facts)
    }
}

impl InOrder {
    fn agrees(&mut self, facts: &Facts, place: Place, what: &What) -> Result<(), String> {
        let Some(slot) = facts.log.get(&place) else { return Err(format!("nothing is stored at {place:?}")) };
        let same = match what {
            What::Message { say, sender } => {
                slot.message.as_ref() == Some(&(say.clone(), *sender)) && slot.change.is_none() && slot.opened.is_none()
            }
            What::Change(change) => match &change.change {
                Some(Change::Opened(opened)) => {
                    // Whether it is a request is each member's own affair.
                    let opened = Opened { request: false, ..opened.clone() };
                    slot.message.is_none() && *self.told.entry(place).or_insert_with(|| opened.clone()) == opened
                }
                _ => slot.message.is_none() && slot.change.as_ref() == Some(change),
            },
        };
        if same { Ok(()) } else { Err(format!("at {place:?} stand {what:?} and {slot:?}")) }
    }
}

/// What was said there.
fn words(slot: &Slot) -> Option<&str> {
    if let Some((say, _)) = &slot.message {
        return Some(say);
    }
    match change(slot)? {
        Change::Renamed(title) => Some(title),
        _ => None,
    }
}

fn change(slot: &Slot) -> Option<&Change> {
    slot.change.as_ref()?.change.as_ref()
}

/// A place without an entry was a message that nobody but its sender could have.
fn no_holes(facts: &Facts) -> Result<(), String> {
    let mut before: Option<(Place, &Slot)> = None;
    for (place, here) in &facts.log {
        let from = before.filter(|(at, _)| at.conversation == place.conversation);
        let (expected, since) = from.map_or((1, 0), |(at, slot)| (at.sequence + 1, slot.stored));
        if place.sequence > expected {
            let members = facts.members_before(*place);
            let lacking = |device| from.is_some_and(|(at, slot)| facts.may_lack(device, at, slot));
            let there = facts.devices.iter().enumerate().filter(|(index, device)| {
                let member = members.values().any(|(user, _)| *user == device.user);
                let lacks = lacking(*index) || facts.may_lack(*index, *place, here);
                member && device.stays() && device.added < Some(since) && !lacks
            });
            if there.count() > 1 {
                return Err(format!("there is nothing before {place:?} from {expected} on"));
            }
        }
        before = Some((*place, here));
    }
    Ok(())
}
