//! What users do, but for profiles, contacts and presence: conversations, messages, files, devices.

use axum::routing::on;
use godwit_bridge::limits::{CONTENT_TYPE_BYTES_MAX, LABEL_BYTES_MAX, LOOKUP_MAX};
use godwit_core::decide::{
    FILE_NAME_BYTES_MAX, MENTIONS_MAX, REACTION_BYTES_MAX, SEALED_REACTION_BYTES_MAX, TITLE_BYTES_MAX,
};
use godwit_core::state_cache::FILES_MAX;
use serde_json::{Value, json};

use super::super::acting_user::RouteContext;
use super::super::operation::{Operation, op};
use super::super::view::JsonInteger;
use super::super::{account, chat, media, password, phone, server};
use super::schema::{
    base64_of, count, hex, list, list_of, name_schema, number, object, one_of, or_null, phone_schema, reference, text,
};

pub(super) const USER: &str = "/v1/users/{user}";
const EXPORT: &str = "/v1/users/{user}/export";
const LIST: &str = "/v1/users/{user}/conversations";
const ONE: &str = "/v1/users/{user}/conversations/{conversation}";
const MESSAGES: &str = "/v1/users/{user}/conversations/{conversation}/messages";
const MESSAGE: &str = "/v1/users/{user}/conversations/{conversation}/messages/{sequence}";
const REACTION: &str = "/v1/users/{user}/conversations/{conversation}/messages/{sequence}/reaction";
const READ: &str = "/v1/users/{user}/conversations/{conversation}/read";
const ACCEPTED: &str = "/v1/users/{user}/conversations/{conversation}/accepted";
const MEMBERS: &str = "/v1/users/{user}/conversations/{conversation}/members";
const MEMBER: &str = "/v1/users/{user}/conversations/{conversation}/members/{member}";
const INVITES: &str = "/v1/users/{user}/conversations/{conversation}/invites";
const INVITE: &str = "/v1/users/{user}/invites/{invite}";
const SEND: &str = "/v1/users/{user}/messages";
const PHONES: &str = "/v1/users/{user}/phones";
const BLOCKED: &str = "/v1/users/{user}/blocked";
const BLOCK: &str = "/v1/users/{user}/blocked/{other}";
const UPLOADS: &str = "/v1/users/{user}/media";
const MEDIA: &str = "/v1/users/{user}/media/{media}";
const COMPLETE: &str = "/v1/users/{user}/media/{media}/complete";
const DOWNLOAD: &str = "/v1/users/{user}/media/{media}/download";
const DEVICES: &str = "/v1/users/{user}/devices";
const DEVICE: &str = "/v1/users/{user}/devices/{device}";
const PASSWORD: &str = "/v1/users/{user}/devices/{device}/password";
const SERVER: &str = "/v1/users/{user}/server";

/// The schema whose answers are many, a line each.
pub(super) const LINES: &str = "ExportLine";

pub(super) const OPERATIONS: &[Operation<RouteContext>] = &[
    Operation {
        calls: &["EraseAccount"],
        ..op(
            "delete",
            USER,
            |it| on(it, account::erase),
            "Erase the account: devices, inboxes, memberships; what others received stays theirs",
        )
    },
    Operation {
        answer: (200, Some(LINES)),
        ..op(
            "get",
            EXPORT,
            |it| on(it, account::export),
            "Everything that is kept of the user, a JSON object a line; the last has the type \"end\"",
        )
    },
    Operation {
        calls: &["ListConversations"],
        query: &["after", "limit"],
        answer: (200, Some("ConversationPage")),
        ..op("get", LIST, |it| on(it, chat::list_conversations), "The user's conversations, by number")
    },
    Operation {
        calls: &["OpenDirect", "CreateGroup"],
        body: Some("NewConversation"),
        answer: (201, Some("Conversation")),
        ..op(
            "post",
            LIST,
            |it| on(it, chat::create_conversation),
            "Open the direct conversation with a user, or make a group",
        )
    },
    Operation {
        calls: &["Describe"],
        answer: (200, Some("Description")),
        ..op("get", ONE, |it| on(it, chat::describe), "Members, title and settings")
    },
    Operation {
        calls: &["Rename", "ChangeSettings", "SetRetention"],
        body: Some("ConversationChange"),
        ..op("patch", ONE, |it| on(it, chat::change_conversation), "Change the title, the settings or the retention")
    },
    Operation {
        calls: &["DeleteConversation"],
        ..op(
            "delete",
            ONE,
            |it| on(it, chat::delete_conversation),
            "Delete the conversation for the user; others keep theirs",
        )
    },
    Operation {
        calls: &["GetHistory"],
        query: &["before", "after", "oldest_first", "limit"],
        answer: (200, Some("MessagePage")),
        ..op("get", MESSAGES, |it| on(it, chat::history), "History, newest first unless told otherwise")
    },
    Operation {
        body: Some("NewMessage"),
        large: true,
        answer: (201, Some("Place")),
        once: true,
        ..op("post", MESSAGES, |it| on(it, chat::send), "Send a message; it is on disk when this is answered")
    },
    Operation {
        calls: &["Edit"],
        body: Some("NewBody"),
        large: true,
        ..op("put", MESSAGE, |it| on(it, chat::edit), "Edit a message")
    },
    Operation { calls: &["Recall"], ..op("delete", MESSAGE, |it| on(it, chat::recall), "Take a message back") },
    Operation {
        calls: &["React"],
        body: Some("NewReaction"),
        ..op("put", REACTION, |it| on(it, chat::react), "React to a message; empty: no more")
    },
    Operation { body: Some("ReadUpTo"), ..op("put", READ, |it| on(it, chat::read), "Everything up to here was read") },
    Operation {
        calls: &["Accept"],
        ..op(
            "put",
            ACCEPTED,
            |it| on(it, chat::accept),
            "Accept a conversation that a stranger has opened, or has added the user to",
        )
    },
    Operation {
        calls: &["AddMember"],
        body: Some("NewMember"),
        ..op("post", MEMBERS, |it| on(it, chat::add_member), "Add a member to a group")
    },
    Operation {
        calls: &["SetRole"],
        body: Some("NewRole"),
        ..op("put", MEMBER, |it| on(it, chat::set_role), "Give a member a role")
    },
    Operation {
        calls: &["RemoveMember", "Leave"],
        ..op("delete", MEMBER, |it| on(it, chat::remove_member), "Remove a member; oneself: leave")
    },
    Operation {
        calls: &["ListInvites"],
        answer: (200, Some("Invites")),
        ..op("get", INVITES, |it| on(it, chat::list_invites), "Invites to a group")
    },
    Operation {
        calls: &["CreateInvite"],
        body: Some("NewInvite"),
        answer: (201, Some("Invite")),
        ..op("post", INVITES, |it| on(it, chat::create_invite), "Make an invite")
    },
    Operation {
        calls: &["Join"],
        answer: (200, Some("Conversation")),
        ..op("post", INVITE, |it| on(it, chat::join), "Join a group")
    },
    Operation {
        calls: &["RevokeInvite"],
        ..op("delete", INVITE, |it| on(it, chat::revoke_invite), "Revoke an invite")
    },
    Operation {
        body: Some("NewMessageTo"),
        large: true,
        answer: (201, Some("Place")),
        once: true,
        ..op(
            "post",
            SEND,
            |it| on(it, phone::send),
            "Send a message to a user, or to whoever has a phone number, now or within 30 days",
        )
    },
    Operation {
        calls: &["LookUpPhones"],
        body: Some("PhoneHashes"),
        large: true,
        answer: (200, Some("FoundPhones")),
        ..op("post", PHONES, |it| on(it, phone::look_up), "Which of some hashed phone numbers are users'")
    },
    Operation {
        calls: &["ListBlocked"],
        answer: (200, Some("Users")),
        ..op("get", BLOCKED, |it| on(it, chat::list_blocked), "Whom the user has blocked")
    },
    Operation { calls: &["Block"], ..op("put", BLOCK, |it| on(it, chat::block), "Block a user") },
    Operation { calls: &["Unblock"], ..op("delete", BLOCK, |it| on(it, chat::unblock), "Unblock a user") },
    Operation {
        calls: &["CreateUpload"],
        body: Some("NewUpload"),
        answer: (201, Some("Upload")),
        ..op(
            "post",
            UPLOADS,
            |it| on(it, media::create),
            "Begin an upload, or go on with the unfinished one of the same file",
        )
    },
    Operation {
        calls: &["GetUpload"],
        query: &["after:part"],
        answer: (200, Some("Upload")),
        ..op("get", MEDIA, |it| on(it, media::resume), "The user's unfinished upload, with links for what is missing")
    },
    Operation {
        calls: &["DiscardUpload"],
        ..op("delete", MEDIA, |it| on(it, media::discard), "Give up an unfinished upload")
    },
    Operation {
        calls: &["CompleteUpload"],
        answer: (200, Some("Upload")),
        ..op("post", COMPLETE, |it| on(it, media::complete), "Everything is uploaded: verify it")
    },
    Operation {
        calls: &["DownloadLink"],
        query: &["conversation"],
        answer: (200, Some("Link")),
        ..op("get", DOWNLOAD, |it| on(it, media::download), "A link to a file that was shared with the user")
    },
    Operation {
        calls: &["ListDevices"],
        answer: (200, Some("Devices")),
        ..op("get", DEVICES, |it| on(it, chat::list_devices), "The user's devices")
    },
    Operation {
        calls: &["LabelDevice"],
        body: Some("NewLabel"),
        ..op("put", DEVICE, |it| on(it, chat::label_device), "Say what a device is called")
    },
    Operation {
        calls: &["RemoveDevice"],
        ..op(
            "delete",
            DEVICE,
            |it| on(it, chat::remove_device),
            "Remove a device: its connection is cut, its inbox gone",
        )
    },
    Operation {
        calls: &["RenewPassword"],
        answer: (201, Some("Credentials")),
        ..op(
            "post",
            PASSWORD,
            |it| on(it, password::renew),
            "A new password; the one before is void, and the device's connection is closed",
        )
    },
    Operation {
        calls: &["GetServer"],
        answer: (200, Some("Server")),
        ..op("get", SERVER, |it| on(it, server::show), "Which server this is, and its epoch")
    },
];

/// What these operations take and answer. `body_bytes_max`: of a message.
pub(super) fn schemas(body_bytes_max: usize) -> Value {
    let small = || json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    let base64 = || json!({ "type": "string", "format": "byte" });
    let flag = || json!({ "type": "boolean" });
    let any = || json!({ "type": "object" });
    let role = || reference("Role");
    let description = [
        ("conversation", number()),
        ("group", flag()),
        ("title", text(TITLE_BYTES_MAX)),
        ("members", list(reference("Member"))),
        ("settings", or_null(json!({ "allOf": [reference("Settings")] }))),
        ("retention", reference("Retention")),
        ("request", flag()),
        ("mls_epoch?", number()),
    ];
    let summary = [
        &description[..],
        &[("last_sequence", number()), ("last", or_null(any())), ("unread", number()), ("read_up_to", number())],
    ]
    .concat();
    let reaction =
        [("member", small()), ("reaction", text(REACTION_BYTES_MAX)), ("sealed?", base64()), ("mls_epoch?", number())];
    let message = [
        ("sequence", number()),
        ("sender", small()),
        ("age_s", number()),
        ("body", base64()),
        ("text", or_null(json!({ "type": "string" }))),
        ("reply_to", or_null(number())),
        ("edited", flag()),
        ("recalled", flag()),
        ("media", list(reference("File"))),
        ("reactions", list(object(&reaction))),
        ("properties", or_null(json!({ "allOf": [reference("Properties")] }))),
        ("silent", flag()),
        ("mentions", list(small())),
        ("mls_epoch?", number()),
    ];
    let string = || text(u16::MAX.into());
    let properties = [
        ("payload_format", or_null(json!({ "type": "integer", "minimum": 0, "maximum": 1 }))),
        ("content_type", or_null(string())),
        ("response_topic", or_null(string())),
        ("correlation_data", or_null(base64())),
        ("user_properties", list(object(&[("name", string()), ("value", string())]))),
    ];
    let hash = || json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    // Any bytes, or a text.
    let content = [("body", base64_of(0, body_bytes_max)), ("text", text(body_bytes_max))];
    let files = list_of(reference("NewFile"), 0, FILES_MAX);
    let new_message = [
        ("client_sequence?", count()),
        ("expires_in_s?", small()),
        ("reply_to?", number()),
        ("media?", files),
        ("silent?", flag()),
        ("mentions?", list_of(small(), 0, MENTIONS_MAX)),
        ("mls_epoch?", number()),
    ];
    let to_user = [&[("user", name_schema())], &new_message[..]].concat();
    let to_phone = [&[("phone", phone_schema())], &new_message[..]].concat();
    let to_somebody = [one_of(&content, &to_user), one_of(&content, &to_phone)].concat();
    let new_reaction = [
        ("reaction?", text(REACTION_BYTES_MAX)),
        ("sealed?", base64_of(0, SEALED_REACTION_BYTES_MAX)),
        ("mls_epoch?", number()),
    ];
    let mls = [("epoch", number()), ("device", name_schema()), ("commit", base64()), ("welcome", base64())];
    let change = [("sequence", number()), ("by", small()), ("change", or_null(any())), ("mls?", object(&mls))];
    let encryption = json!({ "type": "string", "enum": ["off", "allowed", "required"] });
    let server = [("server", hex()), ("epoch", hex()), ("numbers_above", number()), ("encryption", encryption)];
    let settings = [("may_send", role()), ("may_add", role()), ("may_rename", role()), ("history_for_new", flag())];
    json!({
        "ExportLine": { "type": "object", "required": ["type"], "properties": { "type": text(32) } },
        "Problem": object(&[("title", text(64)), ("status", small()), ("detail", text(1_024))]),
        "Role": { "type": "string", "enum": ["member", "admin", "owner"] },
        "Member": object(&[("ordinal", small()), ("user", name_schema()), ("role", role())]),
        "Settings": object(&settings),
        "Retention": object(&[("history_days?", or_null(small())), ("expires_in_s", small())]),
        "Description": object(&[&description[..], &[("last_client_sequence", count())]].concat()),
        "Summary": object(&summary),
        "Message": object(&message),
        "Properties": object(&properties),
        "Change": object(&change),
        "ConversationPage": object(&[("conversations", list(reference("Summary"))), ("next", or_null(number()))]),
        "MessagePage": object(&[
            ("messages", list(json!({ "oneOf": [reference("Message"), reference("Change")] }))),
            ("next", or_null(number())),
        ]),
        "Conversation": object(&[("conversation", number())]),
        "NewConversation": { "oneOf": [
            object(&[("user", name_schema())]),
            object(&[("title", text(TITLE_BYTES_MAX)), ("users", list(name_schema()))]),
        ] },
        "ConversationChange": { "oneOf": [
            object(&[("title", text(TITLE_BYTES_MAX))]),
            object(&[("settings", reference("Settings"))]),
            object(&[("retention", reference("Retention"))]),
        ] },
        "NewMessage": { "oneOf": one_of(&content, &new_message) },
        "NewMessageTo": { "oneOf": to_somebody },
        "PhoneHashes": object(&[("sha256", list_of(hash(), 1, LOOKUP_MAX))]),
        "FoundPhones": object(&[
            ("found", list(object(&[("sha256", hash()), ("user", name_schema()), ("waiting", flag())]))),
        ]),
        "Place": object(&[
            ("conversation", number()),
            ("sequence", or_null(number())),
            ("repeated?", flag()),
            ("last_client_sequence?", count()),
        ]),
        "NewBody": { "oneOf": one_of(&content, &[("mls_epoch?", number())]) },
        "NewReaction": object(&new_reaction),
        "ReadUpTo": object(&[("sequence", number())]),
        "NewMember": object(&[("user", name_schema())]),
        "NewRole": object(&[("role", role())]),
        "Invite": object(&[("invite", text(64)), ("by", small()), ("expires_in_s", or_null(small()))]),
        "Invites": object(&[("invites", list(reference("Invite")))]),
        "NewInvite": object(&[("expires_in_s?", small())]),
        "Users": object(&[("users", list(name_schema()))]),
        "Device": object(&[
            ("device", name_schema()),
            ("label", text(LABEL_BYTES_MAX)),
            ("connected", flag()),
            ("inbox_full", flag()),
            ("full_age_s", or_null(number())),
        ]),
        "NewFile": object(&[
            ("id", text(64)),
            ("name?", text(FILE_NAME_BYTES_MAX)),
            ("thumbnail?", base64()),
            ("key?", base64()),
        ]),
        "File": object(&[
            ("id", text(64)),
            ("name", text(FILE_NAME_BYTES_MAX)),
            ("thumbnail", base64()),
            ("key", base64()),
            ("size", number()),
            ("content_type", text(CONTENT_TYPE_BYTES_MAX)),
            ("sha256", base64()),
        ]),
        "NewUpload": object(&[
            ("sha256", base64_of(32, 32)),
            ("size", json!({ "type": "integer", "minimum": 1, "maximum": JsonInteger::MAX })),
            ("content_type", text(CONTENT_TYPE_BYTES_MAX)),
            ("conversation?", number()),
        ]),
        "Link": object(&[
            ("method", text(8)),
            ("url", json!({ "type": "string" })),
            ("headers", json!({ "type": "object", "additionalProperties": { "type": "string" } })),
            ("expires_in_s", small()),
        ]),
        "Upload": object(&[
            ("media", text(64)),
            ("complete", flag()),
            ("link", or_null(json!({ "allOf": [reference("Link")] }))),
            ("part_bytes", number()),
            ("stored", list(small())),
            ("parts", list(object(&[("part", small()), ("link", reference("Link"))]))),
        ]),
        "Devices": object(&[("devices", list(reference("Device")))]),
        "NewLabel": object(&[("label", text(LABEL_BYTES_MAX))]),
        "Server": object(&server),
    })
}
