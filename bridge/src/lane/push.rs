//! What the pusher asks of the lane that owns a device: how the device is right now, and that it be pushed nowhere any more.

use godwit_core::stored::UserRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, UserId};

use crate::lane::Lane;
use crate::push::messages::{DeviceState, PushMessage};
use godwit_store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn handle_push(&mut self, message: PushMessage) -> Result<(), StoreError> {
        match message {
            PushMessage::Ask(devices, reply) => {
                let mut states = Vec::with_capacity(devices.len());
                for (user, device) in devices {
                    states.push(self.state_of(&user, device).await?);
                }
                // The pusher may have ended.
                let _ = reply.send(states);
            }
            PushMessage::Forget(forget) => self.forget_push(forget).await?,
        }
        Ok(())
    }

    async fn state_of(&mut self, user: &UserId, device: DeviceId) -> Result<DeviceState, StoreError> {
        let UserRecord { devices, .. } = self.state.user_record(&self.context, user).await?.unwrap_or_default();
        let active_s = self.context.settings.push.as_ref().map_or(0, |push| push.active.as_secs());
        let since_s = self.context.now_s.saturating_sub(u32::try_from(active_s).unwrap_or(u32::MAX));
        let sessions = &mut self.connections.sessions;
        let mut others = devices.iter().map(|it| DeviceId::new(it.id)).filter(|other| *other != device);
        let elsewhere = others.any(|other| sessions.get(&other).is_some_and(|session| session.is_in_use(since_s)));
        let connection = sessions.get_mut(&device).and_then(|session| session.connection.as_deref_mut());
        let exists = devices.iter().any(|it| it.id == device.get()) && !self.accounts.is_being_removed(user);
        let Some(connection) = connection else {
            return Ok(DeviceState { exists, elsewhere, ..DeviceState::default() });
        };
        // What it is handed from now on is told to the pusher again.
        connection.is_watched = false;
        let oldest_in_flight = connection.deliveries.oldest_in_flight();
        Ok(DeviceState { exists, connected: true, oldest_in_flight, elsewhere })
    }
}
