//! Requests of users without a connection, over HTTP mostly: what a device could publish. Their answers come back as effects for
//! [`ReplyTo::Http`].

use bytes::Bytes;
use godwit_core::call::Addition;
use godwit_core::command::{Command, CommandOrigin, CountName};
use godwit_core::credential::Fingerprint;
use godwit_core::refusal::{self, Refusal};
use godwit_core::reply_to::ReplyTo;
use godwit_core::stored::{DeviceRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Seq, UserId};
use godwit_schemas::reason::Reason;
use tokio::sync::oneshot;

use crate::audit::Actor;
use crate::chat::Principal;
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::publish::request::{MessageRecipient, post_of};
use crate::lane::query::slices::ReadKind;
use crate::lane::query::{Requests, waiting};
use crate::messages::{LaneMessage, UserRequest};
use crate::password::{self, PasswordMatch};
use godwit_store::{Store, StoreError};

/// Who asks, and what it is let in with.
type HttpRequester = (Option<DeviceId>, Option<Fingerprint>);

impl Requests {
    fn refuse_http(&mut self, request: u64, refusal: Refusal) {
        self.answer_http(request, refusal.to_response());
    }

    /// Answers a request over HTTP, if whoever asked still waits.
    pub(in crate::lane) fn answer_http(&mut self, request: u64, response: client::Response) {
        if let Some(reply) = self.pending_http.remove(&request) {
            let _ = reply.send(response);
        }
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn user_request(
        &mut self,
        user: UserId,
        who: Principal,
        request: UserRequest,
        reply: oneshot::Sender<client::Response>,
    ) -> Result<(), StoreError> {
        if reply.is_closed() {
            // Whoever asked has gone.
            return Ok(());
        }
        let requester = self.requester(&user, &who).await?;
        let message = LaneMessage::UserRequest(user, who, request, reply);
        let message = match requester.as_ref().ok().and_then(|(device, _)| *device) {
            Some(device) => self.connections.revocations.when_known(device, message),
            None => Some(message),
        };
        let Some(LaneMessage::UserRequest(user, who, request, reply)) = message else { return Ok(()) };
        self.requests.last_http += 1;
        let id = self.requests.last_http;
        self.requests.pending_http.insert(id, reply);
        let (device, fingerprint) =
            match requester.and_then(|requester| self.may_request(&user, &who, &request, requester)) {
                Ok(requester) => requester,
                Err(refusal) => {
                    self.requests.refuse_http(id, refusal);
                    return Ok(());
                }
            };
        let by = match who {
            Principal::Administrator => Actor::Administrator,
            Principal::Operator(name) => Actor::Operator(name),
            _ => Actor::User,
        };
        let handed_over = matches!(who, Principal::Waiting(_));
        let reply_to = Some(ReplyTo::Http(id));
        let origin = CommandOrigin { user, device, fingerprint, reply_to, publish_record: None, handed_over };
        self.carry_out_request(id, by, origin, request).await
    }

    /// Whether a request is to be carried out at all, or why not.
    fn may_request(
        &self,
        user: &UserId,
        who: &Principal,
        request: &UserRequest,
        requester: HttpRequester,
    ) -> Result<HttpRequester, Refusal> {
        if self.accounts.is_being_removed(user) && !matches!(who, Principal::Waiting(_)) {
            return Err(refusal::USER_BEING_REMOVED);
        }
        let adds = match request {
            UserRequest::Call(call) => call.spec().adds == Addition::Entries,
            UserRequest::Send(_) => true,
            UserRequest::Read(_) | UserRequest::Waiting(..) => false,
        };
        if self.context.nearly_full && adds { Err(refusal::STORE_NEARLY_FULL) } else { Ok(requester) }
    }

    async fn carry_out_request(
        &mut self,
        id: u64,
        by: Actor,
        origin: CommandOrigin,
        request: UserRequest,
    ) -> Result<(), StoreError> {
        match request {
            UserRequest::Call(call) => {
                let user = origin.user.clone();
                let rest = self.call(CallContext { origin, id, correlation: Bytes::new(), by }, call).await?;
                self.requests.wait_in_turn(&self.context, user, rest);
            }
            UserRequest::Send(send) => {
                // Over HTTP a count has no other name than a key.
                let count = |name| if name == 0 { CountName::Sender(0) } else { CountName::Key(name) };
                match post_of(send, count, None, self.context.origin.epoch) {
                    Ok((MessageRecipient::To(to), draft)) => self.dispatch(Command::Post { origin, to, draft }),
                    Ok((MessageRecipient::Phone(number), draft)) => {
                        self.post_to_phone(origin, by, number, draft).await?;
                    }
                    Err(refusal) => self.requests.refuse_http(id, refusal),
                }
            }
            UserRequest::Read(receipt) => {
                let (conversation, up_to) = (ConversationId::new(receipt.conversation), Seq::new(receipt.read_up_to));
                self.dispatch(Command::Read { origin, conversation, up_to });
            }
            UserRequest::Waiting(device, after) => {
                let user = origin.user.clone();
                let caller = CallContext { origin, id, correlation: Bytes::new(), by };
                let job = self.reading(caller, ReadKind::Waiting(waiting::WaitingQuery { device, after, peeks: None }));
                self.requests.wait_in_turn(&self.context, user, Some(job));
            }
        }
        Ok(())
    }

    /// The device that asks, and what it is let in with; an administrator has neither, nor has a token that names no device.
    async fn requester(
        &mut self,
        user: &UserId,
        who: &Principal,
    ) -> Result<Result<HttpRequester, Refusal>, StoreError> {
        let record = self.state.user_record(&self.context, user).await?;
        let is_suspended = record.as_ref().is_some_and(UserRecord::is_suspended);
        let as_device = |device: &DeviceRecord| (Some(DeviceId::new(device.id)), Some(Fingerprint::of(device)));
        let requester = match who {
            Principal::Waiting(device) => record.map(|_| (Some(*device), None)).ok_or(refusal::NO_USER),
            Principal::Administrator | Principal::Operator(_) => {
                record.map(|_| HttpRequester::default()).ok_or(refusal::NO_USER)
            }
            Principal::Token(None) => record.map(|_| HttpRequester::default()).ok_or(refusal::NO_USER),
            Principal::Token(Some(name)) => {
                let devices = record.unwrap_or_default().devices;
                let device = devices.iter().find(|device| device.name == name.as_str());
                device.map(as_device).ok_or(refusal::DEVICE_NEVER_CONNECTED)
            }
            Principal::Device(name, password) => {
                let is_user = record.is_some();
                let record = record.unwrap_or_default();
                let device = record.devices.iter().find(|device| device.name == name.as_str());
                let known = password::known(device, user, name, password);
                let Some((device, known)) = device.zip(known) else {
                    let text = password::why_not(is_user, device.is_some());
                    return Ok(Err(Refusal { reason: Reason::BAD_USER_NAME_OR_PASSWORD, text }));
                };
                let (id, requester) = (DeviceId::new(device.id), as_device(device));
                if known == PasswordMatch::Next {
                    // It is asked again when that is known, and then it is the current one.
                    self.next_password_is_used(user, record, id);
                }
                Ok(requester)
            }
        };
        let is_theirs = matches!(who, Principal::Device(..) | Principal::Token(_));
        // Only who has shown that it is the user is told so.
        Ok(if is_suspended && is_theirs { requester.and(Err(refusal::USER_SUSPENDED)) } else { requester })
    }
}
