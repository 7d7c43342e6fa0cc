//! Whoever is shut out is told so, and that is told when it is so: an operator who revokes a credential is answered when the
//! connection takes and gets nothing any more. That needs three things. What came from it is on disk or refused: lanes let go
//! of a user's change when what they had decided by then is on disk ([`crate::lane::Lane::hears_of`]), and refuse the rest by the user's
//! record (`godwit_core::credential`). What went to it has arrived or never will: the edge says that it has closed it, or is
//! no longer heard of, and attaches it again before it hands out anything. And nobody new is let in as what not all lanes know
//! yet ([`Revocations::when_known`]): they would refuse what it says. Keeps P5.

use std::collections::BTreeMap;
use std::time::Duration;

use godwit_core::credential::{CredentialStanding, Fingerprint, standing};
use godwit_core::reply_to::ConnectionKey;
use godwit_core::stored::UserRecord;
use godwit_schemas::bus::{self, down::Frame};
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::reason::Reason;
use tokio::time::Instant;

use crate::lane::context::Context;
use crate::lane::edges::Edges;
use crate::lane::state::State;
use crate::messages::{Continuation, LaneMessage};
use godwit_store::Store;

/// An edge that has not closed a connection by then has ended without a word, or stands still.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// What waits until connections are closed, and until all lanes know a device. In memory only.
#[derive(Default)]
pub(in crate::lane) struct Revocations {
    /// Connections that edges have been told to close and have not closed yet.
    closing: BTreeMap<ConnectionKey, Closing>,
    /// Steps that are taken when there are none of the device any more. If this lane ends before, they are not taken.
    waiting: Vec<(DeviceId, Continuation)>,
    /// Devices of which not all lanes know yet that they are there, or have another password.
    spreading: BTreeMap<DeviceId, Spreading>,
}

struct Closing {
    device: DeviceId,
    until: Instant,
}

#[derive(Default)]
struct Spreading {
    /// Changes under way.
    changes: u32,
    /// For this lane, when all know.
    waiting: Vec<LaneMessage>,
}

impl Revocations {
    /// Has the edge close a connection.
    pub(in crate::lane) fn close(&mut self, edges: &mut Edges, key: ConnectionKey, device: DeviceId, reason: Reason) {
        edges.push(key, Frame::Close(bus::Close { reason: reason.into() }));
        let until = Instant::now() + CLOSED_WITHIN;
        self.closing.insert(key, Closing { device, until });
    }

    /// The edge has ended a connection.
    pub(in crate::lane) fn has_closed(&mut self, key: ConnectionKey) {
        self.closing.remove(&key);
        self.release_closed();
    }

    /// The edge has gone, or attaches anew what it has: of what it was sent before it hands out nothing.
    pub(in crate::lane) fn has_closed_all_of(&mut self, edge: u64) {
        self.closing.retain(|key, _| key.edge != edge);
        self.release_closed();
    }

    /// Waits for no edge any more: nothing is taken from them until the end.
    pub(in crate::lane) fn give_up_closing_all(&mut self) {
        self.closing.clear();
        self.release_closed();
    }

    /// Waits no longer for edges that do not answer.
    pub(in crate::lane) fn give_up_closing(&mut self, now: Instant) {
        self.closing.retain(|_, closing| closing.until > now);
        self.release_closed();
    }

    /// The step comes now, or when the last connection of the device is closed.
    pub(in crate::lane) fn when_closed(&mut self, device: DeviceId, then: Continuation) {
        self.waiting.push((device, then));
        self.release_closed();
    }

    fn release_closed(&mut self) {
        let Revocations { closing, waiting, .. } = self;
        let is_closed = |device| !closing.values().any(|closing| closing.device == device);
        let (closed, open) = std::mem::take(waiting).into_iter().partition(|(device, _)| is_closed(*device));
        *waiting = open;
        let closed: Vec<(DeviceId, Continuation)> = closed;
        closed.into_iter().for_each(|(_, then)| then());
    }

    /// A user's record is about to be this: `then` is called when all lanes know.
    pub(in crate::lane) fn then_known<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &State,
        user: &UserId,
        record: Option<&UserRecord>,
        then: Continuation,
    ) -> Continuation {
        let before = state.cache.user(user).map_or(&[][..], |user| &user.record.devices);
        let is_news = |id, fingerprint| standing(before, id, fingerprint) != CredentialStanding::Good;
        let devices = record.map_or(&[][..], |record| &record.devices).iter();
        let devices = devices.map(|device| (DeviceId::new(device.id), Fingerprint::of(device)));
        let devices: Vec<_> = devices.filter(|(id, of)| is_news(*id, *of)).map(|(id, _)| id).collect();
        if devices.is_empty() {
            return then;
        }
        for device in &devices {
            self.spreading.entry(*device).or_default().changes += 1;
        }
        let known = context.then_send(move || LaneMessage::Known(devices));
        Box::new(move || {
            known();
            then();
        })
    }

    /// All lanes know a change of these devices.
    pub(in crate::lane) fn are_known<S: Store>(&mut self, context: &Context<S>, devices: &[DeviceId]) {
        for device in devices {
            let Some(spreading) = self.spreading.get_mut(device) else { continue };
            spreading.changes -= 1;
            if spreading.changes == 0 {
                let waiting = self.spreading.remove(device).map(|it| it.waiting);
                for message in waiting.into_iter().flatten() {
                    // If this lane is gone the server is ending.
                    let _ = context.lanes[context.number as usize].send(message);
                }
            }
        }
    }

    /// What somebody wants who comes as this device, if that has to wait until all lanes know the device as it is: then it
    /// comes as a message. Otherwise it is given back.
    pub(in crate::lane) fn when_known(&mut self, device: DeviceId, message: LaneMessage) -> Option<LaneMessage> {
        match self.spreading.get_mut(&device) {
            Some(spreading) => {
                spreading.waiting.push(message);
                None
            }
            None => Some(message),
        }
    }
}

impl<S: Store> Context<S> {
    /// Goes on when every connection of the device that was to be closed is.
    pub(in crate::lane) fn then_closed(&self, device: DeviceId, then: Continuation) -> Continuation {
        self.then_send(move || LaneMessage::Closed(device, then))
    }
}
