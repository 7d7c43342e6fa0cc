//! What a run is made of, drawn from its seed: who is there, how the server is set up, and which faults happen how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dice::Dice;

/// More entries than any inbox ever has.
const INBOX_LARGE: u32 = 100_000;

/// How a device reads its inbox, and what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// 4 or 5.
    pub(crate) protocol: u8,
    /// Protobuf events rather than raw bodies.
    pub(crate) events: bool,
    /// Counts its sends, rather than to rely on DUP.
    pub(crate) counts: bool,
    /// Its MQTT session outlives its connections.
    pub(crate) lasting: bool,
    /// Says the same thing again and again, as a sensor does.
    pub(crate) repetitive: bool,
}

/// See the module. Probabilities are per occasion.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) users: usize,
    pub(crate) devices_max: usize,
    pub(crate) edges: usize,
    pub(crate) lanes_max: u64,
    /// Of the store. Few: partitions have much to say to the same ones.
    pub(crate) partitions: u32,
    pub(crate) window: u32,
    /// Deliveries a client takes.
    pub(crate) receive_maximum: u16,
    pub(crate) cached: usize,
    /// Entries that an inbox takes.
    pub(crate) inbox_entries: u32,
    /// Messages that wait in a conversation which its other side has not accepted; 0: however many.
    pub(crate) request_messages: u32,
    /// Logins under way at a time.
    pub(crate) logins_max: usize,
    /// Milliseconds between the moments when an edge is short of memory for a while.
    pub(crate) short_of_memory_ms: Option<u64>,
    /// Things that a client has to say at a time: more than a lane can take at once.
    pub(crate) burst: usize,
    /// Milliseconds of faults.
    pub(crate) turmoil_ms: u64,
    /// Milliseconds between a client's actions.
    pub(crate) pace_ms: u64,
    pub(crate) membership: bool,
    /// Users add each other as contacts.
    pub(crate) contacts: bool,
    pub(crate) expiry: bool,
    /// Devices that say the same again and again, and none that cannot tell places.
    pub(crate) repetitive: bool,
    pub(crate) frames_lost: f64,
    pub(crate) frames_doubled: f64,
    pub(crate) frames_late: f64,
    pub(crate) links_broken: f64,
    pub(crate) bridge_crash_ms: Option<u64>,
    /// A crash takes what was not synced with it.
    pub(crate) power_loss: f64,
    pub(crate) edge_crash_ms: Option<u64>,
    pub(crate) slow_disk: f64,
    pub(crate) disk_failure: f64,
    pub(crate) disk_full: f64,
    pub(crate) clock_jump_ms: Option<u64>,
    pub(crate) devices_change_ms: Option<u64>,
    /// Milliseconds between the moments when somebody's credentials are made void.
    pub(crate) revoke_ms: Option<u64>,
    /// Milliseconds between the moments when an edge stands still for a while, as far as the bus sees.
    pub(crate) edge_freeze_ms: Option<u64>,
    pub(crate) hang_up: f64,
    pub(crate) black_hole: f64,
    pub(crate) deaf: f64,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let dice = Dice::new(seed, "plan");
        let often = |probability: f64, most: f64| {
            if dice.chance(probability) { most * (dice.within(1..=100) as f64) / 100.0 } else { 0.0 }
        };
        let every = |probability: f64, range| dice.chance(probability).then(|| dice.within(range));
        // What came later has dice of its own: plans of older seeds stay what they were.
        let later = Dice::new(seed, "plan, later");
        let latest = Dice::new(seed, "plan, latest");
        let (burst, slow) = if later.chance(0.15) { (later.within(5..=20) as usize, 1_000) } else { (1, 0) };
        let revoking = Dice::new(seed, "plan, revoking");
        let parting = Dice::new(seed, "plan, partitions");
        Self {
            users: dice.within(2..=5) as usize,
            devices_max: dice.within(1..=3) as usize,
            edges: dice.within(1..=2) as usize,
            lanes_max: if dice.chance(0.2) { 8 } else { dice.within(1..=4) },
            partitions: parting.pick(&[1, 2, 4, 64, 1_024]).copied().unwrap_or(64),
            window: dice.within(1..=12) as u32,
            receive_maximum: dice.within(1..=20) as u16,
            cached: dice.within(1..=8) as usize,
            inbox_entries: if later.chance(0.25) { later.within(8..=40) as u32 } else { INBOX_LARGE },
            // More than the last words of a user's devices.
            request_messages: if latest.chance(0.2) { latest.within(12..=30) as u32 } else { 0 },
            logins_max: if later.chance(0.3) { 1 } else { 16 },
            short_of_memory_ms: later.chance(0.3).then(|| later.within(1_000..=8_000)),
            burst,
            turmoil_ms: dice.within(5_000..=30_000),
            // Whoever has much to say at a time says it seldom.
            pace_ms: slow.max(if dice.chance(0.2) { dice.within(5..=50) } else { dice.within(50..=1_000) }),
            membership: dice.chance(0.6),
            contacts: parting.chance(0.5),
            expiry: dice.chance(0.2),
            repetitive: dice.chance(0.3),
            frames_lost: often(0.5, 0.1),
            frames_doubled: often(0.4, 0.2),
            frames_late: often(0.4, 0.2),
            links_broken: often(0.2, 0.01),
            bridge_crash_ms: every(0.5, 500..=10_000),
            power_loss: if dice.chance(0.6) { 0.7 } else { 0.0 },
            edge_crash_ms: every(0.3, 3_000..=15_000),
            slow_disk: often(0.4, 0.2),
            disk_failure: often(0.2, 0.01),
            disk_full: often(0.2, 0.5),
            clock_jump_ms: every(0.3, 2_000..=20_000),
            devices_change_ms: every(0.4, 1_000..=8_000),
            revoke_ms: revoking.chance(0.4).then(|| revoking.within(500..=6_000)),
            edge_freeze_ms: revoking.chance(0.3).then(|| revoking.within(3_000..=15_000)),
            hang_up: often(0.7, 0.1),
            black_hole: often(0.5, 0.1),
            deaf: often(0.3, 0.1),
        }
    }

    /// None is ever full.
    pub(crate) fn inboxes_are_large(&self) -> bool {
        self.inbox_entries == INBOX_LARGE
    }

    /// Whether a message to a user is never refused: no inbox is full, none waits for acceptance, and nobody is erased.
    pub(crate) fn sends_are_taken(&self) -> bool {
        self.inboxes_are_large() && self.request_messages == 0 && self.revoke_ms.is_none()
    }

    /// A device's traits.
    pub(crate) fn traits(&self, dice: &Dice) -> Traits {
        let (events, protocol) = (dice.chance(0.6), if dice.chance(0.6) { 5 } else { 4 });
        let tells_places = events || protocol == 5;
        Traits {
            protocol: if self.repetitive && !tells_places { 5 } else { protocol },
            events,
            counts: dice.chance(0.4),
            lasting: dice.chance(0.7),
            repetitive: self.repetitive && dice.chance(0.5),
        }
    }
}

/// Whether faults happen: until the run calms down.
#[derive(Debug, Clone)]
pub(crate) struct Turmoil(Arc<AtomicBool>);

impl Turmoil {
    /// Nothing goes wrong yet.
    pub(crate) fn calm() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    pub(crate) fn set(&self, reigns: bool) {
        self.0.store(reigns, Ordering::Relaxed);
    }

    pub(crate) fn reigns(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
