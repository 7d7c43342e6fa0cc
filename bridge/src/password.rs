//! Devices' passwords: 256 random bits, so a plain SHA-256 is hash enough: nobody guesses them, slow or fast.

use godwit_core::stored::DeviceRecord;
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

/// Which of a device's passwords somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordMatch {
    /// The one that it has used.
    Current,
    /// One that it was given since, and has not used before.
    Next,
}

/// Compares in a time that depends on nothing secret. `device` is `None` where there is no such device: that takes as
/// long, and fails.
pub(crate) fn known(
    device: Option<&DeviceRecord>,
    user: &UserId,
    name: &DeviceName,
    password: &[u8],
) -> Option<PasswordMatch> {
    let given = hash(user, name, password);
    let is = |stored: Option<&Vec<u8>>| bool::from(given.ct_eq(stored.map_or(&[0; 32][..], Vec::as_slice)));
    let (current, next) =
        (is(device.map(|device| &device.password_hash)), is(device.map(|device| &device.next_password_hash)));
    device?;
    if current { Some(PasswordMatch::Current) } else { next.then_some(PasswordMatch::Next) }
}

/// Why a name and a password let nobody in, for operators.
const WHYS: [&str; 3] = ["unknown user", "unknown device", "wrong password"];
/// What clients are told of all of them.
pub const NOT_GOOD: &str = "unknown device, or wrong password";

/// Why `known` has found nothing.
pub fn why_not(is_user: bool, is_device: bool) -> &'static str {
    let [no_user, no_device, wrong] = WHYS;
    match (is_user, is_device) {
        (_, true) => wrong,
        (true, false) => no_device,
        (false, false) => no_user,
    }
}

/// Whether this is what [`why_not`] says.
pub fn as_why(text: &str) -> Option<&'static str> {
    WHYS.into_iter().find(|why| *why == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_the_right_device() {
        let (alice, phone) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
        let (old, new) = (generate().unwrap(), generate().unwrap());
        assert_eq!(old.len(), 43);
        assert_ne!(old, new);
        let mut device =
            DeviceRecord { password_hash: hash(&alice, &phone, old.as_bytes()).to_vec(), ..Default::default() };
        let tablet = DeviceName::new("tablet").unwrap();
        assert_eq!(known(Some(&device), &alice, &phone, old.as_bytes()), Some(PasswordMatch::Current));
        for (device, name, password) in
            [(Some(&device), &phone, &new), (Some(&device), &tablet, &old), (None, &phone, &old)]
        {
            assert_eq!(known(device, &alice, name, password.as_bytes()), None);
        }
        assert_eq!(known(Some(&device), &alice, &phone, b""), None);
        device.next_password_hash = hash(&alice, &phone, new.as_bytes()).to_vec();
        assert_eq!(known(Some(&device), &alice, &phone, new.as_bytes()), Some(PasswordMatch::Next));
        assert_eq!(known(Some(&device), &alice, &phone, old.as_bytes()), Some(PasswordMatch::Current));
        device.password_hash = Vec::new();
        assert_eq!(known(Some(&device), &alice, &phone, old.as_bytes()), None);
        assert_eq!(known(Some(&DeviceRecord::default()), &alice, &phone, b""), None, "no password is none");
    }
}
