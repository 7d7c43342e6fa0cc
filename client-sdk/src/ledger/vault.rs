//! The keys of epochs that a user's devices have been in, sealed for the user's others and kept by the server: with them a device
//! reads what was sent before it came.

use godwit_e2ee::mls::Epoch;
use godwit_e2ee::mls::group::LIVE_KEY_BYTES;
use godwit_e2ee::vault::VaultRow;
use godwit_schemas::client;
use godwit_schemas::ids::ConversationId;

use super::groups::EpochKeysRecord;
use super::{Ledger, keys};
use crate::store::{LocalStoreError, Scan};

/// Rows that the vault is given at a time.
const ROWS: usize = 100;

impl Ledger {
    /// Something is sealed under an epoch whose key is not here. Whether it may still come.
    pub(super) fn may_come(&mut self, id: ConversationId, epoch: u64) -> Result<bool, LocalStoreError> {
        let Some(mut record) = self.group_record(id)? else { return Ok(true) };
        let is_let_in = !record.welcome.is_empty() && record.welcome_epoch <= epoch;
        let lets_itself_in = record.pending.as_ref().is_some_and(|pending| pending.epoch <= epoch);
        if record.epoch > 0 && record.epoch < epoch || is_let_in || lets_itself_in {
            return Ok(true);
        }
        if record.vault_read >= epoch {
            return Ok(false);
        }
        if !record.wants_vault {
            record.wants_vault = true;
            self.has_new_epochs = true;
            self.put(&keys::group(id), &record)?;
        }
        Ok(true)
    }

    /// Keys of epochs that the user's other devices may want, sealed for the vault.
    pub(crate) fn rows_for_vault(&mut self) -> Result<Vec<client::VaultRow>, LocalStoreError> {
        let Some(vault) = self.vault_key()? else { return Ok(Vec::new()) };
        let (from, to) = keys::TO_VAULT;
        let (mut rows, me) = (Vec::new(), self.me.clone());
        for (key, _) in self.store.scan(from, to, Scan::Forward, ROWS)? {
            let (id, number) = keys::vaulted(&key);
            let Some(epoch) = Epoch::from_number(number) else { continue };
            let Some(keys) = self.epoch_keys(id, epoch)? else { continue };
            let row = VaultRow { user: &me, conversation: id, epoch };
            let sealed = vault.seal(&row, &keys.base).map_err(|error| LocalStoreError::new("seal a key", error))?;
            rows.push(client::VaultRow { conversation: id.get(), epoch: number, sealed: sealed.into() });
        }
        Ok(rows)
    }

    /// The server has these rows.
    pub(crate) fn vaulted(&mut self, rows: &[client::VaultRow]) -> Result<(), LocalStoreError> {
        for row in rows {
            self.store.delete(&keys::to_vault(ConversationId::new(row.conversation), row.epoch))?;
        }
        Ok(())
    }

    /// What the vault has of a conversation. What is still sealed afterwards, stays so.
    pub(crate) fn take_vault(&mut self, id: ConversationId, rows: &[client::VaultRow]) -> Result<(), LocalStoreError> {
        let (Some(vault), Some(mut record)) = (self.vault_key()?, self.group_record(id)?) else { return Ok(()) };
        let me = self.me.clone();
        for client::VaultRow { epoch: number, sealed, .. } in rows {
            let Some(epoch) = Epoch::from_number(*number) else { continue };
            // One of a time before the user's secret was made anew does not open.
            let Ok(base) = vault.open(&VaultRow { user: &me, conversation: id, epoch }, sealed) else { continue };
            let key = keys::epoch(id, *number);
            if self.store.get(&key)?.is_none() {
                self.put(&key, &EpochKeysRecord { base: base.to_vec(), live: vec![0; LIVE_KEY_BYTES] })?;
            }
        }
        record.wants_vault = false;
        record.vault_read = record.announced.max(record.epoch);
        self.has_new_epochs = true;
        self.put(&keys::group(id), &record)?;
        self.open_past(id)
    }
}
