//! Conversations of which a user is not pushed. A row each, which goes with the membership.

use godwit_core::push::FOREVER_S;
use godwit_core::refusal;
use godwit_core::stored::MuteRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client::{self, Mute};
use godwit_schemas::ids::ConversationId;

use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::messages::AfterCommit;
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

/// Mutes of a page.
const PAGE: usize = 100;

impl<S: Store, B: Bus> Lane<S, B> {
    /// Answered when it is on disk.
    pub(in crate::lane) async fn set_mute(
        &mut self,
        caller: CallContext,
        call: client::SetMute,
    ) -> Result<(), StoreError> {
        let (user, id) = (caller.origin.user.clone(), ConversationId::new(call.conversation));
        let member = self.context.store.multi_get(&[keys::membership(&user, id)]).await?.pop().flatten();
        if member.is_none() {
            self.context.refuse(caller, refusal::NOT_IN_CONVERSATION);
            return Ok(());
        }
        let until_s = match call.for_s {
            FOREVER_S => FOREVER_S,
            for_s => self.context.now_s.saturating_add(for_s).min(FOREVER_S - 1),
        };
        let record = MuteRecord { until_s, mentions_only: call.mentions_only };
        let key = keys::mute(&user, id);
        self.round.write(if call.for_s == 0 { writes::set(key, None) } else { writes::put(key, &record) });
        let then = self.context.then_respond(caller, client::Response::default());
        self.round.when_durable(AfterCommit::Then(then));
        Ok(())
    }
}

impl<S: Store> Context<S> {
    pub(in crate::lane) async fn list_mutes(
        &self,
        caller: CallContext,
        call: client::ListMutes,
    ) -> Result<(), StoreError> {
        let (from, to) = keys::mutes_after(&caller.origin.user, ConversationId::new(call.after));
        let rows = self.store.scan(Table::Conversations, &from, &to, PAGE, usize::MAX).await?;
        let next = rows.last().filter(|_| rows.len() == PAGE).and_then(|(key, _)| keys::parse_mute(key));
        let mutes = rows.iter().filter_map(|(key, value)| {
            let id = keys::parse_mute(key)?;
            let MuteRecord { until_s, mentions_only } = decoded("mute", &id, value)?;
            let for_s = if until_s == FOREVER_S { FOREVER_S } else { until_s.saturating_sub(self.now_s) };
            (for_s > 0).then_some(Mute { conversation: id.get(), for_s, mentions_only })
        });
        let (mutes, next) = (mutes.collect(), next.map_or(0, ConversationId::get));
        self.answer_call(caller, client::Response { mutes, next, ..client::Response::default() });
        Ok(())
    }
}
