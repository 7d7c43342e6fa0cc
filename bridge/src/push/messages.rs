//! What the pusher asks of the lane that owns a device.

use godwit_schemas::ids::{DeviceId, Order, UserId};
use tokio::sync::oneshot;

/// From the pusher, or from the lane of another device.
pub(crate) enum PushMessage {
    /// How these devices are right now. The answers stand in the order of the devices.
    Ask(Vec<(UserId, DeviceId)>, oneshot::Sender<Vec<DeviceState>>),
    /// The device is pushed nowhere any more, unless it was set where after all that.
    Forget(Forget),
}

/// Why a device is pushed nowhere any more.
pub(crate) struct Forget {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    /// Not if it was set later than in this second.
    pub(crate) set_by_s: u32,
    /// Not if it is another address; `None`: whichever.
    pub(crate) address: Option<[u8; 32]>,
    /// For the audit.
    pub(crate) why: &'static str,
}

/// How a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeviceState {
    /// Its user has it.
    pub(crate) exists: bool,
    pub(crate) connected: bool,
    /// The entry that it was handed first of those it has not acknowledged.
    pub(crate) oldest_in_flight: Option<Order>,
    /// Another device of its user is connected, and has sent something of late.
    pub(crate) elsewhere: bool,
}
