//! Payloads that only the device can read: Message Encryption for Web Push (RFC 8291), which is `aes128gcm` of RFC 8188 in one
//! record. Used for every push service, so that one format is tested and explained.

use std::fmt;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of an uncompressed point of P-256.
pub const PUBLIC_KEY_BYTES: usize = 65;
/// Bytes of the authentication secret.
pub const AUTH_BYTES: usize = 16;
/// Payloads are padded to a multiple of this, so that their length tells little.
pub const PADDED_BYTES: usize = 256;
/// Salt, record size, length of the key, key; delimiter; tag.
const OVERHEAD_BYTES: usize = 16 + 4 + 1 + PUBLIC_KEY_BYTES + 1 + 16;
/// Longest sealed payload: what push services take (RFC 8030, 7.2).
const SEALED_BYTES_MAX: usize = 4_096;
/// Longest payload.
pub const PAYLOAD_BYTES_MAX: usize = SEALED_BYTES_MAX - OVERHEAD_BYTES;
/// The one record is shorter than this.
const RECORD_BYTES: u32 = 4_096;
const SALT_BYTES: usize = 16;

/// The device's side of the encryption, as it has made it.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    public: [u8; PUBLIC_KEY_BYTES],
    auth: [u8; AUTH_BYTES],
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKeys")
    }
}

/// No keys of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("p256dh must be an uncompressed point of P-256 (65 bytes), and auth 16 bytes")]
pub struct BadDeviceKeys;

/// The payload is too long, or the system gives no random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payload cannot be sealed")]
pub struct CannotSeal;

impl DeviceKeys {
    /// `public`: `p256dh` of a browser's subscription.
    ///
    /// # Errors
    /// A length is wrong, or the point is not on the curve.
    pub fn new(public: &[u8], auth: &[u8]) -> Result<Self, BadDeviceKeys> {
        let keys = Self {
            public: public.try_into().map_err(|_| BadDeviceKeys)?,
            auth: auth.try_into().map_err(|_| BadDeviceKeys)?,
        };
        // ring looks whether a point is on the curve when it agrees with it.
        Sender::agree(&keys.public).map_err(|_| BadDeviceKeys)?;
        Ok(keys)
    }
}

/// This server's side, for one payload.
struct Sender {
    public: Vec<u8>,
    shared: Vec<u8>,
}

impl Sender {
    fn agree(with: &[u8]) -> Result<Self, CannotSeal> {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(|_| CannotSeal)?;
        let public = private.compute_public_key().map_err(|_| CannotSeal)?.as_ref().to_vec();
        let shared = agree_ephemeral(private, &UnparsedPublicKey::new(&ECDH_P256, with), <[u8]>::to_vec);
        Ok(Self { public, shared: shared.map_err(|_| CannotSeal)? })
    }
}

/// Encrypts a payload of up to [`PAYLOAD_BYTES_MAX`] bytes to a device.
///
/// # Errors
/// See [`CannotSeal`].
pub fn seal(keys: &DeviceKeys, payload: &[u8]) -> Result<Vec<u8>, CannotSeal> {
    let sender = Sender::agree(&keys.public)?;
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| CannotSeal)?;
    let padded = (payload.len() + 1).next_multiple_of(PADDED_BYTES).min(PAYLOAD_BYTES_MAX + 1);
    sealed(keys, &sender, salt, payload, padded)
}

/// The record: the payload, the delimiter 2, and zeros up to `padded` bytes.
fn sealed(
    keys: &DeviceKeys,
    sender: &Sender,
    salt: [u8; SALT_BYTES],
    payload: &[u8],
    padded: usize,
) -> Result<Vec<u8>, CannotSeal> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(CannotSeal);
    }
    let keyed = Salt::new(HKDF_SHA256, &keys.auth).extract(&sender.shared);
    let mut secret = [0; 32];
    expand(&keyed, &[b"WebPush: info\0", &keys.public, &sender.public], &mut secret)?;
    let keyed = Salt::new(HKDF_SHA256, &salt).extract(&secret);
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    expand(&keyed, &[b"Content-Encoding: aes128gcm\0"], &mut key)?;
    expand(&keyed, &[b"Content-Encoding: nonce\0"], &mut nonce)?;
    let mut record = payload.to_vec();
    record.push(2);
    record.resize(padded.max(record.len()), 0);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).map_err(|_| CannotSeal)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)
        .map_err(|_| CannotSeal)?;
    let length = [PUBLIC_KEY_BYTES as u8];
    Ok([&salt[..], &RECORD_BYTES.to_be_bytes(), &length, &sender.public, &record].concat())
}

/// So many bytes of HKDF.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(from: &Prk, info: &[&[u8]], to: &mut [u8]) -> Result<(), CannotSeal> {
    from.expand(info, Bytes(to.len())).and_then(|okm| okm.fill(to)).map_err(|_| CannotSeal)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    const DEVICE: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn the_example_of_rfc_8291_comes_out() {
        let keys = DeviceKeys::new(&bytes(DEVICE), &bytes(AUTH)).unwrap();
        let sender = Sender {
            public: bytes("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
            shared: bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
        };
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let made = sealed(&keys, &sender, salt, b"When I grow up, I want to be a watermelon", 0).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(made), expected);
    }

    #[test]
    fn payloads_are_padded_and_fit() {
        let keys = DeviceKeys::new(&bytes(DEVICE), &bytes(AUTH)).unwrap();
        let length = |payload: usize| seal(&keys, &vec![7; payload]).map(|sealed| sealed.len());
        assert_eq!(length(0), length(255), "one size for short ones");
        assert_eq!(length(256).unwrap(), length(0).unwrap() + 256);
        assert_eq!(length(PAYLOAD_BYTES_MAX), Ok(4_096));
        assert_eq!(length(PAYLOAD_BYTES_MAX + 1), Err(CannotSeal));
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let (public, auth) = (bytes(DEVICE), bytes(AUTH));
        assert_eq!(DeviceKeys::new(&public[1..], &auth), Err(BadDeviceKeys));
        assert_eq!(DeviceKeys::new(&public, &auth[1..]), Err(BadDeviceKeys));
        let mut off = public.clone();
        off[64] ^= 1;
        assert_eq!(DeviceKeys::new(&off, &auth), Err(BadDeviceKeys), "not on the curve");
    }
}
