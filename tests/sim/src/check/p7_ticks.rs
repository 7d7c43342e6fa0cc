//! P7: receipts are cumulative, never ahead of the truth, and in the end they tell all of it.

use std::collections::BTreeMap;

use godwit_schemas::client::Receipt;

use super::Check;
use crate::event::{Event, Place};
use crate::facts::Facts;

#[derive(Default)]
pub(super) struct Ticks {
    /// Furthest that a device was told, by conversation and member.
    told: BTreeMap<(usize, u64, u32), (u64, u64)>,
}

impl Check for Ticks {
    fn name(&self) -> &'static str {
        "P7, ticks"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        let Event::Ticked { device, receipt, .. } = event else { return Ok(()) };
        let told = self.told.entry((*device, receipt.conversation, receipt.member)).or_default();
        // After a loss of power what was told may be told anew.
        *told = (receipt.delivered_up_to.max(told.0), receipt.read_up_to.max(told.1));
        not_ahead(facts, receipt)
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        let mut last_said = BTreeMap::new();
        for (place, slot) in &facts.log {
            if let Some((_, sender)) = &slot.message {
                last_said.insert((place.conversation, *sender), (*place, slot));
            }
        }
        for ((conversation, sender), (place, slot)) in last_said {
            let members = facts.members_at(Place { conversation, sequence: u64::MAX - 1 });
            let Some((user, _)) = members.get(&sender) else { continue };
            for (ordinal, (reader, joined)) in members.iter().filter(|(ordinal, _)| **ordinal != sender) {
                if *joined < place.sequence {
                    self.converged(facts, place, slot.stored, user, *ordinal, reader)?;
                }
            }
        }
        match facts.left.receipts.first() {
            Some(receipt) => Err(receipt.clone()),
            None => Ok(()),
        }
    }
}

impl Ticks {
    /// Devices of `user` know how far `reader` is with what stands at `place`.
    fn converged(
        &self,
        facts: &Facts,
        place: Place,
        stored: u64,
        user: &str,
        ordinal: u32,
        reader: &str,
    ) -> Result<(), String> {
        // An acknowledgement that was lost on its way says nothing of what has expired meanwhile.
        let has = |it: &&crate::facts::Device| {
            let held = it.held.get(&place).filter(|held| !facts.has_expired(held));
            it.user == reader && it.stays() && held.is_some_and(|held| held.acked)
        };
        let delivered = facts.devices.iter().any(|device| has(&device));
        let reading = facts.readings.get(&(place.conversation, reader.to_owned()));
        let read = reading.is_some_and(|it| it.stored >= place.sequence);
        let devices = facts.devices.iter().enumerate();
        let listens = devices.filter(|(_, it)| {
            it.user == user && it.stays() && it.traits.events && it.subscribed.is_some_and(|since| since < stored)
        });
        for (device, _) in listens {
            let told = self.told.get(&(device, place.conversation, ordinal)).copied().unwrap_or_default();
            if (delivered && told.0 < place.sequence) || (read && told.1 < place.sequence) {
                return Err(format!(
                    "device {device} knows {told:?} of {reader} ({ordinal}); {place:?} is delivered ({delivered}), read ({read})"
                ));
            }
        }
        Ok(())
    }
}

fn not_ahead(facts: &Facts, receipt: &Receipt) -> Result<(), String> {
    let Receipt { conversation, member, delivered_up_to, read_up_to } = *receipt;
    let Some((user, joined)) = facts.member_ever(conversation, member) else {
        return Err(format!("a receipt of nobody: {receipt:?}"));
    };
    let read = facts.readings.get(&(conversation, user.clone())).map_or(0, |reading| reading.sent).max(joined);
    if read_up_to > read {
        return Err(format!("{user} has read {read}: {receipt:?}"));
    }
    let (first, last) = (Place { conversation, sequence: 0 }, Place { conversation, sequence: delivered_up_to });
    let has_all = |device: &&crate::facts::Device| {
        let held = device.held.range(first..=last).filter(|(_, held)| held.message);
        device.user == user && held.into_iter().all(|(_, held)| held.acked || facts.has_expired(held))
    };
    if delivered_up_to <= read || facts.devices.iter().any(|device| has_all(&device)) {
        return Ok(());
    }
    Err(format!("no device of {user} has all of it: {receipt:?}"))
}
