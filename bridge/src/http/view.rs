//! What the HTTP API shows and takes, as JSON. Bodies are Base64 (RFC 4648), since they are any bytes; sequences and
//! conversations are numbers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godwit_schemas::client::{self, change, event};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

/// Bytes as Base64.
#[derive(Default)]
pub(super) struct Bytes(pub(super) bytes::Bytes);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let decoded = STANDARD.decode(text).map_err(|error| de::Error::custom(format!("not Base64: {error}")))?;
        Ok(Self(decoded.into()))
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

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// See `client.Role`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    #[default]
    Member,
    Admin,
    Owner,
}

impl From<Role> for i32 {
    fn from(role: Role) -> Self {
        let role = match role {
            Role::Member => client::Role::Member,
            Role::Admin => client::Role::Admin,
            Role::Owner => client::Role::Owner,
        };
        role.into()
    }
}

impl From<i32> for Role {
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
pub(super) struct Settings {
    may_send: Role,
    may_add: Role,
    may_rename: Role,
    history_for_new: bool,
}

impl From<Settings> for client::GroupSettings {
    fn from(settings: Settings) -> Self {
        Self {
            may_send: settings.may_send.into(),
            may_add: settings.may_add.into(),
            may_rename: settings.may_rename.into(),
            history_for_new: settings.history_for_new,
        }
    }
}

impl From<&client::GroupSettings> for Settings {
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
pub(super) struct Retention {
    history_days: Option<u32>,
    expires_in_s: u32,
}

impl From<Retention> for client::Retention {
    fn from(retention: Retention) -> Self {
        let history_days_plus_one = retention.history_days.map_or(0, |days| days.saturating_add(1));
        Self { history_days_plus_one, expires_in_s: retention.expires_in_s }
    }
}

impl From<&client::Retention> for Retention {
    fn from(retention: &client::Retention) -> Self {
        Self { history_days: retention.history_days_plus_one.checked_sub(1), expires_in_s: retention.expires_in_s }
    }
}

/// A number that is null where there is none.
pub(super) fn next(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

fn member(member: &client::Member) -> Value {
    json!({ "ordinal": member.ordinal, "user": member.user, "role": Role::from(member.role) })
}

pub(super) fn description(conversation: u64, it: &client::Opened) -> Value {
    json!({
        "conversation": conversation,
        "group": it.group,
        "title": it.title,
        "members": it.members.iter().map(member).collect::<Vec<_>>(),
        "settings": it.settings.as_ref().map(Settings::from),
        "retention": Retention::from(&it.retention.unwrap_or_default()),
    })
}

pub(super) fn summary(it: &client::Summary) -> Value {
    let mut value = description(it.conversation, &it.description.clone().unwrap_or_default());
    value["last_sequence"] = it.last_sequence.into();
    value["last"] = it.last.as_ref().and_then(event).unwrap_or_default();
    value["unread"] = it.unread.into();
    value["read_up_to"] = it.read_up_to.into();
    value
}

/// A message or change of a history.
pub(super) fn event(event: &client::Event) -> Option<Value> {
    match event.event.as_ref()? {
        event::Event::Message(it) => {
            let reaction = |it: &client::Reaction| json!({ "member": it.member, "reaction": it.reaction });
            Some(json!({
                "sequence": it.sequence,
                "sender": it.sender,
                "age_s": it.age_s,
                "body": base64(&it.body),
                "reply_to": next(it.reply_to),
                "edited": it.edited,
                "recalled": it.recalled,
                "reactions": it.reactions.iter().map(reaction).collect::<Vec<_>>(),
                "media": it.media.iter().map(super::media::file).collect::<Vec<_>>(),
            }))
        }
        event::Event::Change(it) => {
            Some(json!({ "sequence": it.sequence, "by": it.by, "change": change(it.change.as_ref()?) }))
        }
        event::Event::Receipt(_) | event::Event::Refusal(_) => None,
    }
}

fn change(change: &change::Change) -> Value {
    match change {
        change::Change::Opened(it) => json!({ "opened": { "group": it.group, "title": it.title } }),
        change::Change::Added(it) => json!({ "added": member(it) }),
        change::Change::Removed(ordinal) => json!({ "removed": ordinal }),
        change::Change::Renamed(title) => json!({ "renamed": title }),
        change::Change::Role(it) => json!({ "role": member(it) }),
        change::Change::Settings(it) => json!({ "settings": Settings::from(it) }),
        change::Change::Recalled(sequence) => json!({ "recalled": sequence }),
        change::Change::Edited(it) => json!({ "edited": { "sequence": it.sequence, "body": base64(&it.body) } }),
        change::Change::Reacted(it) => json!({ "reacted": { "sequence": it.sequence, "reaction": it.reaction } }),
        change::Change::Retention(it) => json!({ "retention": Retention::from(it) }),
    }
}

pub(super) fn invite(it: &client::Invite) -> Value {
    json!({ "invite": it.invite, "by": it.by, "expires_in_s": it.expires_in_plus_one_s.checked_sub(1) })
}

pub(super) fn device(it: &client::Device) -> Value {
    json!({ "device": it.device, "label": it.label, "connected": it.connected })
}
