//! A device: it connects, sends, receives, acknowledges, reads, and is as unreliable as phones are. What it keeps across
//! connections is what an app keeps on its disk: the outbox.

use std::collections::BTreeMap;

use godwit_bridge::admin::DeviceCredentials;
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

/// Sends that one client counts, at the most: who has the device's next password counts on from there.
const COUNTS: u64 = 1_000_000;

/// See the module.
pub(crate) struct Client {
    world: World,
    dice: Dice,
    /// For what came later: it shifts nothing else.
    befriending: Dice,
    device: usize,
    /// Which of the device's passwords it has.
    credential: usize,
    credentials: DeviceCredentials,
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
    /// Of a device, with its password of this number.
    pub(crate) fn new(
        world: World,
        device: usize,
        credential: usize,
        credentials: DeviceCredentials,
        traits: Traits,
    ) -> Self {
        let is_first = credential == 0 && world.record.with(|facts| facts.is_first_of_its_name(device));
        let part = if is_first { String::new() } else { format!("-{device}-{credential}") };
        let dice =
            Dice::new(world.seed, &format!("client {device}{}", if credential == 0 { "" } else { part.as_str() }));
        let label = format!("{}-{}{part}", credentials.user, credentials.device);
        Self {
            befriending: Dice::new(world.seed, &format!("client {device} {credential}, contacts")),
            outbox: Outbox::new(label, traits, credential as u64 * COUNTS),
            world,
            dice,
            device,
            credential,
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
            if self.may_be_void() && !self.world.turmoil.reigns() {
                self.world.record.with(|facts| facts.busy.remove(&self.device));
                return;
            }
            if let Some(stream) = self.world.server.dial(&self.dice) {
                self.connections += 1;
                if !self.may_be_void() {
                    self.world.record.emit(Event::Dialled { device: self.device });
                }
                self.outbox.disconnected();
                Connection::new(&mut self, stream).live().await;
            }
        }
    }

    /// From then on it is a thief's: it goes on as long as it can.
    fn may_be_void(&self) -> bool {
        self.world.record.with(|facts| facts.devices[self.device].may_be_void(self.credential))
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
