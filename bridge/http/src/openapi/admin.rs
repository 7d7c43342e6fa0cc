//! Operators' commands. They need the administrator's token.

use axum::routing::on;
use godwit_bridge::admin::Admin;
use godwit_store::time::Time;
use serde_json::{Map, Value, json};

use super::super::operation::{Operation, op};
use super::super::token::AdminScope;
use super::super::{admin, clock};
use super::schema::{list, name_schema, number, object, or_null, phone_schema, reference};

const USERS: &str = "/v1/admin/users";
const USER: &str = "/v1/admin/users/{user}";
const PHONE: &str = "/v1/admin/users/{user}/phone";
const DEVICES: &str = "/v1/admin/users/{user}/devices";
const DEVICE: &str = "/v1/admin/users/{user}/devices/{device}";
const CLOCK: &str = "/v1/admin/clock";
const FOLLOW: &str = "/v1/admin/clock/follow";

pub(super) const OPERATIONS: &[Operation<Admin>] = &[
    Operation {
        scope: AdminScope::Read,
        query: &["after:user", "limit:users_max"],
        answer: (200, Some("UserPage")),
        ..op("get", USERS, |it| on(it, admin::list_users), "Users, by name")
    },
    Operation {
        body: Some("NewUser"),
        answer: (201, Some("Credentials")),
        ..op("post", USERS, |it| on(it, admin::add_user), "Add a user with a device; without a name: by phone number")
    },
    Operation {
        scope: AdminScope::Read,
        answer: (200, Some("UserListing")),
        ..op("get", USER, |it| on(it, admin::show_user), "A user's devices, and which inboxes are full")
    },
    op("delete", USER, |it| on(it, admin::remove_user), "Remove a user"),
    Operation {
        body: Some("NewPhone"),
        ..op("put", PHONE, |it| on(it, admin::set_phone), "Say what a user's phone number is")
    },
    op("delete", PHONE, |it| on(it, admin::remove_phone), "Take a user's phone number away"),
    Operation {
        body: Some("NewDevice"),
        answer: (201, Some("Credentials")),
        ..op("post", DEVICES, |it| on(it, admin::add_device), "Add a device, or give it a new password")
    },
    op("delete", DEVICE, |it| on(it, admin::remove_device), "Remove a device"),
];

pub(super) const OF_CLOCK: &[Operation<Time>] = &[
    Operation {
        scope: AdminScope::Read,
        answer: (200, Some("Clock")),
        ..op("get", CLOCK, |it| on(it, clock::show), "The server's time beside the wall clock")
    },
    Operation {
        answer: (200, Some("Clock")),
        ..op("post", FOLLOW, |it| on(it, clock::follow), "By as much as the wall clock has leapt, time has passed")
    },
];

/// What these operations take and answer.
pub(super) fn schemas() -> Map<String, Value> {
    let names = || list(name_schema());
    let (user, device) = (|| ("user", name_schema()), || ("device", name_schema()));
    let new_user = [("user?", or_null(name_schema())), ("phone?", or_null(phone_schema())), device()];
    let clock = [
        ("time_s", number()),
        ("wall_s", number()),
        ("leap_s", or_null(json!({ "type": "integer" }))),
        ("leap_stands_s", or_null(number())),
        ("deletes", json!({ "type": "boolean" })),
    ];
    let schemas = [
        ("UserListing", object(&[user(), ("devices", names()), ("full?", names())])),
        ("UserPage", object(&[("users", list(reference("UserListing"))), ("next", or_null(name_schema()))])),
        ("NewUser", object(&new_user)),
        ("NewPhone", object(&[("phone", phone_schema())])),
        ("NewDevice", object(&[device()])),
        ("Clock", object(&clock)),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// How many users a page has.
pub(super) fn page() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": admin::USERS_MAX })
}
