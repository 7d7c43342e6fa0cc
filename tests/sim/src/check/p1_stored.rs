//! P1: an answer means stored, for every recipient.

use std::collections::BTreeSet;

use super::Check;
use crate::event::{Event, Place};
use crate::facts::{Facts, Slot};

pub(super) struct Stored;

impl Check for Stored {
    fn name(&self) -> &'static str {
        "P1, stored"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::Answered { device, say, reason: 0, at, .. } => answered(facts, *device, say, *at),
            Event::Received { device, place, .. } if !facts.devices[*device].held.contains_key(place) => {
                Err(format!("device {device} received {place:?}, which is not stored for it"))
            }
            Event::Stored { entry, .. } => {
                let place = Place { conversation: entry.conversation.get(), sequence: entry.sequence.get() };
                if place.sequence == 0 { Err(format!("nothing stands at {place:?}")) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        for (place, slot) in &facts.log {
            fanned_out(facts, *place, slot)?;
            told(facts, *place, slot)?;
        }
        Ok(())
    }
}

fn answered(facts: &Facts, device: usize, say: &str, at: Option<Place>) -> Result<(), String> {
    let Some(said) = facts.said.get(say) else { return Err(format!("{say} is answered and was not said")) };
    if let Some(at) = at {
        let left_out = facts.filled(true);
        let nobody = || recipients(facts, at, said.first_sent, device).iter().all(|it| left_out.contains(it));
        return if said.places.contains(&at) || !facts.log.contains_key(&at) && nobody() {
            Ok(())
        } else {
            Err(format!("{say} was answered, but it does not stand at {at:?}"))
        };
    }
    let of_group = say_is_of_call(facts, say);
    if said.places.is_empty() && !of_group {
        return Err(format!("{say} was answered, and is not stored"));
    }
    Ok(())
}

/// Calls that take no title leave no words in the log.
fn say_is_of_call(facts: &Facts, say: &str) -> bool {
    facts.untitled.contains(say)
}

/// Devices that were certainly there and members before `since`, but for one.
fn recipients(facts: &Facts, place: Place, since: u64, except: usize) -> Vec<usize> {
    let members: BTreeSet<_> = facts.members_before(place).into_values().map(|(user, _)| user).collect();
    let there = facts.devices.iter().enumerate().filter(|(index, device)| {
        *index != except && members.contains(&device.user) && device.stays() && device.added < Some(since)
    });
    there.map(|(index, _)| index).collect()
}

/// Every device of every member has an entry, but for those whose inbox was full.
fn fanned_out(facts: &Facts, place: Place, slot: &Slot) -> Result<(), String> {
    let Some((say, _)) = &slot.message else { return Ok(()) };
    let Some(said) = facts.said.get(say) else { return Err(format!("{say} at {place:?} was never said")) };
    // What is said more than once may be any of the publishes.
    let since = if said.publishes > 1 { 0 } else { said.first_sent };
    match recipients(facts, place, since, said.device)
        .into_iter()
        .find(|device| !facts.devices[*device].held.contains_key(&place) && !facts.may_lack(*device, place, slot))
    {
        Some(device) => Err(format!("{say} at {place:?} was not stored for device {device}")),
        None => Ok(()),
    }
}

/// Where somebody is added the other members are told, but for those whose inboxes were full.
fn told(facts: &Facts, place: Place, slot: &Slot) -> Result<(), String> {
    if !slot.is_secret(place) {
        return Ok(());
    }
    let mut others = recipients(facts, place, slot.stored, usize::MAX).into_iter();
    match others.find(|device| !facts.may_lack(*device, place, slot)) {
        Some(device) => Err(format!("device {device} was not told who was added at {place:?}")),
        None => Ok(()),
    }
}
