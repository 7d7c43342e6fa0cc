//! What a user asks of its lane without a connection, and in whose name.

use crate::audit::TokenName;
use bytes::Bytes;
use godwit_core::call::RoutedCall;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, DeviceName, Order};

/// In whose name something is asked.
#[derive(Clone)]
pub enum Principal {
    /// An administrator, who may act for anybody.
    Administrator,
    /// The same, with a token that has a name.
    Operator(TokenName),
    /// One of the user's devices, with its password.
    Device(DeviceName, Bytes),
    /// Somebody with a token of the operator's own accounts, which was verified; for this device, or any of the user's.
    Token(Option<DeviceName>),
    /// What waited for a phone number is sent once more, as if from the device that it waited for.
    Waiting(DeviceId),
}

/// What a user wants over HTTP.
pub(crate) enum UserRequest {
    /// A call of `rpc`.
    Call(RoutedCall),
    /// What is published to `send`.
    Send(client::Send),
    /// What is published to `receipt`.
    Read(client::ReadReceipt),
    /// A page of what waits for one of the user's devices and is kept nowhere else, above this order.
    Waiting(String, Order),
}
