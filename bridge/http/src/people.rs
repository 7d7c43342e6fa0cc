//! Profiles, contacts and presence over HTTP.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acting_user::{ActingUser, At, Body, JsonAnswer};
use super::chat::WithOther;
use super::fields::bad_name;
use super::problem::Problem;
use super::view::{self, PageLimit};

/// See `client.Audience`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Audience {
    Contacts,
    Nobody,
    Everybody,
}

impl From<Audience> for client::Audience {
    fn from(audience: Audience) -> Self {
        match audience {
            Audience::Contacts => Self::Contacts,
            Audience::Nobody => Self::Nobody,
            Audience::Everybody => Self::Everybody,
        }
    }
}

impl From<client::Audience> for Audience {
    fn from(audience: client::Audience) -> Self {
        match audience {
            client::Audience::Contacts => Self::Contacts,
            client::Audience::Nobody => Self::Nobody,
            client::Audience::Everybody => Self::Everybody,
        }
    }
}

/// See `client.GroupsFrom`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupsFrom {
    Everybody,
    Contacts,
    Nobody,
}

impl From<GroupsFrom> for client::GroupsFrom {
    fn from(from: GroupsFrom) -> Self {
        match from {
            GroupsFrom::Everybody => Self::Everybody,
            GroupsFrom::Contacts => Self::Contacts,
            GroupsFrom::Nobody => Self::Nobody,
        }
    }
}

impl From<client::GroupsFrom> for GroupsFrom {
    fn from(from: client::GroupsFrom) -> Self {
        match from {
            client::GroupsFrom::Everybody => Self::Everybody,
            client::GroupsFrom::Contacts => Self::Contacts,
            client::GroupsFrom::Nobody => Self::Nobody,
        }
    }
}

/// A profile; whom it shows presence to, and who may add it to groups, is its user's own business.
pub(super) fn profile(response: client::Response, is_own: bool) -> Value {
    let profile = response.profile.unwrap_or_default();
    let presence_to = is_own.then(|| Audience::from(profile.presence_to()));
    let groups_from = is_own.then(|| GroupsFrom::from(profile.groups_from()));
    json!({
        "user": profile.user,
        "name": profile.name,
        "about": profile.about,
        "picture": profile.picture,
        "presence_to": presence_to,
        "groups_from": groups_from,
    })
}

/// A contact.
pub(super) fn contact(contact: &client::Contact) -> Value {
    json!({ "user": contact.user, "label": contact.label, "name": contact.name })
}

pub(super) async fn own_profile(actor: ActingUser) -> JsonAnswer {
    let call = Call::GetProfile(client::GetProfile::default());
    Ok(Json(profile(actor.call(call).await?, true)))
}

pub(super) async fn profile_of(actor: ActingUser, at: At<WithOther>) -> JsonAnswer {
    let call = Call::GetProfile(client::GetProfile { user: at?.0.other });
    Ok(Json(profile(actor.call(call).await?, false)))
}

/// What is absent stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfilePatch {
    #[serde(default, deserialize_with = "view::given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    about: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    picture: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    presence_to: Option<Audience>,
    #[serde(default, deserialize_with = "view::given")]
    groups_from: Option<GroupsFrom>,
}

pub(super) async fn change_profile(actor: ActingUser, body: Body<ProfilePatch>) -> Result<StatusCode, Problem> {
    let ProfilePatch { name, about, picture, presence_to, groups_from } = body?.0;
    let presence_to = presence_to.map(|audience| client::Audience::from(audience).into());
    let groups_from = groups_from.map(|from| client::GroupsFrom::from(from).into());
    actor.done(Call::SetProfile(client::SetProfile { name, about, picture, presence_to, groups_from })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactQuery {
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: PageLimit,
}

pub(super) async fn list_contacts(actor: ActingUser, page: Result<Query<ContactQuery>, QueryRejection>) -> JsonAnswer {
    let Query(ContactQuery { after, limit }) = page?;
    if !after.is_empty() {
        UserId::new(&after).map_err(bad_name)?;
    }
    let limit = limit.get();
    let response = actor.call(Call::ListContacts(client::ListContacts { after, limit })).await?;
    let contacts: Vec<_> = response.contacts.iter().map(contact).collect();
    let next = Some(response.next_contact).filter(|next| !next.is_empty());
    Ok(Json(json!({ "contacts": contacts, "next": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewContact {
    label: String,
}

pub(super) async fn add_contact(
    actor: ActingUser,
    at: At<WithOther>,
    body: Body<NewContact>,
) -> Result<StatusCode, Problem> {
    let (WithOther { other: user }, NewContact { label }) = (at?.0, body?.0);
    actor.done(Call::AddContact(client::AddContact { user, label })).await
}

pub(super) async fn remove_contact(actor: ActingUser, at: At<WithOther>) -> Result<StatusCode, Problem> {
    actor.done(Call::RemoveContact(client::RemoveContact { user: at?.0.other })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PresenceParams {
    /// With commas between them.
    users: String,
}

pub(super) async fn presence(actor: ActingUser, whose: Result<Query<PresenceParams>, QueryRejection>) -> JsonAnswer {
    let Query(PresenceParams { users }) = whose?;
    let users = users.split(',').filter(|user| !user.is_empty());
    let users = users.map(|user| UserId::new(user).map(|user| user.to_string())).collect::<Result<_, _>>();
    let users = users.map_err(bad_name)?;
    let response = actor.call(Call::GetPresence(client::GetPresence { users })).await?;
    let presence = |client::Presence { user, online, last_seen_age_min }| json!({ "user": user, "online": online, "last_seen_age_min": last_seen_age_min });
    Ok(Json(json!({ "presences": response.presences.into_iter().map(presence).collect::<Vec<_>>() })))
}
