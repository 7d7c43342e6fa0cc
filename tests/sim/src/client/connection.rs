//! One connection of a device, from CONNECT to whatever ends it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use godwit_schemas::client::{self, request::Call};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::Client;
use super::outbox::{Item, Kind};
use crate::event::{Event, Place};
use crate::mqtt::{self, Connect, Packet, Reader};

const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A client that waits longer for an answer tries another connection.
const PATIENCE: Duration = Duration::from_secs(15);
/// A CONNECT that was given up is carried out by then, if ever.
const LATEST: Duration = Duration::from_secs(10);

/// The connection is over.
pub(super) struct Over;

/// See the module.
pub(super) struct Connection<'a> {
    pub(super) client: &'a mut Client,
    stream: DuplexStream,
    reader: Reader,
    /// What it writes gets lost, and it hears nothing.
    black_hole: bool,
    /// It acknowledges nothing while there is turmoil.
    deaf: bool,
    /// Deliveries to be acknowledged, in the order they came.
    pub(super) to_ack: VecDeque<(Instant, u16, Option<Place>)>,
    pub(super) received: BTreeSet<Place>,
    act_at: Instant,
    ping_at: Instant,
    heard_at: Instant,
}

impl<'a> Connection<'a> {
    pub(super) fn new(client: &'a mut Client, stream: DuplexStream) -> Self {
        let now = Instant::now();
        Self {
            reader: Reader::new(client.traits.protocol),
            client,
            stream,
            black_hole: false,
            deaf: false,
            to_ack: VecDeque::new(),
            received: BTreeSet::new(),
            act_at: now,
            ping_at: now + KEEP_ALIVE / 2,
            heard_at: now,
        }
    }

    pub(super) async fn live(mut self) {
        if self.connect().await.is_err() {
            return;
        }
        let turmoil = self.client.world.turmoil.reigns();
        self.deaf = turmoil && self.client.dice.chance(self.client.world.plan.deaf);
        while self.step().await.is_ok() {}
        if self.black_hole && self.client.dice.chance(0.5) {
            // The server does not notice for a while.
            let (stream, time) = (self.stream, self.client.dice.ms(100..=40_000));
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                drop(stream);
            });
        }
    }

    async fn connect(&mut self) -> Result<(), Over> {
        let Client { traits, credentials, dice, world, subscribed, .. } = &mut *self.client;
        // 3.1.1 says both in one flag.
        let clean = if traits.protocol == 4 { !traits.lasting } else { dice.chance(0.2) };
        // Whether or not an answer comes.
        *subscribed &= !clean;
        let connect = Connect {
            protocol: traits.protocol,
            clean,
            lasting: traits.lasting,
            keep_alive_s: KEEP_ALIVE.as_secs() as u16,
            receive_maximum: world.plan.receive_maximum,
            aliases: dice.within(0..=2) as u16,
            user: &credentials.user,
            device: &credentials.device,
            password: &credentials.password,
        };
        let connect = connect.encode();
        self.write(&connect).await?;
        let connack = async {
            loop {
                if let Some(packet) = self.reader.next().map_err(|_| Over)? {
                    return Ok::<_, Over>(packet);
                }
                self.fill().await?;
            }
        };
        let Ok(Ok(Packet::Connack { session_present, reason: 0 })) = timeout(PATIENCE, connack).await else {
            if clean {
                self.client.cleared_until = Some(Instant::now() + LATEST);
            }
            return Err(Over);
        };
        let cleared = self.client.cleared_until.is_some();
        self.client.cleared_until.take_if(|until| *until < Instant::now());
        if !session_present || cleared {
            self.client.subscribed = false;
        }
        if !self.client.subscribed {
            let filters: &[&str] = if self.client.traits.events { &["inbox", "rpc"] } else { &["inbox/#"] };
            self.write(&mqtt::subscribe(self.client.traits.protocol, 60_000, filters)).await?;
        }
        Ok(())
    }

    pub(super) fn is_subscribed(&mut self) {
        self.client.subscribed = true;
        if self.client.traits.events {
            self.client.world.record.emit(Event::Subscribed { device: self.client.device });
        }
    }

    async fn fill(&mut self) -> Result<(), Over> {
        if self.black_hole {
            std::future::pending::<()>().await;
        }
        match self.stream.read_buf(&mut self.reader.buffer).await {
            Ok(0) | Err(_) => Err(Over),
            Ok(_) => Ok(()),
        }
    }

    /// A socket that takes nothing for long is given up.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        if self.black_hole {
            return Ok(());
        }
        match timeout(PATIENCE, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    /// Waits for what is next, and does it.
    async fn step(&mut self) -> Result<(), Over> {
        while let Some(packet) = self.reader.next().map_err(|_| self.garbled())? {
            self.heard_at = Instant::now();
            self.packet(packet)?;
        }
        self.acknowledge().await?;
        while let Some((item, dup, again)) = self.client.outbox.next() {
            self.tell_sent(&item, again);
            let packet = item.publish.encode(self.client.traits.protocol, dup);
            self.write(&packet).await?;
        }
        self.client.report();
        let ack_at = self.to_ack.front().filter(|_| !self.is_deaf()).map(|(at, ..)| *at);
        let wake_at = ack_at.map_or(self.act_at, |at| at.min(self.act_at)).min(self.ping_at);
        tokio::select! {
            biased;
            filled = self.fill() => filled?,
            () = sleep_until(wake_at) => {}
        }
        if Instant::now() >= self.ping_at {
            self.ping_at = Instant::now() + KEEP_ALIVE / 2;
            self.write(&mqtt::pingreq()).await?;
            if self.heard_at.elapsed() > KEEP_ALIVE + PATIENCE {
                return Err(Over);
            }
        }
        if Instant::now() >= self.act_at {
            let pace = self.client.world.plan.pace_ms;
            self.act_at = Instant::now() + self.client.dice.ms(1..=2 * pace);
            self.act().await?;
        }
        Ok(())
    }

    fn garbled(&self) -> Over {
        self.odd("bytes that are no packet".to_owned());
        Over
    }

    pub(super) fn odd(&self, what: String) {
        self.client.world.record.emit(Event::Odd { device: self.client.device, what });
    }

    fn is_deaf(&self) -> bool {
        self.deaf && self.client.world.turmoil.reigns()
    }

    fn tell_sent(&self, item: &Item, again: bool) {
        let (device, credential, record) = (self.client.device, self.client.credential, &self.client.world.record);
        let (say, counted_to) = (item.say.clone(), item.counted_to.clone());
        let sent = |titled| Event::Sent { device, credential, say, counted_to, again, titled };
        match &item.kind {
            Kind::Read(place) => record.emit(Event::ReadSent { device, place: *place }),
            Kind::Call { titled } => record.emit(sent(*titled)),
            Kind::Post { .. } => record.emit(sent(true)),
        }
    }

    /// Acknowledges what is due, in order (MQTT-4.6.0-2).
    async fn acknowledge(&mut self) -> Result<(), Over> {
        while let Some(&(at, packet_id, place)) = self.to_ack.front()
            && at <= Instant::now()
            && !self.is_deaf()
        {
            self.to_ack.pop_front();
            if let Some(place) = place {
                self.client.world.record.emit(Event::Acked { device: self.client.device, place });
            }
            self.write(&mqtt::puback(packet_id)).await?;
        }
        Ok(())
    }

    /// What a person or the network does next.
    async fn act(&mut self) -> Result<(), Over> {
        let (plan, dice) = (self.client.world.plan.clone(), &self.client.dice);
        if !self.client.world.turmoil.reigns() {
            // What fell into a black hole is not waited for any longer.
            self.say_last_word();
            return if self.black_hole { Err(Over) } else { Ok(()) };
        }
        if self.black_hole && dice.chance(0.5) || dice.chance(plan.hang_up) {
            return Err(Over);
        }
        if dice.chance(plan.black_hole) {
            self.black_hole = true;
        }
        if dice.chance(plan.hang_up) && !self.client.outbox.is_in_flight() {
            self.write(&mqtt::disconnect()).await?;
            return Err(Over);
        }
        for _ in 0..plan.burst {
            if self.client.subscribed && self.client.outbox.len() < 10.max(plan.burst) {
                self.send();
            }
        }
        Ok(())
    }

    /// When everything has come right, a message must be taken.
    fn say_last_word(&mut self) {
        if self.client.may_be_void() {
            return;
        }
        let Client { world, outbox, credentials, device, subscribed, .. } = &mut *self.client;
        let wanted = *subscribed && world.record.with(|facts| facts.last_words && facts.done.insert(*device));
        let users = world.users.lock();
        if let Some(other) = users.iter().find(|user| wanted && **user != credentials.user) {
            outbox.send_to_user(other, 0);
        }
    }

    fn send(&mut self) {
        let Client { world, dice, befriending, outbox, traits, credentials, groups, seen, read, .. } =
            &mut *self.client;
        let users = world.users.lock().clone();
        let others: Vec<_> = users.iter().filter(|user| **user != credentials.user).cloned().collect();
        let expires_in_s = if world.plan.expiry && dice.chance(0.3) { dice.within(1..=20) as u32 } else { 0 };
        let group = if dice.chance(0.1) {
            let all: Vec<_> = world.groups.lock().iter().copied().collect();
            dice.pick(&all).copied()
        } else {
            dice.pick(groups).copied()
        };
        if traits.events && world.plan.contacts && befriending.chance(0.1) {
            let Some(user) = befriending.pick(&others).cloned() else { return };
            match befriending.within(0..=3) {
                0 => outbox.call(|_| Call::RemoveContact(client::RemoveContact { user })),
                _ => outbox.call(|_| Call::AddContact(client::AddContact { user, label: String::new() })),
            }
        }
        let Some(other) = dice.pick(&others) else { return };
        let other = other.clone();
        match dice.within(0..=9) {
            0..=3 => outbox.send_to_user(&other, expires_in_s),
            4..=6 => match group {
                Some(group) => outbox.send_to_conversation(group, expires_in_s),
                None => outbox.send_to_user(&other, expires_in_s),
            },
            7 | 8 => {
                let unread: Vec<_> = seen.iter().filter(|(id, seq)| read.get(id) < Some(seq)).collect();
                if let Some(&(&conversation, &sequence)) = dice.pick(&unread) {
                    read.insert(conversation, sequence);
                    outbox.read(Place { conversation, sequence });
                }
            }
            _ if !traits.events => {}
            _ => match group.filter(|_| world.plan.membership && dice.chance(0.8)) {
                None => {
                    let mut invited = vec![other];
                    invited.extend(dice.pick(&others).cloned());
                    outbox.call(|title| Call::CreateGroup(client::CreateGroup { title, users: invited }));
                }
                Some(conversation) => match dice.within(0..=5) {
                    0 | 1 => {
                        let user = other;
                        outbox.call(|_| Call::AddMember(client::AddMember { conversation, user }));
                    }
                    2 | 3 => {
                        let user = other;
                        outbox.call(|_| Call::RemoveMember(client::RemoveMember { conversation, user }));
                    }
                    4 => outbox.call(|_| Call::Leave(client::Leave { conversation })),
                    _ => outbox.call(|title| Call::Rename(client::Rename { conversation, title })),
                },
            },
        }
    }
}
