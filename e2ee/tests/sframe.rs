//! The vector of RFC 9605, appendix C.3, for the suite that bodies are sealed with.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use sframe::CipherSuite;
use sframe::frame::{EncryptedFrameView, FrameCounter, MediaFrameView};
use sframe::key::{DecryptionKey, EncryptionKey};

const KEY_ID: u64 = 0x123;
const COUNTER: u64 = 0x4567;
const BASE_KEY: &str = "000102030405060708090a0b0c0d0e0f";
const METADATA: &str = "4945544620534672616d65205747";
const PLAIN: &str = "64726166742d696574662d736672616d652d656e63";
const SEALED: &str = "9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

struct Counter;

impl FrameCounter for Counter {
    type Error = std::convert::Infallible;

    fn try_next(&mut self) -> Result<u64, Self::Error> {
        Ok(COUNTER)
    }
}

#[test]
fn a_frame_is_sealed_and_opened_as_the_rfc_has_it() {
    let (base, metadata, plain, sealed) = (hex(BASE_KEY), hex(METADATA), hex(PLAIN), hex(SEALED));
    let key = EncryptionKey::derive_from(CipherSuite::AesGcm128Sha256, KEY_ID, &base).unwrap();
    let frame = MediaFrameView::with_meta_data(&mut Counter, &plain, &metadata).encrypt(&key).unwrap();
    assert_eq!(frame.sframe_cipher_text(), sealed);
    let key = DecryptionKey::derive_from(CipherSuite::AesGcm128Sha256, KEY_ID, &base).unwrap();
    let frame = EncryptedFrameView::try_with_meta_data(&sealed, &metadata).unwrap();
    assert_eq!(frame.decrypt(&key).unwrap().payload(), plain);
}
