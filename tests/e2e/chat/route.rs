//! The calls of `rpc` as requests of the HTTP API, and its answers as those of `rpc`: one test for both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godwit_schemas::client::commit_group::With;
use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, Audience, GroupsFrom, Response, Role, request::Call};
use serde_json::{Map, Value, json};

use super::web::base64;

/// What to ask below `/v1/users/<user>`.
pub(super) struct Asked {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

fn ask(method: &'static str, path: impl Into<String>) -> Asked {
    Asked { method, path: path.into(), body: None }
}

fn with(method: &'static str, path: impl Into<String>, body: Value) -> Asked {
    Asked { method, path: path.into(), body: Some(body) }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The request that is the same as a call of `user`.
pub(super) fn asked(user: &str, call: &Call) -> Asked {
    let of = |conversation: u64, rest: &str| format!("/conversations/{conversation}{rest}");
    let at = |conversation, sequence: u64, rest: &str| of(conversation, &format!("/messages/{sequence}{rest}"));
    let member = |conversation, user: &str| of(conversation, &format!("/members/{user}"));
    match call {
        Call::CreateGroup(it) => with("POST", "/conversations", json!({ "title": it.title, "users": it.users })),
        Call::OpenDirect(it) => with("POST", "/conversations", json!({ "user": it.user })),
        Call::AddMember(it) => with("POST", of(it.conversation, "/members"), json!({ "user": it.user })),
        Call::RemoveMember(it) => ask("DELETE", member(it.conversation, &it.user)),
        Call::Leave(it) => ask("DELETE", member(it.conversation, user)),
        Call::Rename(it) => with("PATCH", of(it.conversation, ""), json!({ "title": it.title })),
        Call::Describe(it) => ask("GET", of(it.conversation, "")),
        Call::SetRole(it) => with("PUT", member(it.conversation, &it.user), json!({ "role": role(it.role()) })),
        Call::ChangeSettings(it) => with("PATCH", of(it.conversation, ""), json!({ "settings": settings(it) })),
        Call::SetRetention(it) => with("PATCH", of(it.conversation, ""), json!({ "retention": retention(it) })),
        Call::CreateInvite(it) => {
            with("POST", of(it.conversation, "/invites"), json!({ "expires_in_s": it.expires_in_s }))
        }
        Call::ListInvites(it) => ask("GET", of(it.conversation, "/invites")),
        Call::RevokeInvite(it) => ask("DELETE", format!("/invites/{}", it.invite)),
        Call::Join(it) => ask("POST", format!("/invites/{}", it.invite)),
        Call::Block(it) => ask("PUT", format!("/blocked/{}", it.user)),
        Call::Unblock(it) => ask("DELETE", format!("/blocked/{}", it.user)),
        Call::ListBlocked(_) => ask("GET", "/blocked"),
        Call::ListDevices(_) => ask("GET", "/devices"),
        Call::LabelDevice(it) => with("PUT", format!("/devices/{}", it.device), json!({ "label": it.label })),
        Call::RemoveDevice(it) => ask("DELETE", format!("/devices/{}", it.device)),
        Call::ListConversations(it) => ask("GET", format!("/conversations?after={}&limit={}", it.after, it.limit)),
        Call::GetHistory(it) => {
            let (after, before, oldest_first, limit) = (it.after, it.before, it.oldest_first, it.limit);
            let page = format!("after={after}&before={before}&oldest_first={oldest_first}&limit={limit}");
            ask("GET", of(it.conversation, &format!("/messages?{page}")))
        }
        Call::DeleteConversation(it) => ask("DELETE", of(it.conversation, "")),
        Call::Recall(it) => ask("DELETE", at(it.conversation, it.sequence, "")),
        Call::Edit(it) => {
            with("PUT", at(it.conversation, it.sequence, ""), json!({ "body": STANDARD.encode(&it.body) }))
        }
        Call::React(it) => {
            with("PUT", at(it.conversation, it.sequence, "/reaction"), json!({ "reaction": it.reaction }))
        }
        Call::Accept(it) => ask("PUT", of(it.conversation, "/accepted")),
        Call::GetProfile(it) if it.user.is_empty() => ask("GET", "/profile"),
        Call::GetProfile(it) => ask("GET", format!("/people/{}/profile", it.user)),
        Call::SetProfile(it) => with("PATCH", "/profile", profile(it)),
        Call::AddContact(it) => with("PUT", format!("/contacts/{}", it.user), json!({ "label": it.label })),
        Call::RemoveContact(it) => ask("DELETE", format!("/contacts/{}", it.user)),
        Call::ListContacts(it) => ask("GET", format!("/contacts?after={}&limit={}", it.after, it.limit)),
        Call::GetPresence(it) => ask("GET", format!("/presence?users={}", it.users.join(","))),
        Call::LookUpPhones(it) => {
            with("POST", "/phones", json!({ "sha256": it.sha256.iter().map(|hash| hex(hash)).collect::<Vec<_>>() }))
        }
        Call::SetMute(it) if it.for_s == 0 => ask("DELETE", of(it.conversation, "/mute")),
        Call::SetMute(it) => {
            let for_s = Some(it.for_s).filter(|for_s| *for_s != u32::MAX);
            with("PUT", of(it.conversation, "/mute"), json!({ "for_s": for_s, "mentions_only": it.mentions_only }))
        }
        Call::ListMutes(it) => ask("GET", format!("/mutes?after={}", it.after)),
        Call::PublishKeys(it) => {
            let packages: Vec<_> = it.key_packages.iter().map(|it| STANDARD.encode(it)).collect();
            let [certificate, last_resort, identity] =
                [&it.certificate, &it.last_resort, &it.identity].map(|it| STANDARD.encode(it));
            let keys = json!({
                "certificate": certificate, "key_packages": packages, "last_resort": last_resort, "identity": identity,
            });
            with("POST", "/keys", keys)
        }
        Call::ClaimKeys(it) => ask("POST", format!("/people/{}/keys", it.user)),
        Call::GetIdentity(it) => ask("GET", format!("/people/{}/identity?after={}", it.user, it.after)),
        Call::GetGroup(it) => {
            let page = format!("/group?tree_offset={}&epoch={}", it.tree_offset, it.epoch);
            ask("GET", of(it.conversation, &page))
        }
        Call::CommitGroup(it) => with("POST", of(it.conversation, "/group"), commit(it)),
        Call::PutVault(it) => {
            let row = |it: &client::VaultRow| json!({ "conversation": it.conversation, "epoch": it.epoch, "sealed": STANDARD.encode(&it.sealed) });
            with("PUT", "/vault", json!({ "rows": it.rows.iter().map(row).collect::<Vec<_>>() }))
        }
        Call::GetVault(it) => ask("GET", of(it.conversation, &format!("/vault?after={}", it.after))),
        Call::AcceptLink(it) => {
            let (link, sealed) = (STANDARD.encode(&it.link), STANDARD.encode(&it.sealed));
            with("POST", "/links", json!({ "link": link, "sealed": sealed }))
        }
        Call::TakeLink(it) => with("POST", "/links/taken", json!({ "link": STANDARD.encode(&it.link) })),
        Call::PeekInbox(it) => ask("GET", format!("/devices/{}/inbox?after={}", it.device, it.after)),
        other => panic!("no test makes this call over HTTP yet: {other:?}"),
    }
}

/// What answers have that are about encryption.
fn encrypted(response: &mut Response, answer: &Value) {
    let bytes = |it: &Value| it.as_str().map_or_else(Vec::new, |it| STANDARD.decode(it).expect("base64")).into();
    let number = |it: &Value| it.as_u64().unwrap_or(0);
    response.keys_left = number(&answer["keys_left"]) as u32;
    response.claimed = each(&answer["claimed"], |it| client::ClaimedKey {
        device: string(&it["device"]),
        key_package: bytes(&it["key_package"]),
        last_resort: it["last_resort"] == true,
    });
    let certificate =
        |it: &Value| client::Certificate { certificate: bytes(&it["certificate"]), retired: it["retired"] == true };
    response.identity = answer.get("chain").map(|chain| {
        let certificates = each(&answer["certificates"], certificate);
        Box::new(client::Identity { chain: each(chain, bytes), certificates })
    });
    let leaf = |it: &Value| client::MlsLeaf { user: string(&it["user"]), device: string(&it["device"]) };
    response.mls_group = answer.get("tree").map(|tree| {
        Box::new(client::MlsGroup {
            epoch: number(&answer["epoch"]),
            group_info: bytes(&answer["group_info"]),
            tree: bytes(tree),
            tree_bytes: number(&answer["tree_bytes"]),
            owed: each(&answer["owed"], leaf),
            reset_generation: number(&answer["reset_generation"]) as u32,
            outdated: answer["outdated"] == true,
        })
    });
    response.mls_epoch = number(&answer["epoch"]);
    response.sequence = number(&answer["sequence"]);
    response.sealed = bytes(&answer["sealed"]);
}

fn commit(it: &client::CommitGroup) -> Value {
    let welcome =
        |it: &client::Welcome| json!({ "user": it.user, "device": it.device, "welcome": STANDARD.encode(&it.welcome) });
    let mut commit = json!({
        "epoch": it.epoch,
        "commit": STANDARD.encode(&it.commit),
        "group_info": STANDARD.encode(&it.group_info),
        "tree": STANDARD.encode(&it.tree),
        "welcomes": it.welcomes.iter().map(welcome).collect::<Vec<_>>(),
        "generation": it.generation,
    });
    match &it.with {
        Some(With::Add(user)) => commit["add"] = user.as_str().into(),
        Some(With::Remove(user)) => commit["remove"] = user.as_str().into(),
        None => {}
    }
    commit
}

/// The request that sends a message, as a PUBLISH to this topic would.
pub(super) fn sent(topic: &str, body: &str) -> Asked {
    let body = base64(body);
    match topic.split_once('/').expect("a topic") {
        ("to", user) => with("POST", "/messages", json!({ "user": user, "body": body })),
        ("phone", digits) => with("POST", "/messages", json!({ "phone": format!("+{digits}"), "body": body })),
        ("send", id) => with("POST", format!("/conversations/{id}/messages"), json!({ "body": body })),
        other => panic!("nobody sends to {other:?}"),
    }
}

fn settings(call: &client::ChangeSettings) -> Value {
    let it = call.settings.expect("settings");
    let (may_send, may_add, may_rename) = (role(it.may_send()), role(it.may_add()), role(it.may_rename()));
    let history_for_new = it.history_for_new;
    json!({ "may_send": may_send, "may_add": may_add, "may_rename": may_rename, "history_for_new": history_for_new })
}

fn retention(call: &client::SetRetention) -> Value {
    let it = call.retention.expect("a retention");
    json!({ "history_days": it.history_days_plus_one.checked_sub(1), "expires_in_s": it.expires_in_s })
}

/// Only what is to change.
fn profile(call: &client::SetProfile) -> Value {
    let mut change = Map::new();
    let texts = [("name", &call.name), ("about", &call.about), ("picture", &call.picture)];
    change.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?.into()))));
    let audience = call.presence_to.map(|_| match call.presence_to() {
        Audience::Contacts => "contacts",
        Audience::Nobody => "nobody",
        Audience::Everybody => "everybody",
    });
    change.extend(audience.map(|audience| ("presence_to".to_owned(), audience.into())));
    let groups_from = call.groups_from.map(|_| match call.groups_from() {
        GroupsFrom::Everybody => "everybody",
        GroupsFrom::Contacts => "contacts",
        GroupsFrom::Nobody => "nobody",
    });
    change.extend(groups_from.map(|from| ("groups_from".to_owned(), from.into())));
    change.into()
}

/// What an answer says, as far as the tests of both ways look at it.
pub(super) fn answered(call: &Call, answer: &Value) -> Response {
    let mut response = Response { conversation: answer["conversation"].as_u64().unwrap_or(0), ..Default::default() };
    match call {
        Call::Describe(_) => response.description = Some(description(answer)),
        Call::CreateInvite(_) => response.invites = vec![invite(answer)],
        Call::GetProfile(_) => response.profile = Some(shown(answer)),
        Call::ListContacts(_) => response.next_contact = string(&answer["next"]),
        _ => response.next = answer["next"].as_u64().unwrap_or(0),
    }
    encrypted(&mut response, answer);
    response.users = each(&answer["users"], string);
    response.devices = each(&answer["devices"], |it| client::Device {
        device: string(&it["device"]),
        label: string(&it["label"]),
        connected: it["connected"] == true,
        inbox_full: it["inbox_full"] == true,
        full_age_s: it["full_age_s"].as_u64(),
    });
    response.invites.extend(each(&answer["invites"], invite));
    response.found = each(&answer["found"], |it| client::FoundPhone {
        sha256: unhex(&string(&it["sha256"])).into(),
        user: string(&it["user"]),
        waiting: it["waiting"] == true,
    });
    response.contacts = each(&answer["contacts"], |it| client::Contact {
        user: string(&it["user"]),
        label: string(&it["label"]),
        name: string(&it["name"]),
    });
    response.presences = each(&answer["presences"], |it| client::Presence {
        user: string(&it["user"]),
        online: it["online"] == true,
        last_seen_age_min: it["last_seen_age_min"].as_u64().map(|age| age as u32),
    });
    response.conversations = each(&answer["conversations"], |it| client::Summary {
        conversation: it["conversation"].as_u64().expect("a number"),
        unread: it["unread"].as_u64().expect("a number"),
        last_sequence: it["last_sequence"].as_u64().expect("a number"),
        read_up_to: it["read_up_to"].as_u64().expect("a number"),
        description: Some(description(it)),
        last: Some(event(&it["last"])),
    });
    response.history = each(&answer["messages"], event);
    response.history.extend(each(&answer["entries"], |it| event(&it["event"])));
    response.mutes = each(&answer["mutes"], |it| client::Mute {
        conversation: it["conversation"].as_u64().expect("a number"),
        for_s: it["for_s"].as_u64().map_or(u32::MAX, |for_s| for_s as u32),
        mentions_only: it["mentions_only"] == true,
    });
    response
}

fn each<T>(list: &Value, one: impl Fn(&Value) -> T) -> Vec<T> {
    list.as_array().into_iter().flatten().map(one).collect()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

fn invite(it: &Value) -> client::Invite {
    let expires_in_s = it["expires_in_s"].as_u64();
    client::Invite { invite: string(&it["invite"]), by: it["by"].as_u64().unwrap_or(0) as u32, expires_in_s }
}

fn shown(it: &Value) -> client::Profile {
    let presence_to = match it["presence_to"].as_str() {
        Some("nobody") => Audience::Nobody,
        Some("everybody") => Audience::Everybody,
        _ => Audience::Contacts,
    };
    let [user, name, about, picture] = ["user", "name", "about", "picture"].map(|key| string(&it[key]));
    let groups_from = match it["groups_from"].as_str() {
        Some("contacts") => GroupsFrom::Contacts,
        Some("nobody") => GroupsFrom::Nobody,
        _ => GroupsFrom::Everybody,
    };
    let (presence_to, groups_from) = (presence_to.into(), groups_from.into());
    client::Profile { user, name, about, picture, presence_to, groups_from }
}

fn description(it: &Value) -> client::Opened {
    let member = |it: &Value| {
        let role = match it["role"].as_str() {
            Some("owner") => Role::Owner,
            Some("admin") => Role::Admin,
            _ => Role::Member,
        };
        let ordinal = it["ordinal"].as_u64().expect("a number") as u32;
        client::Member { ordinal, user: string(&it["user"]), role: role.into() }
    };
    let retention = client::Retention {
        history_days_plus_one: it["retention"]["history_days"].as_u64().map_or(0, |days| days as u32 + 1),
        expires_in_s: it["retention"]["expires_in_s"].as_u64().unwrap_or(0) as u32,
    };
    client::Opened {
        group: it["group"] == true,
        title: string(&it["title"]),
        members: each(&it["members"], member),
        settings: None,
        retention: (retention != client::Retention::default()).then_some(retention),
        request: it["request"] == true,
        mls_epoch: it["mls_epoch"].as_u64().unwrap_or(0),
    }
}

/// Of a change only where it stands, and by whom.
fn event(it: &Value) -> client::Event {
    let sequence = it["sequence"].as_u64().unwrap_or(0);
    let event = match it.get("body") {
        Some(body) => Event::Message(client::Message {
            sequence,
            sender: it["sender"].as_u64().expect("a number") as u32,
            body: STANDARD.decode(string(body)).expect("base64").into(),
            reply_to: it["reply_to"].as_u64().unwrap_or(0),
            edited: it["edited"] == true,
            recalled: it["recalled"] == true,
            reactions: each(&it["reactions"], |it| client::Reaction {
                member: it["member"].as_u64().expect("a number") as u32,
                reaction: string(&it["reaction"]),
                ..Default::default()
            }),
            ..Default::default()
        }),
        None => {
            Event::Change(client::Change { sequence, by: it["by"].as_u64().unwrap_or(0) as u32, ..Default::default() })
        }
    };
    client::Event { event: Some(event) }
}
