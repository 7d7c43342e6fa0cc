//! Re-authentication (MQTT 5, 4.12.1): who logged in with a token brings another before it ends, and stays.

use godwit_schemas::bus;
use godwit_schemas::reason::Reason;

use super::{Phase, Session};
use crate::mqtt::auth::{self, METHOD, RE_AUTHENTICATE};
use crate::mqtt::frame::Frame;

impl Session {
    /// AUTH came: the lane is asked. One at a time.
    pub(super) fn renew(&mut self, frame: Frame) -> Result<(), Reason> {
        let auth = auth::read(frame)?;
        let agreed = self.client.as_ref().is_some_and(|client| client.renews);
        let is_same = auth.method.is_some_and(|method| method == METHOD);
        if !agreed || !is_same || auth.reason != RE_AUTHENTICATE || self.renewal.is_some() {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let renewal = bus::Renew { token: auth.data.unwrap_or_default() };
        self.up(&renewal);
        self.renewal = Some(Box::new(renewal));
        Ok(())
    }

    /// The token is good. A bad one ends the connection instead.
    pub(super) fn renewed(&mut self, renewed: &bus::Renewed) {
        if self.renewal.take().is_some() && matches!(self.phase, Phase::Open) {
            self.ends_at_s = renewed.ends_at_s;
            auth::done(&mut self.out);
        }
    }
}
