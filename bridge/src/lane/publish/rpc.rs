//! Calls of devices are carried out, one after the other, while there is room for their answers.

use bytes::Bytes;
use godwit_core::call::RoutedCall;
use godwit_core::command::{Command, CommandOrigin};
use godwit_core::group::InviteSecret;
use godwit_core::reply_to::ReplyTo;
use godwit_schemas::bus::{self, Bus, DeliveryId, Extras, Shape, down::Frame};
use godwit_schemas::client::{self};
use godwit_schemas::ids::DeviceId;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use crate::audit::Actor;
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::connection::Connections;
use crate::lane::delivery::Deliveries;
use crate::lane::edges::Edges;
use crate::lane::publish::calls::{WaitingCall, fitting};
use crate::lane::query::Requests;
use crate::lane::query::page::AnswerRoom;
use crate::lane::query::slices::SliceJob;
use crate::lane::query::turns::TurnOwner;
use godwit_store::{Store, StoreError};

impl Connections {
    /// Somebody waits for the answer: the connection is there and subscribed, or the request over HTTP.
    pub(in crate::lane) fn is_awaited(&mut self, requests: &Requests, caller: &CallContext) -> bool {
        let (device, to) = match caller.origin.reply_to {
            None => return false,
            Some(ReplyTo::Http(request)) => return requests.is_awaited(request),
            Some(ReplyTo::Connection(device, to)) => (device, to),
        };
        let Some(session) = self.sessions.get_mut(&device) else { return false };
        session.filters.contains(Filters::RPC) && session.connection(to.connection).is_some()
    }

    /// What an answer to this caller may hold.
    pub(in crate::lane) fn room_of(&self, caller: &CallContext) -> AnswerRoom {
        let Some(ReplyTo::Connection(device, _)) = caller.origin.reply_to else { return AnswerRoom::ANY };
        let connection = self.sessions.get(&device).and_then(|session| session.connection.as_deref());
        connection.map_or(AnswerRoom::ANY, |connection| connection.answers.room(&caller.correlation))
    }
}

impl Deliveries {
    /// Answers a call, if the device is connected and listens.
    pub(in crate::lane) fn respond(
        &mut self,
        connections: &mut Connections,
        edges: &mut Edges,
        device: DeviceId,
        response: &client::Response,
        correlation: Bytes,
    ) {
        let Some(session) = connections.sessions.get_mut(&device) else { return };
        let listens = session.filters.contains(Filters::RPC);
        let Some(connection) = session.connection.as_deref_mut().filter(|_| listens) else { return };
        let room = connection.answers.room(&correlation);
        let Some(payload) = fitting(response, room) else { return };
        let number = self.next_answer();
        connection.answers.sent(number, payload.len());
        let order = DeliveryId::Answer(number).to_wire();
        let extras = Extras::of(correlation, Bytes::new());
        let deliver = bus::Deliver { order, shape: Shape::Response.into(), payload, extras, ..Default::default() };
        edges.push(connection.key, Frame::Deliver(deliver));
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Gives a device a turn, if one of its calls waits and may be answered.
    pub(in crate::lane) fn seek_turn(&mut self, device: DeviceId) {
        let Some(session) = self.connections.sessions.get_mut(&device) else { return };
        if session.has_turn || session.calls.is_empty() || !session.may_answer() {
            return;
        }
        let edge = session.connection.as_ref().map(|connection| connection.key.edge);
        if let Some(edge) = edge.filter(|edge| !self.edges.has_room(*edge)) {
            // Until the edge says that it has got further.
            self.delivery.stall_calls(edge, device);
            return;
        }
        session.has_turn = true;
        self.requests.turns.push(TurnOwner::User(session.user.clone()), SliceJob::CallOf(device));
    }

    /// A device's turn. Returns what is left to do of the call that has waited longest.
    pub(in crate::lane) async fn call_of(&mut self, device: DeviceId) -> Result<Option<SliceJob>, StoreError> {
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(None) };
        session.has_turn = false;
        if !session.may_answer() {
            return Ok(None);
        }
        let Some(WaitingCall { publish: to, id, call, correlation }) = session.calls.pop_front() else {
            return Ok(None);
        };
        if !session.filters.contains(Filters::RPC) {
            self.connections.answer(&mut self.edges, device, to, Reason::SUCCESS, "");
            self.seek_turn(device);
            return Ok(None);
        }
        let fingerprint = session.connection(to.connection).map(|connection| connection.fingerprint);
        (session.under_way, session.computing) = (session.under_way + 1, session.computing + 1);
        self.context.metrics().publishes.add_alone(1);
        let user = session.user.clone();
        let origin = CommandOrigin {
            user,
            device: Some(device),
            fingerprint,
            reply_to: Some(ReplyTo::Connection(device, to)),
            publish_record: None,
            handed_over: false,
        };
        let rest = self.call(CallContext { origin, id, correlation, by: Actor::User }, call).await?;
        if rest.is_none() {
            self.seek_turn(device);
        }
        Ok(rest)
    }

    /// Has a call carried out by its owner. Returns what is to be done in slices.
    pub(in crate::lane) async fn call(
        &mut self,
        caller: CallContext,
        call: RoutedCall,
    ) -> Result<Option<SliceJob>, StoreError> {
        match call {
            RoutedCall::Conversation(call) => {
                let secret = if call.spec().needs_secret { random_secret() } else { InviteSecret::default() };
                let CallContext { origin, id, correlation, .. } = caller;
                self.dispatch(Command::Call { origin, id, call, correlation, secret });
                Ok(None)
            }
            RoutedCall::Account(call) => match self.admit_caller(caller).await? {
                Some((caller, record)) => self.account_call(caller, record, call).await,
                None => Ok(None),
            },
            RoutedCall::Contacts(call) => match self.admit_caller(caller).await? {
                Some((caller, _)) => self.contacts_call(caller, call).await,
                None => Ok(None),
            },
            RoutedCall::Encryption(call) => match self.admit_caller(caller).await? {
                Some((caller, record)) => self.encryption_call(caller, record, call).await,
                None => Ok(None),
            },
            RoutedCall::Mls(call) => {
                if let Some((caller, _)) = self.admit_caller(caller).await? {
                    self.mls_call(caller, call).await?;
                }
                Ok(None)
            }
            RoutedCall::Media(call) => {
                if let Some((caller, _)) = self.admit_caller(caller).await? {
                    self.accounts.media_call(&self.context, caller, call);
                }
                Ok(None)
            }
        }
    }

    /// A call of a device was carried out: it is answered, and another one may be.
    pub(in crate::lane) async fn responded(
        &mut self,
        device: DeviceId,
        response: &client::Response,
        correlation: Bytes,
    ) -> Result<(), StoreError> {
        self.delivery.respond(&mut self.connections, &mut self.edges, device, response, correlation);
        if let Some(session) = self.connections.sessions.get_mut(&device) {
            session.computing = session.computing.saturating_sub(1);
        }
        self.make_room(device).await
    }

    /// Answers are through: what waited for that goes on.
    pub(in crate::lane) async fn make_room(&mut self, device: DeviceId) -> Result<(), StoreError> {
        self.seek_turn(device);
        self.unpark(device).await
    }
}

/// Random bits, for what must not be guessed.
fn random_secret() -> InviteSecret {
    let mut secret = InviteSecret::default();
    if getrandom::fill(&mut secret).is_err() {
        // A system without randomness has let nobody in either: passwords come from there.
        tracing::error!("no randomness for an invite");
    }
    secret
}
