//! What an earlier program has stored is still read: every row of the golden store (tests/golden), key and value, is read as
//! production reads it, and made again byte by byte. A kind of row that is not there fails: the README there says how a new
//! store is made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use bytes::Bytes;
use godwit_core::conversation::Conversation;
use godwit_core::entry::Entry;
use godwit_core::outbox::Item;
use godwit_core::reaction::StoredReaction;
use godwit_core::recent::{RecentPlaces, UnreadQuery};
use godwit_core::retry::PublishRecord;
use godwit_core::stored::{
    CertificateRecord, ContactRecord, ConversationRecord, DeviceKeysRecord, HoldersRecord, IdentityRecord,
    KeyPackageRecord, LinkRecord, MlsGroupRecord, MuteRecord, OriginRecord, ProfileRecord, PushAddressRecord,
    PushRecord, PushedRecord, ReceiptRecord, ReferenceRecord, SessionRecord, StateRecord, UserRecord,
};
use godwit_schemas::ids::{ConversationId, DeviceId, Ordinal, Seq, UserId};
use godwit_schemas::media::MediaId;
use godwit_store::keys::{self, MessageRowKind, RowKind, StoreKey, Tombstone, media};
use godwit_store::rocks::{RocksSettings, RocksStore};
use godwit_store::time::TimeRecord;
use godwit_store::{ClockS, EXPIRY_BYTES, Store as _, Table};
use prost::Message;

use crate::lane::RevokedRecord;
use crate::media::record::{MediaRecord, QuotaRecord};
use crate::registration::CodeRecord;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/data/store");
const TABLES: [Table; 6] =
    [Table::Directory, Table::Conversations, Table::Inbox, Table::Receipts, Table::Messages, Table::Media];

/// RowKind, key and value.
type Row = (RowKind, Vec<u8>, Bytes);

#[tokio::test]
async fn every_kind_of_golden_row_is_read_and_made_again() {
    let rows = rows().await;
    for (kind, key, value) in &rows {
        let anew = read(*kind, key, value);
        let anew = anew.unwrap_or_else(|| panic!("a row of the kind {kind:?} is not read: {key:02x?} {value:02x?}"));
        assert_eq!(anew, (kind.tag().0, key.clone()), "the key of a {kind:?}");
    }
    let (_, revoked) = keys::revoked(&user(b"erin").expect("a name"), Some("watch"));
    assert!(rows.iter().any(|(kind, key, _)| *kind == RowKind::Revoked && *key == revoked), "erin's watch was removed");
    let found: BTreeSet<_> = rows.iter().map(|(kind, ..)| *kind).collect();
    let missing: Vec<_> = RowKind::ALL.iter().filter(|kind| !found.contains(kind)).collect();
    assert!(missing.is_empty(), "the golden store has no row of {missing:?}: make a new one (tests/golden/README.md)");
}

#[tokio::test]
async fn every_shape_of_an_entry_is_in_the_golden_store() {
    let entries = rows()
        .await
        .into_iter()
        .filter(|(kind, ..)| matches!(kind, RowKind::Entry | RowKind::Message | RowKind::OwnMessage));
    // Behind the expiry: three bits for the kind, and a flag for each of the others (see `Entry`).
    let heads: Vec<_> = entries.map(|(.., value)| value[EXPIRY_BYTES]).collect();
    let kinds: BTreeSet<_> = heads.iter().map(|head| head & 7).collect();
    assert_eq!(kinds, (0..8).collect());
    assert_eq!(heads.iter().fold(0, |all, head| all | head & !7), 0xF8, "every flag");
}

#[tokio::test]
async fn conversations_of_an_earlier_program_are_whole() {
    let (mut records, mut blocks) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
    let (mut states, mut unread) = (BTreeMap::new(), 0);
    for (kind, key, value) in rows().await {
        let id = || ConversationId::new(number(&key[1..9]).expect("a number"));
        match kind {
            RowKind::Conversation => _ = records.insert(id(), record::<ConversationRecord>(&value).expect("a record")),
            RowKind::State => _ = states.insert(id(), record::<StateRecord>(&value).expect("a record")),
            RowKind::Recent => blocks.entry(id()).or_default().push(value),
            _ => {}
        }
    }
    assert!(records.keys().eq(states.keys()), "each has both records");
    for (id, record) in records {
        let state = &states[&id];
        let conversation = Conversation::from_records(id, &record, state).expect("a conversation");
        assert_eq!(conversation.to_records(), (record, state.clone()));
        let asked = UnreadQuery { by: Ordinal::new(u32::MAX), read: Seq::default(), last: Seq::new(state.last_seq) };
        let rows = blocks.remove(&id).unwrap_or_default();
        unread += asked.unread(&RecentPlaces::default(), &rows, |_| true);
    }
    assert!(blocks.is_empty() && unread > 0, "messages of conversations that are there");
}

/// Rows of kinds that are newer than the golden store, as the first program that knew them wrote them.
fn newer() -> Vec<Row> {
    let link = [3, 0xE8, 0, 5];
    let row = |kind: RowKind, parts: &[&[u8]], value: &[u8]| {
        (kind, [&[kind.tag().1][..], parts].concat().concat(), Bytes::copy_from_slice(value))
    };
    let item = |number: u8, value: &[u8]| row(RowKind::OutboxItem, &[&link, &[0; 7], &[number]], value);
    vec![
        item(1, b"\x0a\x0d\x0a\x05alice\x10\x4d\x18\x01\x20\x07"),
        item(2, b"\x12\x0e\x0a\x05alice\x12\x03bob\x18\x01"),
        item(3, b"\x1a\x0c\x0a\x05alice\x12\x03bob"),
        item(4, b"\x22\x08\x08\x09\x10\x4d\x1a\x02\x01\x07"),
        item(5, b"\x2a\x09\x0a\x05alice\x10\x4d"),
        row(RowKind::OutboxCounter, &[&link], &5_u64.to_be_bytes()),
        row(RowKind::IntakeCursor, &[&[0, 5, 3, 0xE8]], &4_u64.to_be_bytes()),
        row(RowKind::Identity, &[b"alice"], b"\x0a\x05first\x0a\x06second\x10\x03"),
        row(RowKind::Certificate, &[b"alice\0", &3_u64.to_be_bytes()], b"\x0a\x02ct\x11\x08\x07\x06\x05\x04\x03\x02\x01"),
        row(
            RowKind::DeviceKeys,
            &[&9_u64.to_be_bytes()],
            b"\x08\x03\x10\x01\x18\x05\x22\x04last\x28\x07\x32\x08\x08\x07\x06\x05\x04\x03\x02\x01",
        ),
        row(RowKind::KeyPackage, &[&9_u64.to_be_bytes(), &4_u64.to_be_bytes()], b"\x0a\x02kp\x10\x07"),
        row(RowKind::Link, &[b"alice"], b"\x0a\x02id\x12\x06sealed\x18\x07"),
        row(
            RowKind::MlsGroup,
            &[&77_u64.to_be_bytes()],
            b"\x08\x05\x12\x05state\x1a\x04tree\x22\x04info\x2a\x19\x08\x09\x11\x08\x07\x06\x05\x04\x03\x02\x01\x1a\x05alice\x22\x05phone",
        ),
        row(RowKind::VaultRow, &[b"alice\0", &77_u64.to_be_bytes(), &5_u64.to_be_bytes()], b"sealed"),
        row(RowKind::VaultCount, &[b"alice"], &1_u64.to_be_bytes()),
    ]
}

/// All of the store, and what is newer.
async fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(FOLDER), folder.path()).unwrap_or_else(|error| panic!("{FOLDER}: {error}"));
    let settings = RocksSettings { memtable_bytes: 1 << 20, cache_bytes: 1 << 20, reserve_bytes: 1 };
    // Nothing has expired.
    let clock: ClockS = Arc::new(|| 0);
    let store = RocksStore::open(folder.path(), &settings, clock).expect("the golden store opens");
    let mut rows = newer();
    for table in TABLES {
        let found = store.scan(table, &[], &[0xFF; 9], usize::MAX, usize::MAX).await.expect("rows");
        rows.extend(found.into_iter().map(|(key, value)| {
            let kind = kind(table, &key, &value);
            (kind.unwrap_or_else(|| panic!("a row of no kind in {table:?}: {key:02x?}")), key.to_vec(), value)
        }));
    }
    rows
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file: PathBuf = file?.path();
        fs::copy(&file, to.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// What a row is.
fn kind(table: Table, key: &[u8], value: &Bytes) -> Option<RowKind> {
    let mut kinds = RowKind::ALL.iter().copied().filter(|kind| {
        let (its, tag) = kind.tag();
        let found = if table == Table::Messages {
            key.get(16..17).unwrap_or_default()
        } else {
            &key[..tag.len().min(key.len())]
        };
        its == table && found == tag
    });
    let (first, second) = (kinds.next()?, kinds.next());
    let has_second_name = key.contains(&0);
    Some(match first {
        // Two kinds with a tag.
        RowKind::ContactCount | RowKind::Contact if has_second_name => RowKind::Contact,
        RowKind::Watcher | RowKind::Watched if !has_second_name => RowKind::Watched,
        RowKind::Membership | RowKind::MembershipCount if !has_second_name => RowKind::MembershipCount,
        RowKind::Code | RowKind::Revoked if CodeRecord::decode(value.clone()).ok()?.hash.is_empty() => RowKind::Revoked,
        RowKind::ContactCount | RowKind::Watcher | RowKind::Membership | RowKind::Code => first,
        one => {
            assert_eq!(second, None, "{one:?} has a tag of its own");
            one
        }
    })
}

/// Reads a row, makes its value again and returns its key, made again.
fn read(kind: RowKind, key: &[u8], value: &Bytes) -> Option<StoreKey> {
    let rest = key.get(kind.tag().1.len()..)?;
    let name = || user(rest);
    let names = || Some((user(rest.split(|byte| *byte == 0).next()?)?, keys::parse_second_user(key)?));
    Some(match kind {
        RowKind::User => {
            record::<UserRecord>(value)?;
            keys::user(&keys::parse_user(key)?)
        }
        RowKind::Session => {
            record::<SessionRecord>(value)?;
            keys::session(DeviceId::new(number(rest)?))
        }
        RowKind::PublishRecord => {
            let (device, slot) = rest.split_first_chunk::<8>()?;
            let packet_id = record::<PublishRecord>(value)?.packet_id;
            assert_eq!(slot, [PublishRecord::slot(packet_id as u16)]);
            keys::publish_record(DeviceId::new(u64::from_be_bytes(*device)), slot[0])
        }
        RowKind::Backlog => {
            assert_eq!(keys::load(keys::parse_load(value)?), value);
            keys::backlog(keys::parse_backlog(key)?)
        }
        RowKind::FullSince => {
            keys::parse_counter(value)?;
            keys::full_since(DeviceId::new(number(rest)?))
        }
        RowKind::Profile => {
            record::<ProfileRecord>(value)?;
            keys::profile(&name()?)
        }
        RowKind::ContactCount => {
            keys::parse_counter(value)?;
            keys::contact_count(&name()?)
        }
        RowKind::Contact => {
            record::<ContactRecord>(value)?;
            let (user, contact) = names()?;
            keys::contact(&user, &contact)
        }
        RowKind::Watcher => {
            nothing(value)?;
            let (contact, user) = names()?;
            keys::watcher(&contact, &user)
        }
        RowKind::Watched => {
            nothing(value)?;
            keys::watched(&name()?)
        }
        RowKind::LastSeen => {
            keys::parse_counter(value)?;
            keys::last_seen(&name()?)
        }
        RowKind::DeviceCounter => {
            keys::parse_counter(value)?;
            keys::device_counter(keys::parse_counted(key)?)
        }
        RowKind::Phone => {
            user(value)?;
            keys::phone(rest.try_into().ok()?)
        }
        RowKind::PhoneInbox => {
            keys::parse_counter(value)?;
            keys::phone_inbox(rest.try_into().ok()?)
        }
        RowKind::WrittenTo => {
            nothing(value)?;
            let (name, phone) = rest.split_last_chunk::<32>()?;
            keys::written_to(&user(name.strip_suffix(&[0])?)?, phone)
        }
        RowKind::Code => {
            record::<CodeRecord>(value)?;
            keys::code(rest.try_into().ok()?)
        }
        RowKind::Revoked => {
            record::<RevokedRecord>(value)?;
            // A hash of names, as a code's is one of a number.
            keys::code(rest.try_into().ok()?)
        }
        RowKind::PhoneSecret => {
            assert_eq!(value.len(), 32);
            keys::phone_secret()
        }
        RowKind::LastOrder => {
            keys::parse_counter(value)?;
            keys::last_order()
        }
        RowKind::Starts => {
            keys::parse_counter(value)?;
            keys::starts()
        }
        RowKind::Time => {
            record::<TimeRecord>(value)?;
            keys::time()
        }
        RowKind::Origin => {
            record::<OriginRecord>(value)?;
            keys::origin()
        }
        RowKind::OutboxItem => {
            assert_eq!(value, &Item::decode(value)?.encode()[..]);
            let (link, number) = keys::parse_outbox_item(key)?;
            keys::outbox_item(link, number)
        }
        RowKind::OutboxCounter => {
            keys::parse_counter(value)?;
            keys::outbox_counter(keys::parse_link(key)?)
        }
        RowKind::IntakeCursor => {
            keys::parse_counter(value)?;
            keys::intake_cursor(keys::parse_link(key)?)
        }
        RowKind::MarkedUser | RowKind::MarkedDevice | RowKind::MarkedConversation => {
            nothing(value)?;
            let marked = keys::parse_mark(key)?;
            let expected = match marked {
                Tombstone::User(_) => RowKind::MarkedUser,
                Tombstone::Device(_) => RowKind::MarkedDevice,
                Tombstone::Conversation(_) => RowKind::MarkedConversation,
            };
            assert_eq!(kind, expected);
            keys::mark(&marked)
        }
        RowKind::Push => {
            record::<PushRecord>(value)?;
            keys::push(keys::parse_push(key)?)
        }
        RowKind::Pushed => {
            record::<PushedRecord>(value)?;
            keys::pushed(DeviceId::new(number(rest)?))
        }
        RowKind::PushAddress => {
            record::<PushAddressRecord>(value)?;
            keys::push_address(rest.try_into().ok()?)
        }
        RowKind::PushKey => {
            godwit_push::public_key(value).ok()?;
            keys::push_key()
        }
        RowKind::Identity => {
            record::<IdentityRecord>(value)?;
            keys::identity(&name()?)
        }
        RowKind::Certificate => {
            record::<CertificateRecord>(value)?;
            keys::certificate(&user(rest.split(|byte| *byte == 0).next()?)?, keys::parse_last_number(key)?)
        }
        RowKind::DeviceKeys => {
            record::<DeviceKeysRecord>(value)?;
            keys::device_keys(DeviceId::new(number(rest)?))
        }
        RowKind::KeyPackage => {
            record::<KeyPackageRecord>(value)?;
            keys::key_package(DeviceId::new(number(rest.get(..8)?)?), keys::parse_last_number(key)?)
        }
        RowKind::Link => {
            record::<LinkRecord>(value)?;
            keys::link(&name()?)
        }
        RowKind::MlsGroup => {
            record::<MlsGroupRecord>(value)?;
            keys::mls_group(ConversationId::new(number(rest)?))
        }
        RowKind::VaultRow => {
            let (rest, conversation) = rest.split_last_chunk::<16>().map(|(user, rest)| (user, &rest[..8]))?;
            let conversation = ConversationId::new(number(conversation)?);
            keys::vault_row(&user(rest.strip_suffix(&[0])?)?, conversation, keys::parse_last_number(key)?)
        }
        RowKind::VaultCount => {
            keys::parse_counter(value)?;
            keys::vault_count(&name()?)
        }
        RowKind::Mute => {
            record::<MuteRecord>(value)?;
            keys::mute(&user(rest.split(|byte| *byte == 0).next()?)?, keys::parse_mute(key)?)
        }
        RowKind::Conversation => {
            record::<ConversationRecord>(value)?;
            keys::conversation(ConversationId::new(number(rest)?))
        }
        RowKind::State => {
            let state = record::<StateRecord>(value)?;
            assert_eq!(RecentPlaces::from_record(&state.recent).to_record(), state.recent);
            keys::state(ConversationId::new(number(rest)?))
        }
        RowKind::Recent => {
            let (id, slot) = rest.split_first_chunk::<8>()?;
            assert!(slot.len() == 1);
            keys::recent(ConversationId::new(u64::from_be_bytes(*id)), slot[0])
        }
        RowKind::Pair => {
            keys::parse_counter(value)?;
            let (low, high) = names()?;
            keys::pair(&low, &high)
        }
        RowKind::Membership => {
            nothing(value)?;
            keys::membership(&user(rest.split(|byte| *byte == 0).next()?)?, keys::parse_membership(key)?)
        }
        RowKind::MembershipCount => {
            assert_eq!(keys::crowd(keys::parse_crowd(value)?).as_ref(), Some(value));
            keys::membership_count(&name()?)
        }
        RowKind::ConversationCounter => {
            keys::parse_counter(value)?;
            keys::conversation_counter(keys::parse_counted(key)?)
        }
        RowKind::Entry => {
            entry(value)?;
            keys::entry(DeviceId::new(number(rest.get(..8)?)?), keys::parse_order(key)?)
        }
        RowKind::Receipt => {
            record::<ReceiptRecord>(value)?;
            let (conversation, member) = keys::parse_receipt(key)?;
            keys::receipt(DeviceId::new(number(rest.get(..8)?)?), conversation, member)
        }
        RowKind::Message | RowKind::OwnMessage | RowKind::Reaction | RowKind::OwnReaction | RowKind::Holders => {
            let id = ConversationId::new(number(key.get(..8)?)?);
            match keys::parse_of_message(key)? {
                (sequence, MessageRowKind::Entry) => {
                    entry(value)?;
                    keys::message(id, sequence)
                }
                (sequence, MessageRowKind::Own) => {
                    entry(value)?;
                    keys::own_message(id, sequence)
                }
                (sequence, MessageRowKind::Reaction(member)) => {
                    StoredReaction::new(value.slice(EXPIRY_BYTES..)).to_message(member)?;
                    keys::reaction(id, sequence, member)
                }
                (sequence, MessageRowKind::OwnReaction(member)) => {
                    StoredReaction::new(value.slice(EXPIRY_BYTES..)).to_message(member)?;
                    keys::own_reaction(id, sequence, member)
                }
                (sequence, MessageRowKind::Holders) => {
                    let holders = record::<HoldersRecord>(&value.slice(EXPIRY_BYTES..))?;
                    assert_eq!(holders.expires_at_s.to_be_bytes(), value[..EXPIRY_BYTES]);
                    keys::holders(id, sequence)
                }
            }
        }
        RowKind::Media => {
            let media = record::<MediaRecord>(value)?;
            media.hash()?;
            media.object()?;
            media::media(id(rest)?)
        }
        RowKind::MediaContent => {
            nothing(value)?;
            let (hash, ids) = rest.split_first_chunk::<32>()?;
            media::content(hash, id(ids.get(..16)?)?, media::parse_last(key)?)
        }
        RowKind::MediaUnfinished => {
            media::parse_id(value)?;
            let (name, hash) = rest.split_last_chunk::<32>()?;
            media::unfinished(&user(name.strip_suffix(&[0])?)?, hash)
        }
        RowKind::MediaReference => {
            record::<ReferenceRecord>(value)?;
            media::reference(media::parse_referring(key)?, media::parse_last(key)?)
        }
        RowKind::MediaHolder => {
            nothing(value)?;
            media::holder(id(rest.get(..16)?)?, &media::parse_holder(key)?)
        }
        RowKind::MediaDue => {
            assert!(value.is_empty() || value == media::REFERENCE_ENDED);
            media::due(u32::from_be_bytes(*rest.first_chunk()?), media::parse_last(key)?)
        }
        RowKind::MediaGarbage => {
            assert!(value == &[0][..] || value == &[1][..]);
            media::garbage(u32::from_be_bytes(*rest.first_chunk()?), media::parse_last(key)?)
        }
        RowKind::MediaQuota => {
            record::<QuotaRecord>(value)?;
            media::quota(&name()?)
        }
    })
}

/// A value that is a record and nothing else.
fn record<T: Message + Default + std::fmt::Debug>(value: &Bytes) -> Option<T> {
    let record = T::decode(value.clone()).ok()?;
    assert_eq!(&record.encode_to_vec(), value, "{record:?}");
    Some(record)
}

fn entry(value: &Bytes) -> Option<()> {
    let entry = Entry::decode(value.clone()).ok()?;
    let anew = if entry.is_reference() { entry.reference() } else { entry.encode() };
    assert_eq!(&anew, value, "{entry:?}");
    Some(())
}

fn nothing(value: &Bytes) -> Option<()> {
    value.is_empty().then_some(())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn user(bytes: &[u8]) -> Option<UserId> {
    UserId::new(text(bytes)?).ok()
}

fn number(bytes: &[u8]) -> Option<u64> {
    keys::parse_counter(bytes)
}

fn id(bytes: &[u8]) -> Option<MediaId> {
    media::parse_id(bytes)
}
