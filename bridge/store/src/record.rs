//! Between records and rows: the writes that set or remove a row, and reading a row's value as a record.

use std::fmt::Display;

use bytes::Bytes;
use prost::Message;
use tracing::error;

use crate::keys::StoreKey;
use crate::{Table, Write};

/// The write that sets a key to an encoded record.
pub fn put((table, key): StoreKey, record: &impl Message) -> Write {
    Write::Put(table, key, record.encode_to_vec().into())
}

/// The write that sets a key to a value or, with `None`, removes it.
pub fn set((table, key): StoreKey, value: Option<Bytes>) -> Write {
    match value {
        Some(value) => Write::Put(table, key, value),
        None => Write::Delete(table, key),
    }
}

/// The write that removes all keys of a half-open range, as the functions of [`crate::keys`] return them.
pub fn delete_range(table: Table, (from, to): (Vec<u8>, Vec<u8>)) -> Write {
    Write::DeleteRange(table, from, to)
}

/// The value of a counter; [`crate::keys::parse_counter`] reads it.
pub fn counter(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Decodes a stored record. A damaged one is logged, with `what` and `of` to name it, and counts as absent.
pub fn decoded<T: Message + Default>(what: &str, of: &dyn Display, value: &[u8]) -> Option<T> {
    match T::decode(value) {
        Ok(record) => Some(record),
        Err(error) => {
            error!(%of, %error, "damaged {what} record");
            None
        }
    }
}
