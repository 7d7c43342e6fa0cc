//! What a message holds, and whether it can be sent at all, whoever it is for.
//!
//! Properties are what MQTT 5 has receivers be told unaltered (MQTT-3.3.2-4, -15, -16, -17, -18, -20). What cannot be told in
//! a PUBLISH, or would be taken for the server's own words there, is refused.

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::media::MediaId;
use godwit_schemas::properties::{SENDER, SEQUENCE};
use prost::Message as _;

use super::Rules;
use super::media::files;
use crate::command::Draft;
use crate::refusal::{self, Refusal};

/// Most members that a message mentions.
pub const MENTIONS_MAX: usize = 100;

// PUBACK has no "packet too large" (MQTT 5.0, 3.4.2.1).

/// What is kept of a message beside its body: a `client.Message` of nothing but files, properties and what concerns pushes.
/// `unlimited`: of a message that was within the limits when it was sent.
///
/// # Errors
/// Why it cannot be sent.
pub fn content<'a>(
    rules: &Rules,
    unlimited: bool,
    draft: &Draft,
    known: impl Fn(MediaId) -> Option<&'a client::Media>,
) -> Result<Bytes, Refusal> {
    let media = files(&draft.media, known)?;
    if let Some(properties) = &draft.properties {
        if !unlimited {
            within_limits(rules, properties)?;
        }
        sound(properties, &draft.body)?;
    }
    if draft.mentions.len() > MENTIONS_MAX {
        return Err(refusal::TOO_MANY_MENTIONS);
    }
    let extras = if draft.has_extras() { extras(draft, media) } else { Bytes::new() };
    if !unlimited && draft.body.len() + extras.len() > rules.body_bytes_max {
        return Err(refusal::BODY_TOO_LARGE);
    }
    Ok(extras)
}

fn extras(draft: &Draft, media: Vec<client::Media>) -> Bytes {
    let extras = client::Message {
        media,
        properties: draft.properties.clone(),
        silent: draft.silent,
        mentions: draft.mentions.clone(),
        mls_epoch: draft.mls_epoch,
        ..Default::default()
    };
    extras.encode_to_vec().into()
}

fn within_limits(rules: &Rules, properties: &client::Properties) -> Result<(), Refusal> {
    if properties.encoded_len() > rules.properties_bytes_max {
        return Err(refusal::PROPERTIES_TOO_LARGE);
    }
    if properties.user_properties.len() > rules.user_properties_max {
        return Err(refusal::TOO_MANY_USER_PROPERTIES);
    }
    Ok(())
}

/// They can be said in a PUBLISH, and fit the body.
fn sound(properties: &client::Properties, body: &[u8]) -> Result<(), Refusal> {
    match properties.payload_format {
        Some(2..) => return Err(refusal::BAD_PAYLOAD_FORMAT),
        Some(1) if !is_text(body) => return Err(refusal::BODY_NOT_UTF8),
        _ => {}
    }
    if properties.response_topic.as_ref().is_some_and(|topic| topic.is_empty() || topic.contains(['+', '#'])) {
        return Err(refusal::BAD_RESPONSE_TOPIC);
    }
    let strings = properties.content_type.iter().chain(&properties.response_topic);
    let users = &properties.user_properties;
    if strings.chain(users.iter().flat_map(|it| [&it.name, &it.value])).any(|string| string.contains('\0')) {
        return Err(refusal::BAD_PROPERTY_STRING);
    }
    if users.iter().any(|it| [SENDER, SEQUENCE].contains(&it.name.as_str())) {
        return Err(refusal::RESERVED_USER_PROPERTY);
    }
    Ok(())
}

/// Another body of a message with these properties.
pub(super) fn still_fits(properties: Option<&client::Properties>, body: &[u8]) -> Result<(), Refusal> {
    let says_text = properties.is_some_and(|properties| properties.payload_format == Some(1));
    if says_text && !is_text(body) { Err(refusal::BODY_NOT_UTF8) } else { Ok(()) }
}

fn is_text(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok()
}
