//! Checkpoints of the store in the data folder: hard links to its tables, made in a moment, for `godwit backup`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use godwit_http::Checkpoints;
use godwit_store::rocks::StoreProbe;

/// In the data folder, so that its files can be linked.
const FOLDER: &str = "checkpoint";

/// See the module.
pub(super) struct StoreCheckpoints {
    store: StoreProbe,
    folder: PathBuf,
    /// One at a time.
    turn: Mutex<()>,
}

impl StoreCheckpoints {
    /// Of the open store of this data folder. What an earlier process has left is removed.
    pub(super) fn new(store: StoreProbe, data: &Path) -> Self {
        let it = Self { store, folder: data.join(FOLDER), turn: Mutex::default() };
        if let Err(error) = it.remove() {
            tracing::warn!(%error, folder = %it.folder.display(), "the checkpoint of an earlier backup stays");
        }
        it
    }
}

impl Checkpoints for StoreCheckpoints {
    fn make(&self) -> Result<PathBuf, String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        remove(&self.folder).map_err(|error| error.to_string())?;
        self.store.checkpoint(&self.folder).map_err(|error| error.to_string())?;
        Ok(self.folder.clone())
    }

    fn remove(&self) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        remove(&self.folder)
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
