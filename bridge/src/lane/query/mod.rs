//! What may take long: calls that read much, and requests over HTTP. Both wait for their turn and are done in slices between two
//! rounds, so that nobody's messages wait for somebody's history.

use std::collections::BTreeMap;

use godwit_core::refusal;
use godwit_schemas::client;
use godwit_schemas::ids::UserId;
use tokio::sync::oneshot;

use self::slices::SliceJob;
use self::turns::Turns;
use crate::lane::context::Context;
use crate::lane::query::turns::TurnOwner;
use crate::lane::round::Round;
use godwit_store::Store;

pub(in crate::lane) mod history;
pub(in crate::lane) mod page;
pub(in crate::lane) mod run;
pub(in crate::lane) mod slices;
pub(in crate::lane) mod turns;
pub(in crate::lane) mod user_request;
pub(in crate::lane) mod waiting;

/// What waits for its turn, and who waits for an answer over HTTP.
#[derive(Default)]
pub(in crate::lane) struct Requests {
    pending_http: BTreeMap<u64, oneshot::Sender<client::Response>>,
    last_http: u64,
    /// What is done in slices, and whose turn it is.
    pub(in crate::lane) turns: Turns<SliceJob>,
}

/// Requests over HTTP of one user that wait for their turn, in a lane.
const WAITING_MAX: usize = 32;

impl Requests {
    /// How many requests over HTTP wait for an answer.
    pub(in crate::lane) fn awaited(&self) -> usize {
        self.pending_http.len()
    }

    /// Whoever sent this request over HTTP still waits for its answer.
    pub(in crate::lane) fn is_awaited(&self, request: u64) -> bool {
        self.pending_http.get(&request).is_some_and(|reply| !reply.is_closed())
    }

    /// There is work to be done in slices.
    pub(in crate::lane) fn has_slices<S: Store>(&self, context: &Context<S>, round: &Round) -> bool {
        let may = || round.is_draining() || !context.settings.memory.is_on();
        !self.turns.is_empty() && may()
    }

    /// A request over HTTP: what is left to do of it waits for its turn, unless too much of the same user does.
    pub(in crate::lane) fn wait_in_turn<S: Store>(
        &mut self,
        context: &Context<S>,
        user: UserId,
        rest: Option<SliceJob>,
    ) {
        let Some(job) = rest else { return };
        let whose = TurnOwner::User(user);
        let of_http = |job: &&SliceJob| matches!(job, SliceJob::Read(reading) if reading.caller.is_over_http());
        match job {
            SliceJob::Read(reading) if self.turns.waiting(&whose).filter(of_http).count() >= WAITING_MAX => {
                context.refuse(reading.caller, refusal::TOO_MANY_REQUESTS_WAIT);
            }
            job => self.turns.push(whose, job),
        }
    }
}
