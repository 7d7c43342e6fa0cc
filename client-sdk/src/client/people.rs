//! People: profiles, contacts, and who is there.

use godwit_schemas::client::request::Call;
use godwit_schemas::client::{
    self, AddContact, Audience, GetPresence, GetProfile, GroupsFrom, ListContacts, RemoveContact, SetProfile,
};
use godwit_schemas::ids::UserId;

use super::{Client, ResultPage};
use crate::error::Error;
use crate::signal::Presence;

/// Who a user is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What it calls itself.
    pub name: String,
    /// What it says of itself.
    pub about: String,
    /// Id of a medium.
    pub picture: String,
    /// Who may see whether it is online. Only in one's own; otherwise [`Audience::Contacts`].
    pub presence_to: Audience,
    /// Who may add it to groups. Only in one's own; otherwise [`GroupsFrom::Everybody`].
    pub groups_from: GroupsFrom,
}

/// What is to change in one's own profile; the rest stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileUpdate {
    /// 0 to 128 bytes.
    pub name: Option<String>,
    /// 0 to 512 bytes.
    pub about: Option<String>,
    /// Id of a medium, up to 64 bytes; empty: none.
    pub picture: Option<String>,
    /// Who may see whether this user is online.
    pub presence_to: Option<Audience>,
    /// Who may add this user to groups; invites work for everybody.
    pub groups_from: Option<GroupsFrom>,
}

/// A user whom this one knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub user: UserId,
    /// What this user calls it.
    pub label: String,
    /// What it calls itself.
    pub name: String,
}

impl Client {
    /// Who a user is for people; `None`: this user's own profile.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn profile(&self, user: Option<&UserId>) -> Result<Profile, Error> {
        let user = user.map(UserId::to_string).unwrap_or_default();
        let profile = self.call(Call::GetProfile(GetProfile { user })).await?.profile.unwrap_or_default();
        let (presence_to, groups_from) = (profile.presence_to(), profile.groups_from());
        let client::Profile { name, about, picture, .. } = profile;
        Ok(Profile { name, about, picture, presence_to, groups_from })
    }

    /// Changes this user's own profile.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn set_profile(&self, change: ProfileUpdate) -> Result<(), Error> {
        let ProfileUpdate { name, about, picture, presence_to, groups_from } = change;
        let (presence_to, groups_from) = (presence_to.map(Into::into), groups_from.map(Into::into));
        let call = SetProfile { name, about, picture, presence_to, groups_from };
        self.call(Call::SetProfile(call)).await.map(drop)
    }

    /// Adds a contact, up to 5,000, or gives one another label. A direct conversation that it has opened is accepted by that.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn add_contact(&self, user: &UserId, label: &str) -> Result<(), Error> {
        let call = AddContact { user: user.to_string(), label: label.to_owned() };
        self.call(Call::AddContact(call)).await.map(drop)
    }

    /// Takes a contact out.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn remove_contact(&self, user: &UserId) -> Result<(), Error> {
        self.call(Call::RemoveContact(RemoveContact { user: user.to_string() })).await.map(drop)
    }

    /// Contacts that sort behind this one.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn contacts(&self, after: Option<&UserId>) -> Result<ResultPage<Contact, UserId>, Error> {
        let after = after.map(UserId::to_string).unwrap_or_default();
        let response = self.call(Call::ListContacts(ListContacts { after, limit: 0 })).await?;
        let contacts = response.contacts.into_iter().filter_map(|client::Contact { user, label, name }| {
            Some(Contact { user: UserId::new(&user).ok()?, label, name })
        });
        Ok(ResultPage { items: contacts.collect(), next: UserId::new(&response.next_contact).ok() })
    }

    /// Which of up to 100 users are online, and when the others were, in their order; as far as they let this user see it.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn presence(&self, users: &[UserId]) -> Result<Vec<Presence>, Error> {
        let call = GetPresence { users: users.iter().map(UserId::to_string).collect() };
        let response = self.call(Call::GetPresence(call)).await?;
        let presences = users.iter().zip(response.presences);
        Ok(presences.map(|(user, presence)| Presence::of(user.clone(), &presence)).collect())
    }
}
