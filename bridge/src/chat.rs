//! What users do without a connection: the calls of `rpc`, carried out by the lane that owns the user. Called by the HTTP
//! API; each call returns when what it changed is on disk.

use std::sync::Arc;

use bytes::Bytes;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceId, DeviceName, Order, UserId};
use godwit_schemas::partition::Partition;
use tokio::sync::oneshot;

use crate::mail::{Ask, Mail, Mailbox};

/// The bridge is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is shutting down")]
pub struct ShuttingDown;

/// In whose name something is asked.
#[derive(Clone)]
pub enum Who {
    /// An administrator, who may act for anybody.
    Administrator,
    /// One of the user's devices, with its password.
    Device(DeviceName, Bytes),
    /// Somebody with a token of the operator's own accounts, which was verified; for this device, or any of the user's.
    Token(Option<DeviceName>),
    /// What waited for a phone number is sent once more, as if from the device that it waited for.
    Waiting(DeviceId),
}

/// Handle to the lanes for users' calls. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    lanes: Arc<[Mailbox]>,
}

impl Chat {
    pub(crate) fn new(lanes: Arc<[Mailbox]>) -> Self {
        Self { lanes }
    }

    /// Makes a call in a user's name. A refusal is an answer too: see `Response.reason`; 0x86: not this user's device,
    /// or not its password.
    ///
    /// # Errors
    /// [`ShuttingDown`]: whether it was carried out is not known.
    pub async fn call(&self, user: UserId, who: Who, call: Call) -> Result<client::Response, ShuttingDown> {
        self.ask(user, who, Ask::Call(call)).await
    }

    /// Sends a message: `Response.sequence` says where it stands (0: it was a retry).
    ///
    /// # Errors
    /// [`ShuttingDown`], as in [`Self::call`].
    pub async fn send(&self, user: UserId, who: Who, send: client::Send) -> Result<client::Response, ShuttingDown> {
        self.ask(user, who, Ask::Send(send)).await
    }

    /// Everything up to a sequence was read.
    ///
    /// # Errors
    /// [`ShuttingDown`], as in [`Self::call`].
    pub async fn read(
        &self,
        user: UserId,
        who: Who,
        receipt: client::ReadReceipt,
    ) -> Result<client::Response, ShuttingDown> {
        self.ask(user, who, Ask::Read(receipt)).await
    }

    /// A page of what waits for one of the user's devices and is kept nowhere else: messages and changes above this order
    /// in `Response.history`, and in `next` what to ask with for the next page (0: there is none).
    ///
    /// # Errors
    /// [`ShuttingDown`].
    pub async fn waiting(
        &self,
        user: UserId,
        who: Who,
        device: String,
        after: Order,
    ) -> Result<client::Response, ShuttingDown> {
        self.ask(user, who, Ask::Waiting(device, after)).await
    }

    async fn ask(&self, user: UserId, who: Who, ask: Ask) -> Result<client::Response, ShuttingDown> {
        let lane = Partition::of_user(&user).lane(self.lanes.len() as u32);
        let (reply, answer) = oneshot::channel();
        // A lane that is gone drops the reply, which the answer then tells.
        let _ = self.lanes[lane as usize].send(Mail::Ask(user, who, ask, reply));
        answer.await.map_err(|_| ShuttingDown)
    }
}
