//! The process's memory and file descriptors.

use anyhow::Context as _;
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
