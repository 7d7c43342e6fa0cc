//! Keys of what proves who somebody is.

use super::{Key, key};
use crate::store::Table;

/// The latest registration code of a phone number.
pub fn code(sha256: &[u8; 32]) -> Key {
    key(Table::Directory, b'g', &[sha256])
}

/// All of these.
pub fn codes() -> (Vec<u8>, Vec<u8>) {
    (vec![b'g'], vec![b'g' + 1])
}
