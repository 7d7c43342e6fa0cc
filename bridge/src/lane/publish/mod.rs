//! Publishes become commands, once each: a repetition whose first attempt took effect is answered from what is
//! stored (see `godwit_core::retry`). Keeps P3.

use godwit_core::command::{Command, CommandOrigin};
use godwit_core::refusal::{self, Refusal};
use godwit_core::reply_to::{ConnectionKey, ReplyTo};
use godwit_core::retry::{PublishRecord, RetryVerdict, digest};
use godwit_schemas::bus::{self, Bus, Kind, down::Frame};
use godwit_schemas::ids::DeviceId;
use godwit_schemas::reason::Reason;
use tracing::trace;

use crate::audit::Actor;
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::connection::Connections;
use crate::lane::connection::session::{Parked, Session};
use crate::lane::context::Context;
use crate::lane::publish::calls::WaitingCall;
use crate::lane::publish::request::{MessageRecipient, PublishRequest, adds, key_of};
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

pub(in crate::lane) mod answer;
pub(in crate::lane) mod calls;
pub(in crate::lane) mod request;
pub(in crate::lane) mod rpc;

/// Live signals of one device in a second.
const LIVE_PER_S: u32 = 10;

impl<S: Store> Context<S> {
    /// Whether a publish has to wait, if nothing is before it.
    fn must_wait(&self, session: &Session, publish: &bus::Publish) -> bool {
        // The fate of a repetition's first attempt may be under way.
        let in_doubt = session.under_way > 0 && (publish.duplicate || publish.resent);
        in_doubt
            || session.by_phone.is_some()
            // Those of earlier connections are counted too.
            || session.under_way as usize >= self.settings.unanswered_publishes_max
            || (publish.kind() == Kind::Rpc && !session.may_answer())
            || (self.nearly_full && adds(publish))
    }

    /// What an earlier attempt at this publish became.
    async fn retry_verdict(
        &self,
        device: DeviceId,
        this: &PublishRecord,
        duplicate: bool,
    ) -> Result<RetryVerdict, StoreError> {
        let slot = PublishRecord::slot((this.packet_id & 0xFFFF) as u16);
        let stored = self.store.multi_get(&[keys::publish_record(device, slot)]).await?.pop().flatten();
        let stored = stored.and_then(|value| decoded::<PublishRecord>("doubt", &device, &value));
        Ok(stored.map_or(RetryVerdict::Open, |stored| stored.verdict_on(this, duplicate)))
    }
}

impl Connections {
    fn may_go_live<S: Store>(&mut self, context: &Context<S>, device: DeviceId) -> bool {
        self.sessions.get_mut(&device).is_some_and(|session| session.count_live(context.now_s) <= LIVE_PER_S)
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// A publish of a connection. While the store is nearly full, what would add to it waits, and all behind it: refused,
    /// it could be sent again after what was sent behind it and accepted. A call that only reads waits for its turn, and
    /// holds up nothing.
    pub(in crate::lane) async fn publish(
        &mut self,
        key: ConnectionKey,
        publish: bus::Publish,
    ) -> Result<(), StoreError> {
        let Some(device) = self.connections.device_of(key) else { return Ok(()) };
        trace!(%device, number = publish.number, packet_id = publish.packet_id, "publish received");
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(()) };
        session.acts(self.context.now_s);
        let session = &*session;
        // The edge counts what a client has under way, so this is an edge that does not; or one that begins.
        let too_many = session.parked.len() + session.calls.len() >= self.context.settings.unanswered_publishes_max;
        let reads = WaitingCall::of(key, &publish);
        // Nothing overtakes what is parked.
        let waits = reads.is_some() || !session.parked.is_empty() || self.context.must_wait(session, &publish);
        if !waits {
            return self.carry_out(device, key, publish).await;
        }
        let no_room = reads.is_none() && self.context.nearly_full;
        if publish.at_most_once && (too_many || no_room) {
            let to = key_of(key, &publish);
            self.connections.answer(&mut self.edges, device, to, Reason::QUOTA_EXCEEDED, "");
        } else if too_many {
            self.dismiss(device, Reason::QUOTA_EXCEEDED);
        } else if let Some(session) = self.connections.sessions.get_mut(&device) {
            match reads {
                Some(call) => session.calls.push_back(call),
                None => session.parked.push_back(Parked { key, publish }),
            }
            self.seek_turn(device);
        }
        Ok(())
    }

    /// Publishes that waited, as far as they need wait no more.
    pub(in crate::lane) async fn unpark(&mut self, device: DeviceId) -> Result<(), StoreError> {
        while let Some(session) = self.connections.sessions.get(&device)
            && let Some(first) = session.parked.front()
            && !self.context.must_wait(session, &first.publish)
        {
            let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(()) };
            let Some(Parked { key, publish }) = session.parked.pop_front() else { return Ok(()) };
            if session.connection(key).is_some() {
                self.carry_out(device, key, publish).await?;
            }
        }
        Ok(())
    }

    /// What a publish asks for, unless that is refused whatever it is.
    fn request_of(&mut self, device: DeviceId, publish: &bus::Publish) -> Result<PublishRequest, Refusal> {
        let request = PublishRequest::parse(publish, self.context.origin.epoch)?;
        if matches!(request, PublishRequest::Live { .. }) && !self.connections.may_go_live(&self.context, device) {
            return Err(refusal::TOO_MANY_LIVE_SIGNALS);
        }
        let session = self.connections.sessions.get(&device);
        if session.is_some_and(|session| self.accounts.is_being_removed(&session.user)) {
            return Err(refusal::USER_BEING_REMOVED);
        }
        Ok(request)
    }

    /// The record of a publish that must take effect once, and what an earlier attempt at it became. `None`: its connection has
    /// gone.
    async fn retry_of(
        &mut self,
        device: DeviceId,
        key: ConnectionKey,
        publish: &bus::Publish,
    ) -> Result<Option<(PublishRecord, RetryVerdict)>, StoreError> {
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(None) };
        let Some(rank) = session.connection(key).map(|connection| connection.rank) else { return Ok(None) };
        let digest = digest(publish.kind, &publish.user, publish.conversation, &publish.payload, &publish.properties());
        let record = PublishRecord::new(&key_of(key, publish), rank, session.retry_epoch(), digest);
        session.has_published();
        // Of a connection from before this start it is not certain yet that it is the client's last.
        let verdict = match publish.duplicate || publish.resent || self.connections.is_from_before(rank) {
            true => self.context.retry_verdict(device, &record, publish.duplicate).await?,
            false => RetryVerdict::Open,
        };
        Ok(Some((record, verdict)))
    }

    async fn carry_out(
        &mut self,
        device: DeviceId,
        key: ConnectionKey,
        publish: bus::Publish,
    ) -> Result<(), StoreError> {
        let to = key_of(key, &publish);
        let request = match self.request_of(device, &publish) {
            Ok(request) => request,
            Err(Refusal { reason, text }) => {
                self.connections.answer(&mut self.edges, device, to, reason, text);
                return Ok(());
            }
        };
        let mut publish_record = None;
        if !publish.at_most_once && request.needs_retry_record() {
            let Some((record, verdict)) = self.retry_of(device, key, &publish).await? else { return Ok(()) };
            match verdict {
                RetryVerdict::Open => publish_record = Some(record),
                RetryVerdict::Done(done) => {
                    self.context.metrics().repeats.add_alone(1);
                    self.answer_again(device, &request, to, &done);
                    return Ok(());
                }
                RetryVerdict::Superseded => {
                    self.edges.push(key, Frame::Close(bus::Close { reason: Reason::SESSION_TAKEN_OVER.into() }));
                    self.disconnect(key, &bus::Disconnect::default());
                    return Ok(());
                }
            }
        }
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(()) };
        let Some(fingerprint) = session.connection(key).map(|connection| connection.fingerprint) else { return Ok(()) };
        session.under_way += 1;
        self.context.metrics().publishes.add_alone(1);
        session.computing += u32::from(matches!(request, PublishRequest::Call { .. }));
        let (user, fingerprint) = (session.user.clone(), Some(fingerprint));
        let reply_to = Some(ReplyTo::Connection(device, to));
        let device = Some(device);
        let origin = CommandOrigin { user, device, fingerprint, reply_to, publish_record, handed_over: false };
        match request {
            PublishRequest::Post { to: MessageRecipient::To(to), draft } => {
                self.dispatch(Command::Post { origin, to, draft })
            }
            PublishRequest::Post { to: MessageRecipient::Phone(number), draft } => {
                session.by_phone = Some(Box::new(to));
                self.post_to_phone(origin, Actor::User, number, draft).await?;
            }
            PublishRequest::Read { conversation, up_to } => {
                self.context.metrics().reads.add_alone(1);
                self.dispatch(Command::Read { origin, conversation, up_to })
            }
            PublishRequest::Live { conversation, body } => self.dispatch(Command::Live { origin, conversation, body }),
            PublishRequest::Call { id, call, correlation } => {
                // It leaves nothing to be done in slices: calls that only read wait for their turn.
                self.call(CallContext { origin, id, correlation, by: Actor::User }, call).await?;
            }
        }
        Ok(())
    }
}
