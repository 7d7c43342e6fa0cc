//! What users do, over HTTP: the calls of `rpc`, one route each. A request carries a device's password (Basic, user name
//! `<user>/<device>`) or the administrator's token (Bearer), which may act for any user.
//!
//! `docs/users/http.md` is the guide, `openapi.json` the reference; the routes are made of the tables in `openapi`.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use godwit_schemas::client::{self, request::Call};
use serde::Deserialize;
use serde_json::json;

use super::acting_user::{ActingUser, At, Body, JsonAnswer, answered};
use super::fields::senseless;
use super::problem::Problem;
use super::view::{JsonInteger, PageLimit};
use super::{media, view};

#[derive(Deserialize)]
pub(super) struct InConversation {
    conversation: JsonInteger,
}

impl InConversation {
    pub(super) fn conversation(&self) -> u64 {
        self.conversation.get()
    }
}

#[derive(Deserialize)]
pub(super) struct AtMessage {
    conversation: JsonInteger,
    sequence: JsonInteger,
}

impl AtMessage {
    fn place(&self) -> (u64, u64) {
        (self.conversation.get(), self.sequence.get())
    }
}

#[derive(Deserialize)]
pub(super) struct AtMember {
    conversation: JsonInteger,
    member: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConversationQuery {
    #[serde(default)]
    after: JsonInteger,
    #[serde(default)]
    limit: PageLimit,
}

pub(super) async fn list_conversations(
    actor: ActingUser,
    page: Result<Query<ConversationQuery>, QueryRejection>,
) -> JsonAnswer {
    let Query(ConversationQuery { after, limit }) = page?;
    let response = actor
        .call(Call::ListConversations(client::ListConversations { after: after.get(), limit: limit.get() }))
        .await?;
    let conversations: Vec<_> = response.conversations.iter().map(view::summary).collect();
    Ok(Json(json!({ "conversations": conversations, "next": view::next(response.next) })))
}

/// `user` alone, or the other two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConversation {
    #[serde(default, deserialize_with = "view::given")]
    user: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    title: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    users: Option<Vec<String>>,
}

pub(super) async fn create_conversation(
    actor: ActingUser,
    body: Body<NewConversation>,
) -> Result<impl IntoResponse, Problem> {
    let call = match body?.0 {
        NewConversation { user: Some(user), title: None, users: None } => Call::OpenDirect(client::OpenDirect { user }),
        NewConversation { user: None, title: Some(title), users: Some(users) } => {
            Call::CreateGroup(client::CreateGroup { title, users })
        }
        _ => return Err(senseless("`user`, or `title` and `users`")),
    };
    let response = actor.call(call).await?;
    Ok((StatusCode::CREATED, Json(json!({ "conversation": response.conversation }))))
}

pub(super) async fn describe(actor: ActingUser, at: At<InConversation>) -> JsonAnswer {
    let conversation = at?.0.conversation.get();
    let response = actor.call(Call::Describe(client::Describe { conversation, counter: 0 })).await?;
    let mut description = view::description(conversation, &response.description.unwrap_or_default());
    description["last_client_sequence"] = response.last_client_sequence.into();
    Ok(Json(description))
}

pub(super) async fn delete_conversation(actor: ActingUser, at: At<InConversation>) -> Result<StatusCode, Problem> {
    let conversation = at?.0.conversation.get();
    actor.done(Call::DeleteConversation(client::DeleteConversation { conversation })).await
}

/// One of these at a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConversationChange {
    #[serde(default, deserialize_with = "view::given")]
    title: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    settings: Option<view::GroupSettingsView>,
    #[serde(default, deserialize_with = "view::given")]
    retention: Option<view::RetentionView>,
}

pub(super) async fn change_conversation(
    actor: ActingUser,
    at: At<InConversation>,
    body: Body<ConversationChange>,
) -> Result<StatusCode, Problem> {
    let conversation = at?.0.conversation.get();
    let ConversationChange { title, settings, retention } = body?.0;
    let call = match (title, settings, retention) {
        (Some(title), None, None) => Call::Rename(client::Rename { conversation, title }),
        (None, settings @ Some(_), None) => {
            Call::ChangeSettings(client::ChangeSettings { conversation, settings: settings.map(Into::into) })
        }
        (None, None, retention @ Some(_)) => {
            Call::SetRetention(client::SetRetention { conversation, retention: retention.map(Into::into) })
        }
        _ => return Err(senseless("one of `title`, `settings` and `retention`")),
    };
    actor.done(call).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    #[serde(default)]
    before: JsonInteger,
    #[serde(default)]
    after: JsonInteger,
    #[serde(default)]
    oldest_first: bool,
    #[serde(default)]
    limit: PageLimit,
}

pub(super) async fn history(
    actor: ActingUser,
    at: At<InConversation>,
    page: Result<Query<HistoryQuery>, QueryRejection>,
) -> JsonAnswer {
    let (conversation, Query(HistoryQuery { before, after, oldest_first, limit })) = (at?.0.conversation.get(), page?);
    let (before, after, limit) = (before.get(), after.get(), limit.get());
    let call = client::GetHistory { conversation, before, after, oldest_first, limit };
    let response = actor.call(Call::GetHistory(call)).await?;
    let events: Vec<_> = response.history.iter().filter_map(view::event).collect();
    Ok(Json(json!({ "messages": events, "next": view::next(response.next) })))
}

/// To a conversation, which the path names, or to `user` or `phone`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    #[serde(default, deserialize_with = "view::given")]
    user: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    phone: Option<String>,
    #[serde(default, deserialize_with = "view::given")]
    body: Option<view::Base64Bytes>,
    #[serde(default, deserialize_with = "view::given")]
    text: Option<String>,
    #[serde(default)]
    client_sequence: u64,
    #[serde(default)]
    expires_in_s: u32,
    #[serde(default)]
    reply_to: JsonInteger,
    #[serde(default)]
    media: Vec<media::NewFile>,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    mentions: Vec<u32>,
    #[serde(default)]
    mls_epoch: JsonInteger,
}

impl NewMessage {
    /// Whom it names itself.
    pub(super) fn recipient(&mut self) -> Result<Option<client::send::To>, Problem> {
        match (self.user.take(), self.phone.take()) {
            (None, None) => Ok(None),
            (Some(user), None) => Ok(Some(client::send::To::User(user))),
            (None, Some(number)) => Ok(Some(client::send::To::Phone(number))),
            (Some(_), Some(_)) => Err(senseless("one of `user` and `phone`")),
        }
    }

    pub(super) fn to(self, to: client::send::To) -> Result<client::Send, Problem> {
        Ok(client::Send {
            to: Some(to),
            client_sequence: self.client_sequence,
            body: view::body(self.body, self.text)?,
            expires_in_s: self.expires_in_s,
            reply_to: self.reply_to.get(),
            media: self.media.into_iter().map(Into::into).collect(),
            silent: self.silent,
            mentions: self.mentions,
            mls_epoch: self.mls_epoch.get(),
            ..Default::default()
        })
    }
}

pub(super) async fn send(
    actor: ActingUser,
    at: At<InConversation>,
    body: Body<NewMessage>,
) -> Result<impl IntoResponse, Problem> {
    let (conversation, mut new) = (at?.0.conversation.get(), body?.0);
    if new.recipient()?.is_some() {
        return Err(senseless("unknown field `user` or `phone`: the path says where it goes"));
    }
    actor.send(new.to(client::send::To::Conversation(conversation))?).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBody {
    #[serde(default, deserialize_with = "view::given")]
    body: Option<view::Base64Bytes>,
    #[serde(default, deserialize_with = "view::given")]
    text: Option<String>,
    #[serde(default)]
    mls_epoch: JsonInteger,
}

pub(super) async fn edit(actor: ActingUser, at: At<AtMessage>, body: Body<NewBody>) -> Result<StatusCode, Problem> {
    let (conversation, sequence) = at?.0.place();
    let NewBody { body, text, mls_epoch } = body?.0;
    let (body, mls_epoch) = (view::body(body, text)?, mls_epoch.get());
    actor.done(Call::Edit(client::Edit { conversation, sequence, body, mls_epoch })).await
}

pub(super) async fn recall(actor: ActingUser, at: At<AtMessage>) -> Result<StatusCode, Problem> {
    let (conversation, sequence) = at?.0.place();
    actor.done(Call::Recall(client::Recall { conversation, sequence })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReaction {
    #[serde(default)]
    reaction: String,
    #[serde(default)]
    sealed: view::Base64Bytes,
    #[serde(default)]
    mls_epoch: JsonInteger,
}

pub(super) async fn react(
    actor: ActingUser,
    at: At<AtMessage>,
    body: Body<NewReaction>,
) -> Result<StatusCode, Problem> {
    let ((conversation, sequence), NewReaction { reaction, sealed, mls_epoch }) = (at?.0.place(), body?.0);
    let (sealed, mls_epoch) = (sealed.0, mls_epoch.get());
    actor.done(Call::React(client::React { conversation, sequence, reaction, sealed, mls_epoch })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadUpTo {
    sequence: JsonInteger,
}

pub(super) async fn read(
    actor: ActingUser,
    at: At<InConversation>,
    body: Body<ReadUpTo>,
) -> Result<StatusCode, Problem> {
    let (conversation, read_up_to) = (at?.0.conversation.get(), body?.0.sequence.get());
    let receipt = client::ReadReceipt { conversation, read_up_to };
    answered(actor.context.chat.read(actor.user, actor.credentials.who(), receipt).await)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn accept(actor: ActingUser, at: At<InConversation>) -> Result<StatusCode, Problem> {
    let conversation = at?.0.conversation.get();
    actor.done(Call::Accept(client::Accept { conversation })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    user: String,
}

pub(super) async fn add_member(
    actor: ActingUser,
    at: At<InConversation>,
    body: Body<NewMember>,
) -> Result<StatusCode, Problem> {
    let (conversation, NewMember { user }) = (at?.0.conversation.get(), body?.0);
    actor.done(Call::AddMember(client::AddMember { conversation, user })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    role: view::RoleName,
}

pub(super) async fn set_role(actor: ActingUser, at: At<AtMember>, body: Body<NewRole>) -> Result<StatusCode, Problem> {
    let (AtMember { conversation, member: user }, NewRole { role }) = (at?.0, body?.0);
    let (conversation, role) = (conversation.get(), role.into());
    actor.done(Call::SetRole(client::SetRole { conversation, user, role })).await
}

pub(super) async fn remove_member(actor: ActingUser, at: At<AtMember>) -> Result<StatusCode, Problem> {
    let AtMember { conversation, member: user } = at?.0;
    let conversation = conversation.get();
    if user == actor.user.as_str() {
        return actor.done(Call::Leave(client::Leave { conversation })).await;
    }
    actor.done(Call::RemoveMember(client::RemoveMember { conversation, user })).await
}

pub(super) async fn list_invites(actor: ActingUser, at: At<InConversation>) -> JsonAnswer {
    let conversation = at?.0.conversation.get();
    let response = actor.call(Call::ListInvites(client::ListInvites { conversation })).await?;
    Ok(Json(json!({ "invites": response.invites.iter().map(view::invite).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvite {
    #[serde(default)]
    expires_in_s: u32,
}

pub(super) async fn create_invite(
    actor: ActingUser,
    at: At<InConversation>,
    body: Body<NewInvite>,
) -> Result<impl IntoResponse, Problem> {
    let (conversation, NewInvite { expires_in_s }) = (at?.0.conversation.get(), body?.0);
    let response = actor.call(Call::CreateInvite(client::CreateInvite { conversation, expires_in_s })).await?;
    Ok((StatusCode::CREATED, Json(view::invite(&response.invites.first().cloned().unwrap_or_default()))))
}

#[derive(Deserialize)]
pub(super) struct WithInvite {
    invite: String,
}

pub(super) async fn join(actor: ActingUser, at: At<WithInvite>) -> JsonAnswer {
    let response = actor.call(Call::Join(client::Join { invite: at?.0.invite })).await?;
    Ok(Json(json!({ "conversation": response.conversation })))
}

pub(super) async fn revoke_invite(actor: ActingUser, at: At<WithInvite>) -> Result<StatusCode, Problem> {
    actor.done(Call::RevokeInvite(client::RevokeInvite { invite: at?.0.invite })).await
}

pub(super) async fn list_blocked(actor: ActingUser) -> JsonAnswer {
    let response = actor.call(Call::ListBlocked(client::ListBlocked {})).await?;
    Ok(Json(json!({ "users": response.users })))
}

#[derive(Deserialize)]
pub(super) struct WithOther {
    pub(super) other: String,
}

pub(super) async fn block(actor: ActingUser, at: At<WithOther>) -> Result<StatusCode, Problem> {
    actor.done(Call::Block(client::Block { user: at?.0.other })).await
}

pub(super) async fn unblock(actor: ActingUser, at: At<WithOther>) -> Result<StatusCode, Problem> {
    actor.done(Call::Unblock(client::Unblock { user: at?.0.other })).await
}

pub(super) async fn list_devices(actor: ActingUser) -> JsonAnswer {
    let response = actor.call(Call::ListDevices(client::ListDevices {})).await?;
    Ok(Json(json!({ "devices": response.devices.iter().map(view::device).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
pub(super) struct WithDevice {
    device: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    label: String,
}

pub(super) async fn label_device(
    actor: ActingUser,
    at: At<WithDevice>,
    body: Body<NewLabel>,
) -> Result<StatusCode, Problem> {
    let (WithDevice { device }, NewLabel { label }) = (at?.0, body?.0);
    actor.done(Call::LabelDevice(client::LabelDevice { device, label })).await
}

pub(super) async fn remove_device(actor: ActingUser, at: At<WithDevice>) -> Result<StatusCode, Problem> {
    actor.done(Call::RemoveDevice(client::RemoveDevice { device: at?.0.device })).await
}
