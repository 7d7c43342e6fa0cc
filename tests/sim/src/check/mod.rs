//! One checker for each promise, and one for what must come true at all. A checker sees every event after the facts have taken it in, and says at the end what
//! is still missing.

use crate::event::Event;
use crate::facts::Facts;

mod live;
mod p1_stored;
mod p2_kept;
mod p3_once;
mod p4_order;
mod p5_own;
mod p5_proved;
mod p6_gone;
mod p7_ticks;
mod p7_unread;
mod p8_cost;
mod pushed;
mod taken_in;

/// See the module.
pub(crate) trait Check: Send {
    fn name(&self) -> &'static str;

    /// What is wrong with this event.
    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String>;

    /// What must still happen when all is calm. Asked again and again until nothing is missing.
    fn missing(&self, facts: &Facts) -> Result<(), String>;
}

pub(crate) fn all() -> Vec<Box<dyn Check>> {
    vec![
        Box::new(live::Live),
        Box::new(p1_stored::Stored),
        Box::new(p2_kept::Kept),
        Box::new(p3_once::Once),
        Box::new(p4_order::InOrder::default()),
        Box::new(p5_own::Own),
        Box::new(p5_proved::Proved),
        Box::new(p6_gone::Gone),
        Box::new(p7_ticks::Ticks::default()),
        Box::new(p7_unread::Unread),
        Box::new(p8_cost::Cost),
        Box::new(pushed::Pushed),
        Box::new(taken_in::TakenIn::default()),
    ]
}
