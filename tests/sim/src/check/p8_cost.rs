//! P8: what a round costs does not grow with users, conversations, stored or once deleted entries, or devices ever seen.
//! Keys, rows and bytes are counted in the played store.

use super::Check;
use crate::event::Event;
use crate::facts::{Facts, Moment};

/// Keys that are read for each thing that is asked, at the most: conversation, its state, four members, the pair, the
/// session, the publish before.
const KEYS: u64 = 9;
/// Keys and rows that each start reads.
const AT_START: u64 = 2_000;
/// Rows that a scan returns for each thing that is asked, at the most: a window, receipts.
const ROWS: u64 = 50;
/// Bytes of a record that is no inbox entry: members and devices are bounded, and so is this.
const RECORD_BYTES: usize = 1_500;
/// Counts of devices that are gone.
const GONE: usize = 4;
/// Deletions that a slow disk holds up when a connection ends: some windows of them.
const HELD_UP: usize = 60;
/// A deletion takes no longer to get on disk.
const SETTLED_MS: u64 = 5_000;

pub(super) struct Cost;

impl Check for Cost {
    fn name(&self) -> &'static str {
        "P8, cost"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::Passed { id, orders } => passed(facts, *id, orders),
            _ => records(facts),
        }
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        let cost = &facts.cost;
        let free = AT_START * facts.starts + AT_START;
        if cost.keys > KEYS * cost.asked + free || cost.rows > ROWS * cost.asked + free {
            return Err(format!("{cost:?} in {} starts", facts.starts));
        }
        Ok(())
    }
}

fn records(facts: &Facts) -> Result<(), String> {
    let cost = &facts.cost;
    if cost.largest > RECORD_BYTES {
        return Err(format!("a record of {} bytes", cost.largest));
    }
    if cost.counts > facts.devices_max + GONE {
        return Err(format!(
            "a conversation keeps {} counts; there were at most {} devices",
            cost.counts, facts.devices_max
        ));
    }
    Ok(())
}

/// A scan may walk over what was deleted during its device's last connection, but over little of what was deleted before
/// that, unless the bridge has started anew since.
fn passed(facts: &Facts, id: u64, orders: &[u64]) -> Result<(), String> {
    let Some((index, device)) = facts.device_of(id) else { return Ok(()) };
    let places = orders.iter().filter_map(|order| facts.place_of(id, *order));
    // Changes are settled without the device, also while a message before them waits to be acknowledged.
    let messages = places.filter_map(|place| device.held.get(&place)).filter(|held| held.message);
    let erased = messages.filter_map(|held| held.erased);
    let old = erased.filter(|erased| {
        let Moment { at_ms, connection, start } = *erased;
        start == facts.starts && connection + 2 < device.connections && at_ms + SETTLED_MS < facts.now_ms
    });
    // What was on its way to be deleted when a connection ended is walked over until something is delivered.
    match old.count() {
        count if count <= HELD_UP => Ok(()),
        count => Err(format!("a scan of the inbox of device {index} walks over {count} messages that are long gone")),
    }
}
