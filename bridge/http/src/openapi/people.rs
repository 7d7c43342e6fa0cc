//! Profiles, contacts and presence.

use axum::routing::on;
use godwit_bridge::limits::{ABOUT_BYTES_MAX, CONTACT_LABEL_BYTES_MAX, NAME_BYTES_MAX, PICTURE_BYTES_MAX};
use serde_json::{Map, Value, json};

use super::super::acting_user::RouteContext;
use super::super::operation::{Operation, op};
use super::super::people;
use super::schema::{list, name_schema, object, or_null, reference, text};

const PROFILE: &str = "/v1/users/{user}/profile";
const PROFILE_OF: &str = "/v1/users/{user}/people/{other}/profile";
const CONTACTS: &str = "/v1/users/{user}/contacts";
const CONTACT: &str = "/v1/users/{user}/contacts/{other}";
const PRESENCE: &str = "/v1/users/{user}/presence";

pub(super) const OPERATIONS: &[Operation<RouteContext>] = &[
    Operation {
        calls: &["GetProfile"],
        answer: (200, Some("Profile")),
        ..op("get", PROFILE, |it| on(it, people::own_profile), "The user's own profile")
    },
    Operation {
        calls: &["SetProfile"],
        body: Some("ProfileChange"),
        ..op("patch", PROFILE, |it| on(it, people::change_profile), "Change it; what is absent stays as it is")
    },
    Operation {
        calls: &["GetProfile"],
        answer: (200, Some("Profile")),
        ..op("get", PROFILE_OF, |it| on(it, people::profile_of), "Another user's profile")
    },
    Operation {
        calls: &["ListContacts"],
        query: &["after:user_or_none", "limit"],
        answer: (200, Some("ContactPage")),
        ..op("get", CONTACTS, |it| on(it, people::list_contacts), "The user's contacts (friends), by name")
    },
    Operation {
        calls: &["AddContact"],
        body: Some("NewContact"),
        ..op("put", CONTACT, |it| on(it, people::add_contact), "Add a contact, or say what it is called")
    },
    Operation {
        calls: &["RemoveContact"],
        ..op("delete", CONTACT, |it| on(it, people::remove_contact), "Remove a contact")
    },
    Operation {
        calls: &["GetPresence"],
        query: &["users"],
        answer: (200, Some("Presences")),
        ..op(
            "get",
            PRESENCE,
            |it| on(it, people::presence),
            "Who is online, and when the others last were, as far as they let the user see it",
        )
    },
];

/// What these operations take and answer.
pub(super) fn schemas() -> Map<String, Value> {
    let audience = || reference("Audience");
    let groups_from = || reference("GroupsFrom");
    let profile =
        [("name", text(NAME_BYTES_MAX)), ("about", text(ABOUT_BYTES_MAX)), ("picture", text(PICTURE_BYTES_MAX))];
    let change = [("presence_to?", audience()), ("groups_from?", groups_from())];
    let texts =
        [("name?", text(NAME_BYTES_MAX)), ("about?", text(ABOUT_BYTES_MAX)), ("picture?", text(PICTURE_BYTES_MAX))];
    let own = [
        ("user", name_schema()),
        ("presence_to", or_null(json!({ "allOf": [audience()] }))),
        ("groups_from", or_null(json!({ "allOf": [groups_from()] }))),
    ];
    let minutes = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    let presence = [
        ("user", json!({ "type": "string" })),
        ("online", json!({ "type": "boolean" })),
        ("last_seen_age_min", or_null(minutes)),
    ];
    let schemas = [
        ("Audience", json!({ "type": "string", "enum": ["contacts", "nobody", "everybody"] })),
        ("GroupsFrom", json!({ "type": "string", "enum": ["everybody", "contacts", "nobody"] })),
        ("Profile", object(&[&own[..], &profile[..]].concat())),
        ("ProfileChange", object(&[&texts[..], &change[..]].concat())),
        (
            "Contact",
            object(&[
                ("user", name_schema()),
                ("label", text(CONTACT_LABEL_BYTES_MAX)),
                ("name", text(NAME_BYTES_MAX)),
            ]),
        ),
        ("ContactPage", object(&[("contacts", list(reference("Contact"))), ("next", or_null(name_schema()))])),
        ("NewContact", object(&[("label", text(CONTACT_LABEL_BYTES_MAX))])),
        ("Presence", object(&presence)),
        ("Presences", object(&[("presences", list(reference("Presence")))])),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
