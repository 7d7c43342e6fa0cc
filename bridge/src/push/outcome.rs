//! What follows from a push service's answer: how far the device is pushed, when it is tried again, and when an address is given
//! up.

use std::time::Duration;

use godwit_core::push::{Shown, Suspicion, back_off};
use godwit_core::stored::PushedRecord;
use godwit_push::{Provider, Service, Verdict};
use godwit_schemas::ids::{DeviceId, Order, UserId};
use godwit_store::{Store, StoreError, keys};
use tracing::{error, warn};

use super::messages::Forget;
use super::pusher::Pusher;
use crate::metrics::PushAnswer;
use crate::writes;

/// After an address was refused that may be none.
const SUSPECT_PAUSE: Duration = Duration::from_secs(20 * 60);
/// After this server was refused: its settings are wrong.
const REFUSED_PAUSE_MIN: Duration = Duration::from_secs(60);
/// An operator is told the same no more often than this.
const SAID_AGAIN: Duration = Duration::from_secs(300);

/// A device that was pushed, and how it went.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) device: DeviceId,
    pub(super) user: UserId,
    pub(super) service: Service,
    /// What the push service has taken.
    pub(super) accepted: Vec<Shown>,
    /// Of the last one.
    pub(super) verdict: Verdict,
    /// How far the device is pushed if all was taken.
    pub(super) pushed: PushedRecord,
    /// When it is to be looked at again, for what was held back.
    pub(super) held_until: Option<Duration>,
    /// Second in which the address was set.
    pub(super) set_at_s: u32,
}

impl<S: Store> Pusher<S> {
    /// A device was pushed, as far as it went.
    pub(super) async fn ended(&mut self, ended: Ended) -> Result<(), StoreError> {
        let now = self.now();
        for shown in &ended.accepted {
            self.queue.damper(ended.device).pushed(*shown);
        }
        if !ended.accepted.is_empty() {
            self.accepted_at.insert(ended.service, now);
        }
        let answers = |answer| self.metrics.answers(ended.service.provider, answer);
        answers(PushAnswer::Accepted).add(ended.accepted.len() as u64);
        if ended.verdict != Verdict::Accepted {
            answers(answer_of(&ended.verdict)).increment();
        }
        match ended.verdict.clone() {
            Verdict::Accepted => self.accepted(ended).await?,
            Verdict::Gone { seen_at_ms } => {
                let seen_at_s = seen_at_ms.map(|ms| u32::try_from(ms / 1_000).unwrap_or(u32::MAX));
                self.forget(ended, seen_at_s, "push_gone");
            }
            Verdict::Suspect(why) => self.suspect(ended, &why),
            Verdict::TooLarge => self.too_large(ended).await?,
            Verdict::Later { after } => {
                let wait = after.unwrap_or_default();
                self.try_again(&ended, wait);
            }
            Verdict::Refused(why) => {
                if self.may_say(ended.service.provider) {
                    error!(provider = ended.service.provider.name(), %why, "push: the service refuses this server");
                }
                self.try_again(&ended, REFUSED_PAUSE_MIN);
            }
        }
        Ok(())
    }

    async fn accepted(&mut self, ended: Ended) -> Result<(), StoreError> {
        let (device, now) = (ended.device, self.now());
        self.note_pushed(device, ended.pushed).await?;
        match ended.held_until {
            Some(until) => {
                if let Some(pending) = self.queue.get(device) {
                    (pending.failures, pending.bare, pending.suspicion) = (0, false, None);
                }
                self.queue.schedule(device, until);
            }
            None => self.queue.finish(device, now + self.settings.delay),
        }
        Ok(())
    }

    /// Writes how far a device is pushed. If that is lost with the power, it is pushed once more.
    pub(super) async fn note_pushed(&mut self, device: DeviceId, pushed: PushedRecord) -> Result<(), StoreError> {
        self.write(vec![writes::put(keys::pushed(device), &pushed)]).await
    }

    /// The push service takes no payload: once without one, and then what waits is passed over. The address is good.
    async fn too_large(&mut self, mut ended: Ended) -> Result<(), StoreError> {
        let now = self.now();
        match self.queue.get(ended.device) {
            Some(pending) if !pending.bare => {
                pending.bare = true;
                self.queue.schedule(ended.device, now);
                Ok(())
            }
            _ => {
                if self.may_say(ended.service.provider) {
                    warn!(
                        provider = ended.service.provider.name(),
                        "push: the service takes not even a push without payload"
                    );
                }
                ended.held_until = None;
                self.accepted(ended).await
            }
        }
    }

    fn suspect(&mut self, ended: Ended, why: &str) {
        let now = self.now();
        let accepted = self.accepted_at.get(&ended.service).copied();
        let Some(pending) = self.queue.get(ended.device) else { return };
        let (suspicion, is_none) = Suspicion::grows(pending.suspicion, now, accepted);
        pending.suspicion = Some(suspicion);
        if is_none {
            let set_at_s = Some(ended.set_at_s);
            return self.forget(ended, set_at_s, "push_refused");
        }
        if self.may_say(ended.service.provider) {
            let provider = ended.service.provider.name();
            warn!(provider, %why, "push: an address is refused. If all are, the settings are of another app or environment");
        }
        self.queue.schedule(ended.device, now + SUSPECT_PAUSE);
    }

    fn try_again(&mut self, ended: &Ended, at_least: Duration) {
        let now = self.now();
        let Some(pending) = self.queue.get(ended.device) else { return };
        pending.failures += 1;
        let wait = back_off(pending.failures, spread(ended.device, pending.failures)).max(at_least);
        self.queue.schedule(ended.device, now + wait);
    }

    /// The address is none. `by_s`: unless it was set after this second.
    fn forget(&mut self, ended: Ended, by_s: Option<u32>, why: &'static str) {
        let (user, device) = (ended.user, ended.device);
        let set_by_s = by_s.unwrap_or(ended.set_at_s);
        if ended.set_at_s > set_by_s {
            // The app has set it again since it was none.
            let due = self.now() + back_off(1, 0);
            return self.queue.schedule(device, due);
        }
        self.give_up(Forget { user, device, set_by_s, address: None, why });
    }

    fn may_say(&mut self, provider: Provider) -> bool {
        let now = self.now();
        let silent = self.said_at.get(&provider).is_none_or(|said| *said + SAID_AGAIN <= now);
        if silent {
            self.said_at.insert(provider, now);
        }
        silent
    }
}

fn answer_of(verdict: &Verdict) -> PushAnswer {
    match verdict {
        Verdict::Accepted => PushAnswer::Accepted,
        Verdict::Gone { .. } => PushAnswer::Gone,
        Verdict::Suspect(_) => PushAnswer::Suspect,
        Verdict::TooLarge => PushAnswer::TooLarge,
        Verdict::Later { .. } => PushAnswer::Later,
        Verdict::Refused(_) => PushAnswer::Refused,
    }
}

/// Spreads what devices do at the same time, without drawing anything.
pub(super) fn spread(device: DeviceId, times: u32) -> u16 {
    ((device.get() ^ u64::from(times)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as u16
}

/// How far a device is pushed when these were, of which the first of those that are held back was not.
pub(super) fn pushed_up_to(before: PushedRecord, looked_at: Order, held: Option<Order>, pushes: u32) -> PushedRecord {
    let up_to = held.map_or(looked_at.get(), |held| held.get().saturating_sub(1));
    PushedRecord { up_to: up_to.max(before.up_to), unanswered: before.unanswered.saturating_add(pushes) }
}
