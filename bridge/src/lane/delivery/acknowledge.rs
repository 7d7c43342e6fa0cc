//! Acks: what clients have acknowledged, and what each conversation is told of it.

use godwit_core::command::{Command, ReceivedMessages};
use godwit_core::delivery_window::UnacknowledgedDelivery;
use godwit_core::reply_to::ConnectionKey;
use godwit_schemas::bus::{Bus, DeliveryId};
use godwit_schemas::ids::{DeviceId, Seq};
use tokio::time::Instant;
use tracing::trace;

use crate::lane::Lane;
use godwit_store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    /// A connection's client acknowledged these, at about `now`.
    pub(in crate::lane) async fn acknowledged(
        &mut self,
        key: ConnectionKey,
        mut orders: Vec<u64>,
        now: Instant,
    ) -> Result<(), StoreError> {
        let Some(device) = self.connections.device_of(key) else { return Ok(()) };
        trace!(%device, ?orders, "acknowledgement received");
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(()) };
        let user = session.user.clone();
        let Some(connection) = session.connection(key) else { return Ok(()) };
        if let Some(resume) = &mut connection.resume {
            // Not compared with the inbox yet: there it will be found to be outstanding no more.
            orders.sort_unstable();
            resume.outstanding.retain(|order| orders.binary_search(order).is_err());
        }
        let mut flights = Vec::with_capacity(orders.len());
        let mut receipts = Vec::new();
        let mut answers = 0;
        for id in orders.into_iter().map(DeliveryId::from_wire) {
            match id {
                DeliveryId::Entry(order) => flights.extend(connection.deliveries.acknowledge(order)),
                DeliveryId::Receipt(number) => receipts.extend(connection.receipts.acknowledge(number)),
                DeliveryId::Answer(number) => {
                    connection.answers.acknowledge(number);
                    answers += 1;
                }
                DeliveryId::None => {}
            }
        }
        self.context.metrics().acknowledged.add_alone(flights.len() as u64);
        if let Some((order, since)) = connection.timed
            && flights.iter().any(|flight| flight.order >= order)
        {
            connection.timed = None;
            // One that was taken back is acknowledged never, or late.
            if flights.iter().any(|flight| flight.order == order) {
                self.context.metrics().delivery.time_alone(now.saturating_duration_since(since));
            }
        }
        let got_receipts = !receipts.is_empty();
        for receipt in receipts {
            let (user, conversation, member, watermark) =
                (user.clone(), receipt.conversation, receipt.member, receipt.watermark);
            self.dispatch(Command::ReceiptAcked { user, device, conversation, member, watermark });
        }
        self.acked(device, &flights);
        if got_receipts {
            self.delivery.hand_out_receipts(&mut self.connections, &mut self.edges, device);
        }
        self.delivery.schedule_read(&mut self.connections, device);
        if answers > 0 {
            self.make_room(device).await?;
        }
        Ok(())
    }

    /// Tells each conversation what of it the device has.
    pub(in crate::lane) fn acked(&mut self, device: DeviceId, mut flights: &[UnacknowledgedDelivery]) {
        let Some(session) = self.connections.sessions.get_mut(&device) else { return };
        let user = session.user.clone();
        let count = flights.len();
        let mut commands = Vec::new();
        while let Some(first) = flights.first() {
            // Mostly all are of one conversation. Where they are not, each run of one is a command.
            let run = flights.iter().take_while(|flight| flight.conversation == first.conversation).count();
            let (these, rest) = flights.split_at(run);
            flights = rest;
            session.unsettled.extend(these.iter().map(|flight| flight.order).min());
            commands.push(Command::Acked {
                user: user.clone(),
                device,
                conversation: first.conversation,
                messages: messages_among(these),
                orders: these.iter().map(|flight| flight.order).collect(),
                bytes: these.iter().map(|flight| u64::from(flight.bytes)).sum(),
                apart: these.iter().filter(|flight| flight.apart).map(|flight| flight.sequence).collect(),
            });
        }
        if session.count_acknowledged(count) {
            self.connections.must_write(device);
        }
        commands.into_iter().for_each(|command| self.dispatch(command));
    }
}

/// What a conversation is told of the messages among these; `None`: all are changes.
fn messages_among(flights: &[UnacknowledgedDelivery]) -> Option<ReceivedMessages> {
    let messages = || flights.iter().filter(|flight| flight.message);
    let up_to = messages().map(|flight| flight.sequence).max()?;
    let mut senders: Vec<_> = messages().map(|flight| flight.sender).collect();
    senders.sort_unstable();
    senders.dedup();
    Some(ReceivedMessages { up_to, unbroken_from: unbroken_from(flights, up_to), senders })
}

/// From which place on these have every place, up to this one.
fn unbroken_from(flights: &[UnacknowledgedDelivery], up_to: Seq) -> Seq {
    let mut places: Vec<_> = flights.iter().map(|flight| flight.sequence).filter(|place| *place < up_to).collect();
    places.sort_unstable();
    places.into_iter().rev().fold(up_to, |from, place| if place.get() + 1 == from.get() { place } else { from })
}
