//! Registration, whose operations need no credentials; and a device's new password.

use serde_json::{Map, Value, json};

use super::{Operation, name_schema, object, op, phone_schema};

pub(super) const REGISTRATIONS: &str = "/v1/registrations";
const VERIFY: &str = "/v1/registrations/verify";
const PASSWORD: &str = "/v1/users/{user}/devices/{device}/password";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        body: Some("Applicant"),
        answer: (202, None),
        refusals: &[404, 429],
        ..op("post", REGISTRATIONS, "Have a code sent to a phone number, whoever has it")
    },
    Operation {
        body: Some("Proof"),
        answer: (201, Some("Credentials")),
        refusals: &[403, 404, 409, 429, 507],
        ..op("post", VERIFY, "Become the user of the number, with a new device, by the code that was sent to it")
    },
    Operation {
        answer: (201, Some("Credentials")),
        ..op("post", PASSWORD, "A new password; the one before is void, and the device's connection is closed")
    },
];

/// What these operations take and answer.
pub(super) fn schemas() -> Map<String, Value> {
    let proof =
        [("phone", phone_schema()), ("code", json!({ "type": "string", "maxLength": 10 })), ("device", name_schema())];
    let credentials = [("user", name_schema()), ("device", name_schema()), ("password", json!({ "type": "string" }))];
    let schemas = [
        ("Applicant", object(&[("phone", phone_schema())])),
        ("Proof", object(&proof)),
        ("Credentials", object(&credentials)),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
