//! Liveness: once nothing goes wrong any more, every publish is answered, everything that waits arrives, and no inbox
//! counts as full that is empty. That ticks converge is for P7 to say.

use super::Check;
use crate::event::Event;
use crate::facts::Facts;

pub(super) struct Live;

impl Check for Live {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn see(&mut self, _: &Facts, _: &Event) -> Result<(), String> {
        Ok(())
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        if let Some(device) = facts.busy.first() {
            return Err(format!("device {device} has publishes without an answer"));
        }
        for (index, device) in facts.devices.iter().enumerate().filter(|(_, device)| device.stays()) {
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
