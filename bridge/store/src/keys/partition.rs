//! Keys of what partitions count, and of what they send to each other.

use godwit_core::outbox::Link;
use godwit_schemas::partition::Partition;

use super::{RowKind, StoreKey, parse_counter};

/// A partition in a key. The first stores had 64 of them.
fn partition_bytes(number: &[u8; 2]) -> &[u8] {
    if number[0] == 0 { &number[1..] } else { number }
}

/// The other way round.
fn parse_partition(bytes: &[u8]) -> Option<Partition> {
    match *bytes {
        [low] => Some(Partition::new(low.into())),
        [high, low] if high > 0 => Some(Partition::new(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

/// All counters, in the table Directory those of devices, in the table Conversations those of conversations.
pub fn counters() -> (Vec<u8>, Vec<u8>) {
    (vec![b'n'], vec![b'n' + 1])
}

/// The partition of a key of [`device_counter`] or [`conversation_counter`].
pub fn parse_counted(key: &[u8]) -> Option<Partition> {
    parse_partition(key.strip_prefix(b"n")?)
}

/// A partition's counter of devices.
pub fn device_counter(partition: Partition) -> StoreKey {
    RowKind::DeviceCounter.key(&[partition_bytes(&partition.get().to_be_bytes())])
}

/// A partition's counter of conversations.
pub fn conversation_counter(partition: Partition) -> StoreKey {
    RowKind::ConversationCounter.key(&[partition_bytes(&partition.get().to_be_bytes())])
}

/// What a partition has sent to another.
pub fn outbox_item(link: Link, number: u64) -> StoreKey {
    RowKind::OutboxItem.key(&[&ends(link.from, link.to), &number.to_be_bytes()])
}

/// All of these, in order for each link.
pub fn outbox_items() -> (Vec<u8>, Vec<u8>) {
    (vec![b'j'], vec![b'j' + 1])
}

/// Link and number of a key of [`outbox_item`].
pub fn parse_outbox_item(key: &[u8]) -> Option<(Link, u64)> {
    let (ends, number) = key.strip_prefix(b"j")?.split_first_chunk::<4>()?;
    let (from, to) = parse_ends(*ends);
    Some((Link { from, to }, parse_counter(number)?))
}

/// The number that a partition gave last to what it sent to another.
pub fn outbox_counter(link: Link) -> StoreKey {
    RowKind::OutboxCounter.key(&[&ends(link.from, link.to)])
}

/// Up to where a partition has taken in what another sent.
pub fn intake_cursor(link: Link) -> StoreKey {
    RowKind::IntakeCursor.key(&[&ends(link.to, link.from)])
}

/// The link of a key of [`outbox_counter`] or [`intake_cursor`].
pub fn parse_link(key: &[u8]) -> Option<Link> {
    let (tag, ends) = key.split_first()?;
    let (first, second) = parse_ends(ends.try_into().ok()?);
    match tag {
        b'J' => Some(Link { from: first, to: second }),
        b'i' => Some(Link { from: second, to: first }),
        _ => None,
    }
}

fn ends(first: Partition, second: Partition) -> [u8; 4] {
    let ([a, b], [c, d]) = (first.get().to_be_bytes(), second.get().to_be_bytes());
    [a, b, c, d]
}

fn parse_ends([a, b, c, d]: [u8; 4]) -> (Partition, Partition) {
    (Partition::new(u16::from_be_bytes([a, b])), Partition::new(u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        for partition in [0, 63, 64, 255, 256, 1_023, 4_095].map(Partition::new) {
            assert_eq!(parse_counted(&device_counter(partition).1), Some(partition));
            assert_eq!(parse_counted(&conversation_counter(partition).1), Some(partition));
        }
        assert_eq!(device_counter(Partition::new(63)).1, [b'n', 63], "as the first stores have it");
        let link = Link { from: Partition::new(1_023), to: Partition::new(5) };
        assert_eq!(parse_outbox_item(&outbox_item(link, 9).1), Some((link, 9)));
        assert_eq!(parse_link(&outbox_counter(link).1), Some(link));
        assert_eq!(parse_link(&intake_cursor(link).1), Some(link));
    }
}
