//! A disk of 64 MiB: ext4 in a file behind a loop device, mounted for one test. Needs root and a loop device.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const DISK_MIB: u64 = 64;

/// See the module. Whoever uses it is dropped before.
#[derive(Debug)]
pub(super) struct Disk {
    folder: TempDir,
}

impl Disk {
    /// `None`, and a line on stderr, where it cannot be.
    pub(super) fn new() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("godwit-disk-").tempdir().expect("a folder");
        let it = Self { folder };
        let image = fs::File::create(it.image()).expect("a file");
        image.set_len(DISK_MIB << 20).expect("a file");
        fs::create_dir(it.path()).expect("a folder");
        let image = it.image();
        let made = run("mkfs.ext4", &["-q".as_ref(), "-m".as_ref(), "0".as_ref(), &image]).and_then(|_| it.mount("rw"));
        if let Err(reason) = made {
            // Past the test harness, which shows nothing of a test that passes.
            _ = writeln!(
                std::io::stderr(),
                "SKIPPED a test of a failing disk, which needs root and a loop device: {reason}"
            );
            return None;
        }
        Some(it)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mount(&self, mode: &str) -> Result<(), String> {
        let options = format!("loop,errors=remount-ro,{mode}");
        run("mount", &["-o".as_ref(), options.as_ref(), &self.image(), &self.path()]).map(drop)
    }

    /// Takes everything but this much.
    pub(super) fn fill(&self, but_mib: u64) {
        let disk = rustix::fs::statvfs(self.path()).expect("mounted");
        let bytes = (disk.f_bavail * disk.f_frsize).saturating_sub(but_mib << 20).to_string();
        let file = self.path().join("ballast");
        run("fallocate", &["-l".as_ref(), bytes.as_ref(), &file]).expect("there is room");
    }

    /// Gives it back.
    pub(super) fn make_room(&self) {
        fs::remove_file(self.path().join("ballast")).expect("it was filled");
    }

    /// What the kernel does when it finds the file system inconsistent: from now on nothing is written.
    pub(super) fn fail(&self) {
        let device = run("losetup", &["-n".as_ref(), "-O".as_ref(), "NAME".as_ref(), "-j".as_ref(), &self.image()]);
        let device = device.expect("mounted").trim().replace("/dev/", "");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "broken by a test").expect("Linux with ext4");
    }

    /// Mounted again, after a check, for reading only or for writing too.
    pub(super) fn remount(&self, mode: &str) {
        run("umount", &[&self.path()]).expect("nobody uses it");
        // 1: something was repaired.
        _ = run("e2fsck", &["-p".as_ref(), "-f".as_ref(), &self.image()]);
        self.mount(mode).expect("mounted");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = run("umount", &[&self.path()]);
    }
}

/// What a command says; as an error if it fails.
fn run(program: &str, arguments: &[&Path]) -> Result<String, String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("{program}: {}", text(&output.stderr))) }
}
