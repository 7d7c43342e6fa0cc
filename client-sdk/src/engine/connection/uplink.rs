//! What goes up: the outbox, as far as there is room, what was read, and calls.

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, Seq};
use tokio::time::Instant;

use super::super::batch::InboundBatch;
use super::super::{DisconnectCause, now_s};
use super::{EngineConnection, UnackedPublish};
use crate::network::traffic::Purpose;
use crate::network::{FIRST_PACKET_ID, LAST_PACKET_ID, OutboundPacket};
use crate::wire::Publication;

/// Sends without an answer at a time.
const WINDOW: usize = 32;
/// Bytes of them: more would only wait in a slow network's queue, before the pings.
const WINDOW_BYTES: usize = 64 * 1024;
/// Fixed header, topic, packet identifier and property length of a publish.
const OVERHEAD: usize = 16;

impl EngineConnection<'_> {
    /// Reads on in the outbox.
    pub(super) async fn read_outbox(&mut self) -> Result<(), DisconnectCause> {
        if !self.may_have_more || !self.outbox.is_empty() || self.is_reconciling() || self.is_held() {
            return Ok(());
        }
        #[cfg(feature = "e2ee")]
        if self.engine.shared.encryption.take_changed() {
            // What waited may leave now.
            self.read_up_to = 0;
        }
        let after = self.read_up_to;
        let ledger = &self.engine.shared.ledger;
        let read = ledger.call(move |it| Ok((it.unanswered(after, WINDOW, now_s())?, it.untold_reads()?))).await;
        let (page, reads) = read.map_err(DisconnectCause::Failed)?;
        (self.may_have_more, self.read_up_to) = (page.more, page.read_up_to);
        let in_flight =
            |id| self.in_flight.values().any(|it| matches!(it, UnackedPublish::Send { id: of, .. } if *of == id));
        self.outbox = page.sends.into_iter().filter(|send| !in_flight(send.id)).collect();
        if !page.refused.is_empty() {
            self.commit(InboundBatch { refused: page.refused, ..InboundBatch::default() }).await?;
        }
        for (conversation, up_to) in reads {
            self.tell_read(conversation, up_to);
        }
        Ok(())
    }

    /// In saver mode what goes up is gathered: the first goes at once, what follows when the time is over.
    pub(super) fn is_held(&mut self) -> bool {
        if !self.engine.shared.saves() {
            self.held_until = None;
            return false;
        }
        let now = Instant::now();
        match self.held_until {
            Some(until) => now < until,
            None => {
                self.held_until = Some(now + self.engine.config.gather);
                false
            }
        }
    }

    fn tell_read(&mut self, conversation: ConversationId, up_to: Seq) {
        let read = UnackedPublish::Read { conversation, up_to };
        if self.in_flight.values().any(|publish| *publish == read) {
            return;
        }
        if self.in_flight.len() < self.unanswered_max
            && let Some(packet_id) = self.free_packet_id()
        {
            let payload = Publication::read(conversation, up_to).payload;
            self.in_flight.insert(packet_id, read);
            self.publish(packet_id, false, "receipt", payload, Purpose::Receipts);
        }
    }

    /// Puts as much into the link as there is room for.
    pub(super) async fn send_what_fits(&mut self) -> Result<(), DisconnectCause> {
        while let Some(next) = self.outbox.front() {
            let payload = Publication::of(next.counter, next.id, &next.to, next.draft.clone(), next.mls_epoch).payload;
            let (id, bytes) = (next.id, payload.len() + OVERHEAD);
            if bytes > self.packet_bytes_max {
                // The server would close the connection, and the next one, and the next.
                self.outbox.pop_front();
                let refused = vec![(id, 0x95, "larger than the server takes".to_owned())];
                self.commit(InboundBatch { refused, ..InboundBatch::default() }).await?;
                continue;
            }
            let room = self.bytes_in_flight == 0 || self.bytes_in_flight + bytes <= WINDOW_BYTES;
            if !room || self.in_flight.len() >= WINDOW.min(self.unanswered_max) {
                break;
            }
            let Some(packet_id) = self.free_packet_id() else { break };
            self.outbox.pop_front();
            self.bytes_in_flight += bytes;
            self.in_flight.insert(packet_id, UnackedPublish::Send { id, bytes });
            self.publish(packet_id, false, "send", payload, Purpose::Messages);
        }
        while self.in_flight.len() < self.unanswered_max {
            let free = self.free_packet_id();
            let Some(call) = self.engine.calls.next(free) else { break };
            self.in_flight.insert(call.packet_id, UnackedPublish::Call { id: call.id });
            self.publish(call.packet_id, call.again, "rpc", call.payload, Purpose::Calls);
        }
        Ok(())
    }

    fn publish(&mut self, packet_id: u16, again: bool, topic: &'static str, payload: Bytes, purpose: Purpose) {
        self.waiting_since.get_or_insert_with(Instant::now);
        self.link.push(OutboundPacket::Publish { packet_id, again, topic, payload, purpose });
    }

    fn free_packet_id(&mut self) -> Option<u16> {
        for _ in FIRST_PACKET_ID..=LAST_PACKET_ID {
            let next = self.last_packet_id + 1;
            self.last_packet_id = if next > LAST_PACKET_ID { FIRST_PACKET_ID } else { next };
            let id = self.last_packet_id;
            if !self.in_flight.contains_key(&id) && !self.engine.calls.holds(id) {
                return Some(id);
            }
        }
        None
    }
}
