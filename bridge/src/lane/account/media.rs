//! Calls about files: the media service carries them out, and this lane answers the caller.

use godwit_core::call::{Addition, MediaCall};
use godwit_core::refusal;

use crate::lane::account::Accounts;
use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::media::MediaRequest;
use crate::messages::LaneMessage;
use godwit_store::Store;

impl Accounts {
    pub(in crate::lane) fn media_call<S: Store>(&self, context: &Context<S>, caller: CallContext, call: MediaCall) {
        let Some(media) = &self.media else { return context.refuse(caller, refusal::NO_MEDIA_HERE) };
        // An upload would take room, here or in an object store on the same disk.
        if context.nearly_full && call.spec().adds == Addition::Media {
            return context.refuse(caller, refusal::STORE_NEARLY_FULL);
        }
        let Ok(permit) = media.try_reserve() else { return context.refuse(caller, refusal::MEDIA_SERVICE_BUSY) };
        let this_lane = context.lanes[context.number as usize].clone();
        let user = caller.origin.user.clone();
        let reply = Box::new(move |response| {
            let _ = this_lane.send(LaneMessage::Effects(caller.answer(response)));
        });
        permit.send(MediaRequest { user, call, reply });
    }
}
