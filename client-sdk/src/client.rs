//! The handle that an app holds. Cheap to clone; when the last clone is dropped the connection ends, and everything that
//! was promised is in the store.

mod account;
#[cfg(feature = "e2ee")]
mod encryption;
pub(crate) mod files;
mod groups;
mod past;
mod people;
mod push;
#[cfg(feature = "media")]
mod transfers;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::client::Response;
use godwit_schemas::client::request::Call;
use godwit_schemas::ids::{ConversationId, DeviceName, Seq, UserId};
use godwit_schemas::reason::Reason;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::builder::Builder;
use crate::conversation::Conversation;
use crate::engine::{EngineCommand, EngineShared, now_s};
use crate::error::Error;
use crate::event::{Events, Message};
use crate::ledger::{PendingSend, ServerIdentity};
use crate::network::traffic::Traffic;
use crate::send::{Draft, Recipient, SendHandle, SendId, SendState, refusal};
use crate::signal::{Signals, TYPING};
use crate::status::Status;
use crate::store::LocalStoreError;
#[cfg(feature = "media")]
use crate::transfer::TransferContext;

pub use self::account::{Device, FoundPhone};
#[cfg(feature = "e2ee")]
pub use self::encryption::SafetyNumber;
pub use self::files::{MediaLink, Upload, UploadRequest};
pub use self::groups::Invite;
pub use self::past::{PageRange, Past, PastMessage, ResultPage, Summary};
pub use self::people::{Contact, Profile, ProfileUpdate};
pub use self::push::{Mute, MuteFor, PushAddress, PushKeys, PushRegistration, PushStatus};

/// The handle of an app on its client. Clones are cheap; the connection ends with the last of them.
#[derive(Debug, Clone)]
pub struct Client(Arc<ClientInner>);

#[derive(Debug)]
pub(crate) struct ClientInner {
    pub(crate) shared: Arc<EngineShared>,
    pub(crate) commands: mpsc::Sender<EngineCommand>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) user: UserId,
    pub(crate) device: DeviceName,
    /// Of the store, when it was opened.
    pub(crate) origin: Option<ServerIdentity>,
    pub(crate) call_timeout: Duration,
    #[cfg(feature = "media")]
    pub(crate) transfers: TransferContext,
}

impl Client {
    /// A client of the server at this address (`mqtt://host:1883`, `mqtts://`, `ws://`, `wss://`), for this user's
    /// device, with the device's own password. (One that was renewed stands in the store, and is tried first.)
    pub fn builder(address: &str, user: UserId, device: DeviceName, password: &str) -> Builder {
        Builder::new(address, user, device, password)
    }

    pub(crate) fn new(inner: ClientInner) -> Self {
        Self(Arc::new(inner))
    }

    /// The user that this device is one of.
    pub fn user(&self) -> &UserId {
        &self.0.user
    }

    /// Sends a message. When it returns the message is in the store: it will be sent, once, whatever happens to the
    /// app. To one recipient messages go in the order of the calls.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]: it will not be sent.
    pub async fn send(&self, to: impl Into<Recipient>, body: impl Into<Bytes>) -> Result<SendHandle, Error> {
        self.send_draft(to, Draft::new(body)).await
    }

    /// The same for a message of which more is to be said.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_draft(&self, to: impl Into<Recipient>, draft: Draft) -> Result<SendHandle, Error> {
        let (to, now_s) = (to.into(), now_s());
        let id = self.0.shared.ledger.call(move |it| it.queue(&to, draft, now_s)).await?;
        let handle = self.0.shared.tracker.follow(id, SendState::Queued);
        self.0.shared.queued();
        Ok(handle)
    }

    /// The handle of an earlier send; `None`: there was none, or it is no longer in the store.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn follow(&self, id: SendId) -> Result<Option<SendHandle>, Error> {
        self.0.shared.follow(id).await
    }

    /// What the app is to be told, beginning with the oldest event that it has not confirmed. Meant for one reader.
    pub fn events(&self) -> Events {
        Events::new(self.clone())
    }

    /// Whether there is a connection, to be watched.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.shared.status.subscribe()
    }

    /// Changes whenever something that conversations, messages and pending sends show may have: for a screen that is to
    /// be drawn anew.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.shared.changes.subscribe()
    }

    /// All conversations of this device, the one in which something happened last first.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn conversations(&self) -> Result<Vec<Conversation>, Error> {
        self.0.shared.ledger.call(|it| it.conversations()).await
    }

    /// One conversation, if this device knows of it.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Error> {
        self.0.shared.ledger.call(move |it| it.conversation(id)).await
    }

    /// The direct conversation with a user, if this device knows of one.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn direct(&self, user: &UserId) -> Result<Option<ConversationId>, Error> {
        let user = user.clone();
        self.0.shared.ledger.call(move |it| it.direct(&user)).await
    }

    /// The newest `limit` messages below `before` that this device keeps, oldest first, with the state of those that it
    /// sent itself. What has no place yet is in [`Self::pending`].
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn messages(
        &self,
        id: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<(Message, Option<SendState>)>, Error> {
        self.0.shared.ledger.call(move |it| it.messages(id, before, limit)).await
    }

    /// What was sent to this recipient and has no place in the conversation yet, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn pending(&self, to: impl Into<Recipient>) -> Result<Vec<PendingSend>, Error> {
        let to = to.into();
        self.0.shared.ledger.call(move |it| it.pending(&to)).await
    }

    /// The user has read everything up to here: told to the others as soon as there is a connection. Going back has no
    /// effect. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn mark_read(&self, id: ConversationId, up_to: Seq) -> Result<(), Error> {
        if self.0.shared.ledger.call(move |it| it.mark_read(id, up_to)).await? {
            self.0.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Removes the messages up to here from this device.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn forget(&self, id: ConversationId, up_to: Seq) -> Result<(), Error> {
        self.0.shared.ledger.call(move |it| it.forget(id, up_to)).await
    }

    /// Asks the server. Takes effect once, also if the connection breaks.
    async fn call(&self, call: Call) -> Result<Response, Error> {
        ask(self.0.commands.clone(), self.0.call_timeout, call).await
    }

    /// Tells the members who are there what this user does right now, in up to 256 bytes. Worth nothing later: without a
    /// connection, or in saver mode, it is dropped. The server passes on ten of them a second.
    pub fn signal(&self, id: ConversationId, body: impl Into<Bytes>) {
        if !self.0.shared.saves() {
            _ = self.0.commands.try_send(EngineCommand::Signal { conversation: id, body: body.into() });
        }
    }

    /// This user types: to be said every few seconds while that is so.
    pub fn typing(&self, id: ConversationId) {
        self.signal(id, TYPING);
    }

    /// What others do right now, and which contacts are online, from here on. Nothing comes in saver mode.
    pub fn signals(&self) -> Signals {
        Signals::new(&self.0.shared.signals)
    }

    /// The phone is on another network, or on one again: connects anew at once, and learns anew how long it may be
    /// silent.
    pub fn network_changed(&self) {
        // If so many commands wait, one of them is of this kind or the engine is about to look anyway.
        _ = self.0.commands.try_send(EngineCommand::NetworkChanged);
    }

    /// Saver mode: what goes up is gathered for three seconds, acknowledgements included, so that the radio wakes less
    /// often and packets share segments (the latter from the next connection on). Ticks come later.
    pub fn set_saver(&self, saver: bool) {
        self.0.shared.saver.store(saver, Ordering::Relaxed);
        self.0.shared.wake.notify_one();
    }

    /// How many bytes were sent and received, and what for.
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Says goodbye to the server and closes the store. What was not sent is sent when the store is opened again. Every
    /// other call of any clone fails afterwards.
    ///
    /// # Errors
    /// [`Error::Store`]: the store did not close; nothing that was promised is lost.
    pub async fn close(&self) -> Result<(), Error> {
        let mut status = self.status();
        if self.0.commands.send(EngineCommand::Close).await.is_ok() {
            // An engine that is gone has closed.
            _ = status.wait_for(|status| *status == Status::Closed).await;
        }
        let shared = self.0.shared.clone();
        let closed = spawn_blocking(move || shared.ledger.close()).await;
        self.0.shared.tracker.clear();
        #[cfg(feature = "media")]
        self.0.shared.transfers.clear();
        self.0.shared.news.send_modify(|news| *news += 1);
        closed.map_err(|error| LocalStoreError::new("close the store", error).into())
    }

    pub(crate) fn shared(&self) -> &Arc<EngineShared> {
        &self.0.shared
    }
}

/// Asks the server. Holds the sender only until the engine has the call, so that who asks does not keep a client open.
pub(crate) async fn ask(
    commands: mpsc::Sender<EngineCommand>,
    timeout: Duration,
    call: Call,
) -> Result<Response, Error> {
    let (answer, answered) = oneshot::channel();
    let command = EngineCommand::Call { call, deadline: Instant::now() + timeout, answer };
    commands.send(command).await.map_err(|_| Error::Closed)?;
    drop(commands);
    let response = answered.await.map_err(|_| Error::Closed)??;
    match Reason::from_u32(response.reason) {
        reason if reason.is_success() => Ok(response),
        _ => Err(Error::Refused(refusal(response.reason, &response.text))),
    }
}
