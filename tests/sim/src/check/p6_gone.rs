//! P6: a body is gone from the store once every device has it, or when it has expired.

use super::Check;
use crate::event::Event;
use crate::facts::Facts;

pub(super) struct Gone;

impl Check for Gone {
    fn name(&self) -> &'static str {
        "P6, gone"
    }

    fn see(&mut self, _: &Facts, _: &Event) -> Result<(), String> {
        Ok(())
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        if let Some(entry) = facts.left.entries.first() {
            return Err(entry.clone());
        }
        // Titles are kept; what a message said is nowhere but in inboxes.
        let bodies = facts.log.values().filter_map(|slot| slot.message.as_ref());
        match bodies.map(|(say, _)| say).find(|say| facts.left.words.contains(*say)) {
            Some(say) => Err(format!("the store still has {say}, beside all inboxes")),
            None => Ok(()),
        }
    }
}
