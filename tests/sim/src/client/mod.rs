//! A device: it connects, sends, receives, acknowledges, reads, and is as unreliable as phones are. What it keeps across
//! connections is what an app keeps on its disk: the outbox.

use std::collections::BTreeMap;

use godwit_bridge::admin::Credentials;
use tokio::time::{Instant, sleep};

use self::connection::Connection;
use self::outbox::Outbox;
use crate::dice::Dice;
use crate::event::Event;
use crate::plan::Traits;
use crate::world::World;

mod connection;
mod inbox;
mod outbox;

/// See the module.
pub(crate) struct Client {
    world: World,
    dice: Dice,
    device: usize,
    credentials: Credentials,
    traits: Traits,
    outbox: Outbox,
    connections: u64,
    /// Its session was told what it wants.
    subscribed: bool,
    /// It has given up an attempt with a clean start, which the server may still hear of until then: what was subscribed
    /// in between may be gone.
    cleared_until: Option<Instant>,
    /// Conversations, with the highest place seen.
    seen: BTreeMap<u64, u64>,
    /// Conversations with the place up to which was read.
    read: BTreeMap<u64, u64>,
    /// Groups that this device knows of.
    groups: Vec<u64>,
}

impl Client {
    pub(crate) fn new(world: World, device: usize, credentials: Credentials, traits: Traits) -> Self {
        let dice = Dice::new(world.seed, &format!("client {device}"));
        let label = format!("{}-{}", credentials.user, credentials.device);
        Self {
            outbox: Outbox::new(label, traits),
            world,
            dice,
            device,
            credentials,
            traits,
            connections: 0,
            subscribed: false,
            cleared_until: None,
            seen: BTreeMap::new(),
            read: BTreeMap::new(),
            groups: Vec::new(),
        }
    }

    /// Until the run ends.
    pub(crate) async fn run(mut self) {
        loop {
            let most = if self.world.turmoil.reigns() { 3_000 } else { 200 };
            sleep(self.dice.ms(0..=most)).await;
            if self.is_leaving() && !self.world.turmoil.reigns() {
                self.world.record.with(|facts| facts.busy.remove(&self.device));
                return;
            }
            if let Some(stream) = self.world.server.dial(&self.dice) {
                self.connections += 1;
                self.world.record.emit(Event::Dialled { device: self.device });
                self.outbox.disconnected();
                Connection::new(&mut self, stream).live().await;
            }
        }
    }

    fn is_leaving(&self) -> bool {
        self.world.record.with(|facts| facts.devices[self.device].leaving.is_some())
    }

    /// Says whether the outbox is empty.
    fn report(&self) {
        let empty = self.outbox.is_empty();
        self.world.record.with(|facts| {
            if empty {
                facts.busy.remove(&self.device)
            } else {
                facts.busy.insert(self.device)
            };
        });
    }
}
