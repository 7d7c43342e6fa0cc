//! Keys of what decides who somebody is: registration codes, read and written by the registrar, and what tokens may not make
//! again, read and written by the lane that owns the user. Both have an expiry, and are swept by the registrar.

use godwit_schemas::ids::UserId;
use sha2::{Digest as _, Sha256};

use super::{RowKind, StoreKey};

/// The latest registration code of a phone number.
pub fn code(sha256: &[u8; 32]) -> StoreKey {
    RowKind::Code.key(&[sha256])
}

/// No token makes a user (or one of its devices) again that was removed. Names have no 0.
pub fn revoked(user: &UserId, device: Option<&str>) -> StoreKey {
    let parts = ["revoked", user.as_str(), device.unwrap_or_default()];
    RowKind::Revoked.key(&[&Sha256::digest(parts.join("\0"))])
}

/// All of both.
pub fn codes() -> (Vec<u8>, Vec<u8>) {
    (vec![b'g'], vec![b'g' + 1])
}
