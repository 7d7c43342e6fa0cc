//! Work in slices is done: once in a round, for as long as a round may take. Called by the lane's loop. `turns` says whose turn it
//! is, `slices` what there is to do.

use godwit_core::reply_to::ReplyTo;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;

use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::query::slices::{PendingRead, ReadKind, SliceJob};
use godwit_store::{Store, StoreError};

/// About how many rows a round reads in slices: a millisecond or two.
const ROUND_ROWS: u64 = 512;
/// What a slice costs besides what it reads, in rows.
const SLICE_ROWS: u64 = 8;

impl<S: Store, B: Bus> Lane<S, B> {
    /// A round's share of it.
    pub(in crate::lane) async fn do_slices(&mut self) -> Result<(), StoreError> {
        let end = self.context.store.rows_read() + ROUND_ROWS;
        while self.requests.has_slices(&self.context, &self.round) && self.context.store.rows_read() < end {
            let Some((whose, job)) = self.requests.turns.begin() else { return Ok(()) };
            self.context.store.charge(SLICE_ROWS);
            let rest = match job {
                SliceJob::CallOf(device) => self.call_of(device).await?,
                SliceJob::Read(reading) => self.read_on(reading).await?,
                SliceJob::Search(search) => {
                    self.round.search_on(&self.context, &mut self.state, &mut self.requests.turns, search).await?
                }
                SliceJob::Clear(clearing) => self.clear_on(clearing).await?,
            };
            self.requests.turns.end(whose, rest);
        }
        Ok(())
    }

    /// A slice of a call. Nothing is read for who does not wait any more.
    async fn read_on(&mut self, mut reading: Box<PendingRead>) -> Result<Option<SliceJob>, StoreError> {
        if !self.connections.is_awaited(&self.requests, &reading.caller) {
            self.forgo(*reading);
            return Ok(None);
        }
        let user = &reading.caller.origin.user;
        if let ReadKind::Presences(asking) = &mut reading.of
            && !self.presence.ask_on(&self.context, user, asking)
        {
            return Ok(Some(SliceJob::Read(reading)));
        }
        let answer = match &mut reading.of {
            ReadKind::Conversations(listing) => self.context.list_on(user, listing).await?,
            ReadKind::History(page) => self.context.history_on(user, page).await?,
            ReadKind::Contacts(list) => self.context.contacts_on(user, list).await?,
            ReadKind::Phones(look_up) => self.accounts.phones.look_up_on(&self.context, user, look_up).await?,
            ReadKind::Waiting(page) => Some(self.state.list_waiting(&self.context, user, page).await?),
            // Its lanes answer it.
            ReadKind::Presences(_) => {
                let PendingRead { caller, of } = *reading;
                if let ReadKind::Presences(asking) = of {
                    self.presence.all_asked(&self.context, caller, asking);
                }
                return Ok(None);
            }
        };
        match answer {
            None => return Ok(Some(SliceJob::Read(reading))),
            Some(Ok(response)) => self.context.answer_call(reading.caller, response),
            Some(Err(refusal)) => self.context.refuse(reading.caller, refusal),
        }
        Ok(None)
    }

    /// Nobody waits for the answer.
    fn forgo(&mut self, PendingRead { caller, of }: PendingRead) {
        if let ReadKind::Presences(asking) = of {
            self.presence.give_up_asking(&asking);
        }
        match caller.origin.reply_to.and_then(ReplyTo::http) {
            Some(request) => _ = self.requests.pending_http.remove(&request),
            // A device that has only unsubscribed still has its publish acknowledged.
            None => self.context.answer_call(caller, client::Response::default()),
        }
    }

    /// A call that reads much: its caller's turn is to come, or is under way.
    pub(in crate::lane) fn reading(&self, caller: CallContext, of: ReadKind) -> SliceJob {
        SliceJob::Read(Box::new(PendingRead { caller, of }))
    }
}
