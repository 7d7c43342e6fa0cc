//! Requests over HTTP: what a device could publish, without a connection. Their answers come back as effects whose edge is
//! [`HTTP`](godwit_core::command::HTTP).

use bytes::Bytes;
use godwit_core::command::{Command, Origin, ReplyTo, is_about_account};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Seq, UserId};
use godwit_schemas::reason::Reason;
use tokio::sync::oneshot;

use super::Lane;
use super::account::{Caller, NO_USER, Refused};
use super::publish::{Recipient, makes_entries, post_of, secret_for};
use crate::audit::By;
use crate::chat::Who;
use crate::mail::Ask;
use crate::password::{self, Known};
use crate::store::{Store, StoreError};

const WRONG_PASSWORD: Refused = (Reason::BAD_USER_NAME_OR_PASSWORD, "unknown device, or wrong password");
const NO_SUCH_DEVICE: Refused = (Reason::BAD_USER_NAME_OR_PASSWORD, "no such device: connect over MQTT first");
const NEARLY_FULL: Refused = (Reason::SERVER_BUSY, "the server has no room: try again later");

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) async fn ask(
        &mut self,
        user: UserId,
        who: Who,
        ask: Ask,
        reply: oneshot::Sender<client::Response>,
    ) -> Result<(), StoreError> {
        self.last_asked += 1;
        let (id, to) = (self.last_asked, ReplyTo::http(self.last_asked));
        self.asked.insert(id, reply);
        let device = match self.asker(&user, &who).await? {
            Ok(device) => device,
            Err(refused) => {
                self.refuse_asker(to, refused);
                return Ok(());
            }
        };
        let adds = match &ask {
            Ask::Call(call) => makes_entries(call),
            Ask::Send(_) => true,
            Ask::Read(_) | Ask::Waiting(..) => false,
        };
        if self.nearly_full && adds {
            self.refuse_asker(to, NEARLY_FULL);
            return Ok(());
        }
        let by = if matches!(who, Who::Administrator) { By::Administrator } else { By::User };
        let origin = Origin { user, device, reply_to: Some(to), doubt: None };
        match ask {
            Ask::Call(call) if is_about_account(&call) => {
                self.account(Caller { origin, id, correlation: Bytes::new(), by }, call).await?;
            }
            Ask::Call(call) => {
                let secret = secret_for(&call);
                self.dispatch(Command::Call { origin, id, call, correlation: Bytes::new(), secret });
            }
            Ask::Send(send) => match post_of(send, 0) {
                Ok((Recipient::To(to), draft)) => self.dispatch(Command::Post { origin, to, draft }),
                Ok((Recipient::Phone(number), draft)) => self.post_to_phone(origin, number, draft).await?,
                Err(refused) => self.refuse_asker(to, refused),
            },
            Ask::Read(receipt) => {
                let (conversation, up_to) = (ConversationId::new(receipt.conversation), Seq::new(receipt.read_up_to));
                self.dispatch(Command::Read { origin, conversation, up_to });
            }
            Ask::Waiting(device, after) => match self.list_waiting(&origin.user, &device, after).await? {
                Ok(page) => self.tell_asker(to, page),
                Err(refused) => self.refuse_asker(to, refused),
            },
        }
        Ok(())
    }

    /// The device that asks; an administrator has none.
    async fn asker(&mut self, user: &UserId, who: &Who) -> Result<Result<DeviceId, Refused>, StoreError> {
        let record = self.user_record(user).await?;
        Ok(match who {
            Who::Waiting(device) => record.map(|_| *device).ok_or(NO_USER),
            Who::Administrator => record.map(|_| DeviceId::default()).ok_or(NO_USER),
            Who::Token(None) => record.map(|_| DeviceId::default()).ok_or(NO_USER),
            Who::Token(Some(name)) => {
                let devices = record.unwrap_or_default().devices;
                let device = devices.iter().find(|device| device.name == name.as_str());
                device.map(|device| DeviceId::new(device.id)).ok_or(NO_SUCH_DEVICE)
            }
            Who::Device(name, password) => {
                let record = record.unwrap_or_default();
                let device = record.devices.iter().find(|device| device.name == name.as_str());
                let known = password::known(device, user, name, password);
                let Some((device, known)) = device.zip(known) else { return Ok(Err(WRONG_PASSWORD)) };
                let device = DeviceId::new(device.id);
                if known == Known::Next {
                    self.next_password_is_used(user, record, device);
                }
                Ok(device)
            }
        })
    }

    fn refuse_asker(&mut self, to: ReplyTo, (reason, text): Refused) {
        self.tell_asker(to, client::Response { reason: reason.into(), text: text.to_owned(), ..Default::default() });
    }

    /// Answers a request over HTTP, if whoever asked still waits.
    pub(super) fn tell_asker(&mut self, to: ReplyTo, response: client::Response) {
        if let Some(reply) = self.asked.remove(&to.number) {
            let _ = reply.send(response);
        }
    }
}
