//! What a device is owed: the entries of its inbox that notify, above the order up to which it was pushed, without what its user
//! has read elsewhere or has muted. All of it is read from what is on disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use godwit_core::entry::Entry;
use godwit_core::push::{Reader, is_muted, notifies};
use godwit_core::stored::{ConversationRecord, MuteRecord, StateRecord};
use godwit_schemas::ids::{ConversationId, DeviceId, Order, UserId};
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

use crate::lane::{fetch_bodies, readable};

/// Entries that are looked at for one device at a time, and about how many bytes of them.
const ROWS: usize = 256;
const BYTES: usize = 256 << 10;
/// Conversations whose members and mutes are read; of more than this a device is told that something waits.
const CONVERSATIONS_MAX: usize = 16;
/// Bodies that are kept apart and are read to find out whether their sender was silent. Of more it is taken that it was not.
const BODIES_MAX: usize = 16;

/// What a device is to be told of one conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Due {
    pub(super) order: Order,
    /// The last one that notifies, with its body.
    pub(super) entry: Entry,
    /// One of those that wait mentions the user.
    pub(super) mention: bool,
}

/// What was found in an inbox.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By the order of the entries.
    pub(super) due: Vec<Due>,
    /// Entries that notify and wait, those that were pushed already among them; about, if there are many.
    pub(super) waiting: u32,
    /// Everything up to here was looked at.
    pub(super) up_to: Order,
    /// There is more behind it.
    pub(super) more: bool,
}

/// Whose inbox, and from where on.
pub(super) struct Asked<'a> {
    pub(super) user: &'a UserId,
    pub(super) device: DeviceId,
    /// No entry is lower.
    pub(super) low: Order,
    /// Up to here it was pushed.
    pub(super) pushed: Order,
    pub(super) now_s: u32,
}

type Entries = BTreeMap<ConversationId, Vec<(Order, Entry)>>;

/// Looks into a device's inbox.
pub(super) async fn inspect<S: Store>(store: &S, asked: Asked<'_>) -> Result<Found, StoreError> {
    let Asked { user, device, low, pushed, now_s } = asked;
    let (from, to) = keys::inbox_from(device, low.max(Order::new(pushed.get() + 1)));
    let page = store.page(Table::Inbox, &from, &to, ROWS, BYTES).await?;
    let mut found = Found { up_to: pushed, more: page.next.is_some(), ..Found::default() };
    let mut entries = Entries::new();
    for (key, value) in page.rows {
        let Some(order) = keys::parse_order(&key) else { continue };
        found.up_to = order;
        // What is damaged was logged.
        let Some(entry) = readable(device, order, value).filter(|entry| notifies(entry, user)) else { continue };
        found.waiting += 1;
        entries.entry(entry.conversation).or_default().push((order, entry));
    }
    if entries.is_empty() {
        return Ok(found);
    }
    found.waiting += waiting_before(store, user, device, low, pushed).await?;
    let mut bodies = BODIES_MAX;
    let known = conversations(store, user, entries.keys().take(CONVERSATIONS_MAX)).await?;
    for (index, (id, entries)) in entries.into_iter().enumerate() {
        let conversation = known.get(index).map(|known| known.as_ref().ok_or(id));
        let due = match conversation {
            // The user is a member no more.
            Some(Err(_)) => None,
            Some(Ok(known)) => known.due(store, user, entries, now_s, &mut bodies).await?,
            None => entries.into_iter().next_back().map(|(order, entry)| Due { order, entry, mention: false }),
        };
        found.due.extend(due);
    }
    found.due.sort_by_key(|due| due.order);
    Ok(found)
}

/// Entries that notify, of those that were pushed and not fetched.
async fn waiting_before<S: Store>(
    store: &S,
    user: &UserId,
    device: DeviceId,
    low: Order,
    pushed: Order,
) -> Result<u32, StoreError> {
    if pushed < low {
        return Ok(0);
    }
    let from = keys::entry(device, low).1;
    let to = keys::entry(device, Order::new(pushed.get() + 1)).1;
    let rows = store.scan(Table::Inbox, &from, &to, ROWS, BYTES).await?;
    let entries = rows.into_iter().filter_map(|(_, value)| Entry::decode(value).ok());
    Ok(entries.filter(|entry| notifies(entry, user)).count() as u32)
}

/// What the user has of a conversation.
struct Known {
    reader: Reader,
    mute: Option<MuteRecord>,
}

/// Of each conversation; `None`: the user is no member.
async fn conversations<S: Store>(
    store: &S,
    user: &UserId,
    ids: impl Iterator<Item = &ConversationId>,
) -> Result<Vec<Option<Known>>, StoreError> {
    let ids: Vec<_> = ids.copied().collect();
    let keys = ids.iter().flat_map(|id| [keys::conversation(*id), keys::state(*id), keys::mute(user, *id)]);
    let mut rows = store.multi_get(&keys.collect::<Vec<_>>()).await?.into_iter();
    let mut next = || rows.next().flatten();
    let known = ids.iter().map(|id| {
        let (record, state, mute) = (next(), next(), next());
        let record = decoded::<ConversationRecord>("conversation", id, &record?)?;
        let state = decoded::<StateRecord>("state", id, &state?)?;
        let mute = mute.and_then(|value: Bytes| decoded::<MuteRecord>("mute", id, &value));
        Some(Known { reader: Reader::of(user, &record, &state)?, mute })
    });
    Ok(known.collect())
}

impl Known {
    /// The last entry that the user is to be told of.
    async fn due<S: Store>(
        &self,
        store: &S,
        user: &UserId,
        entries: Vec<(Order, Entry)>,
        now_s: u32,
        bodies: &mut usize,
    ) -> Result<Option<Due>, StoreError> {
        let mut due: Option<Due> = None;
        let unread = entries.into_iter().rev().filter(|(_, entry)| entry.sequence > self.reader.read);
        for (order, mut entry) in unread {
            // Only the body says whether it is silent, and whom it mentions. What is behind an entry that is due needs none.
            if entry.is_reference() && *bodies > 0 && (due.is_none() || self.mute.is_some()) {
                *bodies -= 1;
                fetch_bodies(store, std::iter::once(&mut entry)).await?;
                if !notifies(&entry, user) {
                    continue;
                }
            }
            let mention = self.reader.is_mentioned(&entry);
            match &mut due {
                Some(due) => due.mention |= mention,
                None if is_muted(self.mute.as_ref(), now_s, mention) => {}
                None => due = Some(Due { order, entry, mention }),
            }
        }
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use godwit_core::stored::{MemberRecord, ProgressRecord};
    use godwit_schemas::client;
    use godwit_schemas::ids::Seq;
    use godwit_store::memory::MemoryStore;
    use godwit_store::record::put;
    use godwit_store::{Durability, Write};
    use prost::Message as _;

    use super::*;

    const PHONE: DeviceId = DeviceId::new(65);
    const ID: ConversationId = ConversationId::new(99);

    fn bob() -> UserId {
        UserId::new("bob").unwrap()
    }

    fn entry(sequence: u64, mentions: &[u32]) -> Entry {
        let extras = client::Message { mentions: mentions.to_vec(), ..Default::default() };
        Entry {
            expires_at_s: u32::MAX,
            conversation: ID,
            sequence: Seq::new(sequence),
            sender_name: Bytes::from_static(b"alice"),
            extras: extras.encode_to_vec().into(),
            content: Bytes::from_static(b"hi"),
            ..Entry::default()
        }
    }

    fn row(order: u64, entry: &Entry) -> Write {
        let (table, key) = keys::entry(PHONE, Order::new(order));
        Write::Put(table, key, entry.encode())
    }

    /// Alice and Bob are members, and Bob has read so far.
    async fn store(read: u64, entries: Vec<Write>) -> MemoryStore {
        let store = MemoryStore::new(Arc::new(|| 0));
        let member = |ordinal, user: &str| MemberRecord { ordinal, user: user.to_owned(), ..Default::default() };
        let record = ConversationRecord { members: vec![member(1, "alice"), member(2, "bob")], ..Default::default() };
        let progress = vec![ProgressRecord { ordinal: 2, read, ..Default::default() }];
        let mut writes = vec![
            put(keys::conversation(ID), &record),
            put(keys::state(ID), &StateRecord { progress, ..Default::default() }),
        ];
        writes.extend(entries);
        store.commit(writes, Durability::Buffered).await.unwrap();
        store
    }

    async fn found(store: &MemoryStore, pushed: u64) -> Found {
        let (low, pushed) = (Order::new(1), Order::new(pushed));
        inspect(store, Asked { user: &bob(), device: PHONE, low, pushed, now_s: 100 }).await.unwrap()
    }

    #[tokio::test]
    async fn the_last_entry_of_a_conversation_is_due_once() {
        let store = store(0, vec![row(5, &entry(1, &[])), row(6, &entry(2, &[]))]).await;
        let first = found(&store, 0).await;
        assert_eq!((first.due.len(), first.due[0].order, first.waiting), (1, Order::new(6), 2));
        assert_eq!(first.up_to, Order::new(6));
        assert!(found(&store, 6).await.due.is_empty());
        assert_eq!(found(&store, 5).await.waiting, 2, "the badge counts what was pushed, too");
    }

    #[tokio::test]
    async fn what_was_read_elsewhere_is_not_due() {
        let store = store(2, vec![row(5, &entry(1, &[])), row(6, &entry(2, &[]))]).await;
        let found = found(&store, 0).await;
        assert!(found.due.is_empty());
        assert_eq!(found.up_to, Order::new(6), "and is not looked at again");
    }

    #[tokio::test]
    async fn a_muted_conversation_is_due_when_it_mentions_the_user() {
        let store = store(0, vec![row(5, &entry(1, &[2])), row(6, &entry(2, &[]))]).await;
        let mute = |mentions_only| put(keys::mute(&bob(), ID), &MuteRecord { until_s: u32::MAX, mentions_only });
        store.commit(vec![mute(true)], Durability::Buffered).await.unwrap();
        let due = found(&store, 0).await.due;
        assert_eq!((due.len(), due[0].order, due[0].mention), (1, Order::new(5), true));
        store.commit(vec![mute(false)], Durability::Buffered).await.unwrap();
        assert!(found(&store, 0).await.due.is_empty());
    }

    #[tokio::test]
    async fn a_body_that_is_kept_apart_says_whether_its_sender_was_silent() {
        for silent in [true, false] {
            let extras = client::Message { silent, properties: Some(Box::default()), ..Default::default() };
            let mut whole = Entry { extras: extras.encode_to_vec().into(), ..entry(1, &[]) };
            whole.apart = Some(whole.content_len());
            let (table, key) = keys::message(ID, Seq::new(1));
            let (inbox, place) = keys::entry(PHONE, Order::new(5));
            let rows = vec![Write::Put(table, key, whole.encode()), Write::Put(inbox, place, whole.reference())];
            let due = found(&store(0, rows).await, 0).await.due;
            assert_eq!(due.len(), usize::from(!silent));
            assert!(due.iter().all(|due| due.entry.content == "hi"));
        }
    }
}
