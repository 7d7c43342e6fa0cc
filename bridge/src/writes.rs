//! From what a decision changed to what is written: the last step of a lane's round before its commit goes to the committer. What
//! is written whole is taken from the state cache as it is by then.

use bytes::Bytes;
use godwit_core::keys::MessageKey;
use godwit_core::outbox::Item;
use godwit_core::outcome::StoreChange;
use godwit_core::reaction::StoredReaction;
use godwit_core::retry::PublishRecord;
use godwit_core::state_cache::StateCache;
use godwit_core::stored::ReceiptRecord;
use godwit_schemas::ids::{ConversationId, Seq};
use godwit_schemas::media::MediaId;
use godwit_store::keys;
use prost::Message;

use godwit_store::keys::media::{self, Holder};
pub(crate) use godwit_store::record::{counter, delete_range, put, set};
use godwit_store::{Table, Write};

use crate::messages::Commit;

/// Takes in an item that only writes rows ([`Item::is_rows`]); nothing becomes of others.
pub(crate) fn take_in(item: Item, commit: &mut Commit) {
    let rows = &mut commit.writes;
    match item {
        Item::Membership(user, id, membership) => {
            rows.push(set(keys::membership(&user, id), membership.is().then(Bytes::new)));
            if !membership.is() {
                rows.push(set(keys::mute(&user, id), None));
            }
            commit.memberships.count(user, membership);
        }
        Item::Watch { contact, by, begins } => {
            rows.push(set(keys::watcher(&contact, &by), begins.then(Bytes::new)));
            rows.extend(begins.then(|| set(keys::watched(&contact), Some(Bytes::new()))));
        }
        Item::ContactGone { .. } | Item::Forget { .. } | Item::Released { .. } => {}
    }
}

/// The writes of a batch's changes. A conversation that changed many times is written once, as it is now.
pub(crate) fn of_changes(cache: &mut StateCache, changes: Vec<StoreChange>, writes: &mut Vec<Write>) {
    let (mut whole, mut state) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            StoreChange::Conversation(id) => whole.push(id),
            StoreChange::State(id) => state.push(id),
            StoreChange::ConversationGone(id) => {
                let rows = [keys::conversation(id), keys::state(id), keys::mls_group(id)];
                writes.extend(rows.map(|key| set(key, None)));
                writes.push(delete_range(Table::Conversations, keys::recents(id)));
                writes.push(set(keys::mark(&keys::Tombstone::Conversation(id)), Some(Bytes::new())));
            }
            StoreChange::Pair(low, high, id) => {
                writes.push(set(keys::pair(&low, &high), id.map(|id| counter(id.get()))));
            }
            StoreChange::Message(id, sequence, value) => writes.push(set(keys::message(id, sequence), value)),
            StoreChange::OwnMessage(id, sequence, value) => writes.push(set(keys::own_message(id, sequence), value)),
            StoreChange::Reaction(id, sequence, member, reacted) => {
                writes.push(set(keys::reaction(id, sequence, member), reacted.map(reaction)));
            }
            StoreChange::OwnReaction(id, sequence, member, reacted) => {
                writes.push(set(keys::own_reaction(id, sequence, member), reacted.map(reaction)));
            }
            StoreChange::ReactionsGone(id, sequence) => {
                writes.push(delete_range(Table::Messages, keys::reactions(id, sequence)));
            }
            StoreChange::Holders(id, sequence) => writes.push(holders(cache, id, sequence)),
            StoreChange::Shared(place, id, reference) => {
                writes.push(put(media::reference(place, id), &reference));
                writes.push(set(media::holder(id, &Holder::Message(place)), Some(Bytes::new())));
                let ended = Bytes::from_static(media::REFERENCE_ENDED);
                writes.push(set(media::due(reference.expires_at_s, id), Some(ended)));
            }
            StoreChange::Unshared(place, id, now_s) => {
                unshare(place, id, now_s, writes);
            }
            StoreChange::MlsGroup(id, record) => writes.push(put(keys::mls_group(id), &*record)),
            StoreChange::EntryGone(device, order) => {
                let (table, key) = keys::entry(device, order);
                writes.push(Write::Delete(table, key));
            }
            StoreChange::Receipt(device, id, member, watermark) => {
                let record = ReceiptRecord { delivered: watermark.delivered.get(), read: watermark.read.get() };
                writes.push(put(keys::receipt(device, id, member), &record));
            }
            StoreChange::ReceiptGone(device, id, member) => writes.push(set(keys::receipt(device, id, member), None)),
            StoreChange::PublishRecord(device, publish_record) => {
                // A packet identifier has 16 bits; the slot keeps the low ones.
                let slot = PublishRecord::slot((publish_record.packet_id & 0xFFFF) as u16);
                writes.push(put(keys::publish_record(device, slot), &publish_record));
            }
            StoreChange::NextConversation(partition, next) => {
                let (table, key) = keys::conversation_counter(partition);
                writes.push(Write::Put(table, key, counter(next)));
            }
        }
    }
    conversations(cache, whole, state, writes);
}

fn reaction((end_s, reaction): (u32, StoredReaction)) -> Bytes {
    [&end_s.to_be_bytes()[..], reaction.bytes()].concat().into()
}

/// A message refers to a file no more.
pub(crate) fn unshare(place: MessageKey, id: MediaId, now_s: u32, writes: &mut Vec<Write>) {
    writes.push(set(media::reference(place, id), None));
    writes.push(set(media::holder(id, &Holder::Message(place)), None));
    writes.push(set(media::due(now_s, id), Some(Bytes::from_static(media::REFERENCE_ENDED))));
}

/// Who has still to get a message, as the batch left it.
fn holders(cache: &StateCache, id: ConversationId, sequence: Seq) -> Write {
    let value = cache.holders((id, sequence)).map(|record| {
        let mut value = record.expires_at_s.to_be_bytes().to_vec();
        record.encode_raw(&mut value);
        value.into()
    });
    set(keys::holders(id, sequence), value)
}

fn conversations(
    cache: &mut StateCache,
    mut whole: Vec<ConversationId>,
    mut state: Vec<ConversationId>,
    writes: &mut Vec<Write>,
) {
    for ids in [&mut whole, &mut state] {
        ids.sort_unstable();
        ids.dedup();
    }
    state.retain(|id| whole.binary_search(id).is_err());
    for id in whole.iter().chain(&state) {
        let full = cache.conversation_mut(*id).map(|conversation| conversation.recent.take_full());
        let rows = full.into_iter().flatten();
        writes.extend(rows.map(|row| set(keys::recent(*id, row.slot), Some(row.value))));
    }
    for conversation in whole.iter().filter_map(|id| cache.conversation(*id)) {
        let (record, state) = conversation.to_records();
        writes.push(put(keys::conversation(conversation.id), &record));
        writes.push(put(keys::state(conversation.id), &state));
    }
    for conversation in state.iter().filter_map(|id| cache.conversation(*id)) {
        writes.push(put(keys::state(conversation.id), &conversation.to_state()));
    }
}
