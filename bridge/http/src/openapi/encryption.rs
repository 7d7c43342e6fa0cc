//! End-to-end encryption: keys and identities, MLS groups, vaults and links.

use axum::routing::on;
use godwit_bridge::limits::{
    CERTIFICATE_BYTES_MAX, CERTIFICATES_PAGE_MAX, KEY_PACKAGE_BYTES_MAX, LINK_SEALED_BYTES_MAX, VAULT_ROW_BYTES_MAX,
    VAULT_ROWS_MAX,
};
use serde_json::{Map, Value, json};

use super::super::acting_user::RouteContext;
use super::super::encryption;
use super::super::operation::{Operation, op};
use super::schema::{base64_of, list, list_of, name_schema, number, object, or_null, reference};

const KEYS: &str = "/v1/users/{user}/keys";
const OTHERS_KEYS: &str = "/v1/users/{user}/people/{other}/keys";
const IDENTITY: &str = "/v1/users/{user}/people/{other}/identity";
const GROUP: &str = "/v1/users/{user}/conversations/{conversation}/group";
const VAULT: &str = "/v1/users/{user}/vault";
const VAULT_OF: &str = "/v1/users/{user}/conversations/{conversation}/vault";
const LINKS: &str = "/v1/users/{user}/links";
const TAKEN: &str = "/v1/users/{user}/links/taken";

pub(super) const OPERATIONS: &[Operation<RouteContext>] = &[
    Operation {
        calls: &["PublishKeys"],
        body: Some("NewKeys"),
        answer: (200, Some("KeysLeft")),
        ..op("post", KEYS, |it| on(it, encryption::publish), "Publish what others encrypt to the device with")
    },
    Operation {
        calls: &["ClaimKeys"],
        answer: (200, Some("ClaimedKeys")),
        ..op("post", OTHERS_KEYS, |it| on(it, encryption::claim), "Claim a key package of each device of a user")
    },
    Operation {
        calls: &["GetIdentity"],
        query: &["after"],
        answer: (200, Some("Identity")),
        ..op(
            "get",
            IDENTITY,
            |it| on(it, encryption::identity),
            "A user's identity keys, and its devices' certificates",
        )
    },
    Operation {
        calls: &["GetGroup"],
        query: &["tree_offset", "epoch"],
        answer: (200, Some("MlsGroup")),
        ..op(
            "get",
            GROUP,
            |it| on(it, encryption::group),
            "The MLS group of an encrypted conversation, a page of its tree",
        )
    },
    Operation {
        calls: &["CommitGroup"],
        body: Some("NewCommit"),
        large: true,
        answer: (200, Some("MlsEpoch")),
        ..op(
            "post",
            GROUP,
            |it| on(it, encryption::commit),
            "Found the MLS group of a conversation, or begin its next epoch",
        )
    },
    Operation {
        calls: &["PutVault"],
        body: Some("NewVaultRows"),
        ..op("put", VAULT, |it| on(it, encryption::put_vault), "Keep sealed keys of epochs for the user's own devices")
    },
    Operation {
        calls: &["GetVault"],
        query: &["after"],
        answer: (200, Some("VaultPage")),
        ..op("get", VAULT_OF, |it| on(it, encryption::vault), "The sealed keys of a conversation's epochs")
    },
    Operation {
        calls: &["AcceptLink"],
        body: Some("AcceptedLink"),
        ..op("post", LINKS, |it| on(it, encryption::accept_link), "Hand a new device of the user what is sealed for it")
    },
    Operation {
        calls: &["TakeLink"],
        body: Some("LinkToTake"),
        answer: (200, Some("TakenLink")),
        ..op("post", TAKEN, |it| on(it, encryption::take_link), "Take it, once")
    },
];

/// What these operations take and answer.
pub(super) fn schemas() -> Map<String, Value> {
    let small = || json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    let base64 = || json!({ "type": "string", "format": "byte" });
    let flag = || json!({ "type": "boolean" });
    let of_device = || [("user", name_schema()), ("device", name_schema())];
    let certificate = || base64_of(0, CERTIFICATE_BYTES_MAX);
    let package = || base64_of(0, KEY_PACKAGE_BYTES_MAX);
    let link = || base64_of(16, 16);
    let sealed = || base64_of(1, LINK_SEALED_BYTES_MAX);
    let row = || base64_of(1, VAULT_ROW_BYTES_MAX);
    let welcome = object(&[&of_device()[..], &[("welcome", base64())]].concat());
    let shown = object(&[("certificate", base64()), ("retired", flag())]);
    let schemas = [
        (
            "NewKeys",
            object(&[
                ("certificate?", certificate()),
                ("key_packages?", list(package())),
                ("last_resort?", package()),
                ("identity?", certificate()),
            ]),
        ),
        ("KeysLeft", object(&[("keys_left", small())])),
        ("ClaimedKey", object(&[("device", name_schema()), ("key_package", base64()), ("last_resort", flag())])),
        ("ClaimedKeys", object(&[("claimed", list(reference("ClaimedKey")))])),
        (
            "Identity",
            object(&[
                ("chain", list(base64())),
                ("certificates", list_of(shown, 0, CERTIFICATES_PAGE_MAX)),
                ("next", or_null(number())),
            ]),
        ),
        (
            "MlsGroup",
            object(&[
                ("epoch", number()),
                ("group_info", base64()),
                ("tree", base64()),
                ("tree_bytes", number()),
                ("owed", list(object(&of_device()))),
                ("reset_generation", small()),
                ("outdated", flag()),
            ]),
        ),
        (
            "NewCommit",
            object(&[
                ("epoch?", number()),
                ("commit?", base64()),
                ("group_info?", base64()),
                ("tree?", base64()),
                ("welcomes?", list(welcome)),
                ("add?", name_schema()),
                ("remove?", name_schema()),
                ("generation?", small()),
            ]),
        ),
        ("MlsEpoch", object(&[("epoch", number()), ("sequence", number())])),
        (
            "NewVaultRows",
            object(&[(
                "rows",
                list_of(
                    object(&[("conversation", number()), ("epoch", number()), ("sealed", row())]),
                    1,
                    VAULT_ROWS_MAX,
                ),
            )]),
        ),
        (
            "VaultPage",
            object(&[
                ("rows", list_of(object(&[("epoch", number()), ("sealed", base64())]), 0, VAULT_ROWS_MAX)),
                ("next", or_null(number())),
            ]),
        ),
        ("AcceptedLink", object(&[("link", link()), ("sealed", sealed())])),
        ("LinkToTake", object(&[("link", link())])),
        ("TakenLink", object(&[("sealed", base64())])),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
