//! End-to-end encryption over HTTP: keys and identities, MLS groups, vaults and links. All bytes are Base64.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use godwit_schemas::client::{self, commit_group::With, request::Call};
use serde::Deserialize;
use serde_json::{Value, json};

use super::acting_user::{ActingUser, At, Body, JsonAnswer};
use super::chat::{InConversation, WithOther};
use super::fields::senseless;
use super::problem::Problem;
use super::view::{self, Base64Bytes, JsonInteger, base64};

/// See `client.PublishKeys`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NewKeys {
    certificate: Base64Bytes,
    key_packages: Vec<Base64Bytes>,
    last_resort: Base64Bytes,
    identity: Base64Bytes,
}

pub(super) async fn publish(actor: ActingUser, body: Body<NewKeys>) -> JsonAnswer {
    let NewKeys { certificate, key_packages, last_resort, identity } = body?.0;
    let call = client::PublishKeys {
        certificate: certificate.0,
        key_packages: key_packages.into_iter().map(|it| it.0).collect(),
        last_resort: last_resort.0,
        identity: identity.0,
    };
    let response = actor.call(Call::PublishKeys(call)).await?;
    Ok(Json(json!({ "keys_left": response.keys_left })))
}

pub(super) async fn claim(actor: ActingUser, at: At<WithOther>) -> JsonAnswer {
    let response = actor.call(Call::ClaimKeys(client::ClaimKeys { user: at?.0.other })).await?;
    let key = |it: &client::ClaimedKey| json!({ "device": it.device, "key_package": base64(&it.key_package), "last_resort": it.last_resort });
    Ok(Json(json!({ "claimed": response.claimed.iter().map(key).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    #[serde(default)]
    after: JsonInteger,
}

pub(super) async fn identity(
    actor: ActingUser,
    at: At<WithOther>,
    page: Result<Query<PageQuery>, QueryRejection>,
) -> JsonAnswer {
    let (user, Query(PageQuery { after })) = (at?.0.other, page?);
    let response = actor.call(Call::GetIdentity(client::GetIdentity { user, after: after.get() })).await?;
    Ok(Json(shown_identity(&response)))
}

/// A page of an identity.
pub(super) fn shown_identity(response: &client::Response) -> Value {
    let identity = response.identity.as_deref();
    let chain = identity.into_iter().flat_map(|it| &it.chain).map(|link| base64(link));
    let certificates = identity.into_iter().flat_map(|it| &it.certificates);
    let certificates = certificates.map(|it| json!({ "certificate": base64(&it.certificate), "retired": it.retired }));
    json!({
        "chain": chain.collect::<Vec<_>>(),
        "certificates": certificates.collect::<Vec<_>>(),
        "next": view::next(response.next),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupQuery {
    #[serde(default)]
    tree_offset: JsonInteger,
    #[serde(default)]
    epoch: JsonInteger,
}

pub(super) async fn group(
    actor: ActingUser,
    at: At<InConversation>,
    page: Result<Query<GroupQuery>, QueryRejection>,
) -> JsonAnswer {
    let (conversation, Query(GroupQuery { tree_offset, epoch })) = (at?.0.conversation(), page?);
    let call = client::GetGroup { conversation, tree_offset: tree_offset.get(), epoch: epoch.get() };
    let group = *actor.call(Call::GetGroup(call)).await?.mls_group.unwrap_or_default();
    let leaf = |it: &client::MlsLeaf| json!({ "user": it.user, "device": it.device });
    Ok(Json(json!({
        "epoch": group.epoch,
        "group_info": base64(&group.group_info),
        "tree": base64(&group.tree),
        "tree_bytes": group.tree_bytes,
        "owed": group.owed.iter().map(leaf).collect::<Vec<_>>(),
        "reset_generation": group.reset_generation,
        "outdated": group.outdated,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Welcome {
    user: String,
    device: String,
    welcome: Base64Bytes,
}

/// See `client.CommitGroup`; one of `add` and `remove`, or none.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NewCommit {
    epoch: JsonInteger,
    commit: Base64Bytes,
    group_info: Base64Bytes,
    tree: Base64Bytes,
    welcomes: Vec<Welcome>,
    #[serde(deserialize_with = "view::given")]
    add: Option<String>,
    #[serde(deserialize_with = "view::given")]
    remove: Option<String>,
    generation: u32,
}

pub(super) async fn commit(actor: ActingUser, at: At<InConversation>, body: Body<NewCommit>) -> JsonAnswer {
    let (conversation, new) = (at?.0.conversation(), body?.0);
    let with = match (new.add, new.remove) {
        (None, None) => None,
        (Some(user), None) => Some(With::Add(user)),
        (None, Some(user)) => Some(With::Remove(user)),
        (Some(_), Some(_)) => return Err(senseless("one of `add` and `remove`")),
    };
    let welcome = |it: Welcome| client::Welcome { user: it.user, device: it.device, welcome: it.welcome.0 };
    let call = client::CommitGroup {
        conversation,
        epoch: new.epoch.get(),
        commit: new.commit.0,
        group_info: new.group_info.0,
        tree: new.tree.0,
        welcomes: new.welcomes.into_iter().map(welcome).collect(),
        with,
        generation: new.generation,
    };
    let response = actor.call(Call::CommitGroup(call)).await?;
    Ok(Json(json!({ "epoch": response.mls_epoch, "sequence": response.sequence })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    conversation: JsonInteger,
    epoch: JsonInteger,
    sealed: Base64Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rows {
    rows: Vec<Row>,
}

pub(super) async fn put_vault(actor: ActingUser, body: Body<Rows>) -> Result<StatusCode, Problem> {
    let row =
        |it: Row| client::VaultRow { conversation: it.conversation.get(), epoch: it.epoch.get(), sealed: it.sealed.0 };
    let rows = body?.0.rows.into_iter().map(row).collect();
    actor.done(Call::PutVault(client::PutVault { rows })).await
}

pub(super) async fn vault(
    actor: ActingUser,
    at: At<InConversation>,
    page: Result<Query<PageQuery>, QueryRejection>,
) -> JsonAnswer {
    let (conversation, Query(PageQuery { after })) = (at?.0.conversation(), page?);
    let response = actor.call(Call::GetVault(client::GetVault { conversation, after: after.get() })).await?;
    let rows: Vec<Value> = response.vault.iter().map(shown_row).collect();
    Ok(Json(json!({ "rows": rows, "next": view::next(response.next) })))
}

/// A row of a vault, but for its conversation.
pub(super) fn shown_row(row: &client::VaultRow) -> Value {
    json!({ "epoch": row.epoch, "sealed": base64(&row.sealed) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptedLink {
    link: Base64Bytes,
    sealed: Base64Bytes,
}

pub(super) async fn accept_link(actor: ActingUser, body: Body<AcceptedLink>) -> Result<StatusCode, Problem> {
    let AcceptedLink { link, sealed } = body?.0;
    actor.done(Call::AcceptLink(client::AcceptLink { link: link.0, sealed: sealed.0 })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TakenLink {
    link: Base64Bytes,
}

pub(super) async fn take_link(actor: ActingUser, body: Body<TakenLink>) -> JsonAnswer {
    let response = actor.call(Call::TakeLink(client::TakeLink { link: body?.0.link.0 })).await?;
    Ok(Json(json!({ "sealed": base64(&response.sealed) })))
}
