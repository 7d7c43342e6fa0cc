//! The process's memory and file descriptors.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use godwit_broker::pressure::Pressure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc when the process starts. A server has many small things that live as long as a connection, and
/// bursts that should be given back soon: a second after, by a thread of the allocator's own.
#[expect(unsafe_code, reason = "jemalloc looks for a symbol of this name; it holds a string that ends in NUL")]
#[unsafe(export_name = "malloc_conf")]
static ALLOCATOR_SETTINGS: Option<&'static std::ffi::c_char> = {
    let settings = c"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
    // Safety: a reference to the string's first byte, which lives as long as the program.
    Some(unsafe { &*settings.as_ptr() })
};

/// Allows as many open files, and so connections, as the system lets this process have. Returns how many.
pub(crate) fn raise_open_files() -> anyhow::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("raise the limit of open files")?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// How often memory is looked at, while more than half of it is taken and otherwise: what comes in meanwhile must fit
/// between the level at which nobody else gets in and the ceiling.
const LOOK: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// Where the kernel tells what a control group may have (version 2, as a container sees its own).
const GROUP_MAX: &str = "/sys/fs/cgroup/memory.max";

/// Has doors and lanes hold back, for as long as the runtime lives, while the process has nearly as much memory as it may. `most`
/// in bytes; 0: three quarters of what there is.
///
/// # Errors
/// The system does not tell how much memory there is, or the process has.
pub(crate) fn watch(most: u64, pressure: Pressure) -> anyhow::Result<MemoryWatch> {
    let most = if most == 0 { available()? / 4 * 3 } else { most };
    let watch = MemoryWatch { used: Arc::new(AtomicU64::new(used()?)), most, pressure: pressure.clone() };
    let seen = watch.used.clone();
    tracing::debug!(mib = most >> 20, "ceiling of memory");
    tokio::spawn(async move {
        let mut used_before = 0;
        loop {
            tokio::time::sleep(LOOK[usize::from(used_before < most / 2)]).await;
            let Ok(used) = used() else { continue };
            used_before = used;
            seen.store(used, Ordering::Relaxed);
            let on = is_short(used, most, pressure.is_on());
            if !pressure.set(on) {
                continue;
            }
            let (used_mib, most_mib) = (used >> 20, most >> 20);
            if on {
                tracing::warn!(used_mib, most_mib, "memory is short: nobody else gets in, and what can wait does");
            } else {
                tracing::info!(used_mib, most_mib, "there is memory again");
            }
        }
    });
    Ok(watch)
}

/// What is known of the process's memory, of a moment ago. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct MemoryWatch {
    used: Arc<AtomicU64>,
    most: u64,
    pressure: Pressure,
}

impl MemoryWatch {
    /// Bytes that belong to this process alone.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that it may take.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// Memory is short.
    pub(crate) fn is_short(&self) -> bool {
        self.pressure.is_on()
    }
}

/// From seven eighths on, until it is less than three quarters.
fn is_short(used: u64, most: u64, was: bool) -> bool {
    used >= if was { most / 4 * 3 } else { most / 8 * 7 }
}

/// Bytes that belong to this process alone: the system can take back none of them.
fn used() -> anyhow::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm").context("/proc/self/statm")?;
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = pages.next().zip(pages.next()).context("/proc/self/statm")?;
    Ok(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Bytes that the machine has, or the control group may have.
fn available() -> anyhow::Result<u64> {
    let info = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let total: u64 = total.context("/proc/meminfo")?;
    // "max", or no such file: no limit.
    let group = fs::read_to_string(GROUP_MAX).ok().and_then(|most| most.trim().parse().ok());
    Ok((total << 10).min(group.unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_is_seven_eighths_until_it_is_less_than_three_quarters() {
        let levels = [50, 87, 88, 80, 75, 74, 80].map(|mib: u64| mib << 20);
        let mut was = false;
        let shorts = levels.map(|used| {
            was = is_short(used, 100 << 20, was);
            was
        });
        assert_eq!(shorts, [false, false, true, true, true, false, false]);
    }

    #[test]
    fn what_a_process_takes_is_seen() {
        let before = used().unwrap();
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(used().unwrap() > before + (60 << 20) && used().unwrap() < available().unwrap());
        drop(taken);
    }
}
