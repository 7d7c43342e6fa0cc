//! Whoever is owed a push gets one, and nobody else does: a message of somebody else's waits for a device that is not there, and
//! its user has not read it.

use super::Check;
use crate::event::{Event, Place};
use crate::facts::{Device, Facts, Held};

/// What was taken away no longer ago may have been told of.
const LATELY_MS: u64 = 30_000;
/// A push that was on its way when its device went.
const SOON_MS: u64 = 1_000;

pub(super) struct Pushed;

impl Check for Pushed {
    fn name(&self) -> &'static str {
        "pushed"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        let Event::Pushed { device: index } = event else { return Ok(()) };
        let Some(device) = facts.devices.get(*index) else { return Err(format!("device {index} is pushed and none")) };
        if device.gone.is_some_and(|gone| gone.at_ms + SOON_MS < facts.now_ms) {
            return Err(format!("device {index} is pushed and gone"));
        }
        let lately = |held: &Held| held.erased.is_none_or(|erased| erased.at_ms + LATELY_MS >= facts.now_ms);
        let mut waiting = device.held.iter().filter(|(_, held)| lately(held));
        // To be brought into a group is told, too. After a loss of power more may be there than was counted.
        if facts.power_losses > 0 || waiting.any(|(place, held)| !held.message || is_of_another(facts, device, *place))
        {
            return Ok(());
        }
        Err(format!("device {index} is pushed, and nothing waits for it"))
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        for (index, device) in facts.devices.iter().enumerate().filter(|(_, it)| it.is_pager && it.leaving.is_none()) {
            for (place, held) in device.held.iter().filter(|(_, held)| held.message && held.erased.is_none()) {
                let stored = facts.log.get(place).map_or(0, |slot| slot.stored);
                let is_told = device.pushed.is_some_and(|pushed| pushed > stored);
                let is_owed = is_of_another(facts, device, *place)
                    && is_in(facts, device, *place)
                    && !is_read(facts, device, *place);
                if is_owed && !is_told && !facts.has_expired(held) {
                    return Err(format!("device {index} is owed a push for {place:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Somebody else has said it.
fn is_of_another(facts: &Facts, device: &Device, place: Place) -> bool {
    let said = facts.log.get(&place).and_then(|slot| facts.said.get(&slot.message.as_ref()?.0));
    said.is_none_or(|said| facts.devices[said.device].user != device.user)
}

/// The user has been in the conversation ever since.
fn is_in(facts: &Facts, device: &Device, place: Place) -> bool {
    let members = facts.members_before(Place { sequence: u64::MAX, ..place });
    members.values().any(|(user, since)| *user == device.user && *since <= place.sequence)
}

/// The user has read it, or is about to.
fn is_read(facts: &Facts, device: &Device, place: Place) -> bool {
    let reading = facts.readings.get(&(place.conversation, device.user.clone()));
    reading.is_some_and(|reading| reading.sent >= place.sequence)
}
