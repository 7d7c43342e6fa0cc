//! What partitions send to each other is numbered without gaps, taken in in that order, each number once, and kept until then.
//! What concerns a user is in its own rows as often as it is in others'.

use std::collections::BTreeMap;

use godwit_core::outbox::Link;

use super::Check;
use crate::event::Event;
use crate::facts::Facts;

/// See the module.
#[derive(Default)]
pub(super) struct TakenIn(BTreeMap<Link, Counted>);

#[derive(Default)]
struct Counted {
    sent: u64,
    taken_in: u64,
    let_go: u64,
}

impl Check for TakenIn {
    fn name(&self) -> &'static str {
        "partitions, taken in"
    }

    fn see(&mut self, _: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::SentOut { link, number } => {
                let counted = self.0.entry(*link).or_default();
                if *number != counted.sent + 1 {
                    return Err(format!("{link:?} sends {number} after {}", counted.sent));
                }
                counted.sent = *number;
            }
            Event::TakenIn { link, number } => {
                let counted = self.0.entry(*link).or_default();
                if *number <= counted.taken_in || *number > counted.sent {
                    return Err(format!("{link:?} takes in {number} after {} of {}", counted.taken_in, counted.sent));
                }
                counted.taken_in = *number;
            }
            Event::LetGo { link, number } => {
                let counted = self.0.entry(*link).or_default();
                if *number > counted.taken_in {
                    return Err(format!("{link:?} lets {number} go, and {} are taken in", counted.taken_in));
                }
                counted.let_go += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        let outside = self.0.iter().find(|(_, counted)| counted.let_go < counted.sent);
        if let Some((link, counted)) = outside {
            return Err(format!("{link:?} has sent {} and lets {} go", counted.sent, counted.let_go));
        }
        facts.left.apart.first().map_or(Ok(()), |wrong| Err(wrong.clone()))
    }
}
