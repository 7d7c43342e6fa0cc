//! What the HTTP API shows and takes, as JSON. Bodies are Base64 (RFC 4648), since they are any bytes, or a `text`;
//! sequences and conversations are numbers.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godwit_bridge::limits::PAGE_MAX;
use godwit_schemas::client::{self, change, event};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use super::problem::Problem;

/// Bytes as Base64.
#[derive(Default)]
pub(super) struct Base64Bytes(pub(super) bytes::Bytes);

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let decoded = STANDARD.decode(text).map_err(|error| de::Error::custom(format!("not Base64: {error}")))?;
        Ok(Self(decoded.into()))
    }
}

/// A field that may be absent, and is something where it is not: null is nothing.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A body as a request has it: any bytes in Base64, or a text.
///
/// # Errors
/// It has none, or both.
pub(super) fn body(bytes: Option<Base64Bytes>, text: Option<String>) -> Result<bytes::Bytes, Problem> {
    match (bytes, text) {
        (Some(bytes), None) => Ok(bytes.0),
        (None, Some(text)) => Ok(text.into()),
        _ => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "one of `text` and `body` (in Base64)")),
    }
}

/// A conversation, a sequence, a size: as far as JSON's numbers are exact (RFC 8259, section 6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct JsonInteger(u64);

impl JsonInteger {
    pub(super) const MAX: u64 = (1 << 53) - 1;

    pub(super) const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for JsonInteger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let too_large = || de::Error::custom(format_args!("{number} is above {}", Self::MAX));
        (number <= Self::MAX).then_some(Self(number)).ok_or_else(too_large)
    }
}

/// How many items a page may have; 0: as many as it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageLimit(u32);

impl PageLimit {
    pub(super) const fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for PageLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u32::deserialize(deserializer)?;
        let too_large = || de::Error::custom(format_args!("a page has up to {PAGE_MAX} items"));
        (limit as usize <= PAGE_MAX).then_some(Self(limit)).ok_or_else(too_large)
    }
}

/// 32 bytes as 64 hexadecimal digits.
pub(super) struct Hash(pub(super) bytes::Bytes);

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 64);
        let digits = digits.ok_or_else(|| de::Error::custom("not 64 hexadecimal digits"))?;
        Ok(Self(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }
}

/// A body that is a text, as such.
fn text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body).ok()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// See `client.Role`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoleName {
    #[default]
    Member,
    Admin,
    Owner,
}

impl From<RoleName> for i32 {
    fn from(role: RoleName) -> Self {
        let role = match role {
            RoleName::Member => client::Role::Member,
            RoleName::Admin => client::Role::Admin,
            RoleName::Owner => client::Role::Owner,
        };
        role.into()
    }
}

impl From<i32> for RoleName {
    fn from(role: i32) -> Self {
        match client::Role::try_from(role) {
            Ok(client::Role::Admin) => Self::Admin,
            Ok(client::Role::Owner) => Self::Owner,
            _ => Self::Member,
        }
    }
}

/// See `client.GroupSettings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupSettingsView {
    may_send: RoleName,
    may_add: RoleName,
    may_rename: RoleName,
    history_for_new: bool,
}

impl From<GroupSettingsView> for client::GroupSettings {
    fn from(settings: GroupSettingsView) -> Self {
        Self {
            may_send: settings.may_send.into(),
            may_add: settings.may_add.into(),
            may_rename: settings.may_rename.into(),
            history_for_new: settings.history_for_new,
        }
    }
}

impl From<&client::GroupSettings> for GroupSettingsView {
    fn from(settings: &client::GroupSettings) -> Self {
        Self {
            may_send: settings.may_send.into(),
            may_add: settings.may_add.into(),
            may_rename: settings.may_rename.into(),
            history_for_new: settings.history_for_new,
        }
    }
}

/// See `client.Retention`; `history_days` is null where the server's setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetentionView {
    history_days: Option<u32>,
    expires_in_s: u32,
}

impl From<RetentionView> for client::Retention {
    fn from(retention: RetentionView) -> Self {
        let history_days_plus_one = retention.history_days.map_or(0, |days| days.saturating_add(1));
        Self { history_days_plus_one, expires_in_s: retention.expires_in_s }
    }
}

impl From<&client::Retention> for RetentionView {
    fn from(retention: &client::Retention) -> Self {
        Self { history_days: retention.history_days_plus_one.checked_sub(1), expires_in_s: retention.expires_in_s }
    }
}

/// A number that is null where there is none.
pub(super) fn next(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

fn member(member: &client::Member) -> Value {
    json!({ "ordinal": member.ordinal, "user": member.user, "role": RoleName::from(member.role) })
}

pub(super) fn description(conversation: u64, opened: &client::Opened) -> Value {
    let shown = json!({
        "conversation": conversation,
        "group": opened.group,
        "title": opened.title,
        "members": opened.members.iter().map(member).collect::<Vec<_>>(),
        "settings": opened.settings.as_ref().map(GroupSettingsView::from),
        "retention": RetentionView::from(&opened.retention.unwrap_or_default()),
        "request": opened.request,
    });
    in_epoch(shown, opened.mls_epoch)
}

/// What is not encrypted says nothing of it.
fn in_epoch(mut shown: Value, mls_epoch: u64) -> Value {
    if mls_epoch != 0 {
        shown["mls_epoch"] = mls_epoch.into();
    }
    shown
}

pub(super) fn summary(summary: &client::Summary) -> Value {
    let mut value = description(summary.conversation, &summary.description.clone().unwrap_or_default());
    value["last_sequence"] = summary.last_sequence.into();
    value["last"] = summary.last.as_ref().and_then(event).unwrap_or_default();
    value["unread"] = summary.unread.into();
    value["read_up_to"] = summary.read_up_to.into();
    value
}

/// A message or change of a history.
pub(super) fn event(event: &client::Event) -> Option<Value> {
    match event.event.as_ref()? {
        event::Event::Message(it) => {
            let reaction = |it: &client::Reaction| {
                let shown = json!({ "member": it.member, "reaction": it.reaction });
                sealed(shown, &it.sealed, it.mls_epoch)
            };
            let shown = json!({
                "sequence": it.sequence,
                "sender": it.sender,
                "age_s": it.age_s,
                "body": base64(&it.body),
                "text": text(&it.body),
                "reply_to": next(it.reply_to),
                "edited": it.edited,
                "recalled": it.recalled,
                "reactions": it.reactions.iter().map(reaction).collect::<Vec<_>>(),
                "media": it.media.iter().map(file).collect::<Vec<_>>(),
                "properties": it.properties.as_deref().map(properties),
                "silent": it.silent,
                "mentions": it.mentions,
            });
            Some(in_epoch(shown, it.mls_epoch))
        }
        event::Event::Change(it) => {
            let changed = it.change.as_ref().map(change);
            let mut shown = json!({ "sequence": it.sequence, "by": it.by, "change": changed });
            match &it.mls {
                Some(step) => shown["mls"] = mls(step),
                None => _ = changed?,
            }
            Some(shown)
        }
        event::Event::Receipt(_) | event::Event::Refusal(_) => None,
    }
}

/// A file of a message.
fn file(media: &client::Media) -> Value {
    json!({
        "id": media.id,
        "name": media.name,
        "thumbnail": base64(&media.thumbnail),
        "key": base64(&media.key),
        "size": media.size,
        "content_type": media.content_type,
        "sha256": base64(&media.sha256),
    })
}

/// See `client.Properties`; null where the sender said nothing.
fn properties(properties: &client::Properties) -> Value {
    let user = |user: &client::UserProperty| json!({ "name": user.name, "value": user.value });
    json!({
        "payload_format": properties.payload_format,
        "content_type": properties.content_type,
        "response_topic": properties.response_topic,
        "correlation_data": properties.correlation_data.as_deref().map(base64),
        "user_properties": properties.user_properties.iter().map(user).collect::<Vec<_>>(),
    })
}

/// A reaction, with what is sealed of it.
fn sealed(mut shown: Value, sealed: &[u8], mls_epoch: u64) -> Value {
    if !sealed.is_empty() {
        shown["sealed"] = base64(sealed).into();
    }
    in_epoch(shown, mls_epoch)
}

/// See `client.MlsChange`. Commit and Welcome are of use to the device alone whose inbox they are in.
fn mls(change: &client::MlsChange) -> Value {
    json!({
        "epoch": change.epoch,
        "device": change.device,
        "commit": base64(&change.commit),
        "welcome": base64(&change.welcome),
    })
}

fn change(change: &change::Change) -> Value {
    match change {
        change::Change::Opened(it) => json!({ "opened": { "group": it.group, "title": it.title } }),
        change::Change::Added(it) => json!({ "added": member(it) }),
        change::Change::Removed(ordinal) => json!({ "removed": ordinal }),
        change::Change::Renamed(title) => json!({ "renamed": title }),
        change::Change::Role(it) => json!({ "role": member(it) }),
        change::Change::Settings(it) => json!({ "settings": GroupSettingsView::from(it) }),
        change::Change::Recalled(sequence) => json!({ "recalled": sequence }),
        change::Change::Edited(it) => {
            json!({ "edited": { "sequence": it.sequence, "body": base64(&it.body), "text": text(&it.body) } })
        }
        change::Change::Reacted(it) => {
            let shown = json!({ "sequence": it.sequence, "reaction": it.reaction });
            json!({ "reacted": sealed(shown, &it.sealed, it.mls_epoch) })
        }
        change::Change::Retention(it) => json!({ "retention": RetentionView::from(it) }),
    }
}

pub(super) fn invite(invite: &client::Invite) -> Value {
    json!({ "invite": invite.invite, "by": invite.by, "expires_in_s": invite.expires_in_s })
}

pub(super) fn device(device: &client::Device) -> Value {
    json!({
        "device": device.device,
        "label": device.label,
        "connected": device.connected,
        "inbox_full": device.inbox_full,
        "full_age_s": device.full_age_s,
    })
}
