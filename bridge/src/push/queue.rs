//! Which devices the pusher is to look at, and when. Times count from the pusher's start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use godwit_core::push::{Damper, Shown, Suspicion};
use godwit_push::Service;
use godwit_schemas::ids::{DeviceId, Order};

/// Recalled messages of which a device is still to be told.
const TAKEN_BACK_MAX: usize = 8;

/// A device that is to be looked at, or that is being pushed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// When it is to be looked at. `None`: it is being pushed.
    due: Option<Duration>,
    /// A push is under way, and something has come meanwhile.
    pub(super) again: bool,
    /// It was connected, and handed this entry.
    pub(super) handed_out: Option<Order>,
    /// The push has waited because its user is busy elsewhere.
    pub(super) has_waited: bool,
    /// Pushes without success, in a row.
    pub(super) failures: u32,
    /// The push service took no payload.
    pub(super) bare: bool,
    pub(super) suspicion: Option<Suspicion>,
    /// Through which push service, once that was read.
    pub(super) service: Option<Service>,
    /// What was shown and is to go.
    pub(super) taken_back: Vec<Shown>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    by_time: BTreeSet<(Duration, DeviceId)>,
    devices: BTreeMap<DeviceId, Pending>,
    /// What was pushed of late, which outlasts a device's place here.
    dampers: BTreeMap<DeviceId, Damper>,
    most: usize,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self { by_time: BTreeSet::new(), devices: BTreeMap::new(), dampers: BTreeMap::new(), most }
    }

    /// So many more devices may be added.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.devices.len())
    }

    /// The device is to be looked at, not before `due`. One that is here already keeps its time, unless that is later only
    /// because it is connected. False: there is no room.
    pub(super) fn add(&mut self, device: DeviceId, due: Duration) -> bool {
        if let Some(pending) = self.devices.get_mut(&device) {
            pending.again = true;
            if pending.handed_out.take().is_some() && pending.due.is_some_and(|later| later > due) {
                self.schedule(device, due);
            }
            return true;
        }
        if self.room() == 0 {
            return false;
        }
        self.devices.insert(device, Pending::default());
        self.schedule(device, due);
        true
    }

    /// The connected device was handed an entry: look at `due` whether it has acknowledged it. One that is here already is
    /// looked at anyway.
    pub(super) fn add_handed_out(&mut self, device: DeviceId, order: Order, due: Duration) -> bool {
        if self.devices.contains_key(&device) {
            return true;
        }
        let added = self.add(device, due);
        if let Some(pending) = self.devices.get_mut(&device) {
            pending.handed_out = Some(order);
        }
        added
    }

    /// What was shown because of this entry is to go, if anything was.
    pub(super) fn take_back(&mut self, device: DeviceId, order: Order, due: Duration) -> bool {
        let Some(shown) = self.dampers.get(&device).and_then(|damper| damper.shown(order)) else { return true };
        if !self.add(device, due) {
            return false;
        }
        if let Some(pending) = self.devices.get_mut(&device).filter(|it| it.taken_back.len() < TAKEN_BACK_MAX) {
            pending.taken_back.push(shown);
        }
        true
    }

    /// How many devices are here, and how many were pushed of late.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.devices.len(), self.dampers.len())
    }

    /// When the next device is to be looked at.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// The next device that is to be looked at by now. It stays here, without a time.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<DeviceId> {
        let (due, device) = *self.by_time.first()?;
        if due > now {
            return None;
        }
        self.by_time.pop_first();
        let pending = self.devices.get_mut(&device)?;
        (pending.due, pending.again) = (None, false);
        Some(device)
    }

    /// A device that is here.
    pub(super) fn get(&mut self, device: DeviceId) -> Option<&mut Pending> {
        self.devices.get_mut(&device)
    }

    /// A device that is here is to be looked at then.
    pub(super) fn schedule(&mut self, device: DeviceId, due: Duration) {
        let Some(pending) = self.devices.get_mut(&device) else { return };
        if let Some(before) = pending.due.replace(due) {
            self.by_time.remove(&(before, device));
        }
        self.by_time.insert((due, device));
    }

    /// Nothing is to be done for a device, as far as it was looked at. What has come meanwhile is looked at by `due`.
    pub(super) fn finish(&mut self, device: DeviceId, due: Duration) {
        match self.devices.get_mut(&device) {
            Some(pending) if pending.again => {
                *pending = Pending { service: pending.service, ..Pending::default() };
                self.schedule(device, due);
            }
            Some(_) => self.remove(device),
            None => {}
        }
    }

    /// The device is forgotten.
    pub(super) fn remove(&mut self, device: DeviceId) {
        if let Some(due) = self.devices.remove(&device).and_then(|pending| pending.due) {
            self.by_time.remove(&(due, device));
        }
    }

    /// How often the device is pushed.
    pub(super) fn damper(&mut self, device: DeviceId) -> &mut Damper {
        self.dampers.entry(device).or_default()
    }

    /// Forgets what was pushed long ago, and all of it if that is not enough.
    pub(super) fn forget_idle(&mut self, now: Duration) {
        self.dampers.retain(|_, damper| !damper.is_idle(now));
        if self.dampers.len() > self.most {
            self.dampers.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: DeviceId = DeviceId::new(65);
    const LAPTOP: DeviceId = DeviceId::new(129);

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_device_is_looked_at_once_for_all_that_has_come() {
        let mut queue = Queue::new(10);
        assert!(queue.add(PHONE, s(2)) && queue.add(PHONE, s(3)) && queue.add(LAPTOP, s(1)));
        assert_eq!(queue.take_due(s(0)), None);
        assert_eq!(queue.take_due(s(9)), Some(LAPTOP));
        assert_eq!(queue.take_due(s(9)), Some(PHONE));
        assert_eq!(queue.take_due(s(9)), None);
        queue.add(PHONE, s(10));
        queue.finish(PHONE, s(11));
        assert_eq!(queue.next_due(), Some(s(11)), "something came while it was pushed");
        queue.finish(LAPTOP, s(11));
        assert_eq!(queue.room(), 9);
    }

    #[test]
    fn one_that_goes_is_looked_at_sooner_than_one_that_is_connected() {
        let mut queue = Queue::new(10);
        queue.add_handed_out(PHONE, Order::new(5), s(45));
        queue.add(PHONE, s(2));
        assert_eq!((queue.next_due(), queue.by_time.len()), (Some(s(2)), 1));
        queue.add_handed_out(PHONE, Order::new(6), s(50));
        assert_eq!(queue.next_due(), Some(s(2)));
    }

    #[test]
    fn a_full_queue_takes_no_more_devices() {
        let mut queue = Queue::new(1);
        assert!(queue.add(PHONE, s(1)) && queue.add(PHONE, s(1)) && !queue.add(LAPTOP, s(1)));
        assert!(!queue.add_handed_out(LAPTOP, Order::new(1), s(1)));
        queue.remove(PHONE);
        assert!(queue.next_due().is_none() && queue.add(LAPTOP, s(1)));
    }
}
