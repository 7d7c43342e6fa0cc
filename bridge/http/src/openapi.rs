//! The OpenAPI document (3.0.3) of the HTTP API, from the tables of its operations, which its routes are made of too. Served
//! at `/v1/openapi.json`; tests hold the server to it (tests/e2e/chat/contract.rs).
//!
//! Which refusals there may be follows from what an operation is: whoever refuses for a lane may do it with each of
//! [`OF_LANES`].

use axum::Router;
use godwit_bridge::admin::Admin;
use godwit_bridge::limits::{ASKED_MAX, PAGE_MAX};
use godwit_store::time::Time;
use serde_json::{Map, Value, json};

mod admin;
mod encryption;
mod people;
mod push;
mod registration;
mod schema;
mod users;

use self::schema::{NAME, hex, name_schema, number, reference};
use super::account::JSON_LINES;
use super::acting_user::RouteContext;
use super::operation::{self, Operation};
use super::registration::BODY_BYTES_MAX;

/// Refusals by a lane: whatever is asked, it may answer with each of them (see `Problem::of_reason`).
pub(super) const OF_LANES: [u16; 7] = [401, 403, 404, 409, 422, 429, 503];
/// Those of a request that is not read, and of one whose body is not.
const OF_REQUESTS: [u16; 5] = [400, 408, 429, 431, 503];
const OF_BODIES: [u16; 3] = [413, 415, 422];
/// Those of registration. (It needs no credentials.)
const OF_REGISTRATION: [u16; 6] = [403, 404, 409, 422, 503, 507];

/// Those of operators' commands.
const OF_COMMANDS: [u16; 6] = [401, 404, 409, 422, 503, 507];

/// What each refusal means, whoever refuses.
const REFUSALS: [(u16, &str); 13] = [
    (400, "The request cannot be read, or says what this operation does not take"),
    (401, "No credentials, or wrong ones"),
    (403, "Not allowed"),
    (404, "There is no such thing, or not for this user"),
    (408, "The request did not come in time"),
    (409, "A limit is reached, or it exists already"),
    (413, "The body is too large"),
    (415, "The body is no JSON"),
    (422, "It makes no sense"),
    (429, "Too many at once, or too often: see `Retry-After`"),
    (431, "The head of the request is over 16 KiB"),
    (503, "Try again"),
    (507, "There is no room for more"),
];

/// The tables of what users do.
const OF_USERS: [&[Operation<RouteContext>]; 4] =
    [users::OPERATIONS, people::OPERATIONS, push::OPERATIONS, encryption::OPERATIONS];

fn of_users() -> impl Iterator<Item = &'static Operation<RouteContext>> {
    OF_USERS.into_iter().flatten()
}

/// The routes of users.
pub(super) fn routes_of_users(large_bytes_max: usize) -> Router<RouteContext> {
    OF_USERS.into_iter().fold(Router::new(), |routes, table| routes.merge(operation::routes(table, large_bytes_max)))
}

/// The routes of those who are no users yet.
pub(super) fn routes_of_registration() -> Router<registration::Door> {
    operation::routes(registration::OPERATIONS, BODY_BYTES_MAX)
}

/// The routes of operators, for those who have the administrator's token.
pub(super) fn routes_of_operators(admin: Admin, time: Time) -> Router {
    let commands = operation::routes(admin::OPERATIONS, BODY_BYTES_MAX).with_state(admin);
    commands.merge(operation::routes(admin::OF_CLOCK, BODY_BYTES_MAX).with_state(time))
}

/// The document. `body_bytes_max`: of a message.
pub(super) fn document(body_bytes_max: usize) -> Value {
    let mut paths = Map::new();
    let mut all_schemas = users::schemas(body_bytes_max);
    if let Some(schemas) = all_schemas.as_object_mut() {
        schemas.extend(people::schemas());
        schemas.extend(push::schemas());
        schemas.extend(encryption::schemas());
        schemas.extend(registration::schemas());
        schemas.extend(admin::schemas());
    }
    let mut add = |path: &'static str, method: &'static str, described: Value| {
        let methods = paths.entry(path).or_insert_with(|| json!({ "parameters": in_path(path) }));
        methods[method] = described;
    };
    for operation in of_users() {
        add(operation.path, operation.method, describe(operation, &OF_LANES));
    }
    for operation in registration::OPERATIONS {
        let mut described = describe(operation, &OF_REGISTRATION);
        described["security"] = json!([]);
        add(operation.path, operation.method, described);
    }
    let commands = admin::OPERATIONS.iter().map(|it| (it.path, it.method, describe(it, &OF_COMMANDS)));
    let of_clock = admin::OF_CLOCK.iter().map(|it| (it.path, it.method, describe(it, &OF_COMMANDS)));
    for (path, method, mut described) in commands.chain(of_clock) {
        described["security"] = json!([{ "administrator": [] }]);
        add(path, method, described);
    }
    let refusal = |(status, description): (u16, &str)| {
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        let mut refusal = json!({ "description": description, "content": content });
        if status == 431 {
            // It is told before anything is read.
            return (status.to_string(), json!({ "description": description }));
        }
        if status == 429 {
            refusal["headers"] = json!({ "Retry-After": { "schema": { "type": "integer", "minimum": 0 } } });
        }
        (status.to_string(), refusal)
    };
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Godwit",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What users do, and operators' commands. Users' operations are those of `rpc` over MQTT; schemas/proto/godwit/client.proto says who may call what.",
        },
        "security": [{ "device": [] }, { "administrator": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "device": { "type": "http", "scheme": "basic", "description": "User name `<user>/<device>`, and the device's password" },
                "administrator": { "type": "http", "scheme": "bearer" },
            },
            "responses": REFUSALS.into_iter().map(refusal).collect::<Map<_, _>>(),
            "schemas": all_schemas,
        },
    })
}

/// `refusals`: by whoever carries it out.
fn describe<S>(operation: &Operation<S>, refusals: &[u16]) -> Value {
    let mut described = json!({ "summary": operation.summary });
    if let [names @ .., last] = operation.calls {
        let names = names.iter().map(|name| format!("`{name}`, ")).collect::<String>();
        described["description"] = format!("Of client.proto: {names}`{last}`").into();
    }
    // `name:kind` where the name alone does not say it.
    let parameter = |it: &&str| {
        let (name, kind) = it.split_once(':').unwrap_or((it, it));
        json!({ "name": name, "in": "query", "required": kind == "users", "schema": query(kind) })
    };
    let mut parameters: Vec<_> = operation.query.iter().map(parameter).collect();
    let is_of_users = operation.path.starts_with(users::USER);
    let tagged = operation.method == "get" && is_of_users && operation.answer.1 != Some(users::LINES);
    if tagged {
        parameters.push(json!({ "name": "If-None-Match", "in": "header", "schema": { "type": "string" } }));
    }
    if operation.once {
        let key = json!({ "type": "string", "pattern": "^([!#-~]{1,255}|\"[!#-~]{1,255}\")$" });
        parameters.push(json!({ "name": "Idempotency-Key", "in": "header", "schema": key }));
        parameters.push(json!({ "name": "Godwit-Epoch", "in": "header", "schema": hex() }));
    }
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    let mut responses = Map::new();
    let (status, schema) = operation.answer;
    let mut answer = json!({ "description": "Done" });
    if let Some(schema) = schema {
        let media_type = if schema == users::LINES { JSON_LINES } else { "application/json" };
        answer["content"] = json!({ media_type: { "schema": reference(schema) } });
    }
    if operation.once {
        let mut again = answer.clone();
        again["description"] = "It was sent before; nothing was sent now".into();
        responses.insert("200".to_owned(), again);
    }
    responses.insert(status.to_string(), answer);
    if tagged {
        responses.insert("304".to_owned(), json!({ "description": "As `If-None-Match` has it already" }));
    }
    let mut refusals = [refusals, &OF_REQUESTS].concat();
    if let Some(body) = operation.body {
        refusals.extend(OF_BODIES);
        described["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(body) } } });
    }
    let refusal = |status: u16| json!({ "$ref": format!("#/components/responses/{status}") });
    responses.extend(refusals.into_iter().map(|status| (status.to_string(), refusal(status))));
    described["responses"] = responses.into();
    described
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
        "limit" => json!({ "type": "integer", "minimum": 0, "maximum": PAGE_MAX }),
        "part" => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        "user" => name_schema(),
        "user_or_none" => json!({ "type": "string", "pattern": format!("^({NAME})?$") }),
        "users_max" => admin::page(),
        "users" => json!({
            "type": "string",
            "pattern": format!("^({NAME}(,{NAME})*)?$"),
            // Encoded, it must fit into the head of a request.
            "maxLength": 5_000,
            "description": format!("Names with commas between them, up to {ASKED_MAX}"),
        }),
        _ => number(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use godwit_core::call::RoutedCall;

    use super::*;

    /// One that shall have none would stand here, with the reason.
    #[test]
    fn every_call_of_a_device_is_an_operation_over_http() {
        let made: BTreeSet<_> = of_users().flat_map(|operation| operation.calls).collect();
        assert_eq!(made, RoutedCall::NAMES.iter().collect());
    }
}
