//! Who a user is to others' devices: its identity keys, and the certificates of its devices. Read from the store by any lane.

use bytes::Bytes;
use godwit_core::refusal;
use godwit_core::stored::{CertificateRecord, IdentityRecord, UserRecord};
use godwit_schemas::client;
use godwit_schemas::ids::UserId;
use prost::Message as _;

use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::lane::query::page::{AnswerRoom, PageBuilder, PageItem, TooLarge};
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

/// Most certificates of a page.
pub(crate) const PAGE_MAX: usize = 100;

impl PageItem for client::Certificate {
    fn shrink(&mut self) -> bool {
        false
    }
}

impl<S: Store> Context<S> {
    pub(super) async fn get_identity(
        &self,
        caller: CallContext,
        call: &client::GetIdentity,
        room: AnswerRoom,
    ) -> Result<(), StoreError> {
        let Ok(user) = UserId::new(&call.user) else {
            self.refuse(caller, refusal::NO_USER);
            return Ok(());
        };
        let found = self.store.multi_get(&[keys::user(&user), keys::identity(&user)]).await?;
        let [record, identity] = &found[..] else { return Ok(()) };
        let record = record.as_deref().and_then(|value| decoded::<UserRecord>("user", &user, value));
        let Some(record) = record.filter(|it| !it.has_blocked(&caller.origin.user)) else {
            self.refuse(caller, refusal::NO_USER);
            return Ok(());
        };
        let identity = identity.as_deref().and_then(|it| decoded::<IdentityRecord>("identity", &user, it));
        let chain = if call.after == 0 { identity.unwrap_or_default().chain } else { Vec::new() };
        let (from, to) = keys::certificates_after(&user, call.after);
        let rows = self.store.scan(Table::Directory, &from, &to, PAGE_MAX, usize::MAX).await?;
        let is_last = rows.len() < PAGE_MAX;
        let mut page = PageBuilder::new(room.without(bytes_of(&chain)));
        let (mut next, mut over) = (0, is_last);
        for (key, value) in &rows {
            let CertificateRecord { certificate, fingerprint } =
                decoded("certificate", &user, value).unwrap_or_default();
            let retired = !record.devices.iter().any(|device| device.certificate == fingerprint);
            match page.take(client::Certificate { certificate, retired }) {
                Ok(true) => next = keys::parse_last_number(key).unwrap_or(0),
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
        let identity = Some(Box::new(client::Identity { chain, certificates: page.into_items() }));
        let next = if over { 0 } else { next };
        self.answer_call(caller, client::Response { identity, next, ..Default::default() });
        Ok(())
    }
}

fn bytes_of(chain: &[Bytes]) -> usize {
    client::Identity { chain: chain.to_vec(), certificates: Vec::new() }.encoded_len()
}
