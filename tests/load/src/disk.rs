//! `disk`: what one synced write costs where the data lies. Nothing is acknowledged faster than that, so latencies of
//! different machines compare only as multiples of it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::control::Control;
use crate::latency::{Latency, Percentiles};

/// Appends to a new file and syncs its data, one write after the other, as a store's log does for single messages.
#[derive(Debug, Clone)]
pub struct Disk {
    /// How many, at least 1.
    pub writes: usize,
    /// Size of each in bytes, at least 1.
    pub bytes: usize,
}

/// What it took.
#[derive(Debug, Clone, Serialize)]
pub struct DiskReport {
    /// The folder that was written to.
    pub folder: PathBuf,
    /// Size of each write.
    pub bytes: usize,
    /// From the beginning of a write to the end of its fdatasync.
    pub synced: Percentiles,
}

impl Disk {
    /// Blocks until it is done. The file is removed.
    ///
    /// # Errors
    /// The folder is not there or cannot be written; the run was stopped before the first write.
    pub fn run(&self, folder: &Path, control: &Control) -> Result<DiskReport> {
        ensure!(self.writes > 0 && self.bytes > 0, "needs at least one write of one byte");
        let path = folder.join(format!("bench-disk-{}", std::process::id()));
        let synced = self.write(&path, control).with_context(|| path.display().to_string());
        // What cannot be removed was not made.
        let _ = fs::remove_file(&path);
        let synced = synced?.percentiles();
        ensure!(synced.count > 0, "stopped before the first write");
        Ok(DiskReport { folder: folder.to_owned(), bytes: self.bytes, synced })
    }

    fn write(&self, path: &Path, control: &Control) -> Result<Latency> {
        let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let (bytes, mut synced, start) = (vec![0x5A; self.bytes], Latency::new(), Instant::now());
        let now = || start.elapsed().as_nanos() as u64;
        for _ in 0..self.writes {
            if control.is_stopped() {
                break;
            }
            let begun = now();
            file.write_all(&bytes)?;
            file.sync_data()?;
            synced.record(begun, now());
        }
        Ok(synced)
    }
}

impl fmt::Display for DiskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, bytes, synced } = self;
        writeln!(f, "disk: {} appends of {bytes} bytes with fdatasync in {}", synced.count, folder.display())?;
        write!(f, "  synced       {synced}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_write_and_leaves_nothing_behind() {
        let folder = std::env::temp_dir();
        let control = Control::new(|_| ());
        let report = Disk { writes: 3, bytes: 400 }.run(&folder, &control).unwrap();
        assert_eq!(report.synced.count, 3);
        assert!(!folder.join(format!("bench-disk-{}", std::process::id())).exists());
        assert!(Disk { writes: 3, bytes: 400 }.run(&folder.join("not there"), &control).is_err());
    }
}
