//! The parts that the schemas of the OpenAPI document are made of.

use godwit_schemas::ids::NAME_BYTES_MAX;
use serde_json::{Map, Value, json};

use super::super::view::JsonInteger;

/// A number that JSON holds exactly: see [`JsonInteger`].
pub(super) fn number() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": JsonInteger::MAX })
}

/// A client sequence: a device may count in nanoseconds.
pub(super) fn count() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX })
}

/// A number of which nothing is known but whether it is the same.
pub(super) fn hex() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
}

/// A name of up to `NAME_BYTES_MAX` characters.
pub(super) const NAME: &str = "[a-zA-Z0-9_@-][a-zA-Z0-9._@-]{0,63}";
const _: () = assert!(NAME_BYTES_MAX == 64, "as the pattern says");

pub(super) fn name_schema() -> Value {
    json!({ "type": "string", "pattern": format!("^{NAME}$") })
}

pub(super) fn phone_schema() -> Value {
    json!({ "type": "string", "pattern": "^\\+[1-9][0-9]{4,14}$" })
}

/// An object whose properties must all be there, but for those whose name ends with `?`.
pub(super) fn object(properties: &[(&str, Value)]) -> Value {
    let required: Vec<_> = properties.iter().filter(|(name, _)| !name.ends_with('?')).map(|(name, _)| *name).collect();
    let properties: Map<_, _> =
        properties.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone())).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

pub(super) fn list(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

pub(super) fn list_of(item: Value, least: usize, most: usize) -> Value {
    json!({ "type": "array", "items": item, "minItems": least, "maxItems": most })
}

pub(super) fn or_null(mut schema: Value) -> Value {
    schema["nullable"] = true.into();
    schema
}

/// UTF-8 of so many bytes, which are no fewer characters.
pub(super) fn text(bytes_max: usize) -> Value {
    json!({ "type": "string", "maxLength": bytes_max, "description": format!("up to {bytes_max} bytes of UTF-8") })
}

/// So many bytes in Base64.
pub(super) fn base64_of(least: usize, most: usize) -> Value {
    let encoded = |bytes: usize| bytes.div_ceil(3) * 4;
    json!({ "type": "string", "format": "byte", "minLength": encoded(least), "maxLength": encoded(most) })
}

/// Objects that have one of these properties besides the others.
pub(super) fn one_of(choice: &[(&str, Value)], others: &[(&str, Value)]) -> Vec<Value> {
    choice.iter().map(|it| object(&[std::slice::from_ref(it), others].concat())).collect()
}

pub(super) fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}
