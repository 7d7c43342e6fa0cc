//! Devices that have not been connected for `limits.idle_device_days`: their inboxes take a tenth of what others take, so that
//! what nobody fetches does not fill the disk. A device that comes back has all of its inbox again.
//!
//! When a device was there is a day in its session, written at most once a day. Only those with much in their inbox are
//! looked at, one in each tick.

use godwit_core::membership_count::day_of;
use godwit_core::stored::SessionRecord;
use godwit_schemas::ids::DeviceId;

use crate::lane::connection::Connections;
use crate::lane::context::Context;
use crate::lane::delivery::Deliveries;
use crate::lane::round::Round;
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

impl Deliveries {
    /// Looks at the next device with much in its inbox.
    pub(in crate::lane) async fn look_for_idle<S: Store>(
        &mut self,
        context: &Context<S>,
        connections: &Connections,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let days = context.settings.idle_device_days;
        let next = self.backlogs.next_heavy(self.looked_for_idle);
        let Some(device) = next.or_else(|| self.backlogs.next_heavy(DeviceId::default())).filter(|_| days > 0) else {
            return Ok(());
        };
        self.looked_for_idle = device;
        if connections.sessions.contains_key(&device) {
            // It is there, or was a moment ago.
            return Ok(());
        }
        let stored = context.store.multi_get(&[keys::session(device)]).await?.pop().flatten();
        let record = stored.and_then(|value| decoded::<SessionRecord>("session", &device, &value)).unwrap_or_default();
        let today = day_of(context.now_s);
        if record.seen_day == 0 {
            // It never was, or nobody has noted it: from today on it counts.
            let record = SessionRecord { seen_day: today, ..record };
            round.write(writes::put(keys::session(device), &record));
        } else if today.saturating_sub(record.seen_day) >= days {
            self.backlogs.set_idle(device, true);
        }
        Ok(())
    }
}
