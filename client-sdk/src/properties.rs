//! What a message says beside its body: properties of MQTT 5, which devices without this library send and read as such.

use bytes::Bytes;
use godwit_schemas::client;

/// MQTT 5 properties of a message. What its sender did not say is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Whether the body is UTF-8 (the server has checked that) rather than bytes.
    pub is_text: Option<bool>,
    /// Like `text/plain`; not checked.
    pub content_type: Option<String>,
    /// Where the sender expects an answer: a topic.
    pub response_topic: Option<String>,
    /// For the answer to repeat.
    pub correlation_data: Option<Bytes>,
    /// Names and values, in the sender's order.
    pub user_properties: Vec<(String, String)>,
}

impl From<client::Properties> for Properties {
    fn from(told: client::Properties) -> Self {
        let client::Properties { payload_format, content_type, response_topic, correlation_data, user_properties } =
            told;
        let user_properties = user_properties.into_iter().map(|it| (it.name, it.value)).collect();
        let is_text = payload_format.map(|format| format == 1);
        Self { is_text, content_type, response_topic, correlation_data, user_properties }
    }
}

impl From<Properties> for client::Properties {
    fn from(properties: Properties) -> Self {
        let Properties { is_text, content_type, response_topic, correlation_data, user_properties } = properties;
        let named = user_properties.into_iter().map(|(name, value)| client::UserProperty { name, value });
        let (payload_format, user_properties) = (is_text.map(u32::from), named.collect());
        Self { payload_format, content_type, response_topic, correlation_data, user_properties }
    }
}
