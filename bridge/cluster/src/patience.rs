//! Doing again what a database did not do, with pauses that grow.

use std::time::Duration;

use godwit_store::StoreError;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::journal::Outcome;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often it is said that something still fails.
const SAID_EVERY: Duration = Duration::from_secs(30);

/// Pauses between tries. Says in the log what fails: at the second time, so that a single lost answer goes unsaid.
#[derive(Debug)]
pub(crate) struct Patience {
    doing: &'static str,
    tries: u32,
    pause: Duration,
    said: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(doing: &'static str) -> Self {
        Self { doing, tries: 0, pause: PAUSE_MIN, said: None }
    }

    /// It failed again.
    pub(crate) async fn pause(&mut self, cause: &str) {
        self.tries += 1;
        if self.tries > 1 && self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            self.said = Some(Instant::now());
            warn!(doing = self.doing, cause, tries = self.tries, "the database does not do it, and is asked again");
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// It is done.
    pub(crate) fn done(self) {
        if self.said.is_some() {
            info!(doing = self.doing, tries = self.tries, "the database has done it");
        }
    }
}

/// Until it is done.
pub(crate) async fn patiently<T, F>(doing: &'static str, mut work: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut patience = Patience::new(doing);
    loop {
        match work().await {
            Ok(done) => {
                patience.done();
                return done;
            }
            Err(error) => patience.pause(&error.cause).await,
        }
    }
}

/// Until the outcome of a conditional write is known. `false`: it was fenced.
pub(crate) async fn until_known<F>(doing: &'static str, mut call: impl FnMut() -> F) -> bool
where
    F: Future<Output = Outcome>,
{
    let mut patience = Patience::new(doing);
    loop {
        match call().await {
            Outcome::Unknown(cause) => patience.pause(&cause).await,
            known => {
                patience.done();
                return known == Outcome::Applied;
            }
        }
    }
}

/// Until it is done, or has failed for `limit`.
///
/// # Errors
/// The last one.
pub(crate) async fn within<T, F>(
    limit: Duration,
    doing: &'static str,
    mut work: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let (began, mut patience) = (Instant::now(), Patience::new(doing));
    loop {
        match work().await {
            Ok(done) => {
                patience.done();
                return Ok(done);
            }
            Err(error) if began.elapsed() >= limit => return Err(error),
            Err(error) => patience.pause(&error.cause).await,
        }
    }
}
