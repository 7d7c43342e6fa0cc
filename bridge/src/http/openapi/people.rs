//! Profiles, contacts and presence.

use serde_json::{Map, Value, json};

use super::{Operation, list, name_schema, object, op, or_null, reference, text};

const PROFILE: &str = "/v1/users/{user}/profile";
const PROFILE_OF: &str = "/v1/users/{user}/people/{other}/profile";
const CONTACTS: &str = "/v1/users/{user}/contacts";
const CONTACT: &str = "/v1/users/{user}/contacts/{other}";
const PRESENCE: &str = "/v1/users/{user}/presence";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { answer: (200, Some("Profile")), ..op("get", PROFILE, "The user's own profile") },
    Operation { body: Some("ProfileChange"), ..op("patch", PROFILE, "Change it; what is absent stays as it is") },
    Operation { answer: (200, Some("Profile")), ..op("get", PROFILE_OF, "Another user's profile") },
    Operation {
        query: &["after:user", "limit"],
        answer: (200, Some("ContactPage")),
        ..op("get", CONTACTS, "The user's contacts (friends), by name")
    },
    Operation {
        body: Some("NewContact"),
        refusals: &[403, 404, 409],
        ..op("put", CONTACT, "Add a contact, or say what it is called")
    },
    op("delete", CONTACT, "Remove a contact"),
    Operation {
        query: &["users"],
        answer: (200, Some("Presences")),
        ..op("get", PRESENCE, "Who is online, and when the others last were, as far as they let the user see it")
    },
];

/// What these operations take and answer.
pub(super) fn schemas() -> Map<String, Value> {
    let audience = || reference("Audience");
    let profile = [("name", text(128)), ("about", text(512)), ("picture", text(64))];
    let change = [("name?", text(128)), ("about?", text(512)), ("picture?", text(64)), ("presence_to?", audience())];
    let own = [("user", name_schema()), ("presence_to", or_null(json!({ "allOf": [audience()] })))];
    let minutes = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    let presence = [
        ("user", json!({ "type": "string" })),
        ("online", json!({ "type": "boolean" })),
        ("last_seen_age_min", or_null(minutes)),
    ];
    let schemas = [
        ("Audience", json!({ "type": "string", "enum": ["contacts", "nobody", "everybody"] })),
        ("Profile", object(&[&own[..], &profile[..]].concat())),
        ("ProfileChange", object(&change)),
        ("Contact", object(&[("user", name_schema()), ("label", text(128)), ("name", text(128))])),
        ("ContactPage", object(&[("contacts", list(reference("Contact"))), ("next", or_null(name_schema()))])),
        ("NewContact", object(&[("label", text(128))])),
        ("Presence", object(&presence)),
        ("Presences", object(&[("presences", list(reference("Presence")))])),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
