//! A reaction to a message, as history keeps it: a text, or what is sealed.

use bytes::{Buf, Bytes};
use godwit_schemas::client;
use godwit_schemas::ids::Ordinal;

/// No text begins with it.
const SEALED: u8 = 0xFF;

/// The stored form: the text, or a mark, the epoch (8 bytes, big endian), and what is sealed. Empty: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredReaction(Bytes);

impl StoredReaction {
    /// From what a member says.
    pub fn of(call: &client::React) -> Self {
        if call.sealed.is_empty() {
            return Self(Bytes::copy_from_slice(call.reaction.as_bytes()));
        }
        Self([&[SEALED][..], &call.mls_epoch.to_be_bytes(), &call.sealed].concat().into())
    }

    /// Reads the stored form.
    pub fn new(stored: Bytes) -> Self {
        Self(stored)
    }

    /// To store.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The member does not react any more.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// As clients see it. `None`: it is damaged.
    pub fn to_message(&self, member: Ordinal) -> Option<client::Reaction> {
        let reaction = client::Reaction { member: member.get(), ..client::Reaction::default() };
        if self.0.first() != Some(&SEALED) {
            let text = std::str::from_utf8(&self.0).ok()?;
            return Some(client::Reaction { reaction: text.to_owned(), ..reaction });
        }
        let mut rest = self.0.slice(1..);
        let mls_epoch = rest.try_get_u64().ok()?;
        Some(client::Reaction { sealed: rest, mls_epoch, ..reaction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_what_is_sealed_read_back() {
        let text = client::React { reaction: "+1".into(), ..Default::default() };
        let sealed = client::React { sealed: "\u{1}sealed".into(), mls_epoch: 1 << 40, ..Default::default() };
        for call in [text, sealed, client::React::default()] {
            let stored = StoredReaction::new(StoredReaction::of(&call).bytes().clone());
            let shown = stored.to_message(Ordinal::new(3)).unwrap();
            assert_eq!((shown.reaction, shown.sealed, shown.mls_epoch), (call.reaction, call.sealed, call.mls_epoch));
        }
        assert!(StoredReaction::of(&client::React::default()).is_none());
        assert_eq!(StoredReaction::new(Bytes::from_static(b"\xFFshort")).to_message(Ordinal::new(3)), None);
    }
}
