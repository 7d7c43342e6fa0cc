//! Groups. The others hear of every change by an event, and so does this device.

use std::time::{Duration, SystemTime};

use godwit_schemas::client::request::Call;
use godwit_schemas::client::{
    self, AddMember, ChangeSettings, CreateGroup, CreateInvite, Describe, GroupSettings, Join, Leave, ListInvites,
    RemoveMember, Rename, RevokeInvite, Role, SetRole,
};
use godwit_schemas::ids::{ConversationId, Ordinal, UserId};

use super::Client;
use crate::error::Error;
use crate::send::lifetime_s;

/// A way into a group for whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What to hand on.
    pub invite: String,
    /// Who made it.
    pub by: Ordinal,
    /// When it ends by itself.
    pub expires_at: Option<SystemTime>,
}

impl Client {
    /// Makes a group of this user and others. Its `Opened` event comes to all of them.
    ///
    /// # Errors
    /// Any but [`Error::Owner`] and [`Error::Address`]. As for all calls: [`Error::retry_helps`] says what to do.
    pub async fn create_group(&self, title: &str, users: &[UserId]) -> Result<ConversationId, Error> {
        let users = users.iter().map(UserId::to_string).collect();
        let response = self.call(Call::CreateGroup(CreateGroup { title: title.to_owned(), users })).await?;
        Ok(ConversationId::new(response.conversation))
    }

    /// Adds a user to a group. For whom its settings let.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn add_member(&self, id: ConversationId, user: &UserId) -> Result<(), Error> {
        #[cfg(feature = "e2ee")]
        if let Some(done) = self.add_encrypted(id, user).await? {
            return Ok(done);
        }
        let user = user.to_string();
        self.call(Call::AddMember(AddMember { conversation: id.get(), user })).await.map(drop)
    }

    /// Removes a member from a group. For its owner and admins.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn remove_member(&self, id: ConversationId, user: &UserId) -> Result<(), Error> {
        #[cfg(feature = "e2ee")]
        if let Some(done) = self.remove_encrypted(id, user).await? {
            return Ok(done);
        }
        let user = user.to_string();
        self.call(Call::RemoveMember(RemoveMember { conversation: id.get(), user })).await.map(drop)
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn leave(&self, id: ConversationId) -> Result<(), Error> {
        self.call(Call::Leave(Leave { conversation: id.get() })).await.map(drop)
    }

    /// Gives a group another title. For whom its settings let.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn rename(&self, id: ConversationId, title: &str) -> Result<(), Error> {
        let title = title.to_owned();
        self.call(Call::Rename(Rename { conversation: id.get(), title })).await.map(drop)
    }

    /// Asks the server for members and title, and keeps them. Seldom needed: changes come as events.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn describe(&self, id: ConversationId) -> Result<(), Error> {
        self.call(Call::Describe(Describe { conversation: id.get(), counter: 0 })).await.map(drop)
    }

    /// Gives a member of a group another role. Its owner may give any; with [`Role::Owner`] it becomes an admin itself.
    /// Admins may make members admins.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn set_role(&self, id: ConversationId, user: &UserId, role: Role) -> Result<(), Error> {
        let call = SetRole { conversation: id.get(), user: user.to_string(), role: role.into() };
        self.call(Call::SetRole(call)).await.map(drop)
    }

    /// Says what members of a group may do, all of it. For its owner and admins.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn change_settings(&self, id: ConversationId, settings: GroupSettings) -> Result<(), Error> {
        let call = ChangeSettings { conversation: id.get(), settings: Some(settings) };
        self.call(Call::ChangeSettings(call)).await.map(drop)
    }

    /// Makes an invite that ends after this time (in whole seconds), or when it is revoked. For whom the settings let add
    /// members.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn create_invite(&self, id: ConversationId, expires_in: Option<Duration>) -> Result<Invite, Error> {
        let expires_in_s = expires_in.map_or(0, lifetime_s);
        let call = CreateInvite { conversation: id.get(), expires_in_s };
        let response = self.call(Call::CreateInvite(call)).await?;
        response.invites.into_iter().next().map(invite).ok_or(Error::NoAnswer)
    }

    /// Invites to a group that are still good.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn invites(&self, id: ConversationId) -> Result<Vec<Invite>, Error> {
        let response = self.call(Call::ListInvites(ListInvites { conversation: id.get() })).await?;
        Ok(response.invites.into_iter().map(invite).collect())
    }

    /// Makes an invite void.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn revoke_invite(&self, invite: &str) -> Result<(), Error> {
        self.call(Call::RevokeInvite(RevokeInvite { invite: invite.to_owned() })).await.map(drop)
    }

    /// Joins the group that somebody gave an invite to.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn join(&self, invite: &str) -> Result<ConversationId, Error> {
        let response = self.call(Call::Join(Join { invite: invite.to_owned() })).await?;
        Ok(ConversationId::new(response.conversation))
    }
}

fn invite(invite: client::Invite) -> Invite {
    let client::Invite { invite, by, expires_in_s } = invite;
    let left = expires_in_s.map(Duration::from_secs);
    Invite { invite, by: Ordinal::new(by), expires_at: left.and_then(|left| SystemTime::now().checked_add(left)) }
}
