//! How a bridge is set up: made by the server from the operator's settings, by tests and the simulator from their own, and read
//! by every lane, the media service and the registrar. Nothing of it changes while the bridge runs.

use std::sync::Arc;
use std::time::Duration;

use godwit_core::decide::Rules;

use crate::audit::Audit;
use crate::encryption::EncryptionSettings;
use crate::lead::Lead;
use crate::media::MediaSettings;
use crate::memory::Shortage;
use crate::push::PushSettings;
use crate::registration::RegistrationSettings;
use crate::token::Tokens;

/// How a bridge is set up.
#[derive(Debug, Clone)]
pub struct BridgeSettings {
    /// Limits that decisions depend on.
    pub rules: Rules,
    /// That it leads its cluster.
    pub lead: Lead,
    /// Number of lanes, 1 to 64. May change from one start to the next.
    pub lanes: u32,
    /// Deliveries that a device may leave unacknowledged, 1 to 65,535.
    pub window_messages: u32,
    /// Bytes of content that a device may leave unacknowledged; a single larger message is allowed.
    pub window_bytes: u32,
    /// Whether the process is short of memory.
    pub memory: Shortage,
    /// Most devices of a user.
    pub devices_per_user_max: usize,
    /// Publishes of a client that may be unanswered, as its edge counts them. A lane takes no more from any.
    pub unanswered_publishes_max: usize,
    /// Entries that an inbox takes, at least 4.
    pub inbox_entries: u32,
    /// Bytes of content that an inbox takes; 0: however many.
    pub inbox_bytes: u64,
    /// Days without a connection after which a device's inbox takes a tenth of that; 0: never.
    pub idle_device_days: u32,
    /// Phone numbers that a user may look up in a day.
    pub phone_lookups_per_day: u32,
    /// How long a user must be gone before others are told.
    pub offline_after: Duration,
    /// Users, pairs and conversations that each lane keeps in memory (of each about so many).
    pub cached_per_lane: usize,
    /// Where files are kept; `None`: nowhere.
    pub media: Option<MediaSettings>,
    /// How people register; `None`: not by themselves.
    pub registration: Option<RegistrationSettings>,
    /// Where it is noted who got in and what became of accounts.
    pub audit: Audit,
    /// What verifies tokens of the operator's own accounts; `None`: there are none.
    pub tokens: Option<Arc<Tokens>>,
    /// How conversations can be encrypted; `None`: not at all.
    pub encryption: Option<EncryptionSettings>,
    /// How devices are pushed that are not connected; `None`: not at all.
    pub push: Option<PushSettings>,
}

/// Deliveries that a device may leave unacknowledged while memory is short, in bytes.
const PRESSED_BYTES: u32 = 64 << 10;

impl BridgeSettings {
    /// Bytes of content that a device may leave unacknowledged right now.
    pub(crate) fn in_flight_bytes(&self) -> u32 {
        if self.memory.is_on() { self.window_bytes.min(PRESSED_BYTES) } else { self.window_bytes }
    }
}
