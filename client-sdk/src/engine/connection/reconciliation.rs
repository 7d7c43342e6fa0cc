//! Before anything is sent or taken in the engine makes sure that the server is the one that this device knows. MQTT 5 says
//! it in CONNACK; otherwise it is asked. If the server was restored from a backup it is asked about every conversation that
//! this device knows, and what it has forgotten is settled (`ledger::origin`). Meanwhile sends wait in the outbox and
//! deliveries with their acknowledgements. It begins anew with the next connection if this one breaks.

use std::collections::BTreeSet;
use std::time::Duration;

use godwit_schemas::client::request::Call;
use godwit_schemas::client::{Opened, Server};
use godwit_schemas::ids::ConversationId;
use godwit_schemas::reason::Reason;
use tokio::time::Instant;
use tracing::info;

use super::super::DisconnectCause;
use super::super::batch::InboundBatch;
use super::EngineConnection;
use crate::error::Refusal;
use crate::ledger::{RestoreFindings, ServerIdentity};
use crate::network::{ConnectionLost, Topic};

/// The questions are asked again on the next connection, not on this one.
const ASKED: Duration = Duration::from_secs(24 * 3_600);

/// What the engine learns for it.
pub(super) enum ReconciliationInput {
    /// Which server this is; `None`: it does not say.
    Server(Option<Server>),
    /// A conversation is there. The ledger takes that in when it has been compared with what it knows, and not before.
    There(ConversationId, Opened),
    /// It is not, for this reason.
    NotThere(ConversationId, Reason),
    /// The server has not taken a question of the engine's own.
    Refused(Call, Refusal),
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) enum Reconciliation {
    /// Not begun, or over.
    #[default]
    Over,
    /// The server is asked which one it is.
    Asking,
    /// It was restored, and is asked about these conversations.
    Comparing { origin: ServerIdentity, asked: BTreeSet<ConversationId>, found: RestoreFindings },
}

impl EngineConnection<'_> {
    /// Sends and deliveries wait.
    pub(super) fn is_reconciling(&self) -> bool {
        !matches!(self.reconciliation, Reconciliation::Over)
    }

    /// CONNACK came. `told`: what it says.
    pub(super) async fn begin_reconciliation(&mut self, told: Option<ServerIdentity>) -> Result<(), DisconnectCause> {
        let known = self.engine.shared.ledger.call(|ledger| ledger.origin()).await.map_err(DisconnectCause::Failed)?;
        match (told, known) {
            (Some(told), None) => self.adopt(told).await,
            (Some(told), Some(known)) if told.server != known.server => Err(other_server(known, told)),
            (Some(told), Some(known)) if told == known => Ok(()),
            // A server of MQTT 5 that says nothing is none that could be asked.
            (None, _) if !self.link.is_silent_about_server() => Ok(()),
            _ if !self.engine.config.receive => self.reconcile_without_answers(told).await,
            _ => {
                self.reconciliation = Reconciliation::Asking;
                self.engine.calls.ask_for_server(Instant::now() + ASKED);
                Ok(())
            }
        }
    }

    /// A client that receives nothing gets no answers either: only what it is told can be believed.
    async fn reconcile_without_answers(&mut self, told: Option<ServerIdentity>) -> Result<(), DisconnectCause> {
        let Some(origin) = told else { return Ok(()) };
        let unsure = self.engine.shared.ledger.call(|ledger| ledger.leap(0)).await.map_err(DisconnectCause::Failed)?;
        self.settle(origin, RestoreFindings { unsure, ..RestoreFindings::default() }).await
    }

    /// The first server of this store: from here on no other will do.
    async fn adopt(&mut self, origin: ServerIdentity) -> Result<(), DisconnectCause> {
        let kept = self.engine.shared.ledger.call(move |ledger| ledger.set_origin(origin)).await;
        kept.map_err(DisconnectCause::Failed)
    }

    /// Takes in what was learned for it.
    pub(super) async fn continue_reconciliation(&mut self) -> Result<(), DisconnectCause> {
        for input in std::mem::take(&mut self.reconciliation_inputs) {
            match input {
                ReconciliationInput::Server(server) => self.handle_server(server).await?,
                ReconciliationInput::There(id, opened) => {
                    self.note_finding(id, |found| _ = found.there.insert(id, opened))
                }
                ReconciliationInput::NotThere(id, Reason::NOT_AUTHORIZED | Reason::TOPIC_NAME_INVALID) => {
                    self.note_finding(id, |found| _ = found.gone.insert(id));
                }
                ReconciliationInput::NotThere(id, _) => self.note_finding(id, |found| _ = found.unsure.insert(id)),
                ReconciliationInput::Refused(call, refusal) => self.was_refused(&call, &refusal).await?,
            }
        }
        self.settle_when_compared().await
    }

    /// The server has said which one it is; `None`: it does not know the question.
    async fn handle_server(&mut self, server: Option<Server>) -> Result<(), DisconnectCause> {
        if !matches!(self.reconciliation, Reconciliation::Asking) {
            return Ok(());
        }
        let told = server.filter(|told| told.server > 0);
        let Some(Server { server, epoch, numbers_above, .. }) = told else { return self.end_reconciliation().await };
        let (told, ledger) = (ServerIdentity { server, epoch }, &self.engine.shared.ledger);
        match ledger.call(|ledger| ledger.origin()).await.map_err(DisconnectCause::Failed)? {
            None => self.adopt(told).await?,
            Some(known) if known.server != server => return Err(other_server(known, told)),
            Some(known) if known == told => {}
            Some(_) => {
                info!("the server was restored from a backup");
                let asked =
                    ledger.call(move |ledger| ledger.leap(numbers_above)).await.map_err(DisconnectCause::Failed)?;
                for id in &asked {
                    self.engine.calls.describe(*id, Instant::now() + ASKED);
                }
                self.reconciliation =
                    Reconciliation::Comparing { origin: told, asked, found: RestoreFindings::default() };
                return Ok(());
            }
        }
        self.end_reconciliation().await
    }

    /// Settles what was forgotten, when the server has answered about every conversation.
    async fn settle_when_compared(&mut self) -> Result<(), DisconnectCause> {
        match &mut self.reconciliation {
            Reconciliation::Comparing { origin, asked, found } if asked.is_empty() => {
                let (origin, found) = (*origin, std::mem::take(found));
                self.settle(origin, found).await?;
                self.end_reconciliation().await
            }
            _ => Ok(()),
        }
    }

    async fn settle(&mut self, origin: ServerIdentity, found: RestoreFindings) -> Result<(), DisconnectCause> {
        let shared = self.engine.shared.clone();
        let done = shared.ledger.call(move |ledger| {
            let refused = ledger.restored(origin, found)?;
            Ok((ledger.states(&refused)?, ledger.new_fills()?))
        });
        let (states, fills) = done.await.map_err(DisconnectCause::Failed)?;
        states.into_iter().for_each(|(id, state)| shared.tracker.set(id, state));
        shared.changed();
        shared.news.send_modify(|news| *news += 1);
        // Files for what is gone have failed.
        #[cfg(feature = "media")]
        shared.transfers.wake();
        self.ask_for_past(fills);
        Ok(())
    }

    /// It is over: what has waited goes on.
    async fn end_reconciliation(&mut self) -> Result<(), DisconnectCause> {
        self.reconciliation = Reconciliation::Over;
        let mut batch = InboundBatch::default();
        for (packet_id, payload) in std::mem::take(&mut self.deferred_deliveries) {
            self.handle_publish(packet_id, Topic::Inbox, payload, &mut batch);
        }
        self.commit(batch).await?;
        // What was said of them was not for the ledger yet.
        let unknown =
            self.engine.shared.ledger.call(|ledger| ledger.unknown()).await.map_err(DisconnectCause::Failed)?;
        self.describe(unknown.into_iter().filter(|_| self.engine.config.receive).collect::<Vec<_>>());
        Ok(())
    }

    /// What the server says of this conversation is compared with what was known.
    fn is_compared(&self, id: ConversationId) -> bool {
        matches!(&self.reconciliation, Reconciliation::Comparing { asked, .. } if asked.contains(&id))
    }

    /// The server has answered about one of the conversations.
    fn note_finding(&mut self, id: ConversationId, find: impl FnOnce(&mut RestoreFindings)) {
        if let Reconciliation::Comparing { asked, found, .. } = &mut self.reconciliation
            && asked.remove(&id)
        {
            find(found);
        }
    }

    /// A server that does not know the question has never been restored, as far as anybody knows; any other one is to be
    /// asked again.
    async fn was_refused(&mut self, call: &Call, refusal: &Refusal) -> Result<(), DisconnectCause> {
        let matters = match call {
            Call::GetServer(_) => matches!(self.reconciliation, Reconciliation::Asking),
            Call::Describe(call) => self.is_compared(ConversationId::new(call.conversation)),
            _ => false,
        };
        let is_unknown = matches!(refusal.reason, Reason::PAYLOAD_FORMAT_INVALID | Reason::IMPLEMENTATION_SPECIFIC);
        match call {
            _ if !matters => Ok(()),
            Call::GetServer(_) if is_unknown => self.end_reconciliation().await,
            _ => Err(DisconnectCause::Lost(ConnectionLost::Broken(format!(
                "the server does not say what it knows: {refusal}"
            )))),
        }
    }
}

fn other_server(expected: ServerIdentity, found: ServerIdentity) -> DisconnectCause {
    DisconnectCause::Lost(ConnectionLost::OtherServer { expected: expected.server, found: found.server })
}
