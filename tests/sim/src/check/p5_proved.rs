//! P5: nothing is taken from, or given to, a connection whose credential is void. It is void when the operator was told so:
//! the password was renewed, or its device or user removed, whether or not there is another of the same name.

use super::Check;
use crate::event::{Event, Place};
use crate::facts::{Facts, Told};

/// What was on its way to a client when its credential became void has been read by then: a client whose own packets are
/// not taken reads nothing meanwhile, but for no longer than this.
const ON_ITS_WAY_MS: u64 = 20_000;

pub(super) struct Proved;

impl Check for Proved {
    fn name(&self) -> &'static str {
        "P5, proved"
    }

    fn see(&mut self, facts: &Facts, event: &Event) -> Result<(), String> {
        match event {
            Event::Received { device, credential, place, .. } => given(facts, *device, *credential, Some(*place)),
            Event::Ticked { device, credential, .. } => given(facts, *device, *credential, None),
            Event::Answered { device, credential, say, reason, .. } => {
                given(facts, *device, *credential, None)?;
                let Some(since) = void_since(facts, *device, *credential).filter(|_| *reason == 0) else {
                    return Ok(());
                };
                match facts.said.get(say).filter(|said| said.publishes == 1 && said.first_sent > since.step) {
                    Some(_) => {
                        Err(format!("{say} was taken from device {device}, whose password {credential} was void"))
                    }
                    None => Ok(()),
                }
            }
            Event::Stored { entry, .. } => {
                let place = Place { conversation: entry.conversation.get(), sequence: entry.sequence.get() };
                let is_first = facts.log.get(&place).is_some_and(|slot| slot.stored == facts.step);
                let said = facts.newest.as_ref().and_then(|say| Some((say, facts.said.get(say)?)));
                match said.filter(|(_, said)| is_first && void_since(facts, said.device, said.credential).is_some()) {
                    Some((say, said)) => Err(format!(
                        "{say} was taken from device {}, whose password {} was void",
                        said.device, said.credential
                    )),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        match facts.devices.iter().position(|device| device.stays() && device.renewing > device.renewed.len()) {
            Some(device) => Err(format!("device {device} waits for a new password")),
            None => Ok(()),
        }
    }
}

fn void_since(facts: &Facts, device: usize, credential: usize) -> Option<Told> {
    facts.devices[device].void_since(credential)
}

fn given(facts: &Facts, device: usize, credential: usize, place: Option<Place>) -> Result<(), String> {
    let Some(since) = void_since(facts, device, credential) else { return Ok(()) };
    let stored = place.and_then(|place| facts.log.get(&place)).map(|slot| slot.stored);
    if stored > Some(since.step) {
        return Err(format!(
            "device {device} received {place:?}, which was stored when its password {credential} was void"
        ));
    }
    if facts.now_ms > since.at_ms + ON_ITS_WAY_MS {
        return Err(format!("device {device} is still given something; its password {credential} is void: {place:?}"));
    }
    Ok(())
}
