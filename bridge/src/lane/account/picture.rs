//! What a lane does about its users' files. Pictures of profiles are files, if their text is one's id: the profile refers
//! to it, so that it stays and everybody may have it. Any other text is the apps' own business.

use bytes::Bytes;
use godwit_core::refusal::{self, Refusal};
use godwit_schemas::ids::UserId;
use godwit_schemas::media::MediaId;

use crate::lane::context::Context;
use crate::lane::round::Round;
use crate::media::access;
use crate::writes;
use godwit_store::keys::media::{self as keys, Holder};
use godwit_store::{Store, StoreError, Table};

impl Round {
    /// The profile refers to another picture, with the next commit; or that is refused.
    pub(in crate::lane) async fn change_picture<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        before: &str,
        now: &str,
    ) -> Result<Result<(), Refusal>, StoreError> {
        if before == now {
            return Ok(Ok(()));
        }
        let holder = |id| keys::holder(id, &Holder::Profile(user.clone()));
        if let Ok(id) = now.parse::<MediaId>() {
            if access::shareable(&context.store, id, user, context.now_s).await?.is_none() {
                return Ok(Err(refusal::NO_COMPLETE_MEDIA));
            }
            self.write(writes::set(holder(id), Some(Bytes::new())));
        }
        if let Ok(id) = before.parse::<MediaId>() {
            let ended = Some(Bytes::from_static(keys::REFERENCE_ENDED));
            self.write(writes::set(holder(id), None));
            self.write(writes::set(keys::due(context.now_s, id), ended));
        }
        Ok(Ok(()))
    }

    /// A user is no more: its profile shows no picture, nobody goes on with its uploads, and what it has uploaded today is
    /// forgotten. What messages refer to stays with them.
    pub(in crate::lane) async fn forget_files<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        picture: &str,
    ) -> Result<(), StoreError> {
        // No picture is never refused.
        let _ = self.change_picture(context, user, picture, "").await?;
        self.write(writes::delete_range(Table::Media, keys::unfinished_of(user)));
        self.write(writes::set(keys::quota(user), None));
        Ok(())
    }
}
