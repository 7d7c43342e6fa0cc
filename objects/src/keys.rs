//! The access key and the secret key, made at the first start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What requests are signed with. Who has the secret may do everything here.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Names the secret; it stands in every link.
    pub access: String,
    /// Known to the bridge and to this server.
    pub secret: String,
}

impl Keys {
    /// Reads them from a file of two lines, which is made, for its owner only, if there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, or it has no keys.
    pub fn load_or_make(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| io::Error::other("not two lines with a key each")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut next = || lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
        Some(Self { access: next()?, secret: next()? })
    }

    fn make(path: &Path) -> io::Result<Self> {
        let random = |len| {
            let mut bytes = vec![0; len];
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            Ok::<_, io::Error>(URL_SAFE_NO_PAD.encode(bytes))
        };
        let keys = Self { access: random(15)?, secret: random(30)? };
        let beside = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        writeln!(file, "{}\n{}", keys.access, keys.secret)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn they_are_made_once_and_for_their_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let made = Keys::load_or_make(&path).expect("made");
        assert!(made == Keys::load_or_make(&path).expect("read") && made.secret.len() == 40);
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        fs::write(&path, "one\n").expect("written");
        assert!(Keys::load_or_make(&path).is_err(), "a damaged file is not replaced: links were signed with it");
    }
}
