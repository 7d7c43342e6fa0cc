//! P3: what is said takes effect once, and no device misses anything.

use super::Check;
use crate::event::{Event, Place};
use crate::facts::{Facts, Said};

pub(super) struct Once;

impl Check for Once {
    fn name(&self) -> &'static str {
        "P3, once"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::Stored { .. } => {
                let twice = facts.newest.as_ref().and_then(|say| Some((say, facts.said.get(say)?)));
                match twice.filter(|(_, said)| effects(facts, said) > said.publishes) {
                    Some((say, said)) => {
                        Err(format!("{say} was said {} times and stands at {:?}", said.publishes, said.places))
                    }
                    None => Ok(()),
                }
            }
            Event::Received { device, place, .. } => no_gap(facts, *device, *place),
            _ => Ok(()),
        }
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        for (say, said) in facts.said.iter().filter(|(say, _)| !facts.untitled.contains(*say)) {
            let places = said.places.union(&said.told).count() as u64;
            if places < said.stored.min(said.publishes) && say.ends_with("/same") {
                return Err(format!("{say} was stored {} times and stands at {:?}", said.stored, said.places));
            }
        }
        Ok(())
    }
}

/// How often something has taken effect. A count belongs to a conversation: what was said to a user that is erased, and is
/// repeated when there is another of the same name, is said to that one for the first time.
fn effects(facts: &Facts, said: &Said) -> u64 {
    let by = &facts.devices[said.device].user;
    let is_of_former = |place: &Place, to: &str| {
        said.places.iter().any(|other| facts.began_anew(place.conversation, other.conversation, by, to))
    };
    let counts = |place: &&Place| !said.counted_to.iter().any(|to| is_of_former(place, to));
    said.places.iter().filter(counts).count() as u64
}

/// Everything that the device has before this place in the conversation was received, or has expired.
fn no_gap(facts: &Facts, device: usize, place: Place) -> Result<(), String> {
    let known = &facts.devices[device];
    let first = Place { sequence: 0, ..place };
    let missed = known.held.range(first..place).find(|(_, held)| {
        let wanted = held.message || known.traits.events;
        wanted && !held.received && !facts.has_expired(held)
    });
    match missed {
        Some((missed, _)) => Err(format!("device {device} received {place:?} before {missed:?}")),
        None => Ok(()),
    }
}
