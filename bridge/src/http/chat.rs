//! What users do, over HTTP: the calls of `rpc`, one route each. A request carries a device's password (Basic, user name
//! `<user>/<device>`) or the administrator's token (Bearer), which may act for any user.
//!
//! `docs/http.md` is the guide, `openapi.json` the reference.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{BadName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::{Credentials, Keys};
use super::problem::Problem;
use super::{media, people, view};
use crate::chat::Chat;

/// What the routes need.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) chat: Chat,
    pub(super) keys: Keys,
}

pub(super) fn routes(context: Context) -> Router {
    const CONVERSATION: &str = "/v1/users/{user}/conversations/{conversation}";
    let of = |path: &str| format!("{CONVERSATION}{path}");
    Router::new()
        .route("/v1/users/{user}/conversations", get(list_conversations).post(create_conversation))
        .route(CONVERSATION, get(describe).delete(delete_conversation).patch(change_conversation))
        .route(&of("/messages"), get(history).post(send))
        .route(&of("/messages/{sequence}"), put(edit).delete(recall))
        .route(&of("/messages/{sequence}/reaction"), put(react))
        .route(&of("/read"), put(read))
        .route(&of("/members"), post(add_member))
        .route(&of("/members/{member}"), put(set_role).delete(remove_member))
        .route(&of("/invites"), get(list_invites).post(create_invite))
        .route("/v1/users/{user}/invites/{invite}", post(join).delete(revoke_invite))
        .route("/v1/users/{user}/blocked", get(list_blocked))
        .route("/v1/users/{user}/blocked/{other}", put(block).delete(unblock))
        .merge(media::routes())
        .route("/v1/users/{user}/devices", get(list_devices))
        .route("/v1/users/{user}/devices/{device}", put(label_device).delete(remove_device))
        .merge(super::password::routes())
        .merge(super::phone::routes())
        .merge(people::routes())
        .with_state(context)
}

/// The user in whose name a request acts, if it may: the `{user}` of the path.
pub(super) struct Actor {
    pub(super) user: UserId,
    pub(super) context: Context,
    pub(super) credentials: Credentials,
}

impl FromRequestParts<Context> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let name = parts.uri.path().split('/').nth(3).unwrap_or_default();
        let user = UserId::new(name).map_err(bad_name)?;
        let credentials = context.keys.read(parts, &user)?;
        Ok(Self { user, context: context.clone(), credentials })
    }
}

impl Actor {
    pub(super) async fn call(&self, call: Call) -> Result<client::Response, Problem> {
        answered(self.context.chat.call(self.user.clone(), self.credentials.who(), call).await)
    }

    /// Sends a message; it is on disk when this returns where it stands.
    pub(super) async fn send(self, message: client::Send) -> Result<(StatusCode, Json<Value>), Problem> {
        let response = answered(self.context.chat.send(self.user, self.credentials.who(), message).await)?;
        let place = json!({ "conversation": response.conversation, "sequence": view::next(response.sequence) });
        Ok((StatusCode::CREATED, Json(place)))
    }

    pub(super) async fn done(self, call: Call) -> Result<StatusCode, Problem> {
        self.call(call).await.map(|_| StatusCode::NO_CONTENT)
    }
}

pub(super) fn answered(
    answer: Result<client::Response, crate::chat::ShuttingDown>,
) -> Result<client::Response, Problem> {
    let response = answer.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    if response.reason == 0 { Ok(response) } else { Err(Problem::of_reason(response.reason, response.text)) }
}

pub(super) type Answer = Result<Json<Value>, Problem>;
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;
pub(super) type At<T> = Result<Path<T>, PathRejection>;

#[derive(Deserialize)]
struct InConversation {
    conversation: u64,
}

#[derive(Deserialize)]
struct AtMessage {
    conversation: u64,
    sequence: u64,
}

#[derive(Deserialize)]
struct AtMember {
    conversation: u64,
    member: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListPage {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    limit: u32,
}

async fn list_conversations(actor: Actor, page: Result<Query<ListPage>, QueryRejection>) -> Answer {
    let Query(ListPage { after, limit }) = page?;
    let response = actor.call(Call::ListConversations(client::ListConversations { after, limit })).await?;
    let conversations: Vec<_> = response.conversations.iter().map(view::summary).collect();
    Ok(Json(json!({ "conversations": conversations, "next": view::next(response.next) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum NewConversation {
    Direct { user: String },
    Group { title: String, users: Vec<String> },
}

async fn create_conversation(actor: Actor, body: Body<NewConversation>) -> Result<impl IntoResponse, Problem> {
    let call = match body?.0 {
        NewConversation::Direct { user } => Call::OpenDirect(client::OpenDirect { user }),
        NewConversation::Group { title, users } => Call::CreateGroup(client::CreateGroup { title, users }),
    };
    let response = actor.call(call).await?;
    Ok((StatusCode::CREATED, Json(json!({ "conversation": response.conversation }))))
}

async fn describe(actor: Actor, at: At<InConversation>) -> Answer {
    let conversation = at?.0.conversation;
    let response = actor.call(Call::Describe(client::Describe { conversation })).await?;
    Ok(Json(view::description(conversation, &response.description.unwrap_or_default())))
}

async fn delete_conversation(actor: Actor, at: At<InConversation>) -> Result<StatusCode, Problem> {
    let conversation = at?.0.conversation;
    actor.done(Call::DeleteConversation(client::DeleteConversation { conversation })).await
}

/// One of these at a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum ConversationChange {
    Title(String),
    Settings(view::Settings),
    Retention(view::Retention),
}

async fn change_conversation(
    actor: Actor,
    at: At<InConversation>,
    body: Body<ConversationChange>,
) -> Result<StatusCode, Problem> {
    let conversation = at?.0.conversation;
    let call = match body?.0 {
        ConversationChange::Title(title) => Call::Rename(client::Rename { conversation, title }),
        ConversationChange::Settings(settings) => {
            Call::ChangeSettings(client::ChangeSettings { conversation, settings: Some(settings.into()) })
        }
        ConversationChange::Retention(retention) => {
            Call::SetRetention(client::SetRetention { conversation, retention: Some(retention.into()) })
        }
    };
    actor.done(call).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryPage {
    #[serde(default)]
    before: u64,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    oldest_first: bool,
    #[serde(default)]
    limit: u32,
}

async fn history(actor: Actor, at: At<InConversation>, page: Result<Query<HistoryPage>, QueryRejection>) -> Answer {
    let (conversation, Query(HistoryPage { before, after, oldest_first, limit })) = (at?.0.conversation, page?);
    let call = client::GetHistory { conversation, before, after, oldest_first, limit };
    let response = actor.call(Call::GetHistory(call)).await?;
    let events: Vec<_> = response.history.iter().filter_map(view::event).collect();
    Ok(Json(json!({ "messages": events, "next": view::next(response.next) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    body: view::Bytes,
    #[serde(default)]
    client_sequence: u64,
    #[serde(default)]
    expires_in_s: u32,
    #[serde(default)]
    reply_to: u64,
    #[serde(default)]
    media: Vec<media::NewFile>,
}

async fn send(actor: Actor, at: At<InConversation>, body: Body<NewMessage>) -> Result<impl IntoResponse, Problem> {
    let (conversation, new) = (at?.0.conversation, body?.0);
    let message = client::Send {
        to: Some(client::send::To::Conversation(conversation)),
        client_sequence: new.client_sequence,
        body: new.body.0,
        expires_in_s: new.expires_in_s,
        reply_to: new.reply_to,
        media: new.media.into_iter().map(Into::into).collect(),
    };
    actor.send(message).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    body: view::Bytes,
}

async fn edit(actor: Actor, at: At<AtMessage>, body: Body<NewBody>) -> Result<StatusCode, Problem> {
    let AtMessage { conversation, sequence } = at?.0;
    actor.done(Call::Edit(client::Edit { conversation, sequence, body: body?.0.body.0 })).await
}

async fn recall(actor: Actor, at: At<AtMessage>) -> Result<StatusCode, Problem> {
    let AtMessage { conversation, sequence } = at?.0;
    actor.done(Call::Recall(client::Recall { conversation, sequence })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReaction {
    reaction: String,
}

async fn react(actor: Actor, at: At<AtMessage>, body: Body<NewReaction>) -> Result<StatusCode, Problem> {
    let (AtMessage { conversation, sequence }, NewReaction { reaction }) = (at?.0, body?.0);
    actor.done(Call::React(client::React { conversation, sequence, reaction })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadUpTo {
    sequence: u64,
}

async fn read(actor: Actor, at: At<InConversation>, body: Body<ReadUpTo>) -> Result<StatusCode, Problem> {
    let (conversation, read_up_to) = (at?.0.conversation, body?.0.sequence);
    let receipt = client::ReadReceipt { conversation, read_up_to };
    answered(actor.context.chat.read(actor.user, actor.credentials.who(), receipt).await)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMember {
    user: String,
}

async fn add_member(actor: Actor, at: At<InConversation>, body: Body<NewMember>) -> Result<StatusCode, Problem> {
    let (conversation, NewMember { user }) = (at?.0.conversation, body?.0);
    actor.done(Call::AddMember(client::AddMember { conversation, user })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: view::Role,
}

async fn set_role(actor: Actor, at: At<AtMember>, body: Body<NewRole>) -> Result<StatusCode, Problem> {
    let (AtMember { conversation, member: user }, NewRole { role }) = (at?.0, body?.0);
    actor.done(Call::SetRole(client::SetRole { conversation, user, role: role.into() })).await
}

async fn remove_member(actor: Actor, at: At<AtMember>) -> Result<StatusCode, Problem> {
    let AtMember { conversation, member: user } = at?.0;
    if user == actor.user.as_str() {
        return actor.done(Call::Leave(client::Leave { conversation })).await;
    }
    actor.done(Call::RemoveMember(client::RemoveMember { conversation, user })).await
}

async fn list_invites(actor: Actor, at: At<InConversation>) -> Answer {
    let conversation = at?.0.conversation;
    let response = actor.call(Call::ListInvites(client::ListInvites { conversation })).await?;
    Ok(Json(json!({ "invites": response.invites.iter().map(view::invite).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInvite {
    #[serde(default)]
    expires_in_s: u32,
}

async fn create_invite(
    actor: Actor,
    at: At<InConversation>,
    body: Body<NewInvite>,
) -> Result<impl IntoResponse, Problem> {
    let (conversation, NewInvite { expires_in_s }) = (at?.0.conversation, body?.0);
    let response = actor.call(Call::CreateInvite(client::CreateInvite { conversation, expires_in_s })).await?;
    Ok((StatusCode::CREATED, Json(view::invite(&response.invites.first().cloned().unwrap_or_default()))))
}

#[derive(Deserialize)]
struct WithInvite {
    invite: String,
}

async fn join(actor: Actor, at: At<WithInvite>) -> Answer {
    let response = actor.call(Call::Join(client::Join { invite: at?.0.invite })).await?;
    Ok(Json(json!({ "conversation": response.conversation })))
}

async fn revoke_invite(actor: Actor, at: At<WithInvite>) -> Result<StatusCode, Problem> {
    actor.done(Call::RevokeInvite(client::RevokeInvite { invite: at?.0.invite })).await
}

async fn list_blocked(actor: Actor) -> Answer {
    let response = actor.call(Call::ListBlocked(client::ListBlocked {})).await?;
    Ok(Json(json!({ "users": response.users })))
}

#[derive(Deserialize)]
pub(super) struct WithOther {
    pub(super) other: String,
}

async fn block(actor: Actor, at: At<WithOther>) -> Result<StatusCode, Problem> {
    actor.done(Call::Block(client::Block { user: at?.0.other })).await
}

async fn unblock(actor: Actor, at: At<WithOther>) -> Result<StatusCode, Problem> {
    actor.done(Call::Unblock(client::Unblock { user: at?.0.other })).await
}

async fn list_devices(actor: Actor) -> Answer {
    let response = actor.call(Call::ListDevices(client::ListDevices {})).await?;
    Ok(Json(json!({ "devices": response.devices.iter().map(view::device).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
struct WithDevice {
    device: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLabel {
    label: String,
}

async fn label_device(actor: Actor, at: At<WithDevice>, body: Body<NewLabel>) -> Result<StatusCode, Problem> {
    let (WithDevice { device }, NewLabel { label }) = (at?.0, body?.0);
    actor.done(Call::LabelDevice(client::LabelDevice { device, label })).await
}

async fn remove_device(actor: Actor, at: At<WithDevice>) -> Result<StatusCode, Problem> {
    actor.done(Call::RemoveDevice(client::RemoveDevice { device: at?.0.device })).await
}

fn bad_name(error: BadName) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
}
