//! Inbox entries as they are read and as they are delivered.

use bytes::Bytes;
use godwit_core::entry::{Entry, EntryKind};
use godwit_schemas::bus::{self, Extras, Shape, down::Frame};
use godwit_schemas::ids::{DeviceId, Order};
use godwit_schemas::topic::Filters;
use prost::Message as _;
use tracing::{error, trace};

use godwit_store::{Store, StoreError, keys};

/// Fills in the bodies that are kept apart, in one read. What is not there any more stays a reference.
pub(crate) async fn fetch_bodies<'a, S: Store>(
    store: &S,
    entries: impl Iterator<Item = &'a mut Entry>,
) -> Result<(), StoreError> {
    let references: Vec<_> = entries.filter(|entry| entry.is_reference()).collect();
    if references.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = references.iter().map(|entry| keys::message(entry.conversation, entry.sequence)).collect();
    for (entry, value) in references.into_iter().zip(store.multi_get(&keys).await?) {
        // It may have been edited meanwhile, or taken back.
        if let Some(Ok(whole)) = value.map(Entry::decode).filter(|it| it.as_ref().is_ok_and(|it| it.apart.is_some())) {
            (entry.apart, entry.extras, entry.content) = (whole.apart, whole.extras, whole.content);
        }
    }
    Ok(())
}

pub(crate) fn readable(device: DeviceId, order: Order, value: bytes::Bytes) -> Option<Entry> {
    Entry::decode(value).inspect_err(|error| error!(%device, %order, %error, "an inbox entry is passed over")).ok()
}

/// The frame that delivers an entry, about to be pushed to the edge.
pub(in crate::lane) fn deliver(
    device: DeviceId,
    order: Order,
    entry: &Entry,
    again: bool,
    filters: Filters,
    now_s: u32,
) -> Frame {
    let (conversation, sequence) = (entry.conversation, entry.sequence);
    trace!(%device, %order, %conversation, %sequence, again, "delivery pushed");
    let mut deliver = bus::Deliver { order: order.get(), duplicate: again, ..Default::default() };
    if entry.limited {
        deliver.expires_in_s = Some(entry.expires_at_s.saturating_sub(now_s));
    }
    if filters.wants_events() || entry.kind == EntryKind::Change {
        deliver.set_shape(Shape::Event);
        deliver.payload = entry.event(now_s);
    } else {
        deliver.set_shape(Shape::Raw);
        deliver.payload = entry.content.clone();
        deliver.extras = entry.properties().and_then(|it| Extras::of(Bytes::new(), it.encode_to_vec().into()));
        deliver.conversation = entry.conversation.get();
        deliver.sequence = entry.sequence.get();
        // Names are checked where they enter: this one is ASCII.
        deliver.sender = String::from_utf8_lossy(&entry.sender_name).into_owned();
    }
    Frame::Deliver(deliver)
}
