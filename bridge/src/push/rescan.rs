//! All registered devices are looked at, a page at a time: at a start, since what was owed before it is known by the inboxes
//! alone, and when a queue was full. How long that takes grows with the registered devices; nobody waits for it.

use std::time::Duration;

use godwit_core::stored::PushedRecord;
use godwit_schemas::ids::{DeviceId, Order};
use godwit_store::record::decoded;
use godwit_store::{Row, Store, StoreError, Table, keys};

use super::post::Known;

/// Devices of a page.
pub(super) const PAGE: usize = 64;
/// A page follows the one before after so long, so that the store is there for others.
const PACE: Duration = Duration::from_millis(5);
/// While the pusher's queue has no room for a page.
const FULL: Duration = Duration::from_secs(1);
/// After the last page, at the earliest, it begins again.
const PAUSE: Duration = Duration::from_secs(60);

/// Where it is.
#[derive(Debug)]
pub(super) struct Rescan {
    /// The next page begins here; `None`: all were looked at.
    from: Option<Vec<u8>>,
    /// When the next page is to be read.
    at: Duration,
    /// What it has passed may have been told of in vain.
    again: bool,
}

impl Rescan {
    /// One that begins at once.
    pub(super) fn new() -> Self {
        Self { from: Some(keys::pushes().0), at: Duration::ZERO, again: false }
    }

    /// When it goes on; `None`: it is done.
    pub(super) fn due(&self) -> Option<Duration> {
        self.from.as_ref().map(|_| self.at)
    }

    /// Begins once more, when it is done.
    pub(super) fn begin_again(&mut self) {
        match self.from {
            Some(_) => self.again = true,
            None => self.from = Some(keys::pushes().0),
        }
    }

    /// The queue takes no page now.
    pub(super) fn wait_for_room(&mut self, now: Duration) {
        self.at = now + FULL;
    }

    /// The devices of the next page that something waits for.
    pub(super) async fn next<S: Store>(
        &mut self,
        store: &S,
        known: &Known,
        now: Duration,
    ) -> Result<Vec<DeviceId>, StoreError> {
        let Some(from) = &self.from else { return Ok(Vec::new()) };
        let (_, to) = keys::pushes();
        let page = store.page(Table::Directory, from, &to, PAGE, usize::MAX).await?;
        self.at = now + if page.next.is_some() { PACE } else { PAUSE };
        self.from = page.next;
        if self.from.is_none() && std::mem::take(&mut self.again) {
            self.begin_again();
        }
        let devices: Vec<_> = page.rows.iter().filter_map(|(key, _): &Row| keys::parse_push(key)).collect();
        // Before their inboxes are read: what comes later is told by their lanes.
        devices.iter().for_each(|device| known.register(*device));
        let pushed = store.multi_get(&devices.iter().map(|device| keys::pushed(*device)).collect::<Vec<_>>()).await?;
        let mut owed = Vec::new();
        for (device, pushed) in devices.into_iter().zip(pushed) {
            let pushed = pushed.and_then(|value| decoded::<PushedRecord>("pushed", &device, &value));
            let (from, to) = keys::inbox_after(device, Order::new(pushed.map_or(0, |pushed| pushed.up_to)));
            if !store.scan(Table::Inbox, &from, &to, 1, usize::MAX).await?.is_empty() {
                owed.push(device);
            }
        }
        Ok(owed)
    }
}
