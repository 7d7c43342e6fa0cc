//! Subscribe: what a device wants to hear from now on.

use godwit_core::reply_to::ConnectionKey;
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::topic::Filters;

use crate::lane::Lane;
use crate::messages::AfterCommit;
use godwit_store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn subscribe(
        &mut self,
        key: ConnectionKey,
        subscribe: &bus::Subscribe,
    ) -> Result<(), StoreError> {
        let Some(device) = self.connections.by_key.get(&key).copied() else { return Ok(()) };
        let filters = Filters::from_bits(subscribe.filters);
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(()) };
        let user = session.user.clone();
        if let Some(connection) = session.connection(key) {
            // What was passed over while nothing was asked for is in the store.
            connection.deliveries.set_behind();
            connection.receipts.set_behind();
        }
        let mut durable = session.subscribe(filters, self.round.confirmed());
        self.presence.listens(&self.context, &self.connections, device, false);
        self.connections.note_change(device);
        if filters.wants_events() {
            durable |= self.reads_events(&user, device).await?;
        }
        if durable {
            self.round.when_durable(AfterCommit::Subscribed(key, subscribe.token));
        } else {
            self.edges.push(key, Frame::Subscribed(bus::Subscribed { token: subscribe.token }));
        }
        self.delivery.schedule_read(&mut self.connections, device);
        Ok(())
    }
}
