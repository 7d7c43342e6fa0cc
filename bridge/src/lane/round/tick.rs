//! What a lane does every quarter of a second, whatever comes.

use godwit_schemas::bus::{self, Bus};
use prost::Message;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::lane::Lane;
use godwit_store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn tick(&mut self) -> Result<(), StoreError> {
        self.measure();
        if self.round.draining.is_some() {
            return Ok(());
        }
        self.look_for_room().await?;
        let leads = self.context.settings.lead.is_confirmed();
        if leads && self.context.number == 0 {
            let (lanes, term) = (self.context.lanes.len() as u32, self.context.settings.lead.term());
            let partitions = self.context.origin.partitions.get();
            let hello = bus::BridgeHello { epoch: self.context.epoch, lanes, term, partitions };
            self.input.link.publish(bus::EDGES, hello.encode_to_vec().into()).await;
        }
        let (beats, gone) = self.edges.tick(Instant::now());
        for (topic, payload) in beats.into_iter().filter(|_| leads) {
            self.input.link.publish(&topic, payload).await;
        }
        for edge in gone {
            warn!(edge = format!("{edge:016x}"), "an edge has gone silent: its connections have ended");
            self.end_connections_of(edge);
        }
        self.connections.revocations.give_up_closing(Instant::now());
        self.end_what_has_expired();
        if self.context.number == 0 {
            self.round.next.writes.extend(self.context.time.note());
        }
        self.tell_presence().await?;
        self.delivery.look_for_idle(&self.context, &self.connections, &mut self.round).await?;
        self.delivery.recount(&self.context, &self.connections).await
    }

    /// Asks the store; when there is room again, takes in what waited for it.
    async fn look_for_room(&mut self) -> Result<(), StoreError> {
        let before = std::mem::replace(&mut self.context.nearly_full, self.context.store.is_nearly_full().await);
        if self.context.nearly_full == before {
            return Ok(());
        }
        // All lanes see the same: one says it.
        match self.context.nearly_full {
            true if self.context.number == 0 => error!("the disk is nearly full (store.reserve_mib): messages wait"),
            false if self.context.number == 0 => warn!("there is room on the disk again: messages are taken"),
            _ => {}
        }
        let waiting: Vec<_> =
            self.connections.sessions.values().filter(|it| !it.parked.is_empty()).map(|it| it.device).collect();
        for device in waiting {
            self.unpark(device).await?;
        }
        Ok(())
    }
}
