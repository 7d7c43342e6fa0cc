//! Liveness: once nothing goes wrong any more, every publish is answered and everything that waits arrives; and then
//! everybody can send again, whichever inboxes were full. That ticks converge is for P7 to say.

use super::Check;
use crate::event::Event;
use crate::facts::Facts;

/// "Quota exceeded".
const FULL: u32 = 0x97;
/// Between an inbox that is not a quarter full any more and the last refusal, when all is calm.
const SOON_MS: u64 = 1_000;

pub(super) struct Live;

impl Check for Live {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        let Event::Answered { say, reason: FULL, .. } = event else { return Ok(()) };
        let lately = facts.quarter_full_ms.is_some_and(|at_ms| at_ms + SOON_MS >= facts.now_ms);
        // A device that was added and whose password got lost with the answer fetches nothing, ever.
        let mut there = facts.devices.iter().filter(|device| device.gone.is_none());
        if !facts.last_words || lately || there.any(|device| device.waiting() * 4 >= facts.inbox_entries as usize) {
            return Ok(());
        }
        Err(format!("{say} was refused because of a full inbox, and all are empty"))
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        if let Some(device) = facts.busy.first() {
            return Err(format!("device {device} has publishes without an answer"));
        }
        for (index, device) in facts.devices.iter().enumerate().filter(|(_, device)| device.stays()) {
            if facts.last_words && !facts.done.contains(&index) {
                return Err(format!("device {index} cannot say anything"));
            }
            for (place, held) in &device.held {
                let wanted = held.message || device.traits.events;
                if wanted && !held.received && !facts.has_expired(held) {
                    return Err(format!("device {index} has not received {place:?}"));
                }
            }
        }
        match facts.left.full.first() {
            Some(device) => Err(format!("the inbox of device {device} counts as full")),
            None => Ok(()),
        }
    }
}
