//! A certified device hands a new one of its user what it needs, sealed: one after the other takes place of the one before, for
//! some minutes, to be taken once.

use godwit_core::refusal;
use godwit_core::stored::{LinkRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;

use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

const LINK_BYTES: usize = 16;
/// Longest sealed content in bytes.
pub(crate) const SEALED_BYTES_MAX: usize = 4_096;
/// For so long it can be taken.
const LIFE_S: u32 = 300;

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) fn accept_link(&mut self, caller: CallContext, record: &UserRecord, call: client::AcceptLink) {
        if call.link.len() != LINK_BYTES || !(1..=SEALED_BYTES_MAX).contains(&call.sealed.len()) {
            return self.context.refuse(caller, refusal::BAD_LINK);
        }
        let own = record.devices.iter().find(|it| caller.origin.device.is_some_and(|id| id.get() == it.id));
        if own.is_none_or(|it| it.certificate == 0) {
            return self.context.refuse(caller, refusal::NOT_CERTIFIED);
        }
        let user = caller.origin.user.clone();
        let ends_s = self.context.now_s.saturating_add(LIFE_S);
        let accepted = LinkRecord { link: call.link, sealed: call.sealed, ends_s };
        self.round.write(writes::put(keys::link(&user), &accepted));
        let then = self.context.then_respond(caller, client::Response::default());
        self.encryption.settle(&mut self.round, &user, then);
    }

    pub(super) async fn take_link(&mut self, caller: CallContext, call: &client::TakeLink) -> Result<(), StoreError> {
        if call.link.len() != LINK_BYTES {
            self.context.refuse(caller, refusal::BAD_LINK);
            return Ok(());
        }
        let user = caller.origin.user.clone();
        let stored = self.context.store.multi_get(&[keys::link(&user)]).await?.pop().flatten();
        let accepted = stored.and_then(|it| decoded::<LinkRecord>("link", &user, &it));
        let is_it = |it: &LinkRecord| it.link == call.link && it.ends_s > self.context.now_s;
        let Some(LinkRecord { sealed, .. }) = accepted.filter(is_it) else {
            self.context.refuse(caller, refusal::NO_LINK);
            return Ok(());
        };
        self.round.write(writes::set(keys::link(&user), None));
        let then = self.context.then_respond(caller, client::Response { sealed, ..Default::default() });
        self.encryption.settle(&mut self.round, &user, then);
        Ok(())
    }
}
