//! P2: an inbox entry leaves only when its device acknowledged it, when it expired, when its message was recalled, or with
//! its device. Nothing is dropped because an inbox is full: what comes then does not get in, and where nobody would get it
//! senders are refused, and only then.

use super::Check;
use crate::event::Event;
use crate::facts::Facts;

/// "Quota exceeded".
const FULL: u32 = 0x97;
/// Entries that may be on their way when an inbox becomes full, besides changes of members, which always go in.
const ON_THE_WAY: usize = 100;

/// A refusal is no older when its client hears of it.
const LATELY_MS: u64 = 30_000;

pub(super) struct Kept;

impl Check for Kept {
    fn name(&self) -> &'static str {
        "P2, kept"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::Erased { id, order } => erased(facts, *id, *order),
            Event::Stored { id, .. } => bounded(facts, *id),
            Event::Answered { say, reason: FULL, .. } if !facts.untitled.contains(say) => {
                // At a loss of power deletions are lost too: there is more than was counted here.
                let lately = facts.quarter_full_ms.is_some_and(|at_ms| at_ms + LATELY_MS >= facts.now_ms);
                if lately || facts.power_losses > 0 || facts.requests_limited {
                    return Ok(());
                }
                Err(format!("{say} was refused because of a full inbox, and none was a quarter full"))
            }
            _ => Ok(()),
        }
    }

    fn missing(&self, _: &Facts) -> Result<(), String> {
        Ok(())
    }
}

fn erased(facts: &Facts, id: u64, order: u64) -> Result<(), String> {
    let Some((index, device)) = facts.device_of(id) else { return Ok(()) };
    let Some((place, held)) = facts.place_of(id, order).and_then(|place| Some((place, device.held.get(&place)?)))
    else {
        return Err(format!("an entry of device {index} is deleted that it does not have: {order}"));
    };
    let settled = !held.message && !device.traits.events;
    if held.acked || settled || device.leaving.is_some() || facts.has_expired(held) {
        return Ok(());
    }
    Err(format!("{place:?} of device {index} is deleted, and was not acknowledged"))
}

fn bounded(facts: &Facts, id: u64) -> Result<(), String> {
    let Some((index, device)) = facts.device_of(id).filter(|(_, device)| device.leaving.is_none()) else {
        return Ok(());
    };
    let messages =
        device.held.values().filter(|held| held.message && held.erased.is_none() && !facts.has_expired(held)).count();
    if messages <= facts.inbox_entries as usize + ON_THE_WAY {
        return Ok(());
    }
    Err(format!("the inbox of device {index} has {messages} messages"))
}
