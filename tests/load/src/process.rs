//! What a process has used so far, from /proc: of the server that is measured, and of ourselves.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit};
use rustix::time::ClockId;
use serde::Serialize;

/// A reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
    /// Resident memory that no file backs: heap and stacks.
    pub(crate) anonymous_bytes: u64,
    /// Bytes that it caused to be sent to a disk; `None` if we may not know.
    pub(crate) written_bytes: Option<u64>,
    /// How often its threads gave up a processor, willingly or not. Of the threads that are there now.
    pub(crate) switches: u64,
}

/// Reads /proc/`pid`.
///
/// # Errors
/// There is no such process.
pub(crate) fn sample(pid: u32) -> Result<Sample> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("read {path}"))
    };
    let status = read("status")?;
    let kib = |key| field(&status, key).unwrap_or(0) * 1024;
    let ticks = cpu_ticks(&read("stat")?).context("read the processor time of the server")?;
    Ok(Sample {
        cpu: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
        rss_bytes: kib("VmRSS:"),
        anonymous_bytes: kib("RssAnon:"),
        written_bytes: read("io").ok().and_then(|io| field(&io, "write_bytes:")),
        switches: switches(pid)?,
    })
}

fn switches(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/task");
    let mut switches = 0;
    for task in fs::read_dir(&path).with_context(|| format!("read {path}"))? {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        let count = |key| field(&status, key).unwrap_or(0);
        switches += count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:");
    }
    Ok(switches)
}

/// utime + stime. They are fields 14 and 15, and the name in field 2 may contain anything, even blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// First number after `key` at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// Processor time of this process.
pub(crate) fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Lets this process have `count` open files.
///
/// # Errors
/// The limit is lower and cannot be raised.
pub(crate) fn allow_open_files(count: u64) -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(count));
    let raised = Rlimit { current: Some(count), maximum };
    rustix::process::setrlimit(Resource::Nofile, raised).with_context(|| {
        let hard = limit.maximum.unwrap_or(u64::MAX);
        format!("raise the limit of open files to {count} (the hard limit is {hard}; see `ulimit -Hn`)")
    })
}

/// How many files `pid` may have open now; `None`: no limit, or we may not know.
pub(crate) fn open_files_max(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    field(&limits, "Max open files")
}

/// What the server used between two readings.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerUse {
    /// Processor time for each delivered message, all threads, user and kernel.
    pub cpu_us_per_message: f64,
    /// Share of one core: 2.0 means two cores were busy.
    pub cores: f64,
    /// Resident memory before.
    pub rss_before_bytes: u64,
    /// Resident memory after.
    pub rss_after_bytes: u64,
    /// Bytes sent to a disk for each delivered message, in whole pages (/proc/pid/io, write_bytes); absent if the
    /// kernel does not tell us.
    pub written_bytes_per_message: Option<f64>,
    /// Context switches of all its threads for each delivered message.
    pub switches_per_message: f64,
}

impl ServerUse {
    pub(crate) fn between(before: &Sample, after: &Sample, elapsed: Duration, messages: u64) -> Self {
        let per_message = |amount: f64| amount / messages.max(1) as f64;
        let cpu = after.cpu.saturating_sub(before.cpu);
        let written = after.written_bytes.zip(before.written_bytes).map(|(after, before)| after.saturating_sub(before));
        Self {
            cpu_us_per_message: per_message(cpu.as_secs_f64() * 1e6),
            cores: cpu.as_secs_f64() / elapsed.as_secs_f64(),
            rss_before_bytes: before.rss_bytes,
            rss_after_bytes: after.rss_bytes,
            written_bytes_per_message: written.map(|bytes| per_message(bytes as f64)),
            switches_per_message: per_message(after.switches.saturating_sub(before.switches) as f64),
        }
    }
}

impl fmt::Display for ServerUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        write!(f, "{:.1} us CPU per message, {:.2} cores, ", self.cpu_us_per_message, self.cores)?;
        write!(f, "{:.2} context switches per message, ", self.switches_per_message)?;
        write!(f, "RSS {:.1} -> {:.1} MiB", mib(self.rss_before_bytes), mib(self.rss_after_bytes))?;
        match self.written_bytes_per_message {
            Some(bytes) => write!(f, ", {bytes:.0} bytes to disk per message"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert_eq!(field("VmRSS:\t  12 kB\nRssAnon:\t   5 kB\n", "RssAnon:"), Some(5));
        assert_eq!(field("VmRSS:\t  12 kB\n", "RssAnon:"), None);
    }

    #[test]
    fn reads_a_living_process() {
        let sample = sample(std::process::id()).unwrap();
        assert!(sample.rss_bytes >= sample.anonymous_bytes && sample.anonymous_bytes > 0);
        assert!(sample.switches > 0);
        let limit = rustix::process::getrlimit(Resource::Nofile).current;
        assert!(open_files_max(std::process::id()).zip(limit).is_none_or(|(read, limit)| read >= limit));
        assert!(own_cpu() > Duration::ZERO);
    }

    #[test]
    fn use_is_per_message() {
        let sample = |cpu_ms, written, switches| Sample {
            cpu: Duration::from_millis(cpu_ms),
            rss_bytes: 1,
            anonymous_bytes: 1,
            written_bytes: Some(written),
            switches,
        };
        let used = ServerUse::between(&sample(100, 5000, 10), &sample(600, 9000, 510), Duration::from_secs(1), 1000);
        assert!((used.cpu_us_per_message - 500.0).abs() < 1e-9);
        assert!((used.cores - 0.5).abs() < 1e-9);
        assert_eq!(used.written_bytes_per_message, Some(4.0));
        assert!((used.switches_per_message - 0.5).abs() < 1e-9);
    }
}
