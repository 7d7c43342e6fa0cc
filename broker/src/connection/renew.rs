//! Re-authentication (MQTT 5, 4.12.1): a client that logged in with a token sends a new one before the old one ends, and stays
//! connected.

use godwit_schemas::bus;
use godwit_schemas::reason::Reason;

use super::{MqttConnection, Phase};
use crate::mqtt::auth::{self, METHOD, RE_AUTHENTICATE};
use crate::mqtt::packet::RawPacket;

impl MqttConnection {
    /// Handles an AUTH: the lane verifies the new token. One at a time.
    ///
    /// # Errors
    /// The reason to close the connection with.
    pub(super) fn handle_auth(&mut self, packet: RawPacket) -> Result<(), Reason> {
        let auth = auth::read(packet)?;
        let agreed = self.client.as_ref().is_some_and(|client| client.uses_jwt);
        let is_same = auth.method.is_some_and(|method| method == METHOD);
        if !agreed || !is_same || auth.reason != RE_AUTHENTICATE || self.renewal.is_some() {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let renewal = bus::Renew { token: auth.data.unwrap_or_default() };
        self.send_up(&renewal);
        self.renewal = Some(Box::new(renewal));
        Ok(())
    }

    /// The lane has accepted the new token. (If it does not, it closes the connection.)
    pub(super) fn handle_renewed(&mut self, renewed: &bus::Renewed) {
        if self.renewal.take().is_some() && matches!(self.phase, Phase::Connected) {
            self.ends_at_s = renewed.ends_at_s;
            auth::accepted(&mut self.out);
        }
    }
}
