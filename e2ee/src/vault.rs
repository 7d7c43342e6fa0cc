//! The vault: the keys of the epochs that a user's devices have been in, sealed for the user's other devices, on the server.
//! With it a new device reads the history of before it came.

use godwit_schemas::ids::{ConversationId, UserId};
use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError, KEY_BYTES, NONCE_BYTES};
use crate::mls::Epoch;
use crate::mls::group::BASE_KEY_BYTES;
use crate::wire::put_opaque;

const VERSION: u8 = 1;

/// What rows are sealed with. All devices of the user have it.
#[derive(Clone, PartialEq, Eq)]
pub struct VaultKey(Zeroizing<[u8; KEY_BYTES]>);

impl VaultKey {
    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals the base key of an epoch: 45 bytes. Devices that seal the same key make different rows, and any of them will do.
    ///
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn seal(&self, row: &VaultRow<'_>, base: &[u8; BASE_KEY_BYTES]) -> Result<Vec<u8>, CryptoError> {
        let mut out = vec![VERSION];
        let mut nonce = [0; NONCE_BYTES];
        crypto::random(&mut nonce)?;
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&crypto::aead_seal(&*self.of(row), &nonce, &row.bound(), base)?);
        Ok(out)
    }

    /// Opens a row.
    ///
    /// # Errors
    ///
    /// It is of another row, or of a time before the user's secret was made anew, or was altered.
    pub fn open(&self, row: &VaultRow<'_>, sealed: &[u8]) -> Result<Zeroizing<[u8; BASE_KEY_BYTES]>, CryptoError> {
        let ([VERSION], rest) = sealed.split_first_chunk().ok_or(CryptoError)? else { return Err(CryptoError) };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(CryptoError)?;
        let opened = crypto::aead_open(&*self.of(row), nonce, &row.bound(), sealed)?;
        Ok(Zeroizing::new(opened[..].try_into().map_err(|_| CryptoError)?))
    }

    /// Each conversation has a key of its own, so that random nonces never are too many for one.
    fn of(&self, row: &VaultRow<'_>) -> Zeroizing<[u8; KEY_BYTES]> {
        let conversation = row.conversation.get().to_be_bytes();
        crypto::hkdf(b"", &*self.0, &[b"Godwit 1.0 vault row", &conversation[..]].concat())
    }
}

impl std::fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultKey")
    }
}

/// Which epoch's key a row has, and whose row it is.
#[derive(Debug, Clone, Copy)]
pub struct VaultRow<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Of which epoch.
    pub epoch: Epoch,
}

impl VaultRow<'_> {
    fn bound(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_opaque(&mut out, self.user.as_str().as_bytes());
        out.extend_from_slice(&self.conversation.get().to_be_bytes());
        out.extend_from_slice(&self.epoch.number().to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_opens_where_it_belongs_and_nowhere_else() {
        let key = VaultKey::from_bytes([3; KEY_BYTES]);
        let (ann, ben) = (UserId::new("ann").unwrap(), UserId::new("ben").unwrap());
        let row = |user, conversation, epoch| VaultRow {
            user,
            conversation: ConversationId::new(conversation),
            epoch: Epoch::from_number(epoch).unwrap(),
        };
        let sealed = key.seal(&row(&ann, 1, 2), &[9; BASE_KEY_BYTES]).unwrap();
        assert_eq!(sealed.len(), 45);
        assert_eq!(*key.open(&row(&ann, 1, 2), &sealed).unwrap(), [9; BASE_KEY_BYTES]);
        for other in [row(&ben, 1, 2), row(&ann, 2, 2), row(&ann, 1, 3)] {
            assert_eq!(key.open(&other, &sealed), Err(CryptoError));
        }
        assert!(VaultKey::from_bytes([4; KEY_BYTES]).open(&row(&ann, 1, 2), &sealed).is_err());
        for byte in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[byte] ^= 1;
            assert!(key.open(&row(&ann, 1, 2), &bad).is_err(), "byte {byte}");
            assert!(key.open(&row(&ann, 1, 2), &sealed[..byte]).is_err(), "{byte} bytes");
        }
    }
}
