//! Deadlines: what a connection does because of the time, and when it has to be checked next.

use std::time::Duration;

use godwit_schemas::reason::Reason;

use super::{MqttConnection, NextStep, Phase};
use crate::context::EdgeContext;
use crate::pressure;
use crate::timer::{TICK, Ticks};

/// How long a client may take to close its end, after the server or the client itself has ended the connection.
pub(super) const LINGER: Duration = Duration::from_secs(3);
/// A connected client is checked at least this often.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// A client whose packet is deferred because memory is short is checked this often.
const PRESSURE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl MqttConnection {
    /// Acts on the deadlines that have passed. Returns when the next check is due; `None`: never.
    pub(crate) fn check(&mut self, context: &EdgeContext, now: Ticks) -> Option<Ticks> {
        if now < self.next_check_at {
            return None;
        }
        let span = self.span.clone();
        let _entered = span.enter();
        self.check_deadlines(context, now);
        let next = self.next_check(context, now);
        self.next_check_at = next.unwrap_or(Ticks::NEVER);
        next
    }

    /// Has this connection checked at that moment, unless a check is due before.
    pub(super) fn schedule_check(&mut self, context: &EdgeContext, at: Ticks) {
        if at < self.next_check_at {
            self.next_check_at = at;
            context.schedule_check(at, self.number);
        }
    }

    /// Enters a phase, and schedules its deadline.
    pub(super) fn enter(&mut self, context: &EdgeContext, phase: Phase) {
        self.phase = phase;
        if let Some(at) = self.next_check(context, context.now()) {
            self.schedule_check(context, at);
        }
    }

    /// Whether reading the rest of a partially received packet must be deferred because memory is short. `bytes` of it have come. No
    /// event tells when there is memory again, so a check looks.
    pub(crate) fn defer_partial_packet(&mut self, context: &EdgeContext, bytes: usize) -> bool {
        if bytes <= pressure::PARTIAL_PACKET_BYTES_MAX || !matches!(self.phase, Phase::Connected) {
            self.large_since = None;
            return false;
        }
        self.large_since.get_or_insert(context.now());
        let is_deferred = context.settings.pressure.is_on();
        if is_deferred {
            self.reading_paused = true;
            self.schedule_check(context, context.now().after(PRESSURE_CHECK_INTERVAL));
        }
        is_deferred
    }

    /// When CONNACK must have been sent.
    fn connect_by(&self, context: &EdgeContext) -> Ticks {
        self.accepted_at.after(context.settings.connect_deadline)
    }

    fn check_deadlines(&mut self, context: &EdgeContext, now: Ticks) {
        let connect_by = self.connect_by(context);
        let closed_by = self.closing_since.after(LINGER);
        match &self.phase {
            Phase::AwaitingConnect if now >= connect_by => self.drop_silently(),
            Phase::Throttled(_, until) if now >= *until => self.end_throttle(context),
            Phase::Queued(_, until) if now >= *until => self.refuse_busy(context),
            Phase::Authenticating(_) if now >= connect_by => self.close(context, Reason::SERVER_UNAVAILABLE),
            Phase::Disconnecting(_, until) if now >= *until => self.end_and_close(context),
            Phase::Closing if now >= closed_by => self.drop_silently(),
            Phase::Connected => self.check_connected(context, now),
            _ => {}
        }
    }

    /// When a connection in this phase is to be checked.
    fn next_check(&self, context: &EdgeContext, now: Ticks) -> Option<Ticks> {
        match &self.phase {
            Phase::Throttled(_, until) | Phase::Queued(_, until) | Phase::Disconnecting(_, until) => Some(*until),
            Phase::AwaitingConnect | Phase::Authenticating(_) => Some(self.connect_by(context)),
            Phase::Connected => {
                let keep_alive = self.keep_alive().map(|time| self.last_read_at.after(time));
                let paused_until =
                    self.rate_limit.blocked_until(&context.settings, now).filter(|_| self.reading_paused);
                let regular = paused_until.unwrap_or(Ticks::NEVER).min(now.after(CHECK_INTERVAL));
                Some(keep_alive.map_or(regular, |at| at.min(regular)).max(now.after(TICK)))
            }
            Phase::Closing => Some(self.closing_since.after(LINGER)),
            Phase::Closed => None,
        }
    }

    fn check_connected(&mut self, context: &EdgeContext, now: Ticks) {
        if self.reading_paused && self.rate_limit.blocked_until(&context.settings, now).is_none() {
            self.reading_paused = false;
            self.wake();
        }
        let is_overdue = |since: Ticks| now >= since.after(context.settings.drain_deadline);
        if self.blocked_since.is_some_and(is_overdue) {
            context.counters.dropped.increment();
            self.end();
            self.drop_silently();
            return;
        }
        // Slow input and slow output hold memory.
        let holds_memory = self.large_since.is_some_and(is_overdue) || self.backlog_since.is_some_and(is_overdue);
        if context.settings.pressure.is_on() && holds_memory {
            return self.close(context, Reason::QUOTA_EXCEEDED);
        }
        // A client is not silent while the server does not read from it, or while it takes bytes, however slowly.
        if self.next_step(context, 0) == NextStep::Pause || self.blocked_since.is_some() {
            self.last_read_at = now;
        }
        if self.keep_alive().is_some_and(|time| now >= self.last_read_at.after(time)) {
            self.close(context, Reason::KEEP_ALIVE_TIMEOUT);
        }
    }

    /// One and a half times the keep alive interval (MQTT-3.1.2-22 of MQTT 5).
    fn keep_alive(&self) -> Option<Duration> {
        let seconds = self.client.as_ref().map_or(0, |client| client.keep_alive_s);
        (seconds > 0).then(|| Duration::from_millis(u64::from(seconds) * 1_500))
    }
}
