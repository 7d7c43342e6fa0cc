//! Which rows lie together in the tables of a cluster, where a table is not one sorted map but many small ones: its *groups*.
//! One scan reads one group; the few that read more are named by [`Groups`].
//!
//! | table | rows | group |
//! |---|---|---|
//! | Directory | `f` `l` `k` `W` `I` `c` `L` of a user | `u`, user |
//! | Directory | `K` of a contact | `K`, contact |
//! | Directory | `s` `d` `v` `x` `M` `m` of a device | `d`, device |
//! | Directory | `h` `w` `a` of a hash | the key |
//! | Directory | `u` user: all are listed | `U`, one of 64 by the hash of its name (1) |
//! | Directory | `q` `p` device: all are read at a start | `Q` `P`, one of 64 by its number (1) |
//! | Directory | `j` `J` from: items are all read at a start | `J`, one of 64 by the partition that sends (1) |
//! | Directory | `i` to | `I`, one of 64 by the partition that takes in (1) |
//! | Directory | `g` hash: all are swept | `g`, the first half of the hash's first byte (1) |
//! | Directory | `e` | `e` |
//! | Directory | `n` `y` `o` `b` `t` `z` `Z` | `n` |
//! | Conversations | `c` `t` `r` `g` of a conversation | `c`, conversation |
//! | Conversations | `m` `q` `v` `V` of a user | the tag, user |
//! | Conversations | `p` pair | the key |
//! | Conversations | `n` | `n` |
//! | Inbox, Receipts | of a device | device |
//! | Messages | of a conversation | conversation |
//! | Media | `o` `b` of a media | `o`, media |
//! | Media | `h` of a hash | `h`, hash |
//! | Media | `w` `q` of a user | `w`, user |
//! | Media | `r` of a conversation | `r`, conversation |
//! | Media | `g` `x` second | the tag, days since the beginning of 2026 (2) |
//!
//! A key of no known kind lies in the group of strays, named 0 (1). No group has an empty name: Cassandra takes none.

use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::partition::{Partition, Partitions};

use crate::Table;

/// Bytes of the number of a device or conversation.
const NUMBER: usize = 8;
/// Bytes of a SHA-256.
const HASH: usize = 32;
/// Bytes of the id of a media.
const MEDIA: usize = 16;
/// Codes lie in so many groups.
const CODE_GROUPS: u8 = 16;
/// Users, what waits in inboxes, and what partitions send to each other lie in so many groups, whatever the number of partitions of the store: a list reads them
/// all.
const LISTED: Partitions = Partitions::UNSAID;
const DAY_S: u32 = 86_400;
/// The beginning of 2026, in seconds since 1970. No server's time is earlier (see [`crate::time`]), and what is due earlier
/// lies in the first group.
const FIRST_DAY_S: u32 = 1_767_225_600;

/// The group of keys of no known kind.
const STRAYS: &[u8] = &[0];

/// The groups that a range of keys covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// One.
    One(Vec<u8>),
    /// Several, whose keys follow each other: codes, and the queues of the media service.
    InOrder(Vec<Vec<u8>>),
    /// Several, whose keys are mixed: users, what waits in inboxes, where devices are pushed, and what partitions have sent.
    Mixed(Vec<Vec<u8>>),
}

/// Where a key lies.
struct Place {
    group: Vec<u8>,
    /// So many bytes of the key are those of all keys that a scan of this group may return.
    prefix: usize,
}

impl Place {
    fn new(group: impl Into<Vec<u8>>, prefix: usize) -> Self {
        Self { group: group.into(), prefix }
    }

    fn stray() -> Self {
        Self::new(STRAYS, 0)
    }
}

/// The group of a key.
pub fn group(table: Table, key: &[u8]) -> Vec<u8> {
    place(table, key).group
}

/// The groups of the keys from `from` (inclusive) to `to` (exclusive). `None`: of more than can be read.
pub fn groups(table: Table, from: &[u8], to: &[u8]) -> Option<Groups> {
    if let Some(several) = several(table, from, to) {
        return Some(several);
    }
    let Place { group, prefix } = place(table, from);
    if group == STRAYS {
        return are_strays(table, from, to).then_some(Groups::One(group));
    }
    let prefix = &from[..prefix];
    (to.starts_with(prefix) || ends_behind(to, prefix)).then_some(Groups::One(group))
}

/// Whether a range that ends there has no key behind those of a prefix: it ends at the prefix, counted up by one, or below. It
/// may end at the lowest key of the next group, which goes on with zeros.
fn ends_behind(to: &[u8], prefix: &[u8]) -> bool {
    let end = &to[..to.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
    let mut next = prefix.to_vec();
    while next.last() == Some(&u8::MAX) {
        next.pop();
    }
    match next.last_mut() {
        Some(last) => *last += 1,
        None => return true,
    }
    end <= next.as_slice()
}

fn several(table: Table, from: &[u8], to: &[u8]) -> Option<Groups> {
    let tag = *from.first()?;
    let listed = || LISTED.all().map(|listed| listed_in(tag.to_ascii_uppercase(), listed)).collect();
    let is_one_tag = to.first() == Some(&tag) || to == [tag + 1];
    match (table, tag) {
        (Table::Directory, b'u' | b'q' | b'p' | b'j') if is_one_tag => Some(Groups::Mixed(listed())),
        (Table::Directory, b'g') if is_one_tag => {
            let first = from.get(1).map_or(0, |byte| byte / CODE_GROUPS);
            Some(Groups::InOrder((first..CODE_GROUPS).map(|half| vec![tag, half]).collect()))
        }
        (Table::Media, b'g' | b'x') if is_one_tag => {
            let last = if to == [tag + 1] { u16::MAX } else { day(&to[1..]) };
            Some(Groups::InOrder((day(&from[1..])..=last).map(|day| of_day(tag, day)).collect()))
        }
        _ => None,
    }
}

/// Days since the beginning of 2026, of the second that a key goes on with; missing bytes count as zeros.
fn day(rest: &[u8]) -> u16 {
    let mut second = [0; 4];
    second.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u16::try_from(u32::from_be_bytes(second).saturating_sub(FIRST_DAY_S) / DAY_S).unwrap_or(u16::MAX)
}

fn number(high: u8, low: u8) -> u64 {
    u16::from_be_bytes([high, low]).into()
}

fn listed_in(tag: u8, listed: Partition) -> Vec<u8> {
    let [_, low] = listed.get().to_be_bytes();
    vec![tag, low]
}

fn of_day(tag: u8, day: u16) -> Vec<u8> {
    [&[tag][..], &day.to_be_bytes()].concat()
}

fn place(table: Table, key: &[u8]) -> Place {
    match table {
        Table::Directory => directory(key),
        Table::Conversations => conversations(key),
        Table::Inbox | Table::Receipts | Table::Messages => {
            key.get(..NUMBER).map_or_else(Place::stray, |number| Place::new(number, NUMBER))
        }
        Table::Media => media(key),
    }
}

fn directory(key: &[u8]) -> Place {
    match key {
        [b'f' | b'l' | b'k' | b'W' | b'I' | b'c' | b'L', rest @ ..] => of_name(b'u', rest),
        [b'K', rest @ ..] => of_name(b'K', rest),
        [b's' | b'd' | b'v' | b'x' | b'M' | b'm', rest @ ..] => of_bytes(b'd', rest, NUMBER),
        [b'u', name @ ..] => {
            let user = std::str::from_utf8(name).ok().and_then(|name| UserId::new(name).ok());
            user.map_or_else(Place::stray, |user| Place::new(listed_in(b'U', LISTED.of_user(&user)), 1))
        }
        [tag @ (b'q' | b'p'), rest @ ..] => match rest.first_chunk::<NUMBER>() {
            Some(number) => {
                let device = DeviceId::new(u64::from_be_bytes(*number));
                Place::new(listed_in(tag.to_ascii_uppercase(), LISTED.of_device(device)), 1)
            }
            None => Place::stray(),
        },
        [b'j' | b'J', high, low, ..] => Place::new(listed_in(b'J', LISTED.of_number(number(*high, *low))), 1),
        [b'i', high, low, ..] => Place::new(listed_in(b'I', LISTED.of_number(number(*high, *low))), 1),
        [b'g', first, ..] => Place::new([b'g', first / CODE_GROUPS], 1),
        [b'h' | b'w' | b'a', rest @ ..] => of_bytes(key[0], rest, HASH),
        [b'e', ..] => Place::new(*b"e", 1),
        [b'n' | b'y' | b'o' | b'b' | b't' | b'z' | b'Z', ..] => Place::new(*b"n", 1),
        _ => Place::stray(),
    }
}

fn conversations(key: &[u8]) -> Place {
    match key {
        [b'c' | b't' | b'r' | b'g', rest @ ..] => of_bytes(b'c', rest, NUMBER),
        [tag @ (b'm' | b'q' | b'v' | b'V'), rest @ ..] => of_name(*tag, rest),
        [b'p', ..] => Place::new(key, key.len()),
        [b'n', ..] => Place::new(*b"n", 1),
        _ => Place::stray(),
    }
}

fn media(key: &[u8]) -> Place {
    match key {
        [b'o' | b'b', rest @ ..] => of_bytes(b'o', rest, MEDIA),
        [b'h', rest @ ..] => of_bytes(b'h', rest, HASH),
        [b'w' | b'q', rest @ ..] => of_name(b'w', rest),
        [b'r', rest @ ..] => of_bytes(b'r', rest, NUMBER),
        [tag @ (b'g' | b'x'), rest @ ..] => Place::new(of_day(*tag, day(rest)), 1),
        _ => Place::stray(),
    }
}

/// Keys that go on with so many bytes.
fn of_bytes(tag: u8, rest: &[u8], bytes: usize) -> Place {
    let id = rest.get(..bytes);
    id.map_or_else(Place::stray, |id| Place::new([&[tag], id].concat(), 1 + bytes))
}

/// Keys that go on with a name, which ends the key or is followed by 0. A range of them ends behind that 0.
fn of_name(tag: u8, rest: &[u8]) -> Place {
    let zero = rest.iter().position(|byte| *byte == 0);
    let name = &rest[..zero.unwrap_or(rest.len())];
    Place::new([&[tag], name].concat(), 1 + zero.map_or(rest.len(), |zero| zero + 1))
}

/// Whether a range has none but strays.
fn are_strays(table: Table, from: &[u8], to: &[u8]) -> bool {
    let tags: &[u8] = match table {
        Table::Directory => b"flkWIcLKsdvxMmuqpghwaenyobtzZjJi",
        Table::Conversations => b"ctrgmqvVpn",
        Table::Media => b"obhwqrgx",
        Table::Inbox | Table::Receipts | Table::Messages => return from.len() < NUMBER && to.len() < NUMBER,
    };
    let (first, last) = (from.first().copied().unwrap_or(0), to.first().copied().unwrap_or(0));
    !tags.iter().any(|tag| (first..=last).contains(tag))
}

#[cfg(test)]
mod tests {
    use godwit_core::keys::MessageKey;
    use godwit_core::outbox::Link;
    use godwit_schemas::ids::{ConversationId, Order, Ordinal, Seq};
    use godwit_schemas::media::MediaId;

    use super::*;
    use crate::keys::{self, StoreKey, media};

    type Range = (Vec<u8>, Vec<u8>);

    fn alice() -> UserId {
        UserId::new("alice").expect("a name")
    }

    fn link() -> Link {
        Link { from: Partition::new(1_023), to: Partition::new(64) }
    }

    /// Ranges, with a key in each.
    fn of_one_group() -> Vec<(Table, Range, StoreKey)> {
        let (alice, bob) = (alice(), UserId::new("bob").expect("a name"));
        let (id, device, member) = (ConversationId::new(300), DeviceId::new(255), Ordinal::new(2));
        let (file, hash, sequence) = (MediaId::new([255; 16]), [255; 32], Seq::new(5));
        let place: MessageKey = (id, sequence);
        let holder = media::Holder::Message(place);
        let conversation_end = keys::message(ConversationId::new(301), Seq::default()).1;
        vec![
            (Table::Directory, keys::counters(), keys::device_counter(Partition::new(300))),
            (Table::Conversations, keys::counters(), keys::conversation_counter(Partition::new(7))),
            (Table::Directory, keys::publish_records(device), keys::publish_record(device, 255)),
            (Table::Directory, keys::all_written_to(&alice), keys::written_to(&alice, &hash)),
            (Table::Directory, keys::marks(), keys::mark(&keys::Tombstone::Device(device))),
            (Table::Directory, keys::contacts_after(&alice, None), keys::contact(&alice, &bob)),
            (Table::Directory, keys::contacts_after(&alice, Some(&alice)), keys::contact(&alice, &bob)),
            (Table::Directory, keys::watchers_after(&alice, None), keys::watcher(&alice, &bob)),
            (Table::Conversations, keys::recents(id), keys::recent(id, 7)),
            (Table::Conversations, keys::memberships(&alice), keys::membership(&alice, id)),
            (Table::Conversations, keys::mutes_after(&alice, ConversationId::default()), keys::mute(&alice, id)),
            (Table::Directory, keys::certificates_after(&alice, 2), keys::certificate(&alice, 3)),
            (Table::Directory, keys::key_packages(device), keys::key_package(device, 3)),
            (Table::Conversations, keys::vault(&alice), keys::vault_row(&alice, id, 5)),
            (Table::Conversations, keys::vault_after(&alice, id, 4), keys::vault_row(&alice, id, 5)),
            (Table::Inbox, keys::inbox(device), keys::entry(device, Order::new(u64::MAX))),
            (Table::Inbox, keys::inbox_after(device, Order::new(9)), keys::entry(device, Order::new(10))),
            (Table::Receipts, keys::receipts(device), keys::receipt(device, id, member)),
            (Table::Messages, keys::reactions(id, sequence), keys::reaction(id, sequence, member)),
            (Table::Messages, (keys::message(id, sequence).1, conversation_end), keys::message(id, Seq::new(u64::MAX))),
            (Table::Media, media::contents(&hash), media::content(&hash, file, file)),
            (Table::Media, media::contents_in(&hash, file), media::content(&hash, file, file)),
            (Table::Media, media::unfinished_of(&alice), media::unfinished(&alice, &hash)),
            (Table::Media, media::references(place), media::reference(place, file)),
            (Table::Media, media::references_in(id), media::reference(place, file)),
            (Table::Media, media::holders(file), media::holder(file, &holder)),
            (Table::Media, media::holders_in(file, id), media::holder(file, &holder)),
        ]
    }

    /// The named exceptions.
    fn of_several_groups() -> Vec<(Table, Range, StoreKey)> {
        let now_s = FIRST_DAY_S + 400 * DAY_S;
        let file = MediaId::new([1; 16]);
        vec![
            (Table::Directory, keys::users_after(None), keys::user(&alice())),
            (Table::Directory, keys::backlogs(), keys::backlog(DeviceId::new(u64::MAX))),
            (Table::Directory, keys::pushes(), keys::push(DeviceId::new(u64::MAX))),
            (Table::Directory, keys::outbox_items(), keys::outbox_item(link(), u64::MAX)),
            (Table::Directory, keys::codes(), keys::code(&[255; 32])),
            (Table::Media, media::due_by(now_s), media::due(now_s, file)),
            (Table::Media, media::due_by(now_s), media::due(7, file)),
            (Table::Media, media::garbage_by(now_s), media::garbage(now_s, file)),
        ]
    }

    #[test]
    fn a_scan_reads_one_group_or_is_a_named_exception() {
        for (table, (from, to), (of, key)) in of_one_group() {
            assert!(from <= key && key < to, "{key:?}");
            let found = groups(table, &from, &to);
            assert_eq!((table, found), (of, Some(Groups::One(group(table, &key)))), "{from:?}");
            let behind = keys::behind(&key);
            assert!(behind >= to || groups(table, &behind, &to) == groups(table, &from, &to), "the next page");
        }
        for (table, (from, to), (_, key)) in of_several_groups() {
            assert!(from <= key && key < to, "{key:?}");
            let (Groups::InOrder(groups) | Groups::Mixed(groups)) = groups(table, &from, &to).expect("known") else {
                panic!("one group: {from:?}");
            };
            assert!(groups.contains(&group(table, &key)), "{key:?}");
            assert!(groups.len() <= 401);
        }
    }

    #[test]
    fn every_key_has_a_group() {
        let all = of_one_group().into_iter().chain(of_several_groups()).map(|(_, _, key)| key);
        let counters = Partition::new(300);
        let more = [
            keys::session(DeviceId::new(1)),
            keys::full_since(DeviceId::new(1)),
            keys::pushed(DeviceId::new(1)),
            keys::push_address(&[1; 32]),
            keys::push_key(),
            keys::identity(&alice()),
            keys::device_keys(DeviceId::new(1)),
            keys::link(&alice()),
            keys::mls_group(ConversationId::new(1)),
            keys::vault_count(&alice()),
            keys::phone(&[1; 32]),
            keys::phone_inbox(&[1; 32]),
            keys::profile(&alice()),
            keys::last_seen(&alice()),
            keys::contact_count(&alice()),
            keys::watched(&alice()),
            keys::device_counter(counters),
            keys::conversation_counter(counters),
            keys::outbox_counter(link()),
            keys::intake_cursor(link()),
            keys::phone_secret(),
            keys::last_order(),
            keys::starts(),
            keys::time(),
            keys::origin(),
            keys::conversation(ConversationId::new(1)),
            keys::state(ConversationId::new(1)),
            keys::pair(&alice(), &alice()),
            keys::membership_count(&alice()),
            media::media(MediaId::new([0; 16])),
            media::quota(&alice()),
        ];
        for (table, key) in all.chain(more) {
            assert!(group(table, &key) != STRAYS, "{table:?} {key:?}");
        }
    }

    #[test]
    fn a_range_over_groups_that_nobody_lists_is_none() {
        for table in [Table::Directory, Table::Conversations, Table::Media, Table::Inbox, Table::Receipts] {
            assert_eq!(groups(table, &[], &[0xFF; 9]), None, "{table:?}");
        }
        let (from, _) = keys::inbox(DeviceId::new(1));
        let (_, to) = keys::inbox(DeviceId::new(2));
        assert_eq!(groups(Table::Inbox, &from, &to), None);
    }

    #[test]
    fn groups_in_order_are_in_the_order_of_their_keys() {
        let days = [0, FIRST_DAY_S, FIRST_DAY_S + DAY_S, FIRST_DAY_S + 300 * DAY_S];
        let of: Vec<_> = days.map(|at_s| group(Table::Media, &media::due(at_s, MediaId::new([0; 16])).1)).into();
        assert_eq!(of[0], of[1], "nothing is earlier");
        assert!(of[1] < of[2] && of[2] < of[3], "{of:?}");
    }
}
