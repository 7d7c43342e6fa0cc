//! What is shown of the process: under the names that all of Prometheus' libraries use, and how near it is to its ceiling of memory.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::scrape::{Scrape, label};
use crate::memory::MemoryWatch;

pub(super) fn show(memory: &MemoryWatch, scrape: &mut Scrape) {
    scrape.gauges(
        "godwit_build_info",
        "1, with the version of the program",
        vec![(label("version", crate::VERSION), 1.0)],
    );
    scrape.gauge("godwit_memory_used_bytes", "Memory that belongs to this process alone", memory.used());
    scrape.gauge("godwit_memory_limit_bytes", "Memory that it may take (limits.memory_mib)", memory.most());
    scrape.gauge("godwit_memory_short", "1: memory is short, and nobody else gets in", memory.is_short());
    let Some(stat) = Stat::read() else { return };
    scrape.counter_of_seconds(
        "process_cpu_seconds_total",
        "Processor time of the process, in user and system mode",
        stat.cpu_s,
    );
    scrape.gauge("process_start_time_seconds", "When the process began, in seconds since 1970", stat.started_s);
    scrape.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM", stat.resident_bytes);
    scrape.gauge("process_virtual_memory_bytes", "Address space of the process", stat.virtual_bytes);
    scrape.gauge("process_threads", "Threads of the process", stat.threads);
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    scrape.gauge("process_open_fds", "Files and sockets that are open", open);
    let most = getrlimit(Resource::Nofile).current;
    scrape.gauge(
        "process_max_fds",
        "Most files and sockets that may be open",
        most.map_or(f64::INFINITY, |it| it as f64),
    );
}

/// What the kernel tells of this process (proc_pid_stat(5)).
#[derive(Debug)]
struct Stat {
    cpu_s: f64,
    /// Since 1970.
    started_s: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let booted_s = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok())?;
        Self::parse(&stat, booted_s, clock_ticks_per_second(), page_size() as u64)
    }

    /// The name of the program, which is the second field, may contain anything.
    fn parse(stat: &str, booted_s: u64, ticks_per_s: u64, page_bytes: u64) -> Option<Self> {
        let fields: Vec<_> = stat.get(stat.rfind(')')? + 2..)?.split_whitespace().collect();
        // The first of these is the third field of all.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_s as f64;
        Some(Self {
            cpu_s: seconds(field(14)? + field(15)?),
            started_s: booted_s as f64 + seconds(field(22)?),
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read_whatever_the_program_is_called() {
        let stat = "12 (a) b ( c) S 1 12 12 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 7 0 400 8192 3 184 1 1 0";
        let stat = Stat::parse(stat, 1_000, 100, 4_096).expect("a process");
        assert_eq!((stat.cpu_s, stat.started_s), (2.0, 1_004.0));
        assert_eq!((stat.threads, stat.virtual_bytes, stat.resident_bytes), (7, 8_192, 12_288));
        assert!(Stat::parse("12 (cut off", 0, 100, 4_096).is_none());
        assert!(Stat::read().is_some_and(|own| own.resident_bytes > 0));
    }
}
