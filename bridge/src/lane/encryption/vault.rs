//! A user's vault: the keys of conversations' epochs, sealed by one of its devices for all of them. Without these a new device could
//! not read what history holds.

use std::collections::BTreeMap;

use godwit_core::refusal;
use godwit_schemas::bus::Bus;
use godwit_schemas::client::{self, VaultRow};
use godwit_schemas::ids::ConversationId;

use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::lane::query::page::{AnswerRoom, PageBuilder, PageItem, TooLarge};
use crate::writes;
use godwit_store::{Store, StoreError, Table, keys};

/// Most rows of a call, and of a page.
pub(crate) const ROWS_MAX: usize = 100;
/// Longest row in bytes.
pub(crate) const ROW_BYTES_MAX: usize = 256;

impl PageItem for VaultRow {
    fn shrink(&mut self) -> bool {
        false
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Where there is a row already it stays: the devices of a user all put what they know.
    pub(super) async fn put_vault(&mut self, caller: CallContext, call: client::PutVault) -> Result<(), StoreError> {
        let is_row = |row: &VaultRow| row.epoch != 0 && (1..=ROW_BYTES_MAX).contains(&row.sealed.len());
        if !(1..=ROWS_MAX).contains(&call.rows.len()) || !call.rows.iter().all(is_row) {
            self.context.refuse(caller, refusal::BAD_VAULT_ROWS);
            return Ok(());
        }
        let user = caller.origin.user.clone();
        let key = |row: &VaultRow| keys::vault_row(&user, ConversationId::new(row.conversation), row.epoch);
        let asked: Vec<_> = call.rows.iter().map(key).collect();
        let found = self.context.store.multi_get(&asked).await?;
        let is_absent = asked.into_iter().zip(found).zip(call.rows).filter(|((_, found), _)| found.is_none());
        // Of one that is named twice the first counts.
        let mut new = BTreeMap::new();
        is_absent.for_each(|((key, _), row)| _ = new.entry(key).or_insert(row.sealed));
        let count = self.context.stored_number(keys::vault_count(&user)).await? + new.len() as u64;
        let rows_max = self.context.settings.encryption.as_ref().map_or(0, |it| it.vault_rows_max);
        if count > rows_max.into() {
            self.context.refuse(caller, refusal::VAULT_FULL);
            return Ok(());
        }
        if !new.is_empty() {
            self.round.write(writes::set(keys::vault_count(&user), Some(writes::counter(count))));
        }
        self.round.write_all(new.into_iter().map(|(key, sealed)| writes::set(key, Some(sealed))));
        let then = self.context.then_respond(caller, client::Response::default());
        self.encryption.settle(&mut self.round, &user, then);
        Ok(())
    }
}

impl<S: Store> Context<S> {
    pub(super) async fn get_vault(
        &self,
        caller: CallContext,
        call: &client::GetVault,
        room: AnswerRoom,
    ) -> Result<(), StoreError> {
        let conversation = ConversationId::new(call.conversation);
        let (from, to) = keys::vault_after(&caller.origin.user, conversation, call.after);
        let rows = self.store.scan(Table::Conversations, &from, &to, ROWS_MAX, usize::MAX).await?;
        let mut over = rows.len() < ROWS_MAX;
        let mut page = PageBuilder::new(room);
        for (key, sealed) in rows {
            let epoch = keys::parse_last_number(&key).unwrap_or(0);
            match page.take(VaultRow { conversation: call.conversation, epoch, sealed }) {
                Ok(true) => {}
                Ok(false) => {
                    over = false;
                    break;
                }
                Err(TooLarge) => {
                    self.refuse(caller, refusal::ITEM_TOO_LARGE);
                    return Ok(());
                }
            }
        }
        let vault = page.into_items();
        let next = vault.last().filter(|_| !over).map_or(0, |row| row.epoch);
        self.answer_call(caller, client::Response { vault, next, ..Default::default() });
        Ok(())
    }
}
