//! One run: everybody comes, turmoil reigns for a while, then all is calm and everything must come right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_core::conversation::Conversation;
use godwit_core::entry::Entry;
use godwit_core::recent::Sent;
use godwit_core::stored::{ConversationRecord, StateRecord};
use godwit_schemas::ids::{ConversationId, UserId};
use godwit_store::{Row, Table, keys};
use prost::Message as _;
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::facts::{Count, Left};
use crate::operator::Operator;
use crate::plan::{Plan, Turmoil};
use crate::record::{Record, Trace};
use crate::server::{RETENTION_S, Server};
use crate::store::device_of;
use crate::world::World;

/// Virtual time in which everything must come right once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(500);

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Number of events.
    pub steps: u64,
    /// Of the whole trace: the same for the same seed.
    pub hash: u64,
    /// What was broken, with the end of the trace.
    pub violation: Option<String>,
}

/// Runs one seed; a violation shows the last `lines_max` events. To be called on a current-thread runtime of its own whose time is paused.
pub async fn run(seed: u64, lines_max: usize) -> Outcome {
    let plan = Plan::draw(seed);
    let (clock, turmoil) = (Clock::new(), Turmoil::calm());
    let record = Record::new(clock.clone(), &plan, lines_max);
    record.note(format!("{plan:?}"));
    let (server, _tasks) = Server::start(seed, &plan, &turmoil, &clock, &record);
    let world = World {
        seed,
        plan: Arc::new(plan),
        turmoil,
        record,
        server,
        users: Arc::default(),
        groups: Arc::default(),
        tasks: Arc::default(),
    };
    let mut operator = Operator::new(seed, world.clone());
    operator.populate().await;
    world.turmoil.set(true);
    world.spawn(operator.run());
    rage(&world).await;
    world.turmoil.set(false);
    world.record.note("all is calm".to_owned());
    calm_down(&world).await;
    world.tasks.lock().clear();
    outcome(seed, &world)
}

async fn rage(world: &World) {
    let until = Instant::now() + Duration::from_millis(world.plan.turmoil_ms);
    while Instant::now() < until && !world.record.is_violated() {
        sleep(LOOK).await;
    }
}

async fn calm_down(world: &World) {
    let until = Instant::now() + CALM;
    while !world.record.is_violated() {
        let left = left(world);
        world.record.with(|facts| facts.left = left);
        match world.record.missing() {
            Ok(()) if world.record.with(|facts| std::mem::replace(&mut facts.last_words, true)) => return,
            Ok(()) => world.record.note("a last word from everybody".to_owned()),
            Err(missing) if Instant::now() >= until => {
                world.record.violate(format!("after {} s of calm: {missing}", CALM.as_secs()));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// What is still in the store.
fn left(world: &World) -> Left {
    let mut left = Left::default();
    let rows = world.server.store().rows();
    let referred = references(&rows);
    for (table, (key, value)) in rows.iter().cloned() {
        match table {
            Table::Messages if !key.first_chunk::<16>().is_some_and(|place| referred.contains(place)) => {
                let expired = value
                    .first_chunk()
                    .is_some_and(|at_s| world.record.with(|facts| u32::from_be_bytes(*at_s) <= facts.now_s));
                if !expired {
                    left.words.extend(words(&value));
                }
            }
            Table::Messages => {}
            Table::Inbox | Table::Receipts => {
                let Some(device) = device_of(&key).and_then(|id| should_have_none(world, table, id, &key, &value))
                else {
                    continue;
                };
                let what = format!("the store has something in {table:?} for device {device}: {key:?}");
                if table == Table::Inbox { left.entries.push(what) } else { left.receipts.push(what) }
            }
            Table::Directory | Table::Conversations | Table::Media => left.words.extend(words(&value)),
        }
        if let (Table::Directory, Some(id)) = (table, keys::parse_backlog(&key)) {
            let full = keys::parse_load(&value).is_some_and(|load| load.entries >= world.plan.inbox_entries);
            let device =
                world.record.with(|facts| facts.device_of(id.get()).map(|(index, device)| (index, device.stays())));
            left.full.extend(device.filter(|(_, stays)| full && *stays).map(|(index, _)| index));
        }
    }
    left.counts = counts(world, &rows);
    left.apart = apart(&rows);
    left
}

/// Whether users' rows agree with those of conversations, and of other users.
fn apart(rows: &[(Table, Row)]) -> Vec<String> {
    let stored: BTreeMap<_, _> = rows.iter().map(|(table, (key, value))| ((*table, key.to_vec()), value)).collect();
    let mut wrong = Vec::new();
    let mut listed = BTreeMap::<UserId, (u64, u64)>::new();
    for ((table, key), value) in &stored {
        let has = |key: keys::StoreKey| stored.contains_key(&key);
        let names = || Some((first_user(key)?, keys::parse_second_user(key)?));
        let is_alone = match (table, key.first(), names()) {
            (Table::Directory, Some(b'k'), Some((user, contact))) => {
                listed.entry(user.clone()).or_default().0 += 1;
                !has(keys::watcher(&contact, &user)) || !has(keys::user(&contact)) || !has(keys::user(&user))
            }
            (Table::Directory, Some(b'K'), Some((contact, user))) => !has(keys::contact(&user, &contact)),
            (Table::Conversations, Some(b'm'), _) if key.contains(&0) => {
                let (user, id) = (first_user(key), keys::parse_membership(key));
                user.iter().for_each(|user| listed.entry(user.clone()).or_default().1 += 1);
                !user.zip(id).is_some_and(|(user, id)| members(&stored, id).contains(&user))
            }
            (Table::Conversations, Some(b'c'), _) => {
                let id = keys::parse_counter(&key[1..]).map(ConversationId::new);
                let record = ConversationRecord::decode((*value).clone()).ok();
                let members = record.into_iter().flat_map(|record| record.members);
                id.is_none_or(|id| {
                    members.filter_map(|it| UserId::new(&it.user).ok()).any(|user| !has(keys::membership(&user, id)))
                })
            }
            _ => false,
        };
        if is_alone {
            wrong.push(format!("{table:?} has {} alone", String::from_utf8_lossy(key)));
        }
    }
    for (user, (contacts, memberships)) in listed {
        let count = |(table, key)| stored.get(&(table, key)).copied();
        let counted = count(keys::contact_count(&user)).and_then(|value| keys::parse_counter(value)).unwrap_or(0);
        let crowd = count(keys::membership_count(&user)).and_then(|value| keys::parse_crowd(value));
        let conversations = crowd.unwrap_or_default().conversations;
        if (counted, conversations) != (contacts, memberships) {
            wrong.push(format!(
                "{user} counts {counted} of {contacts} contacts, {conversations} of {memberships} groups"
            ));
        }
    }
    wrong
}

/// The name behind the tag of a key, before the 0.
fn first_user(key: &[u8]) -> Option<UserId> {
    let name = key.get(1..)?.split(|byte| *byte == 0).next()?;
    UserId::new(std::str::from_utf8(name).ok()?).ok()
}

fn members(stored: &BTreeMap<keys::StoreKey, &Bytes>, id: ConversationId) -> Vec<UserId> {
    let record = stored.get(&keys::conversation(id)).map(|value| ConversationRecord::decode((*value).clone()));
    let members = record.and_then(Result::ok).into_iter().flat_map(|record| record.members);
    members.filter_map(|member| UserId::new(&member.user).ok()).collect()
}

/// What counts as unread, of all members of all conversations.
fn counts(world: &World, rows: &[(Table, Row)]) -> Vec<Count> {
    let conversations = rows.iter().filter(|(table, _)| *table == Table::Conversations);
    let stored: BTreeMap<_, _> = conversations.map(|(_, (key, value))| (&key[..], value)).collect();
    let (ids, now_s) = world.record.with(|facts| {
        let ids: BTreeSet<_> = facts.log.keys().map(|place| place.conversation).collect();
        (ids, facts.now_s)
    });
    let find = |(_, key): keys::StoreKey| stored.get(&key[..]).copied();
    let found = ids.into_iter().map(ConversationId::new).filter_map(|id| {
        let record = ConversationRecord::decode(find(keys::conversation(id))?.clone()).ok()?;
        let state = StateRecord::decode(find(keys::state(id))?.clone()).ok()?;
        Conversation::from_records(id, &record, &state)
    });
    let is_there = |sent: &Sent| {
        let life_s = sent.life_s.unwrap_or(RETENTION_S);
        sent.at_s + life_s > now_s
    };
    found
        .flat_map(|it| {
            let count = |member| {
                let asked = it.asked(member);
                let rows = asked.slots().filter_map(|slot| find(keys::recent(it.id, slot)));
                Count {
                    conversation: it.id.get(),
                    by: asked.by.get(),
                    read: asked.read.get(),
                    last: asked.last.get(),
                    unread: asked.unread(&it.recent, rows, is_there),
                }
            };
            it.members.iter().map(count).collect::<Vec<_>>()
        })
        .collect()
}

/// Places of the messages that inboxes refer to, as keys have them.
fn references(rows: &[(Table, Row)]) -> BTreeSet<[u8; 16]> {
    let entries = rows.iter().filter(|(table, _)| *table == Table::Inbox).map(|(_, (_, value))| value);
    let references = entries.filter_map(|value| Entry::decode(value.clone()).ok()).filter(Entry::is_reference);
    let places = references.map(|entry| keys::message(entry.conversation, entry.sequence).1);
    places.filter_map(|place| place.try_into().ok()).collect()
}

/// A device that has or should have acknowledged everything.
fn should_have_none(world: &World, table: Table, id: u64, key: &[u8], value: &Bytes) -> Option<usize> {
    let expires_at_s =
        Entry::decode(value.clone()).ok().filter(|_| table == Table::Inbox).map(|entry| entry.expires_at_s);
    world.record.with(|facts| {
        let (index, device) = facts.device_of(id)?;
        // It had expired before a start that knew less of the time.
        if expires_at_s.is_some_and(|at_s| at_s <= facts.now_s) {
            return None;
        }
        // What was told of or to one who has left, or of a message that no device has to acknowledge any more (it
        // expired, or the devices are gone), stays until the next connection.
        let removed = world.plan.devices_change_ms.is_some() || world.plan.revoke_ms.is_some();
        let acknowledged = !world.plan.expiry && !removed;
        let about = keys::parse_receipt(key).filter(|_| table == Table::Receipts && acknowledged);
        let there = about.is_some_and(|(id, ordinal)| facts.are_members(id.get(), ordinal.get(), &device.user));
        let listens = table == Table::Inbox || device.traits.events && there;
        (device.gone.is_some() || device.stays() && listens).then_some(index)
    })
}

/// What looks like something that a device says: `u1-d2/3`, `u1-d2/same`.
fn words(value: &[u8]) -> Vec<String> {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/');
    let pieces = value.split(|byte| !inside(byte)).filter(|piece| piece.contains(&b'/'));
    pieces.map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

fn outcome(seed: u64, world: &World) -> Outcome {
    let Trace { steps, hash, tail, violation } = world.record.end();
    let violation = violation.map(|violation| {
        format!("{}\n\nseed {seed}, event {steps}: {violation}\n{:#?}\n", tail.join("\n"), world.plan)
    });
    Outcome { steps, hash, violation }
}
