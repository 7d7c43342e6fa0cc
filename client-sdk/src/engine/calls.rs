//! Calls: requests that wait for their response. A call keeps its packet identifier until it is answered and is
//! repeated with DUP on the next connection, so that it takes effect once although connections break.

use std::collections::BTreeMap;

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::client::{
    Describe, FoundPhone, GetHistory, GetServer, ListConversations, LookUpPhones, Opened, Response, Server,
};
use godwit_schemas::ids::{ConversationId, Seq};
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::reason::Reason;
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::Error;
use crate::ledger::{FILL_PAGE, Gap, HistoryFill, phone_hash};
use crate::wire::Publication;

/// Calls that have no response yet, by request number.
#[derive(Debug, Default)]
pub(crate) struct PendingCalls {
    last: u64,
    waiting: BTreeMap<u64, PendingCall>,
}

#[derive(Debug)]
struct PendingCall {
    call: Call,
    deadline: Instant,
    /// `None`: the engine's own.
    answer: Option<oneshot::Sender<Result<Response, Error>>>,
    packet_id: Option<u16>,
    /// Published on this connection.
    under_way: bool,
}

/// A call to be published.
pub(super) struct CallPublish {
    pub(super) id: u64,
    pub(super) packet_id: u16,
    pub(super) again: bool,
    pub(super) payload: Bytes,
}

/// What the engine learns from a response.
pub(super) enum Learned {
    /// The members of a conversation.
    Described(ConversationId, Opened),
    /// What history has of what did not come.
    Fetched(Gap, Box<Response>),
    /// What was before this device.
    Filled(HistoryFill, Box<Response>),
    /// Who has the numbers of these hashes.
    Found(Vec<Bytes>, Vec<FoundPhone>),
    /// Which server this is; `None`: it does not say.
    Introduced(Option<Server>),
    /// Why a conversation was not described.
    NotDescribed(ConversationId, Reason),
}

fn described(response: &Response) -> Option<Learned> {
    let opened = response.description.clone()?;
    Some(Learned::Described(ConversationId::new(response.conversation), opened))
}

/// The call that looks for a gap.
fn call_for_gap(gap: Gap) -> Call {
    Call::GetHistory(GetHistory {
        conversation: gap.conversation.get(),
        after: gap.first.get().saturating_sub(1),
        before: gap.last.get().saturating_add(1),
        oldest_first: true,
        limit: 0,
    })
}

/// The gap that such a call looks for.
fn gap_of(call: &GetHistory) -> Gap {
    let (first, last) = (Seq::new(call.after + 1), Seq::new(call.before.saturating_sub(1)));
    Gap { conversation: ConversationId::new(call.conversation), first, last }
}

/// The call that asks for what was before this device. Newest first: so its answer is none to [`call_for_gap`].
fn call_for_fill(fill: HistoryFill) -> Call {
    match fill {
        HistoryFill::List { after } => Call::ListConversations(ListConversations { after: after.get(), limit: 0 }),
        HistoryFill::Page { conversation, before } => Call::GetHistory(GetHistory {
            conversation: conversation.get(),
            before: before.get(),
            limit: FILL_PAGE,
            ..GetHistory::default()
        }),
    }
}

impl PendingCalls {
    /// Calls of an earlier run may still be answered: numbers begin at `first`.
    pub(crate) fn new(first: u64) -> Self {
        Self { last: first, waiting: BTreeMap::new() }
    }

    pub(crate) fn add(
        &mut self,
        call: Call,
        deadline: Instant,
        answer: Option<oneshot::Sender<Result<Response, Error>>>,
    ) {
        self.last += 1;
        let waiting = PendingCall { call, deadline, answer, packet_id: None, under_way: false };
        self.waiting.insert(self.last, waiting);
    }

    /// Asks for the members of a conversation, once.
    pub(super) fn describe(&mut self, id: ConversationId, deadline: Instant) {
        self.add_once(Call::Describe(Describe { conversation: id.get(), counter: 0 }), deadline);
    }

    /// Asks which server this is, once.
    pub(super) fn ask_for_server(&mut self, deadline: Instant) {
        self.add_once(Call::GetServer(GetServer {}), deadline);
    }

    /// Looks for what did not come, once.
    pub(super) fn fetch(&mut self, gap: Gap, deadline: Instant) {
        self.add_once(call_for_gap(gap), deadline);
    }

    /// Asks for what was before this device, once.
    pub(super) fn fill(&mut self, fill: HistoryFill, deadline: Instant) {
        self.add_once(call_for_fill(fill), deadline);
    }

    /// Asks who has these phone numbers.
    pub(super) fn look_up(&mut self, numbers: &[PhoneNumber], deadline: Instant) {
        let sha256 = numbers.iter().map(|number| phone_hash(*number)).collect();
        self.add_once(Call::LookUpPhones(LookUpPhones { sha256 }), deadline);
    }

    /// A question of the engine's own.
    fn add_once(&mut self, call: Call, deadline: Instant) {
        if !self.waiting.values().any(|waiting| waiting.answer.is_none() && waiting.call == call) {
            self.add(call, deadline, None);
        }
    }

    /// Nothing is under way any more.
    pub(super) fn disconnected(&mut self) {
        self.waiting.values_mut().for_each(|waiting| waiting.under_way = false);
    }

    /// The next to be published, under the identifier it had or this `free` one.
    pub(super) fn next(&mut self, free: Option<u16>) -> Option<CallPublish> {
        let (id, waiting) = self.waiting.iter_mut().find(|(_, waiting)| !waiting.under_way)?;
        let again = waiting.packet_id.is_some();
        let packet_id = waiting.packet_id.or(free)?;
        waiting.packet_id = Some(packet_id);
        waiting.under_way = true;
        Some(CallPublish { id: *id, packet_id, again, payload: Publication::call(*id, waiting.call.clone()).payload })
    }

    /// Whether a call holds this identifier.
    pub(super) fn holds(&self, packet_id: u16) -> bool {
        self.waiting.values().any(|waiting| waiting.packet_id == Some(packet_id))
    }

    /// A response came. Returns what the engine itself learns from it.
    pub(super) fn answered(&mut self, payload: Bytes) -> Option<Learned> {
        let response = Response::decode(payload).ok()?;
        let waiting = self.waiting.remove(&response.id)?;
        let Some(answer) = waiting.answer else {
            return match waiting.call {
                Call::ListConversations(call) => {
                    let fill = HistoryFill::List { after: ConversationId::new(call.after) };
                    Some(Learned::Filled(fill, Box::new(response)))
                }
                Call::GetHistory(call) if !call.oldest_first => {
                    let (conversation, before) = (ConversationId::new(call.conversation), Seq::new(call.before));
                    Some(Learned::Filled(HistoryFill::Page { conversation, before }, Box::new(response)))
                }
                Call::GetHistory(call) => Some(Learned::Fetched(gap_of(&call), Box::new(response))),
                // If it was refused it is asked again on the next connection.
                Call::LookUpPhones(_) if response.reason > 0 => None,
                Call::LookUpPhones(call) => Some(Learned::Found(call.sha256, response.found)),
                Call::GetServer(_) => Some(Learned::Introduced(response.server)),
                Call::Describe(call) if response.reason > 0 => {
                    let id = ConversationId::new(call.conversation);
                    Some(Learned::NotDescribed(id, Reason::from_u32(response.reason)))
                }
                _ => described(&response),
            };
        };
        let learned = described(&response);
        // Whoever went away needs no answer.
        _ = answer.send(Ok(response));
        learned
    }

    /// The server did not take the publish itself. Returns the call if it is the engine's own.
    pub(super) fn refused(&mut self, id: u64, refusal: crate::error::Refusal) -> Option<Call> {
        let waiting = self.waiting.remove(&id)?;
        match waiting.answer {
            // Whoever went away needs no answer.
            Some(answer) => _ = answer.send(Err(Error::Refused(refusal))),
            None => return Some(waiting.call),
        }
        None
    }

    /// When the first call is too old.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.deadline).min()
    }

    /// Gives up what is too old. Its identifiers stay taken on this connection.
    pub(crate) fn expire(&mut self, now: Instant) {
        let old: Vec<_> =
            self.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now).map(|(id, _)| *id).collect();
        for id in old {
            if let Some(waiting) = self.waiting.remove(&id)
                && let Some(answer) = waiting.answer
            {
                let error = if waiting.packet_id.is_some() { Error::NoAnswer } else { Error::Offline };
                _ = answer.send(Err(error));
            }
        }
    }

    /// Nobody's call is carried out any more; the engine's own wait on.
    pub(crate) fn fail_callers(&mut self, error: &Error) {
        self.waiting.retain(|_, waiting| match waiting.answer.take() {
            Some(answer) => {
                // Whoever went away needs no answer.
                _ = answer.send(Err(error.clone()));
                false
            }
            None => true,
        });
    }

    pub(crate) fn fail_all(&mut self, error: &Error) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            if let Some(answer) = waiting.answer {
                _ = answer.send(Err(error.clone()));
            }
        }
    }
}
