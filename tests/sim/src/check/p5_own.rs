//! P5: a device gets what its user may have, and what stands in a conversation was said by a member.

use godwit_schemas::client::change::Change;

use super::Check;
use crate::event::{Event, Place, What};
use crate::facts::Facts;

pub(super) struct Own;

impl Check for Own {
    fn name(&self) -> &'static str {
        "P5, own"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::Stored { id, entry, .. } => {
                let place = Place { conversation: entry.conversation.get(), sequence: entry.sequence.get() };
                let Some((index, device)) = facts.device_of(*id) else { return Ok(()) };
                let before = facts.members_before(place);
                let after = facts.members_at(place);
                let mut users = before.values().chain(after.values()).map(|(user, _)| user);
                if !users.any(|user| *user == device.user) {
                    return Err(format!("{place:?} is stored for device {index}, whose user is not a member"));
                }
                said_by_member(facts, place, &What::of(entry))
            }
            Event::Received { device, place, .. } => {
                let gone = facts.devices[*device].gone.map(|told| told.step);
                let stored = facts.log.get(place).map(|slot| slot.stored);
                if gone.is_some() && stored > gone {
                    return Err(format!("device {device} is gone, and received {place:?}"));
                }
                Ok(())
            }
            Event::Odd { device, what } => Err(format!("device {device} was told {what}")),
            _ => Ok(()),
        }
    }

    fn missing(&self, _: &Facts) -> Result<(), String> {
        Ok(())
    }
}

fn said_by_member(facts: &Facts, place: Place, what: &What) -> Result<(), String> {
    let members = facts.members_before(place);
    let (by, say) = match what {
        What::Message { say, sender } => (*sender, Some(say)),
        What::Change(change) => match &change.change {
            Some(Change::Renamed(title)) => (change.by, Some(title)),
            Some(Change::Opened(_)) if place.sequence == 1 => return Ok(()),
            _ => (change.by, None),
        },
    };
    let Some((user, _)) = members.get(&by) else {
        return Err(format!("at {place:?} stands what no member said: {what:?}"));
    };
    let said_by = say.and_then(|say| facts.said.get(say)).map(|said| &facts.devices[said.device].user);
    match said_by {
        Some(other) if other != user => Err(format!("at {place:?} {user} is said to have said {what:?}")),
        _ => Ok(()),
    }
}
