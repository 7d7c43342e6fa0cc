//! Profiles, contacts and presence over HTTP. Part of the routes of `chat`.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use godwit_schemas::client::{self, request::Call};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::chat::{Actor, Answer, At, Body, Context, WithOther};
use super::problem::Problem;

pub(super) fn routes() -> Router<Context> {
    Router::new()
        .route("/v1/users/{user}/profile", get(own_profile).patch(change_profile))
        .route("/v1/users/{user}/people/{other}/profile", get(profile_of))
        .route("/v1/users/{user}/contacts", get(list_contacts))
        .route("/v1/users/{user}/contacts/{other}", put(add_contact).delete(remove_contact))
        .route("/v1/users/{user}/presence", get(presence))
}

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

/// A profile; whom it shows presence to is its user's own business.
pub(super) fn profile(response: client::Response, is_own: bool) -> Value {
    let it = response.profile.unwrap_or_default();
    let presence_to = is_own.then(|| Audience::from(it.presence_to()));
    json!({
        "user": it.user,
        "name": it.name,
        "about": it.about,
        "picture": it.picture,
        "presence_to": presence_to,
    })
}

/// A contact.
pub(super) fn contact(it: &client::Contact) -> Value {
    json!({ "user": it.user, "label": it.label, "name": it.name })
}

async fn own_profile(actor: Actor) -> Answer {
    let call = Call::GetProfile(client::GetProfile::default());
    Ok(Json(profile(actor.call(call).await?, true)))
}

async fn profile_of(actor: Actor, at: At<WithOther>) -> Answer {
    let call = Call::GetProfile(client::GetProfile { user: at?.0.other });
    Ok(Json(profile(actor.call(call).await?, false)))
}

/// What is absent stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileChange {
    name: Option<String>,
    about: Option<String>,
    picture: Option<String>,
    presence_to: Option<Audience>,
}

async fn change_profile(actor: Actor, body: Body<ProfileChange>) -> Result<StatusCode, Problem> {
    let ProfileChange { name, about, picture, presence_to } = body?.0;
    let presence_to = presence_to.map(|audience| client::Audience::from(audience).into());
    actor.done(Call::SetProfile(client::SetProfile { name, about, picture, presence_to })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContactPage {
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: u32,
}

async fn list_contacts(actor: Actor, page: Result<Query<ContactPage>, QueryRejection>) -> Answer {
    let Query(ContactPage { after, limit }) = page?;
    let response = actor.call(Call::ListContacts(client::ListContacts { after, limit })).await?;
    let contacts: Vec<_> = response.contacts.iter().map(contact).collect();
    let next = Some(response.next_contact).filter(|next| !next.is_empty());
    Ok(Json(json!({ "contacts": contacts, "next": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewContact {
    label: String,
}

async fn add_contact(actor: Actor, at: At<WithOther>, body: Body<NewContact>) -> Result<StatusCode, Problem> {
    let (WithOther { other: user }, NewContact { label }) = (at?.0, body?.0);
    actor.done(Call::AddContact(client::AddContact { user, label })).await
}

async fn remove_contact(actor: Actor, at: At<WithOther>) -> Result<StatusCode, Problem> {
    actor.done(Call::RemoveContact(client::RemoveContact { user: at?.0.other })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// With commas between them.
    users: String,
}

async fn presence(actor: Actor, whose: Result<Query<Whose>, QueryRejection>) -> Answer {
    let Query(Whose { users }) = whose?;
    let users = users.split(',').filter(|user| !user.is_empty()).map(str::to_owned).collect();
    let response = actor.call(Call::GetPresence(client::GetPresence { users })).await?;
    let presence = |it: &client::Presence| {
        let age_min = it.last_seen_plus_one_min.checked_sub(1);
        json!({ "user": it.user, "online": it.online, "last_seen_age_min": age_min })
    };
    Ok(Json(json!({ "presences": response.presences.iter().map(presence).collect::<Vec<_>>() })))
}
