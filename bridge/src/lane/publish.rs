//! Publishes become commands, once each: a repetition whose first attempt took effect is answered from what is
//! stored (see `godwit_core::doubt`). Keeps P3.

use bytes::Bytes;
use godwit_core::command::{Command, ConnectionKey, Draft, Origin, ReplyTo, To, is_about_account};
use godwit_core::decide::changes_something;
use godwit_core::doubt::{Doubt, Fate, digest};
use godwit_core::group::Secret;
use godwit_schemas::bus::{self, Bus, Kind, down::Frame};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceId, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::reason::Reason;
use prost::Message;

use super::Lane;
use super::account::Caller;
use super::read::decoded;
use super::session::Parked;
use crate::audit::By;
use crate::store::{Store, StoreError, keys};

/// A refusal: its reason code, and a sentence for people.
type Refused = (Reason, &'static str);

const NOT_A_SEND: Refused = (Reason::PAYLOAD_FORMAT_INVALID, "the payload is not a Send");
const NOT_A_RECEIPT: Refused = (Reason::PAYLOAD_FORMAT_INVALID, "the payload is not a ReadReceipt");
const NOT_A_REQUEST: Refused = (Reason::PAYLOAD_FORMAT_INVALID, "the payload is not a Request");
const TOO_MANY: Refused = (Reason::QUOTA_EXCEEDED, "more than ten live signals in a second");
const BAD_NUMBER: Refused = (Reason::TOPIC_NAME_INVALID, "not a phone number in E.164");
const NO_SUCH_USER: Refused = (Reason::TOPIC_NAME_INVALID, "no such user");

/// Live signals of one device in a second.
const LIVE_PER_S: u32 = 10;

/// Whom a message is for.
pub(super) enum Recipient {
    To(To),
    /// Whoever has this phone number.
    Phone(PhoneNumber),
}

/// What a publish asks for.
enum Wish {
    Post { to: Recipient, draft: Draft },
    Read { conversation: ConversationId, up_to: Seq },
    Live { conversation: ConversationId, body: Bytes },
    Call { id: u64, call: Call, correlation: Bytes },
}

impl Wish {
    fn parse(publish: &bus::Publish) -> Result<Self, Refused> {
        let expires_in_s = publish.expires_in_s;
        let raw_to =
            |to| Self::Post { to, draft: Draft { body: publish.payload.clone(), expires_in_s, ..Draft::default() } };
        let raw = |to| raw_to(Recipient::To(to));
        match Kind::try_from(publish.kind) {
            Ok(Kind::ToConversation) => Ok(raw(To::Conversation(ConversationId::new(publish.conversation)))),
            Ok(Kind::ToUser) => Ok(raw(To::User(UserId::new(&publish.user).map_err(|_| NO_SUCH_USER)?))),
            Ok(Kind::ToPhone) => {
                Ok(raw_to(Recipient::Phone(PhoneNumber::parse(&publish.user).map_err(|_| BAD_NUMBER)?)))
            }
            Ok(Kind::Send) => {
                let send = client::Send::decode(publish.payload.clone()).map_err(|_| NOT_A_SEND)?;
                let (to, draft) = post_of(send, expires_in_s)?;
                Ok(Self::Post { to, draft })
            }
            Ok(Kind::Receipt) => {
                let receipt = client::ReadReceipt::decode(publish.payload.clone()).map_err(|_| NOT_A_RECEIPT)?;
                let (conversation, up_to) = (ConversationId::new(receipt.conversation), Seq::new(receipt.read_up_to));
                Ok(Self::Read { conversation, up_to })
            }
            Ok(Kind::Live) => {
                let (conversation, body) = (ConversationId::new(publish.conversation), publish.payload.clone());
                Ok(Self::Live { conversation, body })
            }
            Ok(Kind::Rpc) => {
                let request = client::Request::decode(publish.payload.clone()).map_err(|_| NOT_A_REQUEST)?;
                let call = request.call.ok_or(NOT_A_REQUEST)?;
                Ok(Self::Call { id: request.id, call, correlation: publish.correlation.clone() })
            }
            Err(_) => Err((Reason::IMPLEMENTATION_SPECIFIC, "unknown kind of publish")),
        }
    }

    /// Whether doing it twice would be seen.
    fn needs_doubt(&self) -> bool {
        match self {
            Self::Post { draft, .. } => draft.client_sequence == 0,
            Self::Read { .. } | Self::Live { .. } => false,
            Self::Call { call, .. } => !is_about_account(call) && changes_something(call),
        }
    }
}

/// Whether it makes entries that take room in the store. Whoever is to lose access loses it all the same.
fn adds(publish: &bus::Publish) -> bool {
    match Kind::try_from(publish.kind) {
        Ok(Kind::Send | Kind::ToUser | Kind::ToPhone | Kind::ToConversation) => true,
        Ok(Kind::Receipt | Kind::Live) | Err(_) => false,
        Ok(Kind::Rpc) => {
            let call = client::Request::decode(publish.payload.clone()).ok().and_then(|request| request.call);
            call.is_some_and(|call| makes_entries(&call))
        }
    }
}

/// What a `Send` asks for, in a packet that has an expiry of its own (0: none).
pub(super) fn post_of(send: client::Send, packet_expires_in_s: u32) -> Result<(Recipient, Draft), Refused> {
    let to = match send.to.ok_or(NOT_A_SEND)? {
        client::send::To::Conversation(id) => Recipient::To(To::Conversation(ConversationId::new(id))),
        client::send::To::User(user) => Recipient::To(To::User(UserId::new(&user).map_err(|_| NO_SUCH_USER)?)),
        client::send::To::Phone(number) => Recipient::Phone(PhoneNumber::parse(&number).map_err(|_| BAD_NUMBER)?),
    };
    // The packet's own expiry holds as well as the message's: the shorter one wins.
    let expires_in_s = match (send.expires_in_s, packet_expires_in_s) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    };
    let (client_sequence, reply_to) = (send.client_sequence, Seq::new(send.reply_to));
    Ok((to, Draft { body: send.body, client_sequence, expires_in_s, reply_to, media: send.media }))
}

/// Whether a call makes inbox entries, or something else that stays, without taking anything away.
pub(super) fn makes_entries(call: &Call) -> bool {
    matches!(
        call,
        Call::CreateGroup(_)
            | Call::AddMember(_)
            | Call::Rename(_)
            | Call::SetRole(_)
            | Call::ChangeSettings(_)
            | Call::Join(_)
            | Call::OpenDirect(_)
            | Call::SetRetention(_)
            | Call::Edit(_)
            | Call::React(_)
            | Call::AddContact(_)
            | Call::SetProfile(_)
    )
}

/// Random bits, for calls that make something that must not be guessed.
pub(super) fn secret_for(call: &Call) -> Secret {
    let mut secret = Secret::default();
    if matches!(call, Call::CreateInvite(_)) && getrandom::fill(&mut secret).is_err() {
        // A system without randomness has let nobody in either: passwords come from there.
        tracing::error!("no randomness for an invite");
    }
    secret
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// A publish of a connection. While the store is nearly full, what would add to it waits, and all behind it: refused,
    /// it could be sent again after what was sent behind it and accepted.
    pub(super) async fn publish(&mut self, key: ConnectionKey, publish: bus::Publish) -> Result<(), StoreError> {
        let Some(device) = self.connections.get(&key).copied() else { return Ok(()) };
        let Some(session) = self.sessions.get_mut(&device) else { return Ok(()) };
        let repeated = publish.duplicate || publish.resent;
        let no_room = self.nearly_full && adds(&publish);
        // The fate of a repetition's first attempt may be under way; and nothing overtakes what is parked.
        let in_doubt = repeated && session.under_way > 0;
        if !session.parked.is_empty() || session.by_phone.is_some() || in_doubt || no_room {
            // The client waits for answers, which bounds what is parked; with QoS 0 it does not.
            if !self.nearly_full || publish.number != 0 {
                session.parked.push_back(Parked { key, publish });
            }
            return Ok(());
        }
        self.carry_out(device, key, publish).await
    }

    /// Publishes that waited, as far as they need wait no more.
    pub(super) async fn unpark(&mut self, device: DeviceId) -> Result<(), StoreError> {
        while let Some(session) = self.sessions.get_mut(&device)
            && let Some(first) = session.parked.front()
        {
            let in_doubt = session.under_way > 0 && (first.publish.duplicate || first.publish.resent);
            if in_doubt || session.by_phone.is_some() || (self.nearly_full && adds(&first.publish)) {
                return Ok(());
            }
            let Some(Parked { key, publish }) = session.parked.pop_front() else { return Ok(()) };
            if session.connection(key).is_some() {
                self.carry_out(device, key, publish).await?;
            }
        }
        Ok(())
    }

    async fn carry_out(
        &mut self,
        device: DeviceId,
        key: ConnectionKey,
        publish: bus::Publish,
    ) -> Result<(), StoreError> {
        let packet_id = u16::try_from(publish.packet_id).unwrap_or_default();
        let reply_to = ReplyTo { connection: key, number: publish.number, packet_id };
        let wish = match Wish::parse(&publish) {
            Ok(wish) => wish,
            Err((reason, text)) => {
                self.answer(device, reply_to, reason, text, Default::default());
                return Ok(());
            }
        };
        if matches!(wish, Wish::Live { .. }) && !self.may_go_live(device) {
            let (reason, text) = TOO_MANY;
            self.answer(device, reply_to, reason, text, Default::default());
            return Ok(());
        }
        let reply_to = (publish.number != 0).then_some(reply_to);
        let Some(session) = self.sessions.get_mut(&device) else { return Ok(()) };
        let mut doubt = None;
        if let Some(reply_to) = reply_to.filter(|_| wish.needs_doubt()) {
            let digest = digest(publish.kind, &publish.user, publish.conversation, &publish.payload);
            let Some(rank) = session.connection(key).map(|connection| connection.rank) else { return Ok(()) };
            let this = Doubt::new(&reply_to, rank, session.doubt_epoch(), digest);
            session.has_published();
            // Of a connection from before this start it is not certain yet that it is the client's last.
            if publish.duplicate || publish.resent || rank < self.first_rank {
                match self.fate_of(device, &this, publish.duplicate).await? {
                    Fate::Open => {}
                    Fate::Done(conversation, sequence) => {
                        self.answer_again(device, &wish, reply_to, (conversation, sequence));
                        return Ok(());
                    }
                    Fate::Superseded => {
                        self.edges.push(key, Frame::Close(bus::Close { reason: Reason::SESSION_TAKEN_OVER.into() }));
                        self.disconnect(key, &bus::Disconnect::default());
                        return Ok(());
                    }
                }
            }
            doubt = Some(this);
        }
        let Some(session) = self.sessions.get_mut(&device) else { return Ok(()) };
        session.under_way += u32::from(reply_to.is_some());
        let origin = Origin { user: session.user.clone(), device, reply_to, doubt };
        match wish {
            Wish::Post { to: Recipient::To(to), draft } => self.dispatch(Command::Post { origin, to, draft }),
            Wish::Post { to: Recipient::Phone(number), draft } => {
                session.by_phone = origin.reply_to.map(Box::new);
                self.post_to_phone(origin, number, draft).await?;
            }
            Wish::Read { conversation, up_to } => self.dispatch(Command::Read { origin, conversation, up_to }),
            Wish::Live { conversation, body } => self.dispatch(Command::Live { origin, conversation, body }),
            Wish::Call { id, call, correlation } if is_about_account(&call) => {
                self.account(Caller { origin, id, correlation, by: By::User }, call).await?;
            }
            Wish::Call { id, call, correlation } => {
                let secret = secret_for(&call);
                self.dispatch(Command::Call { origin, id, call, correlation, secret });
            }
        }
        Ok(())
    }

    fn may_go_live(&mut self, device: DeviceId) -> bool {
        self.sessions.get_mut(&device).is_some_and(|session| session.count_live(self.now_s) <= LIVE_PER_S)
    }

    /// What an earlier attempt at this publish became.
    async fn fate_of(&mut self, device: DeviceId, this: &Doubt, duplicate: bool) -> Result<Fate, StoreError> {
        let slot = Doubt::slot((this.packet_id & 0xFFFF) as u16);
        let stored = self.store.multi_get(&[keys::doubt(device, slot)]).await?.pop().flatten();
        let stored = stored.and_then(|value| decoded::<Doubt>("doubt", &device, &value));
        Ok(stored.map_or(Fate::Open, |stored| stored.fate_of(this, duplicate)))
    }

    fn answer_again(&mut self, device: DeviceId, wish: &Wish, to: ReplyTo, (id, sequence): (ConversationId, Seq)) {
        if let Wish::Call { id: call, correlation, .. } = wish {
            let response = client::Response { id: *call, conversation: id.get(), ..Default::default() };
            self.respond(device, &response, correlation.clone());
        }
        self.answer(device, to, Reason::SUCCESS, "", (id, sequence));
    }

    /// Answers a publish, if its connection is still there and waits for an answer.
    pub(super) fn answer(
        &mut self,
        device: DeviceId,
        to: ReplyTo,
        reason: Reason,
        text: &str,
        (conversation, sequence): (ConversationId, Seq),
    ) {
        let Some(session) = self.sessions.get_mut(&device) else { return };
        let wants_events = session.filters.wants_events();
        let Some(connection) = session.connection(to.connection) else { return };
        if to.number == 0 {
            return;
        }
        if !reason.is_success() && connection.protocol == 4 && wants_events {
            self.refuse_by_event(to, reason, text);
        }
        let is_message = sequence != Seq::default();
        let published = bus::Published {
            number: to.number,
            reason: reason.into(),
            conversation: if is_message { conversation.get() } else { 0 },
            sequence: sequence.get(),
            text: text.to_owned(),
        };
        self.edges.push(to.connection, Frame::Published(published));
    }

    /// MQTT 3.1.1 has no reason codes in PUBACK: an event says what it cannot.
    fn refuse_by_event(&mut self, to: ReplyTo, reason: Reason, text: &str) {
        let refusal = client::Refusal { packet_id: to.packet_id.into(), reason: reason.into(), text: text.to_owned() };
        let event = client::Event { event: Some(client::event::Event::Refusal(refusal)) };
        let deliver = bus::Deliver {
            shape: bus::Shape::Event.into(),
            payload: event.encode_to_vec().into(),
            ..Default::default()
        };
        self.edges.push(to.connection, Frame::Deliver(deliver));
    }

    /// Answers a call, if the device is connected and listens.
    pub(super) fn respond(&mut self, device: DeviceId, response: &client::Response, correlation: Bytes) {
        let Some(session) = self.sessions.get(&device) else { return };
        let listens = session.filters.contains(godwit_schemas::topic::Filters::RPC);
        let Some(connection) = session.connection.as_ref().filter(|_| listens) else { return };
        let deliver = bus::Deliver {
            shape: bus::Shape::Response.into(),
            payload: response.encode_to_vec().into(),
            correlation,
            ..Default::default()
        };
        self.edges.push(connection.key, Frame::Deliver(deliver));
    }
}
