//! What the server keeps is for its user only: what it makes, and what an earlier version or an operator made for everybody.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Chat;
use crate::server::Server;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn all(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { [all(&path), vec![path]].concat() } else { vec![path] }).collect()
}

/// Files and folders that others can get at.
fn open_to_others(data: &Path) -> Vec<(PathBuf, u32)> {
    let open = |path: &PathBuf| Some((path.clone(), mode(path))).filter(|(_, mode)| mode & 0o077 != 0);
    all(data).iter().chain([&data.to_owned()]).filter_map(open).collect()
}

#[test]
fn what_the_server_keeps_is_for_its_user_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, audit) = (folder.path().join("data"), folder.path().join("audit"));
    fs::create_dir(&data).expect("made");
    fs::set_permissions(&data, Permissions::from_mode(0o755)).expect("ours");
    fs::write(&audit, "").expect("written");
    fs::set_permissions(&audit, Permissions::from_mode(0o644)).expect("ours");
    let mut server = Server::on(&data, &[("audit.file", audit.to_str().expect("text"))]);
    let mut chat = Chat::new(&server);
    assert!(chat.send(&server, 3, 100));
    for name in ["store", "media", "media.keys", "admin.json"] {
        assert!(data.join(name).exists(), "{name}");
    }
    assert_eq!(open_to_others(&data), []);
    assert_eq!(mode(&audit), 0o640);

    assert_eq!(server.stop(), Some(0));
    for path in all(&data).iter().chain([&data]) {
        fs::set_permissions(path, Permissions::from_mode(if path.is_dir() { 0o755 } else { 0o644 })).expect("ours");
    }
    server.start_again();
    for name in ["", "store", "media", "media.keys", "admin.json", "listeners.json"] {
        assert_eq!(mode(&data.join(name)) & 0o077, 0, "{name}");
    }
    chat.check(&server);
}
