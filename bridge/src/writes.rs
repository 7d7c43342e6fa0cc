//! From what a decision changed to what is written.

use bytes::Bytes;
use godwit_core::doubt::Doubt;
use godwit_core::outcome::Change;
use godwit_core::record::ReceiptRecord;
use godwit_core::world::{Place, World};
use godwit_schemas::ids::{ConversationId, Seq};
use godwit_schemas::media::MediaId;
use prost::Message;

use crate::store::keys::media::{self, Holder};
use crate::store::keys::{self, Key};
use crate::store::{Table, Write};

/// The writes of a batch's changes. A conversation that changed many times is written once, as it is now.
pub(crate) fn of_changes(world: &World, changes: Vec<Change>, writes: &mut Vec<Write>) {
    let (mut whole, mut state) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Conversation(id) => whole.push(id),
            Change::State(id) => state.push(id),
            Change::ConversationGone(id) => {
                writes.extend([keys::conversation(id), keys::state(id)].map(|key| set(key, None)));
                writes.push(set(keys::mark(&keys::Marked::Conversation(id)), Some(Bytes::new())));
            }
            Change::Pair(low, high, id) => {
                writes.push(set(keys::pair(&low, &high), id.map(|id| counter(id.get()))));
            }
            Change::Membership(user, id, joined) => {
                writes.push(set(keys::membership(&user, id), joined.then(Bytes::new)));
            }
            Change::Message(id, sequence, value) => writes.push(set(keys::message(id, sequence), value)),
            Change::Reaction(id, sequence, member, reaction) => {
                let value = reaction.map(|(end_s, text)| [&end_s.to_be_bytes()[..], text.as_bytes()].concat().into());
                writes.push(set(keys::reaction(id, sequence, member), value));
            }
            Change::ReactionsGone(id, sequence) => {
                writes.push(delete_range(Table::Messages, keys::reactions(id, sequence)));
            }
            Change::Holders(id, sequence) => writes.push(holders(world, id, sequence)),
            Change::Shared(place, id, reference) => {
                writes.push(put(media::reference(place, id), &reference));
                writes.push(set(media::holder(id, &Holder::Message(place)), Some(Bytes::new())));
                let ended = Bytes::from_static(media::REFERENCE_ENDED);
                writes.push(set(media::due(reference.expires_at_s, id), Some(ended)));
            }
            Change::Unshared(place, id, now_s) => {
                unshare(place, id, now_s, writes);
            }
            Change::EntryGone(device, order) => {
                let (table, key) = keys::entry(device, order);
                writes.push(Write::Delete(table, key));
            }
            Change::Receipt(device, id, member, watermark) => {
                let record = ReceiptRecord { delivered: watermark.delivered.get(), read: watermark.read.get() };
                writes.push(put(keys::receipt(device, id, member), &record));
            }
            Change::ReceiptGone(device, id, member) => writes.push(set(keys::receipt(device, id, member), None)),
            Change::Doubt(device, doubt) => {
                // A packet identifier has 16 bits; the slot keeps the low ones.
                let slot = Doubt::slot((doubt.packet_id & 0xFFFF) as u16);
                writes.push(put(keys::doubt(device, slot), &doubt));
            }
            Change::NextConversation(partition, next) => {
                let (table, key) = keys::conversation_counter(partition);
                writes.push(Write::Put(table, key, counter(next)));
            }
        }
    }
    conversations(world, whole, state, writes);
}

/// A message refers to a file no more.
pub(crate) fn unshare(place: Place, id: MediaId, now_s: u32, writes: &mut Vec<Write>) {
    writes.push(set(media::reference(place, id), None));
    writes.push(set(media::holder(id, &Holder::Message(place)), None));
    writes.push(set(media::due(now_s, id), Some(Bytes::from_static(media::REFERENCE_ENDED))));
}

/// Who has still to get a message, as the batch left it.
fn holders(world: &World, id: ConversationId, sequence: Seq) -> Write {
    let value = world.holders((id, sequence)).map(|record| {
        let mut value = record.expires_at_s.to_be_bytes().to_vec();
        record.encode_raw(&mut value);
        value.into()
    });
    set(keys::holders(id, sequence), value)
}

fn conversations(
    world: &World,
    mut whole: Vec<ConversationId>,
    mut state: Vec<ConversationId>,
    writes: &mut Vec<Write>,
) {
    for ids in [&mut whole, &mut state] {
        ids.sort_unstable();
        ids.dedup();
    }
    state.retain(|id| whole.binary_search(id).is_err());
    for conversation in whole.iter().filter_map(|id| world.conversation(*id)) {
        let (record, state) = conversation.to_records();
        writes.push(put(keys::conversation(conversation.id), &record));
        writes.push(put(keys::state(conversation.id), &state));
    }
    for conversation in state.iter().filter_map(|id| world.conversation(*id)) {
        writes.push(put(keys::state(conversation.id), &conversation.to_state()));
    }
}

/// Sets a key to a record.
pub(crate) fn put((table, key): Key, record: &impl Message) -> Write {
    Write::Put(table, key, record.encode_to_vec().into())
}

/// Sets or removes a key.
pub(crate) fn set((table, key): Key, value: Option<Bytes>) -> Write {
    match value {
        Some(value) => Write::Put(table, key, value),
        None => Write::Delete(table, key),
    }
}

/// Removes a range.
pub(crate) fn delete_range(table: Table, (from, to): (Vec<u8>, Vec<u8>)) -> Write {
    Write::DeleteRange(table, from, to)
}

/// A counter's value.
pub(crate) fn counter(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}
