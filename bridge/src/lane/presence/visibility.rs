//! Who may see whether a user is online, by the user's profile, its contacts and whom it has blocked. Asked in the user's own lane
//! before anything of its presence leaves it. Keeps P5.

use godwit_core::stored::ProfileRecord;
use godwit_schemas::client::Audience;
use godwit_schemas::ids::UserId;

use crate::lane::context::Context;
use crate::lane::state::State;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

/// Whom a profile (a user without one has not said) shows presence to.
pub(super) fn audience_of(user: &UserId, profile: Option<&[u8]>) -> Audience {
    let profile = profile.and_then(|value| decoded::<ProfileRecord>("profile", user, value));
    profile.unwrap_or_default().presence_to()
}

/// Whether somebody who is not blocked belongs to an audience.
pub(super) fn includes(audience: Audience, is_contact: bool) -> bool {
    match audience {
        Audience::Nobody => false,
        Audience::Contacts => is_contact,
        Audience::Everybody => true,
    }
}

impl<S: Store> Context<S> {
    pub(super) async fn audience(&self, user: &UserId) -> Result<Audience, StoreError> {
        let profile = self.store.multi_get(&[keys::profile(user)]).await?.pop().flatten();
        Ok(audience_of(user, profile.as_deref()))
    }
}

impl State {
    /// For each of the others, whether it may see a user of this lane.
    pub(super) async fn may_see<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        audience: Audience,
        others: &[UserId],
    ) -> Result<Vec<bool>, StoreError> {
        self.read_users(context, std::iter::once(user)).await?;
        let mut is_contact = vec![false; others.len()];
        if audience == Audience::Contacts && !others.is_empty() {
            let keys: Vec<_> = others.iter().map(|other| keys::contact(user, other)).collect();
            is_contact = context.store.multi_get(&keys).await?.iter().map(Option::is_some).collect();
        }
        let Some(known) = self.cache.user(user) else { return Ok(vec![false; others.len()]) };
        let may_see = |(other, is_contact)| includes(audience, is_contact) && !known.blocks(other);
        Ok(others.iter().zip(is_contact).map(may_see).collect())
    }
}
