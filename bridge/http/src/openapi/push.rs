//! Pushes, mutes, and looking into an inbox.

use axum::routing::on;
use godwit_bridge::limits::{PUSH_ENDPOINT_BYTES_MAX, PUSH_TOKEN_BYTES_MAX};
use serde_json::{Map, Value, json};

use super::super::acting_user::RouteContext;
use super::super::operation::{Operation, op};
use super::super::push;
use super::schema::{base64_of, list, number, object, one_of, or_null, reference, text};

const PUSH: &str = "/v1/users/{user}/devices/{device}/push";
const INBOX: &str = "/v1/users/{user}/devices/{device}/inbox";
const MUTE: &str = "/v1/users/{user}/conversations/{conversation}/mute";
const MUTES: &str = "/v1/users/{user}/mutes";

pub(super) const OPERATIONS: &[Operation<RouteContext>] = &[
    Operation {
        calls: &["GetPush"],
        answer: (200, Some("Push")),
        ..op("get", PUSH, |it| on(it, push::get), "Where a device is pushed, and the server's key for Web Push")
    },
    Operation {
        calls: &["SetPush"],
        body: Some("NewPush"),
        ..op("put", PUSH, |it| on(it, push::set), "Say where a device is pushed while it is not connected")
    },
    Operation { calls: &["SetPush"], ..op("delete", PUSH, |it| on(it, push::drop), "Push a device nowhere any more") },
    Operation {
        calls: &["PeekInbox"],
        query: &["after"],
        answer: (200, Some("InboxPage")),
        ..op("get", INBOX, |it| on(it, push::peek), "What waits for a device; nothing of it is acknowledged")
    },
    Operation {
        calls: &["SetMute"],
        body: Some("NewMute"),
        ..op("put", MUTE, |it| on(it, push::mute), "Mute a conversation: nothing is pushed of it")
    },
    Operation { calls: &["SetMute"], ..op("delete", MUTE, |it| on(it, push::unmute), "Mute it no more") },
    Operation {
        calls: &["ListMutes"],
        query: &["after"],
        answer: (200, Some("MutePage")),
        ..op("get", MUTES, |it| on(it, push::mutes), "The conversations that the user has muted, by number")
    },
];

/// What these operations take and answer.
pub(super) fn schemas() -> Map<String, Value> {
    let small = || json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    let flag = || json!({ "type": "boolean" });
    let base64_url = |characters: usize| {
        let pattern = format!("^[A-Za-z0-9_-]{{{characters}}}=*$");
        json!({ "type": "string", "pattern": pattern })
    };
    let preview = || json!({ "type": "string", "enum": ["full", "sender", "none"] });
    let apns = object(&[
        ("token", base64_of(1, PUSH_TOKEN_BYTES_MAX)),
        ("topic", text(PUSH_TOKEN_BYTES_MAX)),
        ("sandbox?", flag()),
    ]);
    let addresses = [
        ("apns", apns),
        ("fcm", object(&[("token", text(PUSH_TOKEN_BYTES_MAX))])),
        ("web", object(&[("endpoint", text(PUSH_ENDPOINT_BYTES_MAX))])),
    ];
    let rest = [("keys?", reference("PushKeys")), ("preview?", preview()), ("unread?", small())];
    let entry = json!({ "oneOf": [reference("Message"), reference("Change")] });
    let schemas = [
        ("PushKeys", object(&[("p256dh", base64_url(87)), ("auth", base64_url(22))])),
        ("NewPush", json!({ "oneOf": one_of(&addresses, &rest) })),
        (
            "Push",
            object(&[
                ("vapid", or_null(base64_url(87))),
                ("provider", or_null(json!({ "type": "string", "enum": ["apns", "fcm", "web"] }))),
                ("preview", preview()),
                ("unread", small()),
            ]),
        ),
        (
            "InboxPage",
            object(&[
                ("entries", list(object(&[("conversation", number()), ("event", entry)]))),
                ("next", or_null(number())),
            ]),
        ),
        ("NewMute", object(&[("for_s?", or_null(small())), ("mentions_only?", flag())])),
        ("Mute", object(&[("conversation", number()), ("for_s", or_null(small())), ("mentions_only", flag())])),
        ("MutePage", object(&[("mutes", list(reference("Mute"))), ("next", or_null(number()))])),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
