//! The device's password, once it was renewed: then the app may go on to bring the one it knows.

use super::Ledger;
use super::keys;
use super::record::PasswordRecord;
use crate::store::LocalStoreError;

impl Ledger {
    /// What the device was given last and has not used, and what it was let in with last.
    pub(crate) fn passwords(&mut self) -> Result<Vec<String>, LocalStoreError> {
        let PasswordRecord { fresh, proven } = self.record(keys::PASSWORD)?.unwrap_or_default();
        Ok([fresh, proven].into_iter().filter(|password| !password.is_empty()).collect())
    }

    /// See [`Self::passwords`]; `fresh` may be empty.
    pub(crate) fn keep_passwords(&mut self, fresh: String, proven: String) -> Result<(), LocalStoreError> {
        self.put(keys::PASSWORD, &PasswordRecord { fresh, proven })
    }
}
