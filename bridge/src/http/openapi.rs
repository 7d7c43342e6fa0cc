//! The OpenAPI document (3.0.3) of the HTTP API, from one table of its operations. Served at `/v1/openapi.json`; a test
//! lets schemathesis hold the server to it (tests/e2e/http.rs).

use axum::Json;
use serde_json::{Map, Value, json};

mod people;
mod registration;
use super::account::JSON_LINES;

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    body: Option<&'static str>,
    /// Status of the answer, and its schema.
    answer: (u16, Option<&'static str>),
    refusals: &'static [u16],
}

const fn op(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
    Operation { method, path, summary, query: &[], body: None, answer: (204, None), refusals: &[403, 404] }
}

const USER: &str = "/v1/users/{user}";
const EXPORT: &str = "/v1/users/{user}/export";
const LIST: &str = "/v1/users/{user}/conversations";
const ONE: &str = "/v1/users/{user}/conversations/{conversation}";
const MESSAGES: &str = "/v1/users/{user}/conversations/{conversation}/messages";
const MESSAGE: &str = "/v1/users/{user}/conversations/{conversation}/messages/{sequence}";
const REACTION: &str = "/v1/users/{user}/conversations/{conversation}/messages/{sequence}/reaction";
const READ: &str = "/v1/users/{user}/conversations/{conversation}/read";
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

/// The schema whose answers are many, a line each.
const LINES: &str = "ExportLine";

const OPERATIONS: &[Operation] = &[
    op("delete", USER, "Erase the account: devices, inboxes, memberships; what others received stays theirs"),
    Operation {
        answer: (200, Some(LINES)),
        ..op("get", EXPORT, "Everything that is kept of the user, a JSON object a line; the last has the type \"end\"")
    },
    Operation {
        query: &["after", "limit"],
        answer: (200, Some("ConversationPage")),
        ..op("get", LIST, "The user's conversations, by number")
    },
    Operation {
        body: Some("NewConversation"),
        answer: (201, Some("Conversation")),
        refusals: &[404, 409, 422],
        ..op("post", LIST, "Open the direct conversation with a user, or make a group")
    },
    Operation { answer: (200, Some("Description")), ..op("get", ONE, "Members, title and settings") },
    Operation {
        body: Some("ConversationChange"),
        refusals: &[403, 404, 422],
        ..op("patch", ONE, "Change the title, the settings or the retention")
    },
    op("delete", ONE, "Delete the conversation for the user; others keep theirs"),
    Operation {
        query: &["before", "after", "oldest_first", "limit"],
        answer: (200, Some("MessagePage")),
        ..op("get", MESSAGES, "History, newest first unless told otherwise")
    },
    Operation {
        body: Some("NewMessage"),
        answer: (201, Some("Place")),
        refusals: &[403, 404, 409],
        ..op("post", MESSAGES, "Send a message; it is on disk when this is answered")
    },
    Operation { body: Some("NewBody"), refusals: &[403, 404, 409], ..op("put", MESSAGE, "Edit a message") },
    op("delete", MESSAGE, "Take a message back"),
    Operation {
        body: Some("NewReaction"),
        refusals: &[403, 404, 422],
        ..op("put", REACTION, "React to a message; empty: no more")
    },
    Operation { body: Some("ReadUpTo"), ..op("put", READ, "Everything up to here was read") },
    Operation {
        body: Some("NewMember"),
        refusals: &[403, 404, 409, 422],
        ..op("post", MEMBERS, "Add a member to a group")
    },
    Operation { body: Some("NewRole"), refusals: &[403, 404, 422], ..op("put", MEMBER, "Give a member a role") },
    Operation { refusals: &[403, 404, 422], ..op("delete", MEMBER, "Remove a member; oneself: leave") },
    Operation {
        answer: (200, Some("Invites")),
        refusals: &[403, 404, 422],
        ..op("get", INVITES, "Invites to a group")
    },
    Operation {
        body: Some("NewInvite"),
        answer: (201, Some("Invite")),
        refusals: &[403, 404, 409, 422],
        ..op("post", INVITES, "Make an invite")
    },
    Operation {
        answer: (200, Some("Conversation")),
        refusals: &[403, 404, 409, 422],
        ..op("post", INVITE, "Join a group")
    },
    Operation { refusals: &[403, 404, 422], ..op("delete", INVITE, "Revoke an invite") },
    Operation {
        body: Some("NewMessageTo"),
        answer: (201, Some("Place")),
        refusals: &[404, 409],
        ..op("post", SEND, "Send a message to a user, or to whoever has a phone number, now or within 30 days")
    },
    Operation {
        body: Some("PhoneHashes"),
        answer: (200, Some("FoundPhones")),
        refusals: &[404, 409, 422],
        ..op("post", PHONES, "Which of some hashed phone numbers are users'")
    },
    Operation { answer: (200, Some("Users")), ..op("get", BLOCKED, "Whom the user has blocked") },
    Operation { refusals: &[403, 404, 409, 422], ..op("put", BLOCK, "Block a user") },
    Operation { refusals: &[403, 404, 422], ..op("delete", BLOCK, "Unblock a user") },
    Operation {
        body: Some("NewUpload"),
        answer: (201, Some("Upload")),
        refusals: &[403, 404, 409],
        ..op("post", UPLOADS, "Begin an upload, or go on with the unfinished one of the same file")
    },
    Operation {
        query: &["after"],
        answer: (200, Some("Upload")),
        refusals: &[404],
        ..op("get", MEDIA, "The user's unfinished upload, with links for what is missing")
    },
    Operation { refusals: &[404], ..op("delete", MEDIA, "Give up an unfinished upload") },
    Operation {
        answer: (200, Some("Upload")),
        refusals: &[404],
        ..op("post", COMPLETE, "Everything is uploaded: verify it")
    },
    Operation {
        query: &["conversation"],
        answer: (200, Some("Link")),
        refusals: &[404],
        ..op("get", DOWNLOAD, "A link to a file that was shared with the user")
    },
    Operation { answer: (200, Some("Devices")), ..op("get", DEVICES, "The user's devices") },
    Operation {
        body: Some("NewLabel"),
        refusals: &[403, 404, 422],
        ..op("put", DEVICE, "Say what a device is called")
    },
    op("delete", DEVICE, "Remove a device: its connection is cut, its inbox gone"),
];

/// The document.
pub(super) async fn document() -> Json<Value> {
    let mut paths = Map::new();
    let mut all_schemas = schemas();
    if let Some(schemas) = all_schemas.as_object_mut() {
        schemas.extend(people::schemas());
        schemas.extend(registration::schemas());
    }
    for operation in OPERATIONS.iter().chain(people::OPERATIONS).chain(registration::OPERATIONS) {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({ "parameters": in_path(operation.path) }));
        methods[operation.method] = describe(operation);
    }
    Json(json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Godwit",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What users do. The same operations as `rpc` over MQTT; schemas/proto/godwit/client.proto says who may call what.",
        },
        "security": [{ "device": [] }, { "administrator": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "device": { "type": "http", "scheme": "basic", "description": "User name `<user>/<device>`, and the device's password" },
                "administrator": { "type": "http", "scheme": "bearer" },
            },
            "schemas": all_schemas,
        },
    }))
}

fn describe(operation: &Operation) -> Value {
    let mut described = json!({ "summary": operation.summary });
    if operation.path.starts_with(registration::REGISTRATIONS) {
        described["security"] = json!([]);
    }
    // `name:kind` where the name alone does not say it.
    let parameter = |it: &&str| {
        let (name, kind) = it.split_once(':').unwrap_or((it, it));
        json!({ "name": name, "in": "query", "required": kind == "users", "schema": query(kind) })
    };
    let mut parameters: Vec<_> = operation.query.iter().map(parameter).collect();
    let tagged = operation.method == "get" && operation.answer.1 != Some(LINES);
    if tagged {
        parameters.push(json!({ "name": "If-None-Match", "in": "header", "schema": { "type": "string" } }));
    }
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    let problem = json!({
        "description": "Refused",
        "content": { "application/problem+json": { "schema": reference("Problem") } },
    });
    let mut responses = Map::new();
    let (status, schema) = operation.answer;
    let mut answer = json!({ "description": "Done" });
    if let Some(schema) = schema {
        let media_type = if schema == LINES { JSON_LINES } else { "application/json" };
        answer["content"] = json!({ media_type: { "schema": reference(schema) } });
    }
    responses.insert(status.to_string(), answer);
    if tagged {
        responses.insert("304".to_owned(), json!({ "description": "As `If-None-Match` has it already" }));
    }
    let mut refusals = operation.refusals.to_vec();
    refusals.extend([400, 401, 422, 503]);
    if let Some(body) = operation.body {
        refusals.extend([413, 415]);
        described["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(body) } } });
    }
    responses.extend(refusals.into_iter().map(|status| (status.to_string(), problem.clone())));
    described["responses"] = responses.into();
    described
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn in_path(path: &str) -> Value {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name| {
        let schema = match name {
            "conversation" | "sequence" => number(),
            "media" => json!({ "type": "string", "minLength": 1, "maxLength": 64 }),
            "invite" => json!({ "type": "string", "minLength": 1, "maxLength": 64 }),
            _ => name_schema(),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    names.map(parameter).collect()
}

fn query(name: &str) -> Value {
    match name {
        "oldest_first" => json!({ "type": "boolean" }),
        "limit" => json!({ "type": "integer", "minimum": 0, "maximum": 100 }),
        "user" => name_schema(),
        "users" => json!({
            "type": "string",
            "pattern": "^[a-zA-Z0-9._@,-]*$",
            // Encoded, it must fit into the head of a request.
            "maxLength": 5_000,
            "description": "Names with commas between them, up to 100",
        }),
        _ => number(),
    }
}

/// A sequence or a conversation. (JSON's numbers are exact to here.)
fn number() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64 })
}

fn name_schema() -> Value {
    json!({ "type": "string", "pattern": "^[a-zA-Z0-9_@-][a-zA-Z0-9._@-]{0,63}$" })
}

fn phone_schema() -> Value {
    json!({ "type": "string", "pattern": "^\\+[1-9][0-9]{4,14}$" })
}

/// An object whose properties must all be there, but for those whose name ends with `?`.
fn object(properties: &[(&str, Value)]) -> Value {
    let required: Vec<_> = properties.iter().filter(|(name, _)| !name.ends_with('?')).map(|(name, _)| *name).collect();
    let properties: Map<_, _> =
        properties.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone())).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

fn list(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn or_null(mut schema: Value) -> Value {
    schema["nullable"] = true.into();
    schema
}

fn text(bytes_max: u32) -> Value {
    json!({ "type": "string", "maxLength": bytes_max })
}

fn schemas() -> Value {
    let small = || json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    let base64 = || json!({ "type": "string", "format": "byte" });
    let flag = || json!({ "type": "boolean" });
    let any = || json!({ "type": "object" });
    let role = || reference("Role");
    let description = [
        ("conversation", number()),
        ("group", flag()),
        ("title", text(256)),
        ("members", list(reference("Member"))),
        ("settings", or_null(json!({ "allOf": [reference("Settings")] }))),
        ("retention", reference("Retention")),
    ];
    let summary = [
        &description[..],
        &[("last_sequence", number()), ("last", or_null(any())), ("unread", number()), ("read_up_to", number())],
    ]
    .concat();
    let message = [
        ("sequence", number()),
        ("sender", small()),
        ("age_s", number()),
        ("body", base64()),
        ("reply_to", or_null(number())),
        ("edited", flag()),
        ("recalled", flag()),
        ("media", list(reference("File"))),
        ("reactions", list(object(&[("member", small()), ("reaction", text(32))]))),
    ];
    let hash = || json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    let message_to = [("body", base64()), ("client_sequence?", number()), ("expires_in_s?", small())];
    let settings = [("may_send", role()), ("may_add", role()), ("may_rename", role()), ("history_for_new", flag())];
    json!({
        "ExportLine": { "type": "object", "required": ["type"], "properties": { "type": text(32) } },
        "Problem": object(&[("title", text(64)), ("status", small()), ("detail", text(1_024))]),
        "Role": { "type": "string", "enum": ["member", "admin", "owner"] },
        "Member": object(&[("ordinal", small()), ("user", name_schema()), ("role", role())]),
        "Settings": object(&settings),
        "Retention": object(&[("history_days?", or_null(small())), ("expires_in_s", small())]),
        "Description": object(&description),
        "Summary": object(&summary),
        "Message": object(&message),
        "Change": object(&[("sequence", number()), ("by", small()), ("change", any())]),
        "ConversationPage": object(&[("conversations", list(reference("Summary"))), ("next", or_null(number()))]),
        "MessagePage": object(&[
            ("messages", list(json!({ "oneOf": [reference("Message"), reference("Change")] }))),
            ("next", or_null(number())),
        ]),
        "Conversation": object(&[("conversation", number())]),
        "NewConversation": { "oneOf": [
            object(&[("user", name_schema())]),
            object(&[("title", text(256)), ("users", list(name_schema()))]),
        ] },
        "ConversationChange": { "oneOf": [
            object(&[("title", text(256))]),
            object(&[("settings", reference("Settings"))]),
            object(&[("retention", reference("Retention"))]),
        ] },
        "NewMessage": object(&[
            ("body", base64()),
            ("client_sequence?", number()),
            ("expires_in_s?", small()),
            ("reply_to?", number()),
            ("media?", list(reference("NewFile"))),
        ]),
        "NewMessageTo": { "oneOf": [
            object(&[&[("user", name_schema())], &message_to[..]].concat()),
            object(&[&[("phone", phone_schema())], &message_to[..]].concat()),
        ] },
        "PhoneHashes": object(&[("sha256", list(hash()))]),
        "FoundPhones": object(&[
            ("found", list(object(&[("sha256", hash()), ("user", name_schema()), ("waiting", flag())]))),
        ]),
        "Place": object(&[("conversation", number()), ("sequence", or_null(number()))]),
        "NewBody": object(&[("body", base64())]),
        "NewReaction": object(&[("reaction", text(32))]),
        "ReadUpTo": object(&[("sequence", number())]),
        "NewMember": object(&[("user", name_schema())]),
        "NewRole": object(&[("role", role())]),
        "Invite": object(&[("invite", text(64)), ("by", small()), ("expires_in_s", or_null(small()))]),
        "Invites": object(&[("invites", list(reference("Invite")))]),
        "NewInvite": object(&[("expires_in_s?", small())]),
        "Users": object(&[("users", list(name_schema()))]),
        "Device": object(&[("device", name_schema()), ("label", text(128)), ("connected", flag())]),
        "NewFile": object(&[("id", text(64)), ("name?", text(255)), ("thumbnail?", base64()), ("key?", base64())]),
        "File": object(&[
            ("id", text(64)),
            ("name", text(255)),
            ("thumbnail", base64()),
            ("key", base64()),
            ("size", number()),
            ("content_type", text(127)),
            ("sha256", base64()),
        ]),
        "NewUpload": object(&[
            ("sha256", base64()),
            ("size", number()),
            ("content_type", text(127)),
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
        "NewLabel": object(&[("label", text(128))]),
    })
}
