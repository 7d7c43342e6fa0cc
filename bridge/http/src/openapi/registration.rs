//! Registration, whose operations need no credentials.

use axum::routing::on;
use godwit_bridge::registration::Registration;
use serde_json::{Map, Value, json};

use super::super::operation::{Operation, op};
use super::super::registration;
use super::schema::{name_schema, object, phone_schema};

const REGISTRATIONS: &str = "/v1/registrations";
const VERIFY: &str = "/v1/registrations/verify";

/// `None`: people do not register by themselves.
pub(crate) type Door = Option<Registration>;

pub(super) const OPERATIONS: &[Operation<Door>] = &[
    Operation {
        body: Some("Applicant"),
        answer: (202, None),
        ..op(
            "post",
            REGISTRATIONS,
            |it| on(it, registration::send_code),
            "Have a code sent to a phone number, whoever has it",
        )
    },
    Operation {
        body: Some("Proof"),
        answer: (201, Some("Credentials")),
        ..op(
            "post",
            VERIFY,
            |it| on(it, registration::verify),
            "Become the user of the number, with a new device, by the code that was sent to it",
        )
    },
];

/// What these operations take and answer, and a device's new password.
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
