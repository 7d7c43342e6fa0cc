//! P2: an inbox entry leaves only when its device acknowledged it, and then it does leave.

use super::Check;
use crate::event::Event;
use crate::facts::Facts;

pub(super) struct Kept;

impl Check for Kept {
    fn name(&self) -> &'static str {
        "P2, kept"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        let Event::Erased { id, order } = event else { return Ok(()) };
        let Some((index, device)) = facts.device_of(*id) else { return Ok(()) };
        let Some((place, held)) = facts.place_of(*id, *order).and_then(|place| Some((place, device.held.get(&place)?)))
        else {
            return Err(format!("an entry of device {index} is deleted that it does not have: {order}"));
        };
        let settled = !held.message && !device.traits.events;
        if held.acked || settled || device.leaving.is_some() {
            return Ok(());
        }
        Err(format!("{place:?} of device {index} is deleted, and was not acknowledged"))
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        match &facts.leftover {
            Some(leftover) => Err(leftover.clone()),
            None => Ok(()),
        }
    }
}
