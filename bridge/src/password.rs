//! Devices' passwords: 256 random bits, so a plain SHA-256 is hash enough: nobody guesses them, slow or fast.

use godwit_schemas::ids::{DeviceName, UserId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A fresh password, in URL-safe base64 without padding.
///
/// # Errors
/// The system has no randomness to give.
pub(crate) fn generate() -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 43 characters of 6 bits: 258 bits.
    let mut bits = [0_u8; 43];
    getrandom::fill(&mut bits)?;
    Ok(bits.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
}

/// What is kept of a password. It is bound to its device: nobody's hash is worth anything at another's.
pub(crate) fn hash(user: &UserId, device: &DeviceName, password: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [user.as_str().as_bytes(), b"\0", device.as_str().as_bytes(), b"\0", password] {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Compares in a time that depends on nothing secret. `stored` is `None` where there is no such device: that takes
/// as long, and fails.
pub(crate) fn is_right(stored: Option<&[u8]>, user: &UserId, device: &DeviceName, password: &[u8]) -> bool {
    let given = hash(user, device, password);
    let right = given.ct_eq(stored.unwrap_or(&[0; 32]));
    bool::from(right) && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_the_right_device() {
        let (alice, phone) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
        let password = generate().unwrap();
        assert_eq!(password.len(), 43);
        assert_ne!(password, generate().unwrap());
        let stored = hash(&alice, &phone, password.as_bytes());
        assert!(is_right(Some(&stored), &alice, &phone, password.as_bytes()));
        assert!(!is_right(Some(&stored), &alice, &phone, b""));
        assert!(!is_right(Some(&stored), &alice, &DeviceName::new("tablet").unwrap(), password.as_bytes()));
        assert!(!is_right(None, &alice, &phone, password.as_bytes()));
        assert!(!is_right(Some(b"short"), &alice, &phone, password.as_bytes()));
    }
}
