//! The one task behind a client: it keeps a connection, sends what is in the outbox, and takes in what comes. It owns all
//! of that alone; handles reach it by a bounded channel, and the store by the ledger's thread. Nothing it knows is lost
//! with it: what must survive is in the ledger before anybody is told.
//!
//! The whole story of a send: `Client::send` commits it to the outbox and wakes the engine. The engine publishes what the
//! outbox holds, oldest first, as far as there is room. PUBACK takes it out. When a connection breaks, the next one
//! begins with the oldest that was not answered; the server recognises by its number what it has already stored. So a
//! message is never lost and never doubled, and nothing of this needs to be remembered between connections.
//!
//! - `connection`: one connection, from CONNECT to its end.
//! - `batch`: what came at once.
//! - `calls`: requests that wait for a response.
//! - `passwords`: what the device may be let in with.

mod batch;
mod calls;
mod connection;
mod passwords;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use godwit_schemas::client::Response;
use godwit_schemas::client::request::Call;
use godwit_schemas::ids::ConversationId;
use godwit_schemas::reason::Reason;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

pub(crate) use self::calls::PendingCalls;
use self::connection::EngineConnection;
pub(crate) use self::passwords::Passwords;
#[cfg(feature = "e2ee")]
use crate::encryption::EncryptionShared;
use crate::error::Error;
#[cfg(feature = "e2ee")]
use crate::ledger::Received;
use crate::ledger::thread::LedgerThread;
use crate::network::backoff::Backoff;
use crate::network::keepalive::KeepAlive;
use crate::network::{ConnectOptions, ConnectionLost, Protocol};
use crate::send::{SendHandle, SendId, SendState};
use crate::signal::Signal;
use crate::status::{OfflineCause, Status};
use crate::tracker::SendTracker;
#[cfg(feature = "media")]
use crate::transfer::Transfers;

#[cfg(test)]
mod tests;

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum EngineCommand {
    Call {
        call: Call,
        deadline: Instant,
        answer: oneshot::Sender<Result<Response, Error>>,
    },
    /// Worth nothing later.
    Signal {
        conversation: ConversationId,
        body: Bytes,
    },
    NetworkChanged,
    /// The server has given the device a new password.
    Renewed {
        password: String,
        kept: CommitReply,
    },
    Close,
}

/// Told when something is on disk.
type CommitReply = oneshot::Sender<Result<(), Error>>;

/// What handles and engine share.
#[derive(Debug)]
pub(crate) struct EngineShared {
    pub(crate) ledger: Arc<LedgerThread>,
    /// Something is in the outbox, or was read.
    pub(crate) wake: Notify,
    pub(crate) tracker: SendTracker,
    #[cfg(feature = "media")]
    pub(crate) transfers: Transfers,
    #[cfg(feature = "e2ee")]
    pub(crate) encryption: EncryptionShared,
    /// Counts changes of what waits for the app.
    pub(crate) news: watch::Sender<u64>,
    /// Counts commits that may have changed what queries show.
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) saver: AtomicBool,
    /// What others do right now.
    pub(crate) signals: broadcast::Sender<Signal>,
}

/// How the engine behaves.
#[derive(Debug, Clone)]
pub(crate) struct EngineConfig {
    pub(crate) protocol: Protocol,
    /// Subscribe, receive and acknowledge.
    pub(crate) receive: bool,
    /// Fetch what was before this device, if it is new.
    pub(crate) fills: bool,
    /// Silence after which a connection is over, while something is not answered.
    pub(crate) patience: Duration,
    /// How long what goes up may be gathered in saver mode.
    pub(crate) gather: Duration,
}

/// The task behind a client: keeps one connection at a time, and carries out commands.
pub(crate) struct Engine {
    pub(crate) connect_options: ConnectOptions,
    pub(crate) passwords: Passwords,
    pub(crate) config: EngineConfig,
    pub(crate) shared: Arc<EngineShared>,
    pub(crate) commands: mpsc::Receiver<EngineCommand>,
    pub(crate) backoff: Backoff,
    pub(crate) keep_alive: KeepAlive,
    /// What the next connection speaks.
    pub(crate) protocol: Protocol,
    /// A connection in this protocol succeeded: it stays.
    pub(crate) protocol_works: bool,
    /// Attempts in either protocol that were not even refused.
    pub(crate) unanswered_attempts: u32,
    pub(crate) calls: PendingCalls,
}

/// Why a connection is no more.
enum DisconnectCause {
    Lost(ConnectionLost),
    NetworkChanged,
    Renewed(String, CommitReply),
    Closed,
    /// The ledger is gone.
    Failed(Error),
}

impl Engine {
    /// Until the client is closed.
    pub(crate) async fn run(mut self) {
        loop {
            self.shared.status.send_replace(Status::Connecting);
            let over = EngineConnection::new(&mut self).run().await;
            let next = match over {
                DisconnectCause::Closed | DisconnectCause::Failed(Error::Closed) => break,
                DisconnectCause::NetworkChanged => {
                    self.begin_anew();
                    continue;
                }
                DisconnectCause::Renewed(password, kept) => {
                    self.renew(password, kept).await;
                    continue;
                }
                DisconnectCause::Lost(ConnectionLost::Refused(Reason::BAD_USER_NAME_OR_PASSWORD))
                    if self.passwords.refused() =>
                {
                    continue;
                }
                DisconnectCause::Failed(error) => {
                    info!(%error, "the store failed; the connection begins anew");
                    self.shared.status.send_replace(Status::Offline(OfflineCause::Store(error.to_string())));
                    self.backoff.next()
                }
                DisconnectCause::Lost(lost) => self.wait_after(&lost),
            };
            if !self.wait(Instant::now() + next).await {
                break;
            }
        }
        self.calls.fail_all(&Error::Closed);
        self.shared.status.send_replace(Status::Closed);
    }

    /// Says why there is no connection, and how long to wait for the next one.
    fn wait_after(&mut self, lost: &ConnectionLost) -> Duration {
        if self.config.protocol == Protocol::Auto && !self.protocol_works {
            // Every third attempt is in the old version, as long as none succeeds.
            self.unanswered_attempts += u32::from(*lost == ConnectionLost::NoWelcome);
            self.protocol = if self.unanswered_attempts % 3 == 2 { Protocol::V311 } else { Protocol::V5 };
        }
        let (status, wait) = match lost {
            // The same device elsewhere: to come back at once would only begin a quarrel.
            ConnectionLost::Closed(Reason::SESSION_TAKEN_OVER) => {
                (Status::Offline(OfflineCause::TakenOver), self.backoff.long())
            }
            ConnectionLost::Refused(
                reason @ (Reason::BAD_USER_NAME_OR_PASSWORD
                | Reason::NOT_AUTHORIZED
                | Reason::CLIENT_IDENTIFIER_NOT_VALID),
            ) => (Status::Refused(*reason), self.backoff.long()),
            ConnectionLost::Later(told) => (Status::Offline(OfflineCause::Busy), self.backoff.told(*told)),
            lost @ ConnectionLost::OtherServer { .. } => (Status::Offline(cause(lost)), self.backoff.long()),
            ConnectionLost::Refused(Reason::SERVER_BUSY) => (Status::Offline(OfflineCause::Busy), self.backoff.busy()),
            lost => (Status::Offline(cause(lost)), self.backoff.next()),
        };
        debug!(%lost, ?wait, "no connection");
        self.shared.status.send_replace(status.clone());
        if let Status::Refused(reason) = status {
            // Nobody waits for what will not come. What the engine itself asks is asked again.
            self.calls.fail_callers(&Error::NotAdmitted(reason));
        }
        wait
    }

    /// Waits without a connection; false: the client was closed.
    async fn wait(&mut self, until: Instant) -> bool {
        loop {
            let wake = self.calls.deadline().map_or(until, |deadline| deadline.min(until));
            tokio::select! {
                () = sleep_until(wake) => {
                    self.calls.expire(Instant::now());
                    if Instant::now() >= until {
                        return true;
                    }
                }
                command = self.commands.recv() => match command {
                    None | Some(EngineCommand::Close) => return false,
                    Some(EngineCommand::NetworkChanged) => {
                        self.begin_anew();
                        return true;
                    }
                    Some(EngineCommand::Renewed { password, kept }) => {
                        self.renew(password, kept).await;
                        return true;
                    }
                    Some(EngineCommand::Call { call, deadline, answer }) => match *self.shared.status.borrow() {
                        // Whoever went away needs no answer.
                        Status::Refused(reason) => _ = answer.send(Err(Error::NotAdmitted(reason))),
                        _ => self.calls.add(call, deadline, Some(answer)),
                    },
                    Some(EngineCommand::Signal { .. }) => {}
                },
            }
        }
    }

    /// The device has a new password: it is on disk, beside the one that is good until it is used, before it is.
    async fn renew(&mut self, password: String, kept: CommitReply) {
        let (fresh, proven) = (password.clone(), self.passwords.current().to_owned());
        let done = self.shared.ledger.call(move |ledger| ledger.keep_passwords(fresh, proven)).await;
        if done.is_ok() {
            self.passwords.renewed(password);
        }
        // Whoever went away needs no answer.
        _ = kept.send(done);
    }

    /// On another network nothing is known.
    fn begin_anew(&mut self) {
        self.backoff.reset();
        self.keep_alive.reset();
        self.protocol = self.config.protocol;
        (self.protocol_works, self.unanswered_attempts) = (false, 0);
    }
}

impl EngineShared {
    /// Groups may have gone on: what was held back is opened, and what waited may leave.
    #[cfg(feature = "e2ee")]
    pub(crate) async fn ledger_changed(&self) -> Result<(), Error> {
        let opened = self.ledger.call(|ledger| {
            let mut received = Received::default();
            let changed = ledger.new_epochs();
            if changed {
                ledger.open_held(&mut received)?;
            }
            Ok((changed, received.news))
        });
        let (changed, news) = opened.await?;
        if news {
            self.news.send_modify(|news| *news += 1);
        }
        if changed {
            self.encryption.changed();
            self.queued();
        }
        Ok(())
    }

    pub(crate) fn saves(&self) -> bool {
        self.saver.load(Ordering::Relaxed)
    }

    /// What queries show may have changed.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// A send was put into the outbox.
    pub(crate) fn queued(&self) {
        self.changed();
        self.wake.notify_one();
    }

    /// The handle of an earlier send, if it is in the store.
    pub(crate) async fn follow(&self, id: SendId) -> Result<Option<SendHandle>, Error> {
        // First somebody follows, then the state is read: nothing falls in between.
        let handle = self.tracker.follow(id, SendState::Queued);
        let Some(state) = self.ledger.call(move |it| it.state(id)).await? else { return Ok(None) };
        self.tracker.set(id, state);
        Ok(Some(handle))
    }
}

/// What an end of a connection means to people.
fn cause(lost: &ConnectionLost) -> OfflineCause {
    match lost {
        ConnectionLost::NoWelcome => OfflineCause::Unanswered,
        ConnectionLost::Unreachable(why) => OfflineCause::Unreachable(why.clone()),
        ConnectionLost::NotTrusted(why) => OfflineCause::NotTrusted(why.clone()),
        ConnectionLost::NotMqtt(why) => OfflineCause::NotMqtt(why.clone()),
        ConnectionLost::OtherServer { expected, found } => {
            OfflineCause::OtherServer { expected: format!("{expected:016x}"), found: format!("{found:016x}") }
        }
        ConnectionLost::Broken(why) => OfflineCause::Broken(why.clone()),
        ConnectionLost::Refused(_) | ConnectionLost::Closed(_) | ConnectionLost::Later(_) => {
            OfflineCause::Broken(lost.to_string())
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
