//! Names that nobody can guess who does not have this store: of files that are being written where others may write too.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use sha2::{Digest as _, Sha256};

use super::{Ledger, keys};
use crate::store::LocalStoreError;

/// Bytes of a name, of which it has twice as many letters.
const NAME_BYTES: usize = 16;

impl Ledger {
    /// A name for this, the same as long as the store is the same.
    pub(crate) fn secret_name(&mut self, of: &[&[u8]]) -> Result<String, LocalStoreError> {
        let secret = match self.store.get(keys::SECRET)? {
            Some(secret) => secret,
            None => {
                let secret = random();
                self.store.put(keys::SECRET, &secret)?;
                secret
            }
        };
        let mut hash = Sha256::new_with_prefix(secret);
        for part in of {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Ok(hash.finalize().iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The standard library's hashers have keys of the system's randomness.
fn random() -> Vec<u8> {
    (0..4).flat_map(|_| RandomState::new().build_hasher().finish().to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use godwit_schemas::ids::UserId;

    use super::super::Beginning;
    use super::*;
    use crate::store::VolatileStore;

    #[test]
    fn a_name_is_of_its_store_and_of_what_it_is_for() {
        let name = |store: &VolatileStore, of: &[&[u8]]| {
            let user = UserId::new("alice").unwrap();
            let mut ledger =
                Ledger::open(Box::new(store.clone()), &user, "phone", true, Beginning { after: 0, counter: 0 })
                    .unwrap();
            let name = ledger.secret_name(of).unwrap();
            ledger.commit().unwrap();
            name
        };
        let (one, two) = (VolatileStore::new(), VolatileStore::new());
        let first = name(&one, &[b"a", b"b"]);
        assert_eq!((first.len(), &first), (32, &name(&one, &[b"a", b"b"])));
        for other in [name(&one, &[b"ab", b""]), name(&one, &[b"a", b"c"]), name(&two, &[b"a", b"b"])] {
            assert_ne!(first, other);
        }
    }
}
