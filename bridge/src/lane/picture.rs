//! What a lane does about its users' files. Pictures of profiles are files, if their text is one's id: the profile refers
//! to it, so that it stays and everybody may have it. Any other text is the apps' own business.

use bytes::Bytes;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::UserId;
use godwit_schemas::media::MediaId;
use godwit_schemas::reason::Reason;

use super::Lane;
use super::account::Refused;
use crate::media::access;
use crate::store::keys::media::{self as keys, Holder};
use crate::store::{Store, StoreError, Table};
use crate::writes;

const NO_MEDIA: Refused = (Reason::TOPIC_NAME_INVALID, "no such media, or it is not complete");

impl<S: Store, B: Bus> Lane<S, B> {
    /// The profile refers to another picture, with the next commit; or that is refused.
    pub(super) async fn change_picture(
        &mut self,
        user: &UserId,
        before: &str,
        now: &str,
    ) -> Result<Result<(), Refused>, StoreError> {
        if before == now {
            return Ok(Ok(()));
        }
        let holder = |id| keys::holder(id, &Holder::Profile(user.clone()));
        if let Ok(id) = now.parse::<MediaId>() {
            if access::shareable(&self.store, id, user, self.now_s).await?.is_none() {
                return Ok(Err(NO_MEDIA));
            }
            self.next.writes.push(writes::set(holder(id), Some(Bytes::new())));
        }
        if let Ok(id) = before.parse::<MediaId>() {
            let ended = Some(Bytes::from_static(keys::REFERENCE_ENDED));
            self.next.writes.push(writes::set(holder(id), None));
            self.next.writes.push(writes::set(keys::due(self.now_s, id), ended));
        }
        Ok(Ok(()))
    }

    /// A user is no more: its profile shows no picture, nobody goes on with its uploads, and what it has uploaded today is
    /// forgotten. What messages refer to stays with them.
    pub(super) async fn forget_files(&mut self, user: &UserId, picture: &str) -> Result<(), StoreError> {
        // No picture is never refused.
        let _ = self.change_picture(user, picture, "").await?;
        self.next.writes.push(writes::delete_range(Table::Media, keys::unfinished_of(user)));
        self.next.writes.push(writes::set(keys::quota(user), None));
        Ok(())
    }
}
