//! What a device was let in with, as far as that can become void.
//!
//! A connection, and each command that comes from one, has the number of its device and the fingerprint of the password that
//! the device had when it was let in. Both are compared with the user's record wherever something depends on it: a lane does
//! so each time that an edge attaches a connection again, and where a command is decided. So a revocation is a state of the
//! record, which whoever looks sees, and not a message that may be lost. Keeps P5.

use godwit_schemas::ids::DeviceId;

use crate::stored::DeviceRecord;

/// Tells a device's password from every other one that it had or will have. A device without one has a fingerprint too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// As an edge says it.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Of the password that the device has now. Passwords are random, and so are the first bytes of their hashes.
    pub fn of(device: &DeviceRecord) -> Self {
        Self(device.password_hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    /// For an edge.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a device's credential is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialStanding {
    /// As much as when it was let in.
    Good,
    /// The device has another password since.
    Renewed,
    /// There is no such device any more.
    Gone,
}

/// Judges what a device was let in with, by its user's devices.
pub fn standing(devices: &[DeviceRecord], device: DeviceId, fingerprint: Fingerprint) -> CredentialStanding {
    match devices.iter().find(|known| known.id == device.get()) {
        Some(known) if Fingerprint::of(known) == fingerprint => CredentialStanding::Good,
        Some(_) => CredentialStanding::Renewed,
        None => CredentialStanding::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: u64, password_hash: &[u8]) -> DeviceRecord {
        DeviceRecord { id, name: "phone".to_owned(), password_hash: password_hash.to_vec(), ..DeviceRecord::default() }
    }

    #[test]
    fn a_credential_is_good_for_its_own_device_and_password() {
        let (before, after) = (device(64, &[7; 32]), device(64, &[8; 32]));
        let judge = |devices: &[DeviceRecord], device: &DeviceRecord| {
            standing(devices, DeviceId::new(device.id), Fingerprint::of(device))
        };
        assert_eq!(judge(std::slice::from_ref(&before), &before), CredentialStanding::Good);
        assert_eq!(judge(&[after], &before), CredentialStanding::Renewed);
        assert_eq!(judge(&[device(128, &[7; 32])], &before), CredentialStanding::Gone, "of the same name");
        assert_eq!(judge(&[], &before), CredentialStanding::Gone);
    }

    #[test]
    fn a_device_differs_from_its_successor_and_with_a_password() {
        let (without, with) = (device(64, &[]), device(64, &[7; 32]));
        let judge = |now: DeviceRecord| standing(&[now], DeviceId::new(64), Fingerprint::of(&without));
        assert_eq!(judge(without.clone()), CredentialStanding::Good);
        assert_eq!(judge(with), CredentialStanding::Renewed);
        assert_eq!(judge(device(128, &[])), CredentialStanding::Gone);
    }
}
