//! Whether this process leads, as far as it knows. Kept by the appender, which asks the journal with everything that it writes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use godwit_store::time::ClockSource;
use tokio::sync::{Notify, watch};

/// For so long an applied append says that this process leads. Less than what a standby waits before it suspects anybody.
const CONFIRMED_FOR: Duration = Duration::from_secs(3);

/// See the module.
pub(crate) struct Standing {
    /// A monotonic clock that goes on while the machine, or the virtual machine, sleeps.
    steady: ClockSource,
    /// When the last append that was applied began, by `steady`, in milliseconds.
    confirmed_ms: AtomicU64,
    confirmed: Notify,
    lost: watch::Sender<Option<String>>,
    segment: AtomicU32,
    position: AtomicU64,
    applied: AtomicU64,
}

impl Standing {
    pub(crate) fn new(steady: ClockSource) -> Self {
        let (lost, _) = watch::channel(None);
        Self {
            steady,
            confirmed_ms: AtomicU64::new(0),
            confirmed: Notify::new(),
            lost,
            segment: AtomicU32::new(0),
            position: AtomicU64::new(0),
            applied: AtomicU64::new(0),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from((self.steady)().as_millis()).unwrap_or(u64::MAX)
    }

    /// An append was applied; it began then.
    pub(crate) fn confirm(&self, began_ms: u64) {
        self.confirmed_ms.store(began_ms, Ordering::Relaxed);
        self.confirmed.notify_waiters();
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        let age_ms = self.now_ms().saturating_sub(self.confirmed_ms.load(Ordering::Relaxed));
        self.why_lost().is_none() && u128::from(age_ms) < CONFIRMED_FOR.as_millis()
    }

    /// Waits until it is confirmed; for ever, if it is lost. Cancel safe.
    pub(crate) async fn until_confirmed(&self) {
        loop {
            let confirmed = self.confirmed.notified();
            if self.is_confirmed() {
                return;
            }
            confirmed.await;
        }
    }

    /// This process leads no more. The first reason stays.
    pub(crate) fn lose(&self, why: &str) {
        self.lost.send_if_modified(|lost| {
            let is_first = lost.is_none();
            lost.get_or_insert_with(|| why.to_owned());
            is_first
        });
    }

    pub(crate) fn why_lost(&self) -> Option<String> {
        self.lost.borrow().clone()
    }

    /// Returns when it is lost: why. Cancel safe.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.map(|lost| lost.clone()) {
            Ok(Some(why)) => why,
            // The sender lives as long as `self`.
            _ => std::future::pending().await,
        }
    }

    /// The journal goes on there.
    pub(crate) fn reached(&self, segment: u32, position: u64) {
        self.segment.store(segment, Ordering::Relaxed);
        self.position.store(position, Ordering::Relaxed);
    }

    /// Rows below this position are in tables.
    pub(crate) fn applied_up_to(&self, position: u64) {
        self.applied.store(position, Ordering::Relaxed);
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    pub(crate) fn place(&self) -> (u32, u64) {
        (self.segment.load(Ordering::Relaxed), self.position.load(Ordering::Relaxed))
    }
}
