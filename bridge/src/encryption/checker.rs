//! Checks beside the lanes: a lane hands one in and goes on, and hears of what came of it in its mailbox. So no lane is held by
//! signatures, whoever hands in how many.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tracing::error;

use super::{EncryptionSettings, Invalid, Validator};
use godwit_store::StoreError;

/// Checks that wait; who hands in more is told to come back.
const QUEUE: usize = 256;

type Check = Box<dyn FnOnce() + Send>;

/// Where lanes hand in what is to be checked.
#[derive(Clone)]
pub(crate) struct Checker {
    checks: mpsc::Sender<Check>,
    validator: Arc<dyn Validator>,
}

/// Room for one more check.
pub(crate) struct Slot<'c> {
    permit: mpsc::Permit<'c, Check>,
    validator: Arc<dyn Validator>,
}

impl Checker {
    /// The task that does the checks is to be run to its end, which comes when no lane is left.
    pub(crate) fn new(settings: &EncryptionSettings) -> (Self, impl Future<Output = Result<(), StoreError>> + use<>) {
        let (checks, handed_in) = mpsc::channel(QUEUE);
        let validator = settings.validator.clone();
        (Self { checks, validator }, run(handed_in, settings.checks_at_once))
    }

    /// `None`: too many checks wait.
    pub(crate) fn slot(&self) -> Option<Slot<'_>> {
        let permit = self.checks.try_reserve().ok()?;
        Some(Slot { permit, validator: self.validator.clone() })
    }
}

impl Slot<'_> {
    /// Has `check` done; `then` is called with what came of it, by another thread.
    pub(crate) fn check<T: 'static>(
        self,
        check: impl FnOnce(&dyn Validator) -> Result<T, Invalid> + Send + 'static,
        then: impl FnOnce(Result<T, Invalid>) + Send + 'static,
    ) {
        let Self { permit, validator } = self;
        permit.send(Box::new(move || {
            // What others wrote must not end the process.
            let checked = catch_unwind(AssertUnwindSafe(|| check(&*validator))).unwrap_or_else(|_| {
                error!("a check of what a device handed in has panicked");
                Err(Invalid("it cannot be checked"))
            });
            then(checked);
        }));
    }
}

async fn run(mut checks: mpsc::Receiver<Check>, at_once: usize) -> Result<(), StoreError> {
    let permits = Arc::new(Semaphore::new(at_once));
    while let Some(check) = checks.recv().await {
        if at_once == 0 {
            check();
        } else if let Ok(permit) = permits.clone().acquire_owned().await {
            tokio::task::spawn_blocking(move || {
                check();
                drop(permit);
            });
        }
    }
    Ok(())
}
