//! Pushes over HTTP: where a device is pushed, what a user has muted, and what waits in an inbox, for what runs while the app does
//! not.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use godwit_schemas::client::set_push::To;
use godwit_schemas::client::{self, event, request::Call};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use super::acting_user::{ActingUser, At, Body, JsonAnswer};
use super::fields::senseless;
use super::problem::Problem;
use super::view::{self, Base64Bytes, JsonInteger};

/// As browsers have their keys.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes as Base64 for URLs, with or without padding: what `PushSubscription.toJSON()` gives.
#[derive(Default)]
struct Base64Url(bytes::Bytes);

impl<'de> Deserialize<'de> for Base64Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let decoded = BASE64_URL.decode(text);
        Ok(Self(decoded.map_err(|error| de::Error::custom(format!("not Base64 for URLs: {error}")))?.into()))
    }
}

/// See `client.Preview`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Preview {
    #[default]
    Full,
    Sender,
    None,
}

impl From<Preview> for client::Preview {
    fn from(preview: Preview) -> Self {
        match preview {
            Preview::Full => Self::Full,
            Preview::Sender => Self::Sender,
            Preview::None => Self::None,
        }
    }
}

impl From<client::Preview> for Preview {
    fn from(preview: client::Preview) -> Self {
        match preview {
            client::Preview::Full => Self::Full,
            client::Preview::Sender => Self::Sender,
            client::Preview::None => Self::None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Apns {
    token: Base64Bytes,
    topic: String,
    #[serde(default)]
    sandbox: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fcm {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Web {
    endpoint: String,
}

/// The device's side of the encryption, as a browser has it in `PushSubscription.toJSON().keys`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    p256dh: Base64Url,
    auth: Base64Url,
}

/// One of the first three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPush {
    #[serde(default, deserialize_with = "view::given")]
    apns: Option<Apns>,
    #[serde(default, deserialize_with = "view::given")]
    fcm: Option<Fcm>,
    #[serde(default, deserialize_with = "view::given")]
    web: Option<Web>,
    #[serde(default, deserialize_with = "view::given")]
    keys: Option<Keys>,
    #[serde(default)]
    preview: Preview,
    #[serde(default)]
    unread: u32,
}

#[derive(Deserialize)]
pub(super) struct OfDevice {
    device: String,
}

pub(super) async fn set(actor: ActingUser, at: At<OfDevice>, body: Body<NewPush>) -> Result<StatusCode, Problem> {
    let (OfDevice { device }, NewPush { apns, fcm, web, keys, preview, unread }) = (at?.0, body?.0);
    let to = match (apns, fcm, web) {
        (Some(Apns { token, topic, sandbox }), None, None) => {
            To::Apns(client::ApnsAddress { token: token.0, topic, sandbox })
        }
        (None, Some(Fcm { token }), None) => To::Fcm(client::FcmAddress { token }),
        (None, None, Some(Web { endpoint })) => To::Web(client::WebAddress { endpoint }),
        _ => return Err(senseless("one of `apns`, `fcm` and `web`")),
    };
    let Keys { p256dh, auth } = keys.unwrap_or_default();
    let preview = client::Preview::from(preview).into();
    let call = client::SetPush { to: Some(to), p256dh: p256dh.0, auth: auth.0, preview, unread, device };
    actor.done(Call::SetPush(call)).await
}

pub(super) async fn drop(actor: ActingUser, at: At<OfDevice>) -> Result<StatusCode, Problem> {
    actor.done(Call::SetPush(client::SetPush { device: at?.0.device, ..Default::default() })).await
}

pub(super) async fn get(actor: ActingUser, at: At<OfDevice>) -> JsonAnswer {
    let response = actor.call(Call::GetPush(client::GetPush { device: at?.0.device })).await?;
    Ok(Json(shown(&response.push.unwrap_or_default())))
}

/// Where a device is pushed; null: nowhere.
pub(super) fn shown(push: &client::Push) -> Value {
    let provider = Some(&push.provider).filter(|provider| !provider.is_empty());
    let vapid = Some(&push.vapid).filter(|key| !key.is_empty()).map(|key| BASE64_URL.encode(key));
    json!({
        "vapid": vapid,
        "provider": provider,
        "preview": Preview::from(push.preview()),
        "unread": push.unread,
    })
}

#[derive(Deserialize)]
pub(super) struct InConversation {
    conversation: JsonInteger,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMute {
    /// Null: for ever.
    for_s: Option<u32>,
    #[serde(default)]
    mentions_only: bool,
}

pub(super) async fn mute(
    actor: ActingUser,
    at: At<InConversation>,
    body: Body<NewMute>,
) -> Result<StatusCode, Problem> {
    let (conversation, NewMute { for_s, mentions_only }) = (at?.0.conversation.get(), body?.0);
    let for_s = for_s.unwrap_or(u32::MAX);
    actor.done(Call::SetMute(client::SetMute { conversation, for_s, mentions_only })).await
}

pub(super) async fn unmute(actor: ActingUser, at: At<InConversation>) -> Result<StatusCode, Problem> {
    let conversation = at?.0.conversation.get();
    actor.done(Call::SetMute(client::SetMute { conversation, for_s: 0, mentions_only: false })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    #[serde(default)]
    after: JsonInteger,
}

pub(super) async fn mutes(actor: ActingUser, page: Result<Query<After>, QueryRejection>) -> JsonAnswer {
    let after = page?.0.after.get();
    let response = actor.call(Call::ListMutes(client::ListMutes { after })).await?;
    let mutes: Vec<_> = response.mutes.iter().map(muted).collect();
    Ok(Json(json!({ "mutes": mutes, "next": view::next(response.next) })))
}

/// How long a conversation is muted; null: for ever.
pub(super) fn muted(mute: &client::Mute) -> Value {
    let for_s = Some(mute.for_s).filter(|for_s| *for_s != u32::MAX);
    json!({ "conversation": mute.conversation, "for_s": for_s, "mentions_only": mute.mentions_only })
}

pub(super) async fn peek(
    actor: ActingUser,
    at: At<OfDevice>,
    page: Result<Query<After>, QueryRejection>,
) -> JsonAnswer {
    let (OfDevice { device }, after) = (at?.0, page?.0.after.get());
    let response = actor.call(Call::PeekInbox(client::PeekInbox { device, after })).await?;
    let events: Vec<_> = response.history.iter().filter_map(waiting).collect();
    Ok(Json(json!({ "entries": events, "next": view::next(response.next) })))
}

/// A message or change, with its conversation.
fn waiting(event: &client::Event) -> Option<Value> {
    let conversation = match event.event.as_ref()? {
        event::Event::Message(message) => message.conversation,
        event::Event::Change(change) => change.conversation,
        event::Event::Receipt(_) | event::Event::Refusal(_) => return None,
    };
    Some(json!({ "conversation": conversation, "event": view::event(event)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_browser_are_read_with_and_without_padding() {
        let read = |text: &str| serde_json::from_value::<Base64Url>(json!(text)).map(|it| it.0);
        assert_eq!(read("-_8").unwrap(), &[0xFB, 0xFF][..]);
        assert_eq!(read("-_8=").unwrap(), &[0xFB, 0xFF][..]);
        assert!(read("+/8=").is_err());
    }
}
