//! Sealed bodies: what a device sends into an encrypted conversation. SFrame (RFC 9605) under the key of an epoch, and in it a
//! signature of the device, since every member of the group has that key.
//!
//! Opening needs nothing but the epoch's key and the sender's certificate: any message, in any order, as often as wanted.

use godwit_schemas::ids::ConversationId;
use sframe::CipherSuite;
use sframe::frame::{EncryptedFrameView, FrameCounter, MediaFrameView};
use sframe::key::{DecryptionKey, EncryptionKey};
use sframe::mls::{MlsKeyId, MlsKeyIdBitRange};
use zeroize::Zeroizing;

use crate::certificate::DeviceCertificate;
use crate::crypto::{self, CryptoError, SIGNATURE_BYTES, TAG_BYTES};
use crate::mls::group::BASE_KEY_BYTES;
use crate::mls::{Device, Epoch, GroupId};
use crate::wire::{self, Malformed, Reader};

/// What a sealed body begins with.
const VERSION: u8 = 1;
const LABEL: &str = "Content";
/// RFC 9605, section 4.5.
const SUITE: CipherSuite = CipherSuite::AesGcm128Sha256;
/// Bits of the epoch and of the leaf in a key id (RFC 9605, section 5.2). The context above them has 24.
const KEY_ID_BITS: (u8, u8) = (16, 16);
const CONTEXT_BITS: u32 = 24;
/// Behind the padding: by which of its user's devices a body is signed, and the signature.
const SIGNED_BYTES: usize = SIGNER_BYTES + SIGNATURE_BYTES;
/// Bytes of a [`SignerId`].
pub const SIGNER_BYTES: usize = 4;

/// What a sealed body is. One of one kind cannot be passed off as one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The body of a message.
    Message = 1,
    /// The body that a message has instead.
    Edit = 2,
    /// How somebody reacts to a message.
    Reaction = 3,
}

/// Where a sealed body belongs, and what stands beside it in the clear. A body that is moved elsewhere, or beside which
/// something was altered, does not open.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Under which epoch it was sealed.
    pub epoch: Epoch,
    /// What it is.
    pub kind: Kind,
    /// Of an edit or a reaction the sequence of the message that it is of; otherwise 0.
    pub target: u64,
    /// What stands beside it.
    pub clear: Clear<'a>,
}

/// What the server and receivers read beside a sealed body. Edits and reactions have nothing of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clear<'a> {
    /// The sequence of the message that it answers; 0: none.
    pub reply_to: u64,
    /// The ids of its files, in their order.
    pub media: &'a [&'a str],
    /// Whom it mentions: ordinals.
    pub mentions: &'a [u32],
    /// Nobody is pushed because of it.
    pub silent: bool,
}

/// Which of a device's bodies it is. No two of one device may have the same one under one epoch, unless they are the same
/// body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    context: u32,
    counter: u64,
}

impl Number {
    /// Of a send, by its client sequence. `opened` was drawn when the store was opened: should the store be an older copy,
    /// whose numbers are given a second time, the key is another one all the same.
    #[must_use]
    pub fn of_send(opened: OpenedStore, client_sequence: u64) -> Self {
        Self { context: opened.0, counter: client_sequence }
    }

    /// Of what has no client sequence, as an edit: 64 random bits.
    ///
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn random() -> Result<Self, CryptoError> {
        let mut bytes = [0; 5];
        crypto::random(&mut bytes)?;
        let counter = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self { context: OpenedStore::draw()?.0, counter })
    }
}

/// 24 random bits, drawn each time that the store of a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedStore(u32);

impl OpenedStore {
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn draw() -> Result<Self, CryptoError> {
        let mut bytes = [0; 3];
        crypto::random(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    /// These bits.
    #[must_use]
    pub fn from_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, a, b, c]))
    }
}

/// The first bytes of the hash of the key that a body is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignerId([u8; SIGNER_BYTES]);

impl SignerId {
    /// By which a user's certificates are told apart.
    #[must_use]
    pub fn of(certificate: &DeviceCertificate) -> Self {
        let [a, b, c, d, ..] = crypto::sha256(&[certificate.leaf_key()]);
        Self([a, b, c, d])
    }

    /// As it stands in a body.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SIGNER_BYTES] {
        self.0
    }
}

/// Why a body does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is of a version that this program does not know.
    #[error("the body is sealed as version {0} has it")]
    Version(u8),
    /// It is not sealed, or it was sealed in another way than it should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It was sealed with another key or at another place, or was altered.
    #[error("the body was sealed with another key or at another place, or was altered")]
    Sealed,
    /// It opens, but none of the sender's certificates that are known has this key. Ask for the others, and try again.
    #[error("no certificate of the sender is of the key that the body is signed with")]
    Signer(SignerId),
    /// Who sent it did not sign it: another member has forged it.
    #[error("the body is not signed by its sender")]
    Signature,
}

/// Seals a body, as the device at this leaf.
///
/// # Errors
///
/// The leaf or the number is larger than they can be.
pub fn seal(
    base: &[u8; BASE_KEY_BYTES],
    place: &Place<'_>,
    (device, leaf): (&Device, u32),
    number: Number,
    content: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(padded(content.len() + 4) + SIGNED_BYTES));
    wire::put_opaque(&mut plain, content);
    let length = padded(plain.len());
    plain.resize(length, 0);
    plain.extend_from_slice(&SignerId::of(device.certificate()).0);
    plain.extend_from_slice(&wire::sign(device.key(), LABEL, &signed(place, number.counter, content)));

    let (epoch_bits, index_bits) = KEY_ID_BITS;
    let bits = MlsKeyIdBitRange::new(epoch_bits, index_bits);
    let key_id = MlsKeyId::try_new(number.context & ((1 << CONTEXT_BITS) - 1), place.epoch.of_group(), leaf, bits);
    let key = EncryptionKey::derive_from(SUITE, key_id.map_err(|_| CryptoError)?, base).map_err(|_| CryptoError)?;
    let mut sealed = vec![VERSION];
    let metadata = metadata(place);
    let frame = MediaFrameView::with_meta_data(&mut Counted(number.counter), &plain[..], &metadata);
    sealed.extend_from_slice(frame.encrypt(&key).map_err(|_| CryptoError)?.sframe_cipher_text());
    Ok(sealed)
}

/// A body that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedContent {
    /// What was sealed.
    pub content: Vec<u8>,
    /// Who sealed it.
    pub by: SignerId,
}

/// Opens a body. `signer` finds the certificate among those of the user who is said to have sent it.
///
/// # Errors
///
/// It does not open, or is not by that user.
pub fn open<'a>(
    base: &[u8; BASE_KEY_BYTES],
    place: &Place<'_>,
    sealed: &[u8],
    signer: impl FnOnce(SignerId) -> Option<&'a DeviceCertificate>,
) -> Result<OpenedContent, OpenError> {
    let (version, frame) = sealed.split_first().ok_or(Malformed)?;
    if *version != VERSION {
        return Err(OpenError::Version(*version));
    }
    let metadata = metadata(place);
    let frame = EncryptedFrameView::try_with_meta_data(frame, &metadata).map_err(|_| Malformed)?;
    if frame.cipher_text().len() < TAG_BYTES + SIGNED_BYTES {
        return Err(Malformed.into());
    }
    let key = DecryptionKey::derive_from(SUITE, frame.header().key_id(), base).map_err(|_| OpenError::Sealed)?;
    let opened = frame.decrypt(&key).map_err(|_| OpenError::Sealed)?;
    let (padded, signed_by) =
        opened.payload().split_at_checked(opened.payload().len() - SIGNED_BYTES).ok_or(Malformed)?;
    let mut reader = Reader::new(signed_by);
    let (by, signature) = (SignerId(reader.array()?), reader.array::<SIGNATURE_BYTES>()?);
    let content = unpadded(padded)?;
    let certificate = signer(by).ok_or(OpenError::Signer(by))?;
    let signed = signed(place, frame.header().counter(), content);
    wire::verify(certificate.leaf_key(), LABEL, &signed, &signature).map_err(|_| OpenError::Signature)?;
    Ok(OpenedContent { content: content.to_vec(), by })
}

/// A counter that says what it is told.
struct Counted(u64);

impl FrameCounter for Counted {
    type Error = std::convert::Infallible;

    fn try_next(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0)
    }
}

/// What the AEAD binds beside the frame's header.
fn metadata(place: &Place<'_>) -> Vec<u8> {
    let group = GroupId { conversation: place.conversation, generation: place.epoch.generation() };
    let mut out = group.to_bytes().to_vec();
    out.extend_from_slice(&place.epoch.number().to_be_bytes());
    out.push(place.kind as u8);
    out.extend_from_slice(&place.target.to_be_bytes());
    out
}

fn signed(place: &Place<'_>, counter: u64, content: &[u8]) -> Vec<u8> {
    let mut clear = Vec::new();
    clear.extend_from_slice(&place.clear.reply_to.to_be_bytes());
    clear.push(place.clear.silent.into());
    clear.extend_from_slice(&(place.clear.media.len() as u32).to_be_bytes());
    for id in place.clear.media {
        wire::put_opaque(&mut clear, id.as_bytes());
    }
    clear.extend_from_slice(&(place.clear.mentions.len() as u32).to_be_bytes());
    for ordinal in place.clear.mentions {
        clear.extend_from_slice(&ordinal.to_be_bytes());
    }
    let mut out = metadata(place);
    out.extend_from_slice(&counter.to_be_bytes());
    out.extend_from_slice(&crypto::sha256(&[&clear]));
    out.extend_from_slice(&crypto::sha256(&[content]));
    out
}

/// How long so many bytes are made, so that lengths tell little of what is sealed: Padmé, which adds 12 % at the most
/// (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019).
fn padded(length: usize) -> usize {
    let Some(exponent) = length.checked_ilog2().filter(|exponent| *exponent > 0) else { return length };
    let zeros = exponent - (exponent.ilog2() + 1);
    length.next_multiple_of(1 << zeros)
}

/// The content in front of the padding, which is zeros, and no more of them than there should be.
fn unpadded(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes);
    let content = reader.opaque()?;
    let padding = reader.rest();
    let length = padded(bytes.len() - padding.len());
    if length == bytes.len() && padding.iter().all(|byte| *byte == 0) { Ok(content) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_as_the_paper_has_it() {
        // By hand, from the formula in the paper.
        for (length, long) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (7, 7),
            (9, 10),
            (15, 16),
            (104, 104),
            (105, 112),
            (1_000, 1_024),
            (65_537, 67_584),
        ] {
            assert_eq!(padded(length), long, "{length}");
        }
        assert!((1..100_000).all(|length| padded(padded(length)) == padded(length)));
    }
}
