//! What users do without a connection: the calls of `rpc`, carried out by the lane that owns the user. Called by the HTTP
//! API; each call returns when what it changed is on disk.

use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{Order, UserId};

use crate::lanes::Lanes;
use crate::messages::UserRequest;

pub use crate::lanes::ShuttingDown;
pub use crate::messages::Principal;

/// Users' calls, each answered by the user's lane. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    lanes: Lanes,
}

impl Chat {
    pub(crate) fn new(lanes: Lanes) -> Self {
        Self { lanes }
    }

    /// Makes a call in a user's name. A refusal is an answer too: see `Response.reason`; 0x86: not this user's device,
    /// or not its password.
    ///
    /// # Errors
    /// [`ShuttingDown`]: whether it was carried out is not known.
    pub async fn call(&self, user: UserId, who: Principal, call: Call) -> Result<client::Response, ShuttingDown> {
        self.lanes.ask_as(user, who, UserRequest::Call(call.into())).await
    }

    /// Sends a message: `Response.sequence` says where it stands (0: it was a retry).
    ///
    /// # Errors
    /// [`ShuttingDown`], as in [`Self::call`].
    pub async fn send(
        &self,
        user: UserId,
        who: Principal,
        send: client::Send,
    ) -> Result<client::Response, ShuttingDown> {
        self.lanes.ask_as(user, who, UserRequest::Send(send)).await
    }

    /// Everything up to a sequence was read.
    ///
    /// # Errors
    /// [`ShuttingDown`], as in [`Self::call`].
    pub async fn read(
        &self,
        user: UserId,
        who: Principal,
        receipt: client::ReadReceipt,
    ) -> Result<client::Response, ShuttingDown> {
        self.lanes.ask_as(user, who, UserRequest::Read(receipt)).await
    }

    /// A page of what waits for one of the user's devices and is kept nowhere else: messages and changes above this order
    /// in `Response.history`, and in `next` what to ask with for the next page (0: there is none).
    ///
    /// # Errors
    /// [`ShuttingDown`].
    pub async fn waiting(
        &self,
        user: UserId,
        who: Principal,
        device: String,
        after: Order,
    ) -> Result<client::Response, ShuttingDown> {
        self.lanes.ask_as(user, who, UserRequest::Waiting(device, after)).await
    }
}
