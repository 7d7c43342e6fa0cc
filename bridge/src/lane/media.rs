//! Calls about files: the keeper carries them out, and this lane tells the caller what came of it.

use godwit_schemas::bus::Bus;
use godwit_schemas::client::request::Call;
use godwit_schemas::reason::Reason;

use super::Lane;
use super::account::{Caller, Refused};
use crate::mail::Mail;
use crate::media::Ask;
use crate::store::Store;

const NO_STORE: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "this server keeps no media");
const NO_ROOM: Refused = (Reason::SERVER_BUSY, "the server has no room: try again later");
const BUSY: Refused = (Reason::SERVER_BUSY, "too many calls for media wait: try again later");

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) fn ask_keeper(&self, caller: Caller, call: Call) {
        let Some(media) = &self.media else { return self.refuse(caller, NO_STORE) };
        // An upload would take room, here or in an object store on the same disk.
        if self.nearly_full && matches!(call, Call::CreateUpload(_) | Call::GetUpload(_)) {
            return self.refuse(caller, NO_ROOM);
        }
        let Ok(permit) = media.try_reserve() else { return self.refuse(caller, BUSY) };
        let this_lane = self.lanes[self.number as usize].clone();
        let user = caller.origin.user.clone();
        let reply = Box::new(move |response| {
            let _ = this_lane.send(Mail::Effects(caller.answer(response)));
        });
        permit.send(Ask { user, call, reply });
    }
}
