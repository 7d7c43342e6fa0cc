//! Sealed bodies and live signals, between members of a group.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod party;

use godwit_e2ee::content::{Clear, Kind, Number, OpenError, OpenedContent, OpenedStore, Place, SignerId, open, seal};
use godwit_e2ee::live;
use godwit_e2ee::mls::group::EpochKeys;
use godwit_e2ee::mls::{Device, Epoch};

use party::{ID, Waiting, device, found};

struct Members {
    ann: Device,
    ben: Device,
    epoch: Epoch,
    keys: EpochKeys,
}

fn members() -> Members {
    let (ann, ben) = (device("ann", "phone"), Waiting::new("ben", "phone"));
    let (server, mut groups) = found(&ann, std::slice::from_ref(&ben));
    let keys = groups[0].take_keys().unwrap();
    assert_eq!(groups[1].take_keys().unwrap(), keys);
    Members { ann, ben: ben.device, epoch: server.epoch().unwrap(), keys }
}

const CLEAR: Clear<'_> = Clear { reply_to: 4, media: &["abc", "d"], mentions: &[1, 2], silent: true };

fn number(counter: u64) -> Number {
    Number::of_send(OpenedStore::from_bytes([1, 2, 3]), counter)
}

impl Members {
    fn place(&self) -> Place<'static> {
        Place { conversation: ID.conversation, epoch: self.epoch, kind: Kind::Message, target: 0, clear: CLEAR }
    }

    fn seal(&self, content: &[u8]) -> Vec<u8> {
        seal(&self.keys.base, &self.place(), (&self.ann, 0), number(9), content).unwrap()
    }

    /// As a message of Ann's.
    fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<OpenedContent, OpenError> {
        let certificate = self.ann.certificate();
        open(&self.keys.base, place, sealed, |by| (by == SignerId::of(certificate)).then_some(certificate))
    }
}

#[test]
fn what_a_member_seals_the_others_open() {
    let members = members();
    for length in [0, 1, 100, 5_000, 60_000] {
        let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let opened = members.open(&members.place(), &members.seal(&content)).unwrap();
        assert_eq!((opened.content, opened.by), (content, SignerId::of(members.ann.certificate())));
    }
}

#[test]
fn a_message_of_100_bytes_is_sealed_to_200() {
    // With the two bytes in front of it that the record of a message has.
    assert_eq!(members().seal(&[7; 102]).len(), 198);
    assert_eq!(members().seal(&[7; 95]).len(), 198, "nearly as long is as long");
}

#[test]
fn no_byte_can_be_altered_or_cut_off() {
    let members = members();
    let sealed = members.seal(b"hello");
    for byte in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[byte] ^= 1;
        assert!(members.open(&members.place(), &bad).is_err(), "byte {byte}");
        assert!(members.open(&members.place(), &sealed[..byte]).is_err(), "{byte} bytes");
    }
    assert!(members.open(&members.place(), &[&sealed[..], &[0]].concat()).is_err());
}

#[test]
fn a_body_belongs_where_it_was_sealed() {
    let members = members();
    let (place, sealed) = (members.place(), members.seal(b"hello"));
    let later = Epoch::from_number(place.epoch.number() + 1).unwrap();
    for other in [
        Place { conversation: godwit_schemas::ids::ConversationId::new(78), ..place },
        Place { epoch: later, ..place },
        Place { kind: Kind::Edit, ..place },
        Place { target: 1, ..place },
    ] {
        assert_eq!(members.open(&other, &sealed), Err(OpenError::Sealed), "{other:?}");
    }
    for clear in [
        Clear { reply_to: 5, ..CLEAR },
        Clear { media: &["abcd"], ..CLEAR },
        Clear { mentions: &[1], ..CLEAR },
        Clear { silent: false, ..CLEAR },
    ] {
        assert_eq!(members.open(&Place { clear, ..place }, &sealed), Err(OpenError::Signature), "{clear:?}");
    }
}

#[test]
fn a_member_cannot_send_in_anothers_name() {
    let members = members();
    let place = members.place();
    // Ben has the key. He signs himself, or says that Ann did.
    let by_ben = seal(&members.keys.base, &place, (&members.ben, 0), number(9), b"I owe Ben 100").unwrap();
    let ben = SignerId::of(members.ben.certificate());
    assert_eq!(members.open(&place, &by_ben), Err(OpenError::Signer(ben)));
    assert_eq!(
        open(&members.keys.base, &place, &by_ben, |_| Some(members.ann.certificate())),
        Err(OpenError::Signature)
    );
}

#[test]
fn equal_bodies_are_sealed_differently_once_the_store_was_opened_again() {
    let members = members();
    let place = members.place();
    let again = Number::of_send(OpenedStore::from_bytes([1, 2, 4]), 9);
    let sealed = seal(&members.keys.base, &place, (&members.ann, 0), again, b"hello").unwrap();
    assert_ne!(sealed, members.seal(b"hello"));
    assert_eq!(members.seal(b"hello"), members.seal(b"hello"), "one number has one ciphertext");
    let random = Number::random().unwrap();
    let sealed = seal(&members.keys.base, &place, (&members.ann, 0), random, b"hello").unwrap();
    assert_eq!(members.open(&place, &sealed).unwrap().content, b"hello");
}

#[test]
fn a_later_version_is_told_from_damage() {
    let members = members();
    let mut sealed = members.seal(b"hello");
    sealed[0] = 2;
    assert_eq!(members.open(&members.place(), &sealed), Err(OpenError::Version(2)));
}

#[test]
fn live_signals_are_of_their_epoch() {
    let Members { keys, epoch, .. } = members();
    let sealed = live::seal(&keys.live, ID.conversation, epoch, b"typing").unwrap();
    assert_eq!(sealed.len(), 6 + live::OVERHEAD_BYTES);
    assert_eq!(live::open(&keys.live, ID.conversation, epoch, &sealed).unwrap(), b"typing");
    let later = Epoch::from_number(epoch.number() + 1).unwrap();
    assert!(live::open(&keys.live, ID.conversation, later, &sealed).is_err());
    for byte in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[byte] ^= 1;
        assert!(live::open(&keys.live, ID.conversation, epoch, &bad).is_err(), "byte {byte}");
    }
}
