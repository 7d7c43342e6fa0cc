//! The push service of a run: it takes what it is sent, and fails as long as there is turmoil. A pager is a device that never
//! connects: all that it hears is that something waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use godwit_bridge::push::PushSettings;
use godwit_push::{BadKey, Gateway, NotAdmitted, Push, Service, Target, Verdict};
use godwit_schemas::client::{SetPush, WebAddress, set_push::To};
use tokio::time::sleep;

use crate::dice::Dice;
use crate::event::Event;
use crate::plan::Turmoil;
use crate::record::Record;

const PAGERS: &str = "https://push.example/";

/// What a pager registers.
pub(crate) fn registration(device: usize, name: &str) -> SetPush {
    let to = Some(To::Web(WebAddress { endpoint: format!("{PAGERS}{device}") }));
    SetPush { to, device: name.to_owned(), ..SetPush::default() }
}

/// See the module.
pub(crate) struct PushService {
    record: Record,
    turmoil: Turmoil,
    dice: Dice,
}

impl fmt::Debug for PushService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushService")
    }
}

impl PushService {
    /// How a bridge pushes in this run.
    pub(crate) fn settings(seed: u64, record: &Record, turmoil: &Turmoil) -> PushSettings {
        let dice = Dice::new(seed, "push service");
        let gateway = Arc::new(Self { record: record.clone(), turmoil: turmoil.clone(), dice });
        PushSettings {
            gateway,
            delay: Duration::from_millis(500),
            active: Duration::from_secs(5),
            per_minute: 30,
            // As few as may be: a page of those that are looked at after a start.
            queue: 64,
            ttl_max: Duration::from_secs(3_600),
        }
    }
}

impl Gateway for PushService {
    fn admits(&self, _: &Target) -> Result<(), NotAdmitted> {
        Ok(())
    }

    fn pause(&self, _: Service) -> Option<Duration> {
        None
    }

    fn send(self: Arc<Self>, push: Push) -> BoxFuture<'static, Verdict> {
        Box::pin(async move {
            sleep(self.dice.ms(0..=100)).await;
            if self.turmoil.reigns() && self.dice.chance(0.3) {
                let after = self.dice.chance(0.5).then(|| self.dice.ms(0..=5_000));
                return Verdict::Later { after };
            }
            let Target::Web { endpoint } = &push.target else { return Verdict::Refused(String::new()) };
            if let Some(device) = endpoint.strip_prefix(PAGERS).and_then(|device| device.parse().ok()) {
                self.record.emit(Event::Pushed { device });
            }
            Verdict::Accepted
        })
    }

    fn use_key(&self, _: &[u8]) -> Result<(), BadKey> {
        Ok(())
    }

    fn vapid(&self) -> Option<Vec<u8>> {
        None
    }
}
