//! Packet identifiers of the deliveries in flight: sent to the client, and not acknowledged.

use std::collections::BTreeMap;

/// Most deliveries in flight, whatever Receive Maximum the client announces. With more, free identifiers would be rare.
pub(super) const IN_FLIGHT_MAX: usize = 60_000;
/// Packet identifiers go from 1 to this.
const IDS: u64 = 65_535;
/// Stands in place of an order that was acknowledged to the lane before the client acknowledged it.
pub(super) const ACKNOWLEDGED_EARLY: u64 = u64::MAX;

/// Orders of the deliveries in flight, by packet identifier.
#[derive(Debug, Default)]
pub(super) struct InFlightIds {
    by_id: BTreeMap<u16, u64>,
    /// Last identifier that was not derived from an order.
    last: u16,
    #[cfg(test)]
    steps: u64,
}

impl InFlightIds {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = u64> {
        self.by_id.values().copied()
    }

    /// Takes an identifier for a delivery: the one derived from its order, or a free one. There is a free one, since at most
    /// [`IN_FLIGHT_MAX`] are taken.
    ///
    /// Free ones are searched in turn. So one that is taken costs one step in a whole turn, and not one for each delivery, however
    /// many deliveries the client leaves unacknowledged.
    pub(super) fn insert(&mut self, order: u64) -> u16 {
        let mut id = (order % IDS) as u16 + 1;
        if order == 0 || self.by_id.contains_key(&id) {
            loop {
                self.last = self.last % IDS as u16 + 1;
                #[cfg(test)]
                {
                    self.steps += 1;
                }
                if !self.by_id.contains_key(&self.last) {
                    break;
                }
            }
            id = self.last;
        }
        self.by_id.insert(id, order);
        id
    }

    /// Returns the order of a delivery that is acknowledged to the lane early. The identifier stays taken until the client acknowledges
    /// it.
    pub(super) fn acknowledge_early(&mut self, id: u16) -> Option<u64> {
        self.by_id.get_mut(&id).map(|order| std::mem::replace(order, ACKNOWLEDGED_EARLY))
    }

    /// The client has acknowledged this identifier: it is free. Returns its order.
    pub(super) fn remove(&mut self, id: u16) -> Option<u64> {
        let order = self.by_id.remove(&id);
        if self.by_id.is_empty() {
            self.by_id = BTreeMap::new();
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps that so many deliveries take, with so many before them that nobody acknowledges.
    fn steps(unacknowledged: usize, deliveries: u64, order: impl Fn(u64) -> u64) -> u64 {
        let mut ids = InFlightIds::default();
        (0..unacknowledged).for_each(|_| _ = ids.insert(0));
        let before = ids.steps;
        for nth in 0..deliveries {
            let id = ids.insert(order(nth));
            assert_eq!(ids.remove(id), Some(order(nth)));
        }
        ids.steps - before
    }

    #[test]
    fn taking_an_identifier_has_constant_cost() {
        assert_eq!(steps(0, 100_000, |_| 0), 100_000);
        for (unacknowledged, most) in [(8_192, 2), (IN_FLIGHT_MAX, 15)] {
            assert!(steps(unacknowledged, 100_000, |_| 0) <= 100_000 * most, "{unacknowledged}");
            // All of which would have the same one.
            assert!(steps(unacknowledged, 100_000, |_| 5) <= 100_000 * most, "{unacknowledged}");
        }
    }

    #[test]
    fn an_identifier_is_derived_from_the_order_and_unique() {
        let mut ids = InFlightIds::default();
        assert_eq!([0, 65_536, 65_537, 65_536 + 65_535, 0].map(|order| ids.insert(order)), [1, 2, 3, 4, 5]);
        assert_eq!((ids.remove(2), ids.remove(2)), (Some(65_536), None));
        assert_eq!(ids.insert(65_536 + 2 * 65_535), 2);
        let mut ids = InFlightIds::default();
        let mut ids: Vec<_> = (0..IN_FLIGHT_MAX as u64).map(|order| ids.insert(order % 1_000)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), ids.first()), (IN_FLIGHT_MAX, Some(&1)));
    }
}
