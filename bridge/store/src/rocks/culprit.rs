//! Which table is damaged where RocksDB does not say: of damaged properties of a table it names the MANIFEST by which it
//! found the table, or nothing. Called when a store does not open, so that the operator is told which file to bring back from a
//! backup. Each table is given to an empty store of its own, which looks at the same parts of it.

use std::path::{Path, PathBuf};

use rocksdb::{DB, IngestExternalFileOptions, Options};

use super::before::names;

/// What RocksDB says of every table that is whole: it was not made to be taken over by another store.
const WHOLE: &str = "External file version not found";

/// The first table in the folder that RocksDB cannot open.
pub(super) fn table(folder: &Path) -> Option<PathBuf> {
    let scratch = tempfile::tempdir().ok()?;
    let mut options = Options::default();
    options.create_if_missing(true);
    let store = DB::open(&options, scratch.path()).ok()?;
    let mut linked = IngestExternalFileOptions::default();
    linked.set_move_files(true);
    let mut names = names(folder).ok()?;
    names.sort_unstable();
    names.into_iter().filter(|name| name.extension().is_some_and(|kind| kind == "sst")).find(|name| {
        let taken = store.ingest_external_file_opts(&linked, vec![name]);
        taken.is_err_and(|error| !error.as_ref().contains(WHOLE))
    })
}
