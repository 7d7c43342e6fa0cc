//! Phone numbers as the server knows them: by hash. A number that nobody has registered with can be written to all the
//! same: a *waiting* user stands for it, with a name that only this server can tell and one device, which has an inbox and
//! no name. Who registers with the number takes over user and device. Who has it under another name gets what waited, sent
//! once more by the same senders (`handover`).

use godwit_schemas::ids::UserId;
use godwit_schemas::phone::PhoneNumber;
use sha2::{Digest, Sha256};

/// SHA-256 of a number in E.164 with its plus sign.
pub(crate) type PhoneHash = [u8; 32];

/// Hashes a number as clients do.
pub(crate) fn hash(number: PhoneNumber) -> PhoneHash {
    Sha256::digest(number.to_string()).into()
}

/// Makes the names of waiting users. Without the secret a name tells nothing of the number.
#[derive(Debug, Clone)]
pub(crate) struct PhoneNames {
    secret: [u8; 32],
}

impl PhoneNames {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The name of the user that waits for a number: 128 bits of a keyed hash.
    pub(crate) fn of(&self, hash: &PhoneHash) -> UserId {
        let digest = Sha256::new().chain_update(self.secret).chain_update(hash).finalize();
        name_of(digest.as_slice())
    }

    /// A random name of the same form, for a user that cannot have the name of its number.
    ///
    /// # Errors
    /// The system gives no random bits.
    pub(crate) fn any() -> Result<UserId, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(name_of(&bits))
    }

    /// What registration codes are hashed with.
    pub(crate) fn code_key(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"registration code").chain_update(self.secret).finalize().into()
    }
}

fn name_of(bits: &[u8]) -> UserId {
    let text: String = bits.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    UserId::new(&format!("n-{text}")).unwrap_or_else(|_| unreachable!("34 plain characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_clients() {
        // printf +4930123456 | sha256sum
        let hash = hash(PhoneNumber::parse("+4930123456").unwrap());
        let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "a909469fabf3f43d0b7b6c42a85a6e7e8ceb36c7a2f0f1b9c15b80dc16384cb7");
    }

    #[test]
    fn names_differ_from_server_to_server() {
        let hash = hash(PhoneNumber::parse("+4930123456").unwrap());
        let (one, other) = (PhoneNames::new([1; 32]), PhoneNames::new([2; 32]));
        assert_eq!(one.of(&hash), one.of(&hash));
        assert_ne!(one.of(&hash), other.of(&hash));
        assert_eq!(one.of(&hash).as_str().len(), 34);
    }
}
