//! The server's log, on stderr.
//!
//! A log line never harms who writes it: lines go through a bounded queue to a thread that writes them. When nobody
//! reads stderr any more, or not fast enough, lines are dropped, and the server goes on.

use std::io::{self, IsTerminal as _};
use std::str::FromStr as _;

use anyhow::Context as _;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::Log;

/// Lines that wait for whoever reads the log; further ones are dropped.
const LINES_MAX: usize = 16_384;

/// Changes what is logged. Cheap to ask for.
pub(crate) struct LogLevel(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogLevel {
    /// From now on this is logged, as `log.level` has it.
    ///
    /// # Errors
    /// It is no level.
    pub(crate) fn set(&self, level: &str) -> anyhow::Result<()> {
        let filter = EnvFilter::builder().parse(level).context("log.level")?;
        (self.0)(filter).context("change what is logged")
    }
}

/// Starts logging. Once in a process. What is queued is written when the guard is dropped.
pub(crate) fn start(log: &Log) -> anyhow::Result<(WorkerGuard, LogLevel)> {
    let filter = EnvFilter::builder().parse(&log.level).context("log.level")?;
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).finish(io::stderr());
    // Otherwise a line that cannot be written is told on stderr, which panics if that is why.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    let (started, level) = if log.json {
        let lines = lines.json().flatten_event(true).with_filter_reloading();
        let handle = lines.reload_handle();
        let level = LogLevel(Box::new(move |filter| handle.reload(filter)));
        (lines.finish().with(filter_fn(tells_no_secret)).try_init(), level)
    } else {
        let lines = lines.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
        let handle = lines.reload_handle();
        let level = LogLevel(Box::new(move |filter| handle.reload(filter)));
        (lines.finish().with(filter_fn(tells_no_secret)).try_init(), level)
    };
    started.context("start the log")?;
    Ok((guard, level))
}

/// Libraries tell at these levels all that passes through them: whole requests, with passwords, tokens, and the signatures
/// of links. Whatever the settings say, only our own modules, which do not, are heard there.
fn tells_no_secret(what: &Metadata<'_>) -> bool {
    *what.level() <= Level::INFO || what.target().starts_with("godwit")
}

/// Checks `log.level`: a level, or directives like `godwit_broker=debug`, separated by commas.
///
/// # Errors
/// What is wrong, for the operator. A word that is no level would be taken for the name of a module, and everything
/// else would be silent: that is refused too.
pub(crate) fn check(level: &str) -> Result<(), String> {
    for directive in level.split(',') {
        let is_level = !directive.is_empty() && LevelFilter::from_str(directive).is_ok();
        if !is_level && !directive.contains(['=', '[']) {
            return Err(format!("{directive:?} is none of off, error, warn, info, debug, trace"));
        }
    }
    EnvFilter::builder().parse(level).map(drop).map_err(|error| format!("{level:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_would_silence_everything_is_refused() {
        for good in ["info", "WARN", "off", "info,godwit_broker=debug", "godwit_bridge=trace"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "warning", "info,", "info,nonsense", "godwit_broker", "godwit_broker=loud", "warn, tower=off"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
