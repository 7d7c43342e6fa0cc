//! Presence of others is told to devices that listen.

use bytes::Bytes;
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use prost::Message;
use tokio::time::Instant;

use crate::lane::Lane;
use crate::lane::presence::{News, ROWS_PER_TICK, ROWS_PER_USER, Showing, bit, online};
use crate::messages::{People, PresenceQuery, PresenceUpdate, Requester};
use godwit_store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    /// Tells what has changed since the last tick.
    pub(in crate::lane) async fn tell_presence(&mut self) -> Result<(), StoreError> {
        let (now, mut rows) = (Instant::now(), 0);
        let mut news = News::new();
        while rows < ROWS_PER_TICK
            && let Some((user, minute)) = self.presence.debounce.next_gone(now)
        {
            if !self.presence.connected.contains_key(&user) {
                let presence = self.context.offline_since(minute);
                rows += ROWS_PER_USER + self.state.tell(&self.context, &user, &presence, &mut news).await?;
            }
        }
        while rows < ROWS_PER_TICK
            && let Some(user) = self.presence.debounce.next_came()
        {
            if self.presence.connected.contains_key(&user) {
                // A crash must not make it look as if it had not been there.
                self.round.note_last_seen(&user, self.context.minute());
                rows += ROWS_PER_USER + self.state.tell(&self.context, &user, &online(), &mut news).await?;
            }
        }
        let confirmed = self.round.confirmed();
        while rows < ROWS_PER_TICK
            && let Some(((user, by), before)) = self.presence.next_altered(confirmed)
        {
            rows += ROWS_PER_USER
                + self.presence.tell_again(&self.context, &mut self.state, &user, by, before, &mut news).await?;
        }
        for (lane, told) in news {
            self.context.send_to_lane(lane, People::Told(self.context.number, told));
        }
        self.presence.look_around(&self.context, &self.connections, now, ROWS_PER_TICK).await
    }

    /// News of users of a lane.
    pub(in crate::lane) fn hear(&mut self, lane: u32, told: Vec<PresenceUpdate>) {
        for PresenceUpdate { user, payload, to } in told {
            to.iter().for_each(|watcher| self.show(watcher, Showing::News(lane), &user, &payload));
        }
    }

    /// Hands what is known of a user to devices of a watcher that listen.
    fn show(&mut self, to: &UserId, showing: Showing, of: &UserId, payload: &Bytes) {
        let bound = |device| (to.clone(), DeviceId::new(device));
        for ((_, device), silent) in self.presence.listeners.range(bound(0)..=bound(u64::MAX)) {
            let concerned = match showing {
                Showing::News(lane) => silent & bit(lane) == 0,
                Showing::To(only) => only == *device,
                Showing::ToAll => true,
            };
            if !concerned {
                continue;
            }
            let session = self.connections.sessions.get(device);
            let Some(connection) = session.and_then(|session| session.connection.as_ref()) else { continue };
            let deliver = bus::Deliver {
                shape: bus::Shape::Presence.into(),
                payload: payload.clone(),
                sender: of.to_string(),
                ..Default::default()
            };
            self.edges.push(connection.key, Frame::Deliver(deliver));
        }
    }

    /// A contact of a user of this lane is not shown to it any more.
    pub(in crate::lane) fn is_not_shown(&mut self, to: &UserId, contact: &UserId) {
        self.show(to, Showing::ToAll, contact, &client::Presence::default().encode_to_vec().into());
    }

    /// What another lane has answered.
    pub(in crate::lane) fn seen(&mut self, lane: u32, look: &PresenceQuery, presences: Vec<client::Presence>) {
        let showing = match look.whom {
            Requester::Call(id) => return self.presence.seen_for_call(&self.context, id, presences),
            Requester::Device(device) => {
                if let Some(silent) = self.presence.listeners.get_mut(&(look.by.clone(), device)) {
                    *silent &= !bit(lane);
                }
                Showing::To(device)
            }
            Requester::Devices => Showing::ToAll,
        };
        for mut presence in presences {
            let Ok(user) = UserId::new(&std::mem::take(&mut presence.user)) else { continue };
            self.show(&look.by, showing, &user, &presence.encode_to_vec().into());
        }
    }
}
