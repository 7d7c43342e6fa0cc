//! The vectors in `vectors/`, which say byte for byte what docs/dev/design/e2ee.md describes. They are checked twice: here, by what
//! made them, and by `vectors/check.py`, which knows the page alone and none of this code.
//!
//! `GODWIT_WRITE_VECTORS=1` writes them anew. Other programs rely on them: they may be added to, not altered.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod party;

use std::path::Path;
use std::process::Command;

use godwit_e2ee::certificate::{CertificateRequest, DeviceCertificate, DeviceKind};
use godwit_e2ee::content::{self, Clear, Kind, Number, OpenedStore, Place};
use godwit_e2ee::crypto::{self, SigningKey};
use godwit_e2ee::file::FileKey;
use godwit_e2ee::identity::{IdentityChain, IdentityLink};
use godwit_e2ee::link::{LinkOffer, PendingLink};
use godwit_e2ee::live;
use godwit_e2ee::mls::{Device, Epoch};
use godwit_e2ee::safety_number::{Party, safety_number, scannable};
use godwit_e2ee::user_secret::UserSecret;
use godwit_e2ee::vault::VaultRow;
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};
use serde_json::{Value, json};

use party::NOW;

const CONVERSATION: ConversationId = ConversationId::new(0x1122_3344_5566_7788);
const EPOCH: u64 = 2 << 32 | 70_000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

fn secret() -> UserSecret {
    UserSecret::from_bytes(*b"sixteen bytes!!!")
}

fn leaf() -> SigningKey {
    SigningKey::from_seed(&[0x11; 32])
}

fn certificate() -> DeviceCertificate {
    let device = DeviceName::new("phone").unwrap();
    let request = CertificateRequest { user: ann(), device, leaf_key: leaf().public(), kind: DeviceKind::Native };
    DeviceCertificate::issue(request, &secret().identity_key(), 1, NOW)
}

fn epoch() -> Epoch {
    Epoch::from_number(EPOCH).unwrap()
}

fn row(user: &UserId) -> VaultRow<'_> {
    VaultRow { user, conversation: CONVERSATION, epoch: epoch() }
}

/// What has one encoding.
fn computed() -> Value {
    let chain = IdentityChain::new(ann(), vec![IdentityLink::first(&ann(), &secret().identity_key(), NOW)]).unwrap();
    let second = SigningKey::from_seed(&[0x22; 32]);
    let endorsed = IdentityLink::next(&chain, &second, Some(&secret().identity_key()), NOW);
    let mut longer = chain.clone();
    longer.append(endorsed).unwrap();
    let ben = UserId::new("ben").unwrap();
    let (one, other) = (secret().identity_key().public(), second.public());
    let pair = (Party { user: &ann(), identity_key: &one }, Party { user: &ben, identity_key: &other });
    json!({
        "user_secret": {
            "secret": hex(secret().bytes()),
            "code": *secret().code(),
            "identity_key": hex(&one),
            "vault_key": hex(secret().vault_key().bytes()),
        },
        "certificate": {
            "user": "ann",
            "device": "phone",
            "leaf_key": hex(&leaf().public()),
            "identity_key": hex(&one),
            "version": 1,
            "not_before": NOW.seconds(),
            "kind": 1,
            "bytes": hex(&certificate().to_bytes()),
        },
        "identity_chain": {
            "user": "ann",
            "links": longer.links().iter().map(|link| hex(&link.to_bytes())).collect::<Vec<_>>(),
            "pins": [hex(&chain.pin().hash), hex(&longer.pin().hash)],
        },
        "safety_number": {
            "one": { "user": "ann", "identity_key": hex(&one) },
            "other": { "user": "ben", "identity_key": hex(&other) },
            "scannable": hex(&scannable(pair.0, pair.1)),
            "number": safety_number(pair.0, pair.1),
        },
        "content": [sealed(Kind::Message, 0, b"hello"), sealed(Kind::Edit, 12, &[7; 1_000])],
        "file": [file(0), file(100), file(150_000)],
    })
}

fn sealed(kind: Kind, target: u64, content: &[u8]) -> Value {
    let clear = Clear { reply_to: 5, media: &["m1", "m22"], mentions: &[3, 400], silent: true };
    let clear = if kind == Kind::Message { clear } else { Clear::default() };
    let place = Place { conversation: CONVERSATION, epoch: epoch(), kind, target, clear };
    let device = Device::new(certificate(), leaf()).unwrap();
    let number = Number::of_send(OpenedStore::from_bytes([0xa1, 0xa2, 0xa3]), 300);
    let base = [0x33; 16];
    json!({
        "base_key": hex(&base),
        "conversation": CONVERSATION.get(),
        "epoch": EPOCH,
        "kind": kind as u8,
        "target": target,
        "reply_to": clear.reply_to,
        "media": clear.media,
        "mentions": clear.mentions,
        "silent": clear.silent,
        "leaf": 17,
        "context": "a1a2a3",
        "counter": 300,
        "content": hex(content),
        "sealed": hex(&content::seal(&base, &place, (&device, 17), number, content).unwrap()),
    })
}

fn file(size: usize) -> Value {
    let plain: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    let hash = crypto::sha256(&[&plain]);
    let key = FileKey::new(&[0x44; 32], &hash, size as u64);
    let chunks =
        if plain.is_empty() { vec![&plain[..]] } else { plain.chunks(godwit_e2ee::file::CHUNK_BYTES).collect() };
    let sealed: Vec<u8> = chunks.iter().zip(0..).flat_map(|(chunk, n)| key.seal(n, chunk).unwrap()).collect();
    json!({
        "seed": hex(&[0x44; 32]),
        "size": size,
        "sha256": hex(&hash),
        "sealed_size": sealed.len(),
        "sealed_sha256": hex(&crypto::sha256(&[&sealed])),
    })
}

/// What is sealed with random bytes, so that it is another each time that it is made.
fn drawn() -> Value {
    let live = live::seal(&[0x55; 16], CONVERSATION, epoch(), b"typing").unwrap();
    let vault = secret().vault_key().seal(&row(&ann()), &[0x66; 16]).unwrap();
    let pending =
        PendingLink::resume([0x77; 16], [0x78; 32], DeviceName::new("tablet").unwrap(), DeviceKind::Native, &leaf());
    let offer = LinkOffer::from_bytes(&pending.offer().to_bytes()).unwrap();
    let linked = DeviceCertificate::issue(offer.request(&ann()), &secret().identity_key(), 1, NOW);
    json!({
        "live": { "live_key": hex(&[0x55; 16]), "conversation": CONVERSATION.get(), "epoch": EPOCH, "signal": hex(b"typing"), "sealed": hex(&live) },
        "vault": { "user": "ann", "conversation": CONVERSATION.get(), "epoch": EPOCH, "base_key": hex(&[0x66; 16]), "sealed": hex(&vault) },
        "link": {
            "private": hex(&[0x78; 32]),
            "offer": hex(&offer.to_bytes()),
            "certificate": hex(&linked.to_bytes()),
            "sealed": hex(&offer.accept(&linked, &secret()).unwrap()),
        },
    })
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn stored(name: &str, made: impl FnOnce() -> Value) -> Value {
    if std::env::var_os("GODWIT_WRITE_VECTORS").is_some() {
        std::fs::write(path(name), serde_json::to_string_pretty(&made()).unwrap() + "\n").unwrap();
    }
    serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
}

#[test]
fn what_has_one_encoding_is_encoded_as_it_always_was() {
    assert_eq!(stored("computed.json", computed), computed());
}

#[test]
fn what_was_sealed_once_opens() {
    let drawn = stored("drawn.json", drawn);
    let live = live::open(&[0x55; 16], CONVERSATION, epoch(), &bytes(&drawn["live"]["sealed"])).unwrap();
    assert_eq!(live, b"typing");
    let vault = secret().vault_key().open(&row(&ann()), &bytes(&drawn["vault"]["sealed"])).unwrap();
    assert_eq!(*vault, [0x66; 16]);
    let tablet = DeviceName::new("tablet").unwrap();
    let pending = PendingLink::resume([0x77; 16], [0x78; 32], tablet, DeviceKind::Native, &leaf());
    assert_eq!(pending.offer().to_bytes(), bytes(&drawn["link"]["offer"]));
    let grant = pending.open(&bytes(&drawn["link"]["sealed"])).unwrap();
    assert_eq!(grant.secret, Some(secret()));
    assert_eq!(grant.certificate.to_bytes(), bytes(&drawn["link"]["certificate"]));
}

#[test]
fn another_program_reads_them_by_the_page_alone() {
    let Some(python) = std::env::var_os("GODWIT_TEST_PYTHON") else {
        println!("skipped: GODWIT_TEST_PYTHON is not set");
        return;
    };
    let output = Command::new(python).arg(path("check.py")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 9, "one line for each kind");
}
