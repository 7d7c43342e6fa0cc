//! `GET /healthz`: the process is alive. `GET /readyz`: it serves. Neither needs a token: a supervisor asks.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use super::problem::Problem;

/// How long an answer holds: however many ask, the server looks once in that time.
const HOLDS: Duration = Duration::from_secs(1);

/// What does not work, for people; or nothing.
pub type Checked = Result<(), &'static str>;

/// Looks whether the server serves, which takes a second or two at the most.
pub type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Checked> + Send>> + Send + Sync>;

/// Answers whether the server serves, and keeps each answer for a second. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readiness {
    check: Check,
    last: Arc<Mutex<Option<(Instant, Checked)>>>,
}

impl Readiness {
    pub(super) fn new(check: Check) -> Self {
        Self { check, last: Arc::default() }
    }

    /// Whoever asks while it is being looked waits for that.
    async fn look(&self) -> Checked {
        let mut last = self.last.lock().await;
        if let Some((_, checked)) = last.filter(|(at, _)| at.elapsed() < HOLDS) {
            return checked;
        }
        let checked = (self.check)().await;
        *last = Some((Instant::now(), checked));
        checked
    }
}

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(readiness): State<Readiness>) -> Result<&'static str, Problem> {
    match readiness.look().await {
        Ok(()) => Ok("ready\n"),
        Err(problem) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, problem)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_it_is_looked_once_in_a_second() {
        let looks = Arc::<AtomicU32>::default();
        let counted = looks.clone();
        let readiness = Readiness::new(Arc::new(move || {
            let look = counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::time::sleep(HOLDS / 4).await;
                if look == 0 { Ok(()) } else { Err("broken") }
            })
        }));
        let both = tokio::join!(readiness.look(), readiness.look());
        assert_eq!((both, looks.load(Ordering::Relaxed)), ((Ok(()), Ok(())), 1));
        tokio::time::advance(HOLDS).await;
        assert_eq!((readiness.look().await, looks.load(Ordering::Relaxed)), (Err("broken"), 2));
    }
}
