//! Who makes a call, and how it is answered: over MQTT or HTTP, when what it changed is on disk.

use bytes::Bytes;
use godwit_core::command::CommandOrigin;
use godwit_core::outcome::EffectKind;
use godwit_core::refusal::Refusal;
use godwit_core::reply_to::ReplyTo;
use godwit_schemas::client::{self};
use godwit_schemas::reason::Reason;

use crate::admin::AdminError;
use crate::audit::Actor;
use crate::lane::context::Context;
use crate::messages::{AdminReply, Continuation, LaneMessage};
use godwit_store::Store;

/// Who calls, and where the answer goes.
pub(crate) struct CallContext {
    pub(in crate::lane) origin: CommandOrigin,
    pub(in crate::lane) id: u64,
    pub(in crate::lane) correlation: Bytes,
    /// In whose name it is noted.
    pub(in crate::lane) by: Actor,
}

impl CallContext {
    /// It waits for a request over HTTP, or on no connection at all.
    pub(in crate::lane) fn is_over_http(&self) -> bool {
        !matches!(self.origin.reply_to, Some(ReplyTo::Connection(..)))
    }

    /// The effects that answer the call.
    pub(in crate::lane) fn answer(self, response: client::Response) -> Vec<EffectKind> {
        let Self { origin, id, correlation, .. } = self;
        let Some(to) = origin.reply_to else { return Vec::new() };
        let response = Box::new(client::Response { id, ..response });
        let responded = EffectKind::Responded { to, response, correlation };
        let (reason, text, conversation, sequence, repeated) = (Reason::SUCCESS, "", None, None, None);
        let published = EffectKind::Published { to, reason, text, conversation, sequence, repeated, mls_epoch: 0 };
        vec![responded, published]
    }
}

impl<S: Store> Context<S> {
    pub(in crate::lane) fn refuse(&self, caller: CallContext, refusal: Refusal) {
        self.answer_call(caller, refusal.to_response());
    }

    /// Answers in the lane's next round.
    pub(in crate::lane) fn answer_call(&self, caller: CallContext, response: client::Response) {
        self.then_respond(caller, response)();
    }

    /// The same, by whoever gets that far.
    pub(in crate::lane) fn then_respond(&self, caller: CallContext, response: client::Response) -> Continuation {
        self.then_send(move || LaneMessage::Effects(caller.answer(response)))
    }
}

/// Whoever asked may have stopped listening.
pub(in crate::lane) fn answer<T>(reply: AdminReply<T>, result: Result<T, AdminError>) {
    let _ = reply.send(result);
}
