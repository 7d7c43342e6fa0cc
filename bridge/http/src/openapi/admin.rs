//! Operators' commands. They need the administrator's token.

use std::sync::Arc;

use axum::routing::on;
use godwit_bridge::admin::Admin;
use godwit_store::time::Time;
use serde_json::{Map, Value, json};

use super::super::checkpoint::{self, CheckpointMaker};
use super::super::operation::{Operation, op};
use super::super::reload::{self, SettingsReload};
use super::super::token::AdminScope;
use super::super::{admin, clock, window};
use super::schema::{hex, list, name_schema, number, object, or_null, phone_schema, reference};

const USERS: &str = "/v1/admin/users";
const USER: &str = "/v1/admin/users/{user}";
const PHONE: &str = "/v1/admin/users/{user}/phone";
const DEVICES: &str = "/v1/admin/users/{user}/devices";
const DEVICE: &str = "/v1/admin/users/{user}/devices/{device}";
const CONNECTION: &str = "/v1/admin/users/{user}/devices/{device}/connection";
const INBOX: &str = "/v1/admin/users/{user}/devices/{device}/inbox";
const SUSPENSION: &str = "/v1/admin/users/{user}/suspension";
const CLIENTS: &str = "/v1/admin/clients";
const CONVERSATION: &str = "/v1/admin/conversations/{conversation}";
const CLOCK: &str = "/v1/admin/clock";
const SETTINGS: &str = "/v1/admin/settings/reload";
const CHECKPOINT: &str = "/v1/admin/checkpoint";
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
        ..op("post", DEVICES, |it| on(it, admin::add_device), "Add a device")
    },
    op("delete", DEVICE, |it| on(it, admin::remove_device), "Remove a device"),
    Operation {
        scope: AdminScope::Read,
        answer: (200, Some("DeviceReport")),
        ..op("get", DEVICE, |it| on(it, window::show_device), "A device's connection, and how much waits for it")
    },
    Operation {
        scope: AdminScope::Support,
        ..op("delete", CONNECTION, |it| on(it, window::kick), "End a device's connection; it may come again")
    },
    Operation {
        scope: AdminScope::Read,
        query: &["after:number", "limit:entries_max"],
        answer: (200, Some("InboxEntries")),
        ..op("get", INBOX, |it| on(it, window::show_inbox), "What waits for a device, without what it says")
    },
    Operation {
        scope: AdminScope::Support,
        ..op("put", SUSPENSION, |it| on(it, window::suspend), "Shut a user out, for a while; nothing of it is lost")
    },
    Operation {
        scope: AdminScope::Support,
        ..op("delete", SUSPENSION, |it| on(it, window::resume), "Let a user in again")
    },
    Operation {
        scope: AdminScope::Read,
        query: &["after:user", "limit:users_max"],
        answer: (200, Some("ClientPage")),
        ..op("get", CLIENTS, |it| on(it, window::list_clients), "Connected devices, by the names of their users")
    },
    Operation {
        scope: AdminScope::Read,
        answer: (200, Some("ConversationReport")),
        ..op(
            "get",
            CONVERSATION,
            |it| on(it, window::show_conversation),
            "Who is in a conversation, and how far each is",
        )
    },
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

pub(super) const OF_STORE: &[Operation<CheckpointMaker>] = &[
    Operation {
        answer: (201, Some("Checkpoint")),
        ..op("post", CHECKPOINT, |it| on(it, checkpoint::make), "Make a copy of the store at this moment, for a backup")
    },
    op("delete", CHECKPOINT, |it| on(it, checkpoint::remove), "Remove that copy"),
];

pub(super) const OF_SETTINGS: &[Operation<Arc<dyn SettingsReload>>] = &[Operation {
    answer: (200, Some("Reloaded")),
    ..op("post", SETTINGS, |it| on(it, reload::reload), "Read the settings and the files that they name again")
}];

/// What these operations take and answer.
pub(super) fn schemas() -> Map<String, Value> {
    let names = || list(name_schema());
    let keys = || list(json!({ "type": "string" }));
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
        ("UserListing", object(&[user(), ("devices", names()), ("full?", names()), ("suspended_at_s?", number())])),
        ("Client", client()),
        ("ClientPage", object(&[("clients", list(reference("Client"))), ("next", or_null(name_schema()))])),
        ("DeviceReport", device_report()),
        ("InboxEntry", inbox_entry()),
        ("InboxEntries", object(&[("entries", list(reference("InboxEntry"))), ("next", or_null(number()))])),
        ("ConversationReport", conversation_report()),
        ("UserPage", object(&[("users", list(reference("UserListing"))), ("next", or_null(name_schema()))])),
        ("NewUser", object(&new_user)),
        ("NewPhone", object(&[("phone", phone_schema())])),
        ("NewDevice", object(&[device()])),
        ("Clock", object(&clock)),
        ("Reloaded", object(&[("applied", keys()), ("needs_restart", keys())])),
        ("Checkpoint", object(&[("path", json!({ "type": "string" }))])),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn client() -> Value {
    object(&[
        ("user", name_schema()),
        ("device", name_schema()),
        ("protocol", json!({ "type": "string", "enum": ["3.1.1", "5"] })),
        ("broker", hex()),
        ("connection", number()),
        ("session_expiry_s", number()),
        ("token_ends_at_s?", number()),
        ("in_flight", number()),
        ("publishes", number()),
    ])
}

fn device_report() -> Value {
    let inbox = object(&[
        ("entries", number()),
        ("is_full", json!({ "type": "boolean" })),
        ("full_since_s", or_null(number())),
    ]);
    let connection = json!({ "nullable": true, "allOf": [reference("Client")] });
    object(&[("connection", connection), ("seen_day", or_null(number())), ("inbox", inbox)])
}

fn inbox_entry() -> Value {
    object(&[
        ("order", number()),
        ("conversation", number()),
        ("sequence", number()),
        ("kind", json!({ "type": "string", "enum": ["message", "change", "recalled"] })),
        ("bytes", number()),
        ("stored_at_s", number()),
        ("expires_at_s", number()),
    ])
}

fn conversation_report() -> Value {
    let member = object(&[
        ("user", name_schema()),
        ("role", number()),
        ("delivered", number()),
        ("read", number()),
        ("last_sent", number()),
        ("joined_after", number()),
    ]);
    object(&[("group", json!({ "type": "boolean" })), ("last_sequence", number()), ("members", list(member))])
}

/// How many entries of an inbox a page has.
pub(super) fn inbox_page() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": window::ENTRIES_MAX })
}

/// How many users a page has.
pub(super) fn page() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": admin::USERS_MAX })
}
