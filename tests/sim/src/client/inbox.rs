//! What a device does with packets from the server.

use godwit_schemas::client::{self, change::Change, event};
use godwit_test_mqtt::Message;
use prost::Message as _;
use tokio::time::Instant;

use super::connection::{Connection, Over};
use super::outbox::Kind;
use crate::event::{Event, Place, What};
use crate::mqtt::Packet;

/// An answer that leaves open whether it took effect.
const UNSURE: u32 = u32::MAX;

impl Connection<'_> {
    pub(super) fn packet(&mut self, packet: Packet) -> Result<(), Over> {
        match packet {
            Packet::Puback { packet_id, reason, at, .. } => self.answered(packet_id, reason, at),
            Packet::Publish(Message { duplicate: again, packet_id, topic, payload, from, seq, qos: 1 }) => {
                let place = match topic.as_str() {
                    "inbox" => self.event(&payload, again),
                    "rpc" => self.response(&payload),
                    raw => {
                        let (from, sequence) = ((!from.is_empty()).then_some(from), (seq > 0).then_some(seq));
                        self.raw(raw, &payload, again, from, sequence)
                    }
                };
                let slow = self.client.world.turmoil.reigns() && self.client.dice.chance(0.3);
                let delay = if slow { self.client.dice.ms(0..=700) } else { Default::default() };
                self.to_ack.push_back((Instant::now() + delay, packet_id, place));
            }
            Packet::Suback { codes, .. } if codes.iter().all(|code| *code < 0x80) => self.is_subscribed(),
            Packet::Pingresp => {}
            Packet::Disconnect { reason } => {
                let device = self.client.device;
                self.client.world.record.note(format!("device {device} is sent away: {reason:#x}"));
                return Err(Over);
            }
            _ => {
                self.odd(format!("{packet:?}"));
                return Err(Over);
            }
        }
        Ok(())
    }

    fn answered(&mut self, packet_id: u16, reason: u8, at: Option<(u64, u64)>) {
        let (device, credential) = (self.client.device, self.client.credential);
        let record = self.client.world.record.clone();
        let Some(item) = self.client.outbox.answered(packet_id) else {
            return self.odd(format!("PUBACK of {packet_id}, which is not under way"));
        };
        let at = at.map(|(conversation, sequence)| Place { conversation, sequence });
        match item.kind {
            Kind::Post { sure } => {
                // MQTT 3.1.1 does not say that it was refused.
                let sure = sure && self.client.world.plan.sends_are_taken();
                let unsure = reason == 0 && at.is_none() && !sure;
                let reason = if unsure { UNSURE } else { reason.into() };
                record.emit(Event::Answered { device, credential, say: item.say, reason, at });
            }
            Kind::Read(place) if reason == 0 => record.emit(Event::ReadStored { device, place }),
            Kind::Read(_) | Kind::Call { .. } => {}
        }
    }

    fn response(&mut self, payload: &[u8]) -> Option<Place> {
        let Ok(response) = client::Response::decode(payload) else {
            self.odd("a payload that is no Response".to_owned());
            return None;
        };
        match self.client.outbox.calls.get(&response.id).cloned() {
            Some(say) => {
                let (device, credential, reason) = (self.client.device, self.client.credential, response.reason);
                self.client.world.record.emit(Event::Answered { device, credential, say, reason, at: None });
            }
            None => self.odd(format!("a response to a call that it did not make: {response:?}")),
        }
        None
    }

    fn event(&mut self, payload: &[u8], again: bool) -> Option<Place> {
        let event = client::Event::decode(payload).ok().and_then(|event| event.event);
        match event {
            Some(event::Event::Message(it)) => {
                let place = Place { conversation: it.conversation, sequence: it.sequence };
                let say = String::from_utf8_lossy(&it.body).into_owned();
                self.receive(place, What::Message { say, sender: it.sender }, again, None);
                Some(place)
            }
            Some(event::Event::Change(it)) => {
                let place = Place { conversation: it.conversation, sequence: it.sequence };
                if let Some(Change::Opened(client::Opened { group: true, .. })) = &it.change {
                    self.client.world.groups.lock().insert(it.conversation);
                    if !self.client.groups.contains(&it.conversation) {
                        self.client.groups.push(it.conversation);
                    }
                }
                self.receive(place, What::Change(it), again, None);
                Some(place)
            }
            Some(event::Event::Receipt(receipt)) => {
                let (device, credential) = (self.client.device, self.client.credential);
                self.client.world.record.emit(Event::Ticked { device, credential, receipt });
                None
            }
            Some(event::Event::Refusal(_)) => None,
            None => {
                self.odd("a payload that is no Event".to_owned());
                None
            }
        }
    }

    /// A raw body. MQTT 3.1.1 does not say where it stands: its words do.
    fn raw(
        &mut self,
        topic: &str,
        payload: &[u8],
        again: bool,
        from: Option<String>,
        sequence: Option<u64>,
    ) -> Option<Place> {
        let say = String::from_utf8_lossy(payload).into_owned();
        let conversation = topic.strip_prefix("inbox/").and_then(|id| id.parse().ok());
        let known = self.client.world.record.with(|facts| {
            let place = match (conversation, sequence) {
                (Some(conversation), Some(sequence)) => Some(Place { conversation, sequence }),
                _ => {
                    let places = facts.said.get(&say).map(|said| &said.places);
                    let here = places.into_iter().flatten().filter(|it| Some(it.conversation) == conversation);
                    let held = &facts.devices[self.client.device].held;
                    let done = |place: &Place| held.get(place).is_none_or(|held| held.acked);
                    here.copied().filter(|place| !self.received.contains(place)).min_by_key(done)
                }
            };
            let place = place.filter(|place| Some(place.conversation) == conversation)?;
            Some((place, facts.log.get(&place)?.message.as_ref()?.1))
        });
        match known {
            Some((place, sender)) => {
                self.receive(place, What::Message { say, sender }, again, from);
                Some(place)
            }
            None => {
                self.odd(format!("on {topic} at {sequence:?}: {say}, which is not stored"));
                None
            }
        }
    }

    fn receive(&mut self, place: Place, what: What, again: bool, from: Option<String>) {
        let (device, credential, connection) = (self.client.device, self.client.credential, self.client.connections);
        if !self.received.insert(place) {
            self.odd(format!("{place:?} twice on one connection"));
        }
        let seen = self.client.seen.entry(place.conversation).or_default();
        *seen = place.sequence.max(*seen);
        self.client.world.record.emit(Event::Received { device, credential, connection, place, what, again, from });
    }
}
