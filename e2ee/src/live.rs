//! Live signals, as that somebody types: sealed for the moment. Nobody keeps them or their key.
//!
//! They are not signed. Who has the epoch's key could have made one in another member's name.

use godwit_schemas::ids::ConversationId;

use crate::crypto::{self, CryptoError, NONCE_BYTES, TAG_BYTES};
use crate::mls::group::LIVE_KEY_BYTES;
use crate::mls::{Epoch, GroupId};

const VERSION: u8 = 1;

/// Bytes that a signal has more when it is sealed.
pub const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;

fn bound(conversation: ConversationId, epoch: Epoch) -> Vec<u8> {
    let group = GroupId { conversation, generation: epoch.generation() };
    [&group.to_bytes()[..], &epoch.number().to_be_bytes()].concat()
}

/// Seals a signal under the epoch that the conversation is in.
///
/// # Errors
///
/// There are no random bytes.
pub fn seal(
    key: &[u8; LIVE_KEY_BYTES],
    conversation: ConversationId,
    epoch: Epoch,
    signal: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut out = vec![VERSION];
    let mut nonce = [0; NONCE_BYTES];
    crypto::random(&mut nonce)?;
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&crypto::aead_seal(key, &nonce, &bound(conversation, epoch), signal)?);
    Ok(out)
}

/// Opens a signal of the epoch that the conversation is in.
///
/// # Errors
///
/// It is of another epoch, or was altered: drop it.
pub fn open(
    key: &[u8; LIVE_KEY_BYTES],
    conversation: ConversationId,
    epoch: Epoch,
    sealed: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let ([VERSION], rest) = sealed.split_first_chunk().ok_or(CryptoError)? else { return Err(CryptoError) };
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(CryptoError)?;
    Ok(crypto::aead_open(key, nonce, &bound(conversation, epoch), sealed)?.to_vec())
}
