//! One connection, from CONNECT to its end. In rounds: put what there is to send into the link, wait for what happens,
//! take in everything that came at once with one commit, acknowledge it. A delivery is acknowledged after the commit
//! that holds it, and a send leaves the outbox in the commit that says so. `uplink`: what there is to send. `reconciliation`: whether
//! the server is the one that this device knows.

mod reconciliation;
mod uplink;

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use godwit_schemas::client::{self, Live};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq};
use godwit_schemas::phone::PhoneNumber;
use prost::Message as _;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use self::reconciliation::{Reconciliation, ReconciliationInput};
use super::batch::{AcknowledgedSend, InboundBatch};
use super::calls::Learned;
use super::{DisconnectCause, Engine, EngineCommand, now_s};
use crate::error::Refusal;
use crate::ledger::{Gap, HistoryFill, ServerIdentity, Subscribed, UnansweredSend};
use crate::network::traffic::Purpose;
use crate::network::{ConnectionLost, FIRST_PACKET_ID, InboundPacket, MqttLink, OutboundPacket, PublishAck, Topic};
use crate::send::{SendId, refusal};
use crate::signal::{Presence, Signal};
use crate::status::Status;
use crate::wire::InboxEvent;

/// What comes is taken in together, up to this many packets.
const BATCH: usize = 128;
/// How long the engine asks for members.
const DESCRIBE: Duration = Duration::from_secs(60);
/// How long a goodbye may take on a network that takes nothing.
const GOODBYE: Duration = Duration::from_secs(2);

/// A publish without its PUBACK.
#[derive(PartialEq)]
enum UnackedPublish {
    Send { id: SendId, bytes: usize },
    Read { conversation: ConversationId, up_to: Seq },
    Call { id: u64 },
}

/// One connection, from CONNECT until it ends. It borrows the engine, which outlives it.
pub(super) struct EngineConnection<'a> {
    engine: &'a mut Engine,
    link: MqttLink,
    /// CONNACK came, and lets the device in.
    connected: bool,
    /// Publishes that the server lets wait for their PUBACK.
    unanswered_max: usize,
    /// Largest packet that the server takes.
    packet_bytes_max: usize,
    /// By packet identifier.
    in_flight: HashMap<u16, UnackedPublish>,
    /// Of sends among them.
    bytes_in_flight: usize,
    last_packet_id: u16,
    /// MQTT 3.1.1: why the next PUBACK of this identifier means a refusal, and the epoch that is told with it.
    refusals: HashMap<u16, (Refusal, Option<u64>)>,
    /// Read from the outbox and not sent.
    outbox: VecDeque<UnansweredSend>,
    /// The last send that was read from the outbox.
    read_up_to: u64,
    /// There may be more to send than was read.
    may_have_more: bool,
    /// Acknowledgements of what is committed; saver mode holds them back.
    acks: VecDeque<(u16, Purpose)>,
    /// Until when saver mode holds back what is to go up.
    held_until: Option<Instant>,
    /// When the last packet came.
    heard_at: Instant,
    /// When the server was asked whether it is there, if it has not said so yet.
    pinged_at: Option<Instant>,
    /// What the server's session was told that this device wants.
    subscribed: Subscribed,
    /// Since when publishes wait for the answer that is next.
    waiting_since: Option<Instant>,
    reconciliation: Reconciliation,
    /// What was learned for it.
    reconciliation_inputs: Vec<ReconciliationInput>,
    /// Deliveries that wait for its end: a session's window bounds them.
    deferred_deliveries: Vec<(u16, Bytes)>,
}

impl<'a> EngineConnection<'a> {
    pub(super) fn new(engine: &'a mut Engine) -> Self {
        let mut options = engine.connect_options.clone();
        options.nodelay = !engine.shared.saves();
        engine.passwords.current().clone_into(&mut options.password);
        let link = MqttLink::new(&options, engine.protocol);
        engine.calls.disconnected();
        Self {
            engine,
            link,
            connected: false,
            unanswered_max: 0,
            packet_bytes_max: usize::MAX,
            in_flight: HashMap::new(),
            bytes_in_flight: 0,
            last_packet_id: FIRST_PACKET_ID - 1,
            refusals: HashMap::new(),
            outbox: VecDeque::new(),
            read_up_to: 0,
            may_have_more: true,
            acks: VecDeque::new(),
            held_until: None,
            heard_at: Instant::now(),
            pinged_at: None,
            subscribed: Subscribed::Nothing,
            waiting_since: None,
            reconciliation: Reconciliation::default(),
            reconciliation_inputs: Vec::new(),
            deferred_deliveries: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) -> DisconnectCause {
        let over = loop {
            if let Err(over) = self.round().await {
                break over;
            }
        };
        match &over {
            DisconnectCause::Closed => self.say_goodbye().await,
            DisconnectCause::Lost(ConnectionLost::Broken(_)) if self.connected => {
                let silence = self.pinged_at.unwrap_or_else(Instant::now).duration_since(self.heard_at);
                self.engine.keep_alive.broke(silence);
            }
            _ => {}
        }
        over
    }

    /// One round: sends, waits, and takes in what came.
    async fn round(&mut self) -> Result<(), DisconnectCause> {
        if self.connected {
            if self.engine.config.receive {
                self.subscribe();
            }
            self.read_outbox().await?;
            self.send_what_fits().await?;
        }
        let mut next = self.next_event().await?;
        let mut batch = InboundBatch::default();
        let mut taken = 0;
        while let Some(packet) = next.take() {
            self.handle_packet(packet, &mut batch).await?;
            taken += 1;
            if taken < BATCH && self.link.is_idle() {
                next = self.link.next().now_or_never().transpose().map_err(DisconnectCause::Lost)?;
            }
        }
        self.commit(batch).await?;
        self.continue_reconciliation().await
    }

    /// Waits for the next thing; `None`: there may be something new to send.
    async fn next_event(&mut self) -> Result<Option<InboundPacket>, DisconnectCause> {
        if !self.connected || !self.link.is_idle() {
            return self.poll_uncancelled().await.map(Some);
        }
        let deadline = self.deadline();
        tokio::select! {
            packet = self.link.next() => packet.map(Some).map_err(DisconnectCause::Lost),
            () = sleep_until(deadline) => self.handle_deadlines().map(|()| None),
            () = self.engine.shared.wake.notified() => {
                self.may_have_more = true;
                Ok(None)
            }
            command = self.engine.commands.recv() => match command {
                None | Some(EngineCommand::Close) => Err(DisconnectCause::Closed),
                Some(EngineCommand::NetworkChanged) => Err(DisconnectCause::NetworkChanged),
                Some(EngineCommand::Renewed { password, kept }) => Err(DisconnectCause::Renewed(password, kept)),
                Some(EngineCommand::Call { call, deadline, answer }) => {
                    self.engine.calls.add(call, deadline, Some(answer));
                    Ok(None)
                }
                Some(EngineCommand::Signal { conversation, body }) => {
                    #[cfg(feature = "e2ee")]
                    let body = {
                        let sealed = self.engine.shared.ledger.call(move |it| it.seal_signal(conversation, body));
                        sealed.await.map_err(DisconnectCause::Failed)?
                    };
                    #[cfg(not(feature = "e2ee"))]
                    let body = Some(body);
                    if let Some(body) = body {
                        self.link.push(OutboundPacket::Signal { conversation, body });
                    }
                    Ok(None)
                }
            },
        }
    }

    /// While a connection is made it would begin anew if it were interrupted, and while something is written that would
    /// be lost: only the end of the connection interrupts here.
    async fn poll_uncancelled(&mut self) -> Result<InboundPacket, DisconnectCause> {
        let Self { link, engine, connected, .. } = self;
        // For CONNACK rumqttc has a deadline of its own.
        let gives_up = Instant::now() + engine.config.patience;
        let mut next = pin!(link.next());
        loop {
            let expiry = engine.calls.deadline();
            tokio::select! {
                packet = &mut next => return packet.map_err(DisconnectCause::Lost),
                () = sleep_until(gives_up), if *connected => {
                    return Err(DisconnectCause::Lost(ConnectionLost::Broken("the network takes nothing".to_owned())));
                }
                () = sleep_until(expiry.unwrap_or(gives_up)), if expiry.is_some() => engine.calls.expire(Instant::now()),
                command = engine.commands.recv() => match command {
                    None | Some(EngineCommand::Close) => return Err(DisconnectCause::Closed),
                    Some(EngineCommand::NetworkChanged) => return Err(DisconnectCause::NetworkChanged),
                    Some(EngineCommand::Renewed { password, kept }) => return Err(DisconnectCause::Renewed(password, kept)),
                    Some(EngineCommand::Call { call, deadline, answer }) => engine.calls.add(call, deadline, Some(answer)),
                    Some(EngineCommand::Signal { .. }) => {}
                },
            }
        }
    }

    /// When the connection is to be asked whether it is there, and when it is given up because it did not say so. An
    /// answer that is owed is no proof: the server may have to wait for its disk.
    fn pings_and_gives_up(&self) -> (Option<Instant>, Option<Instant>) {
        let patience = self.engine.config.patience / 2;
        if let Some(pinged) = self.pinged_at {
            return (None, Some(pinged.max(self.heard_at) + patience));
        }
        let pings_at = match self.waiting_since {
            Some(since) => since.max(self.heard_at) + patience,
            None => self.heard_at + self.engine.keep_alive.interval(),
        };
        (Some(pings_at), None)
    }

    /// When to look, although nothing has happened.
    fn deadline(&self) -> Instant {
        let (pings_at, gives_up_at) = self.pings_and_gives_up();
        let deadlines = [pings_at, gives_up_at, self.held_until, self.engine.calls.deadline()];
        // The first or the second is always there.
        deadlines.into_iter().flatten().min().unwrap_or(self.heard_at)
    }

    /// A deadline has passed.
    fn handle_deadlines(&mut self) -> Result<(), DisconnectCause> {
        let now = Instant::now();
        self.engine.calls.expire(now);
        if self.held_until.is_some_and(|until| now >= until) {
            self.held_until = None;
            self.release();
        }
        let (pings_at, gives_up_at) = self.pings_and_gives_up();
        if gives_up_at.is_some_and(|at| now >= at) {
            return Err(DisconnectCause::Lost(ConnectionLost::Broken("the server does not answer".to_owned())));
        }
        if pings_at.is_some_and(|at| now >= at) {
            self.pinged_at = Some(now);
            self.link.push(OutboundPacket::Ping);
        }
        Ok(())
    }

    /// Takes in one packet: what the ledger is to know of it goes into the batch.
    async fn handle_packet(&mut self, packet: InboundPacket, batch: &mut InboundBatch) -> Result<(), DisconnectCause> {
        if packet == InboundPacket::Written {
            return Ok(());
        }
        self.heard_at = Instant::now();
        match packet {
            InboundPacket::Written => {}
            InboundPacket::Welcome { session_present, unanswered_max, packet_bytes_max, origin } => {
                (self.connected, self.engine.protocol_works) = (true, true);
                // One less than the server takes: at the limit rumqttc would hold acknowledgements back.
                self.unanswered_max = usize::from(unanswered_max).saturating_sub(1).max(1);
                self.packet_bytes_max = usize::try_from(packet_bytes_max).unwrap_or(usize::MAX);
                return self.on_connack(session_present, origin).await;
            }
            InboundPacket::Publish { packet_id, topic, payload } => {
                self.handle_publish(packet_id, topic, payload, batch)
            }
            InboundPacket::Answer { packet_id, answer } => self.handle_puback(packet_id, answer, batch),
            InboundPacket::Subscribed(granted) => {
                batch.subscribed = granted.then_some(self.subscribed);
                if !granted {
                    warn!("the server does not let this device subscribe");
                }
            }
            InboundPacket::Unsubscribed => batch.subscribed = Some(self.subscribed),
            InboundPacket::Pong => {
                self.pinged_at = None;
                // Otherwise something was owed, and the silence a short one.
                if self.waiting_since.is_none() {
                    self.engine.keep_alive.held();
                }
            }
        }
        // It works: whatever comes after it, the next failure is a first one.
        self.engine.backoff.reset();
        Ok(())
    }

    /// The server lets the device in: asks it for all that this device has to know.
    async fn on_connack(
        &mut self,
        session_present: bool,
        origin: Option<ServerIdentity>,
    ) -> Result<(), DisconnectCause> {
        debug!(session_present, protocol = ?self.engine.protocol, "connected");
        self.begin_reconciliation(origin).await?;
        if let Some(password) = self.engine.passwords.accepted() {
            let kept = self.engine.shared.ledger.call(|ledger| ledger.keep_passwords(String::new(), password));
            kept.await.map_err(DisconnectCause::Failed)?;
        }
        let read = self.engine.shared.ledger.call(|ledger| {
            let (unknown, gaps, fills) = (ledger.unknown()?, ledger.gaps()?, ledger.fills()?);
            Ok((ledger.subscribed()?, unknown, gaps, fills, ledger.unrouted_phones()?))
        });
        let (subscribed, unknown, gaps, fills, phones) = read.await.map_err(DisconnectCause::Failed)?;
        if self.engine.config.receive {
            // The session of a restored server is an older one.
            let is_known = session_present && !self.is_reconciling();
            self.subscribed = if is_known { subscribed } else { Subscribed::Nothing };
            self.subscribe();
            self.describe(unknown);
            self.fetch(gaps);
            self.ask_for_past(fills);
            self.look_up(&phones);
        }
        self.engine.shared.status.send_replace(Status::Online);
        Ok(())
    }

    /// Has the server know what this device wants, if it does not.
    fn subscribe(&mut self) {
        let wanted = if self.engine.shared.saves() { Subscribed::Inbox } else { Subscribed::Live };
        if wanted > self.subscribed {
            self.link.push(OutboundPacket::Subscribe { live: wanted == Subscribed::Live });
        } else if wanted < self.subscribed {
            self.link.push(OutboundPacket::UnsubscribeLive);
        }
        self.subscribed = wanted;
    }

    fn fetch(&mut self, gaps: impl IntoIterator<Item = Gap>) {
        for gap in gaps {
            self.engine.calls.fetch(gap, Instant::now() + DESCRIBE);
        }
    }

    fn ask_for_past(&mut self, fills: impl IntoIterator<Item = HistoryFill>) {
        for fill in fills.into_iter().filter(|_| self.engine.config.fills) {
            self.engine.calls.fill(fill, Instant::now() + DESCRIBE);
        }
    }

    fn look_up(&mut self, phones: &[PhoneNumber]) {
        if !phones.is_empty() && self.engine.config.receive {
            self.engine.calls.look_up(phones, Instant::now() + DESCRIBE);
        }
    }

    fn describe(&mut self, unknown: impl IntoIterator<Item = ConversationId>) {
        for id in unknown {
            self.engine.calls.describe(id, Instant::now() + DESCRIBE);
        }
    }

    fn handle_publish(&mut self, packet_id: u16, topic: Topic, payload: Bytes, batch: &mut InboundBatch) {
        let event = (topic == Topic::Inbox).then(|| InboxEvent::parse(payload.clone()));
        // A refusal is of a publish of this connection.
        if self.is_reconciling() && event.as_ref().is_some_and(|event| !matches!(event, Ok(InboxEvent::Refused { .. })))
        {
            return self.deferred_deliveries.push((packet_id, payload));
        }
        if packet_id > 0 {
            batch.acks.push((packet_id, topic.purpose()));
        }
        match topic {
            Topic::Inbox => match event.unwrap_or_else(|| InboxEvent::parse(payload.clone())) {
                Ok(InboxEvent::Refused { packet_id, reason, text, mls_epoch }) => {
                    self.refusals.insert(packet_id, (Refusal { reason, text }, mls_epoch));
                }
                Ok(event) => batch.deliveries.push((event, payload)),
                Err(error) => warn!(%error, "passed over what this version does not understand"),
            },
            Topic::Rpc => match self.engine.calls.answered(payload) {
                Some(Learned::Described(id, opened)) if self.is_reconciling() => {
                    self.reconciliation_inputs.push(ReconciliationInput::There(id, opened))
                }
                Some(Learned::Described(id, opened)) => batch.described.push((id, opened)),
                Some(Learned::NotDescribed(id, reason)) => {
                    self.reconciliation_inputs.push(ReconciliationInput::NotThere(id, reason))
                }
                Some(Learned::Introduced(server)) => {
                    self.reconciliation_inputs.push(ReconciliationInput::Server(server))
                }
                Some(Learned::Filled(fill, response)) => batch.filled.push((fill, *response)),
                Some(Learned::Fetched(gap, response)) => batch.fetched.push((gap, *response)),
                Some(Learned::Found(asked, found)) => batch.phones.push((asked, found)),
                None => {}
            },
            Topic::Live(conversation) => {
                if let Ok(Live { member, body }) = Live::decode(payload) {
                    self.hear(conversation, Ordinal::new(member), body);
                }
            }
            Topic::Presence(user) => {
                if let Ok(presence) = client::Presence::decode(payload) {
                    _ = self.engine.shared.signals.send(Signal::Presence(Presence::of(user, &presence)));
                }
            }
            Topic::Other => {}
        }
    }

    /// Somebody tells something of now.
    #[cfg(not(feature = "e2ee"))]
    fn hear(&self, conversation: ConversationId, member: Ordinal, body: Bytes) {
        // Nobody may be listening.
        _ = self.engine.shared.signals.send(Signal::Said { conversation, member, body });
    }

    /// Somebody tells something of now. Where messages are encrypted, it is too.
    #[cfg(feature = "e2ee")]
    fn hear(&self, conversation: ConversationId, member: Ordinal, body: Bytes) {
        let shared = self.engine.shared.clone();
        tokio::spawn(async move {
            if let Ok(Some(body)) = shared.ledger.call(move |it| it.open_signal(conversation, body)).await {
                // Nobody may be listening.
                _ = shared.signals.send(Signal::Said { conversation, member, body });
            }
        });
    }

    fn handle_puback(&mut self, packet_id: u16, answer: PublishAck, batch: &mut InboundBatch) {
        let (refused, mls_epoch) = match self.refusals.remove(&packet_id) {
            Some((refusal, mls_epoch)) => (Some(refusal), mls_epoch),
            None if answer.reason >= 0x80 => (Some(refusal(answer.reason.into(), &answer.text)), answer.mls_epoch),
            None => (None, None),
        };
        #[cfg(not(feature = "e2ee"))]
        let _ = mls_epoch;
        let purpose = match self.in_flight.remove(&packet_id) {
            Some(UnackedPublish::Send { id, bytes }) => {
                self.bytes_in_flight -= bytes;
                match refused {
                    #[cfg(feature = "e2ee")]
                    Some(_) if mls_epoch.is_some() => batch.stale.extend(mls_epoch.map(|current| (id, current))),
                    Some(refusal) => batch.refused.push((id, refusal.reason.get(), refusal.text)),
                    None => batch.stored.push(AcknowledgedSend { id, at: answer.at, repeated: answer.repeated }),
                }
                Purpose::Messages
            }
            Some(UnackedPublish::Read { conversation, up_to }) => {
                // If it was refused this user is no member any more, and nobody wants to know.
                batch.told.push((conversation, up_to));
                self.may_have_more = true;
                Purpose::Receipts
            }
            Some(UnackedPublish::Call { id }) => {
                if let Some(refusal) = refused
                    && let Some(call) = self.engine.calls.refused(id, refusal.clone())
                {
                    self.reconciliation_inputs.push(ReconciliationInput::Refused(call, refusal));
                }
                Purpose::Calls
            }
            None => Purpose::Connection,
        };
        self.waiting_since = if self.in_flight.is_empty() { None } else { Some(Instant::now()) };
        self.engine.connect_options.traffic.received(purpose, answer.bytes);
    }

    /// Commits what came, tells the app of it, and then acknowledges it.
    async fn commit(&mut self, mut batch: InboundBatch) -> Result<(), DisconnectCause> {
        self.acks.extend(std::mem::take(&mut batch.acks));
        if !batch.is_empty() {
            let shared = self.engine.shared.clone();
            let (now, followed) = (now_s(), shared.tracker.followed());
            let done = shared.ledger.call(move |ledger| batch.apply(ledger, now, &followed)).await;
            let (received, states) = done.map_err(DisconnectCause::Failed)?;
            for (id, state) in states {
                shared.tracker.set(id, state);
            }
            shared.changes.send_modify(|changes| *changes += 1);
            if received.news {
                shared.news.send_modify(|news| *news += 1);
            }
            #[cfg(feature = "e2ee")]
            if received.epochs {
                shared.encryption.changed();
                self.may_have_more = true;
            }
            self.describe(received.unknown);
            self.fetch(received.gaps);
            self.ask_for_past(received.fills);
            self.look_up(&received.phones);
        }
        if !self.acks.is_empty() && !self.is_held() {
            self.release();
        }
        Ok(())
    }

    /// Sends the acknowledgements.
    fn release(&mut self) {
        for (packet_id, purpose) in std::mem::take(&mut self.acks) {
            self.link.push(OutboundPacket::Ack { packet_id, purpose });
        }
    }

    /// So that the server knows that nothing is in doubt.
    async fn say_goodbye(&mut self) {
        if !self.connected {
            return;
        }
        self.release();
        self.link.push(OutboundPacket::Goodbye);
        let written = async {
            while !self.link.is_idle() {
                if self.link.next().await.is_err() {
                    return;
                }
            }
        };
        // If it cannot be said the server finds out by itself.
        _ = timeout(GOODBYE, written).await;
    }
}
