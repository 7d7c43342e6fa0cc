//! Every kind of file in a store, damaged in every way: the store has everything that was acknowledged, or it is not opened,
//! names the file, and nothing in it has changed; so that a repair finds what there was.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek as _, Write as _};

use super::manifest::Manifest;
use super::synced::Synced;
use super::*;

/// Names and contents of files.
type Files = BTreeMap<String, Vec<u8>>;
type Rows = Vec<(Table, Vec<u8>, Bytes)>;

/// A store as it is on disk at some moment, and what was acknowledged by then.
struct Image {
    files: Files,
    rows: Rows,
}

fn read_files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn write_files(files: &Files, folder: &Path) {
    files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
}

/// A store that is filled, and what was acknowledged.
struct Scene {
    folder: tempfile::TempDir,
    store: RocksStore,
    random: Random,
    rows: Rows,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), &TINY).unwrap();
        Self { folder, store, random: Random(seed), rows: Vec::new() }
    }

    /// Small rows in one table, large ones in another: that one is written to disk again and again, and logs stay for the
    /// sake of the small ones.
    async fn fill(&mut self, commits: usize) {
        for number in 0..commits {
            let key = [self.rows.len().to_be_bytes(), self.random.below(usize::MAX).to_be_bytes()].concat();
            let [small, large] = [10, 2_000].map(|len| [&[0xff; 4][..], &self.random.bytes(len)].concat());
            let writes = vec![put(Table::Directory, &key, &small), put(Table::Inbox, &key, &large)];
            let durability = if number % 4 == 2 { Durability::Buffered } else { Durability::Synced };
            self.store.commit(writes, durability).await.unwrap();
            self.rows.push((Table::Directory, key.clone(), small.into()));
            self.rows.push((Table::Inbox, key, large.into()));
        }
        self.store.settle().unwrap();
    }

    /// As a process leaves it that is killed now.
    fn image(&self) -> Image {
        Image { files: read_files(self.folder.path()), rows: self.rows.clone() }
    }

    fn restart(mut self) -> Self {
        drop(self.store);
        self.store = open(self.folder.path(), &TINY).unwrap();
        self
    }
}

/// Stores for one table of cases.
struct Images {
    /// As it was once, and under other file names in part.
    older: Image,
    killed: Image,
    stopped: Image,
    /// Not the same store, and with the same names in part.
    other: Image,
}

async fn images() -> Images {
    let mut scene = Scene::new(1);
    scene.fill(60).await;
    scene.store.flush().unwrap();
    let older = scene.image();
    let mut scene = scene.restart();
    scene.fill(40).await;
    scene.store.flush().unwrap();
    scene.fill(70).await;
    let killed = scene.image();
    assert!(killed.needed_logs().len() > 1 && killed.of_kind(".sst").len() > 2, "{:?}", killed.files.keys());
    scene.store.flush().unwrap();
    let stopped = scene.restart().image();
    let mut other = Scene::new(2);
    other.fill(30).await;
    let mut other = other.restart();
    other.fill(60).await;
    Images { older, killed, stopped, other: other.image() }
}

impl Image {
    fn of_kind(&self, kind: &str) -> Vec<String> {
        let is_kind = |name: &&String| name.ends_with(kind) || name.starts_with(kind);
        self.files.keys().filter(is_kind).cloned().collect()
    }

    fn with(&self, name: &str, bytes: Vec<u8>) -> Files {
        let mut files = self.files.clone();
        files.insert(name.to_owned(), bytes);
        files
    }

    fn without(&self, name: &str) -> Files {
        let mut files = self.files.clone();
        files.remove(name);
        files
    }

    /// Logs that are needed: others that are still there do not matter.
    fn needed_logs(&self) -> Vec<String> {
        let [manifest] = &self.of_kind("MANIFEST-")[..] else { panic!("one MANIFEST") };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.files[manifest]).unwrap();
        file.rewind().unwrap();
        let mut manifest = Manifest::new();
        journal::read(&file, |part| manifest.take(part).unwrap()).unwrap();
        let oldest = format!("{:06}.log", manifest.oldest_log());
        self.of_kind(".log").into_iter().filter(|log| *log >= oldest && !self.files[log].is_empty()).collect()
    }

    /// A MANIFEST with so many bytes has all that is known to have been on disk.
    fn is_not_less_than_known(&self, name: &str, bytes: usize) -> bool {
        let folder = tempfile::tempdir().unwrap();
        write_files(&self.files, folder.path());
        let known = Synced::read(folder.path()).unwrap().unwrap().manifest;
        name.starts_with("MANIFEST-") && bytes as u64 >= known.bytes
    }

    /// Opens a store of these files, of which the named one is damaged, and holds it to what the module says.
    async fn hold(&self, files: &Files, name: &str, what: &str) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        write_files(files, folder.path());
        let store = match open(folder.path(), &SETTINGS) {
            Ok(store) => store,
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(name) && error.contains("When the disk fails"), "{name}, {what}: {error}");
                for (name, bytes) in files.iter().filter(|(name, _)| !name.starts_with("LOG")) {
                    let is_there = fs::read(folder.path().join(name)).is_ok_and(|found| found == *bytes);
                    assert!(is_there, "{name} has changed: {what}: {error}");
                }
                return Outcome::Refused;
            }
        };
        for (table, key, value) in &self.rows {
            match store.multi_get(&[(*table, key.clone())]).await {
                Ok(found) => assert_eq!(found[0].as_ref(), Some(value), "{name}, {what}: acknowledged, and not there"),
                // The server ends; see `tests/e2e/disk/damaged.rs`.
                Err(error) => {
                    assert!(error.to_string().contains(name), "{name}, {what}: {error}");
                    return Outcome::Fails;
                }
            }
        }
        Outcome::Opens
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// With everything.
    Opens,
    Refused,
    /// When the damage is read.
    Fails,
}

use Outcome::{Fails, Opens, Refused};

/// No record of a journal, or part of one, goes beyond the end of a block.
const BLOCK: usize = 32 << 10;

/// Where records of a journal end: see `journal`.
fn record_ends(journal: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (0, vec![0]);
    while at + 7 <= journal.len() {
        if BLOCK - at % BLOCK < 7 {
            at = at.next_multiple_of(BLOCK);
            continue;
        }
        at += 7 + usize::from(u16::from_le_bytes([journal[at + 4], journal[at + 5]]));
        ends.push(at);
    }
    ends
}

/// Everything that may become of a file by itself: what, and its bytes, or none if it is gone.
fn damages(bytes: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let mut damages = vec![("missing".to_owned(), None), ("empty".to_owned(), Some(Vec::new()))];
    let middle = bytes.len() / 2;
    for at in [1, middle, bytes.len() - 1] {
        damages.push((format!("cut at {at}"), Some(bytes[..at].to_vec())));
    }
    for at in [0, 5, middle, bytes.len() - 1] {
        let mut wrong = bytes.to_vec();
        wrong[at] ^= 0x20;
        damages.push((format!("a wrong byte at {at}"), Some(wrong)));
    }
    for (from, to) in [(0, bytes.len()), (middle, bytes.len()), (0, middle)] {
        let mut zeros = bytes.to_vec();
        zeros[from..to].fill(0);
        damages.push((format!("zeros from {from} to {to}"), Some(zeros)));
    }
    damages
}

async fn each_damage(image: &Image, name: &str, expected: &[Outcome]) {
    for (what, bytes) in damages(&image.files[name]) {
        if bytes.as_ref().is_some_and(|bytes| image.is_not_less_than_known(name, bytes.len())) && what.contains("cut") {
            continue;
        }
        let files = bytes.map_or_else(|| image.without(name), |bytes| image.with(name, bytes));
        let outcome = image.hold(&files, name, &what).await;
        assert!(expected.contains(&outcome), "{name}, {what}: {outcome:?}");
    }
}

/// Cut at each record's end but the last, and a byte before and after it. What was written to the MANIFEST after it was looked
/// at last may go: the logs are still there.
async fn each_cut(image: &Image, name: &str) {
    let bytes = &image.files[name];
    let mut cuts: Vec<_> =
        record_ends(bytes).into_iter().flat_map(|end| [end.saturating_sub(1), end, end + 1]).collect();
    cuts.retain(|cut| *cut < bytes.len());
    assert!(cuts.len() > 10, "{name} has {} bytes", bytes.len());
    for cut in cuts {
        let outcome = image.hold(&image.with(name, bytes[..cut].to_vec()), name, &format!("cut at {cut}")).await;
        let may_open = image.is_not_less_than_known(name, cut);
        assert!(outcome == Refused || (outcome == Opens && may_open), "{name} cut at {cut} of {}", bytes.len());
    }
}

#[tokio::test]
async fn nothing_is_wrong_with_what_is_not_damaged() {
    let Images { older, killed, stopped, other } = images().await;
    for image in [older, killed, stopped, other] {
        assert_eq!(image.hold(&image.files, "nothing", "nothing").await, Opens);
    }
}

#[tokio::test]
async fn current_and_manifest() {
    let Images { older, killed, stopped, other } = images().await;
    for image in [&killed, &stopped] {
        each_damage(image, "CURRENT", &[Refused]).await;
        for foreign in [&older, &other] {
            assert_ne!(foreign.files["CURRENT"], image.files["CURRENT"], "else it shows nothing");
            let files = image.with("CURRENT", foreign.files["CURRENT"].clone());
            assert_eq!(image.hold(&files, "CURRENT", "foreign").await, Refused);
        }
        let [manifest] = &image.of_kind("MANIFEST-")[..] else { panic!("one MANIFEST") };
        each_damage(image, manifest, &[Refused]).await;
        each_cut(image, manifest).await;
        let foreign = &other.files[&other.of_kind("MANIFEST-")[0]];
        assert_eq!(image.hold(&image.with(manifest, foreign.clone()), manifest, "foreign").await, Refused);
    }
}

#[tokio::test]
async fn logs() {
    let Images { killed, other, .. } = images().await;
    let logs = killed.needed_logs();
    assert!(logs.len() > 1, "{logs:?}");
    for log in logs {
        each_damage(&killed, &log, &[Refused]).await;
        each_cut(&killed, &log).await;
        for foreign in other.of_kind(".log").iter().chain(&killed.of_kind(".log")).filter(|foreign| **foreign != log) {
            let bytes = other.files.get(foreign).unwrap_or_else(|| &killed.files[foreign]);
            assert_eq!(killed.hold(&killed.with(&log, bytes.clone()), &log, foreign).await, Refused);
        }
    }
}

#[tokio::test]
async fn tables() {
    let Images { killed, stopped, other, .. } = images().await;
    let mut seen = Vec::new();
    for image in [&killed, &stopped] {
        for table in image.of_kind(".sst") {
            each_damage(image, &table, &[Refused, Fails, Opens]).await;
            for what in ["missing", "empty"] {
                let files = if what == "empty" { image.with(&table, Vec::new()) } else { image.without(&table) };
                assert_eq!(image.hold(&files, &table, what).await, Refused);
            }
            let foreign = &other.files[&other.of_kind(".sst")[0]];
            assert_eq!(image.hold(&image.with(&table, foreign.clone()), &table, "foreign").await, Refused);
            // The same length, with the footer at its end, so that only what is in it tells.
            let Some(gap) = image.files[&table].len().checked_sub(foreign.len()) else { continue };
            let (rest, footer) = foreign.split_at(foreign.len() - 53);
            let foreign = [rest, &vec![0; gap], footer].concat();
            seen.push(image.hold(&image.with(&table, foreign), &table, "foreign, of the same length").await);
        }
    }
    assert!(!seen.is_empty());
    assert!(!seen.contains(&Opens), "{seen:?}");
}

#[tokio::test]
async fn files_that_nothing_depends_on() {
    let Images { older, killed, stopped, other } = images().await;
    for image in [&killed, &stopped] {
        let options = image.of_kind("OPTIONS-").pop().unwrap();
        for name in ["IDENTITY", "LOG", &options] {
            each_damage(image, name, &[Opens]).await;
            let foreign = if name == options { &other.of_kind("OPTIONS-")[0] } else { name };
            let files = image.with(name, other.files[foreign].clone());
            assert_eq!(image.hold(&files, name, "foreign").await, Opens);
        }
        for files in [image.without("LOCK"), image.with("LOCK", b"locked".to_vec())] {
            assert_eq!(image.hold(&files, "LOCK", "another").await, Opens);
        }
        let mut files = image.files.clone();
        files.insert("SYNCED.new".to_owned(), b"torn".to_vec());
        files.insert("000001.dbtmp".to_owned(), older.files["CURRENT"].clone());
        assert_eq!(image.hold(&files, "SYNCED.new", "left by a crash").await, Opens);
    }
}

#[tokio::test]
async fn synced() {
    let Images { older, killed, stopped, other } = images().await;
    for image in [&killed, &stopped] {
        let bytes = &image.files["SYNCED"];
        assert_eq!(image.hold(&image.without("SYNCED"), "SYNCED", "missing").await, Opens, "as before there was one");
        assert_eq!(image.hold(&image.with("SYNCED", older.files["SYNCED"].clone()), "SYNCED", "older").await, Opens);
        for at in (0..bytes.len()).filter(|at| *at < 70 || *at % 500 == 0 || *at >= 4_096) {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            let outcome = image.hold(&image.with("SYNCED", wrong), "SYNCED", &format!("byte {at}")).await;
            assert_eq!(outcome, if at < 4_096 { Opens } else { Refused }, "byte {at}");
            let cut = image.with("SYNCED", bytes[..at].to_vec());
            assert_eq!(image.hold(&cut, "SYNCED", "cut").await, Refused, "cut at {at}");
        }
        image.hold(&image.with("SYNCED", other.files["SYNCED"].clone()), "SYNCED", "foreign").await;
    }
}

/// What a crash in the middle of a write leaves.
#[tokio::test]
async fn torn_ends() {
    let Images { killed, .. } = images().await;
    let journals = [killed.of_kind("MANIFEST-"), killed.of_kind(".log")].concat();
    let mut torn = 0;
    for name in journals {
        let bytes = &killed.files[&name];
        let record = &bytes[..record_ends(bytes)[1].max(30)];
        if bytes.len() % BLOCK + record.len() > BLOCK {
            // RocksDB would begin this one as a part of a record.
            continue;
        }
        torn += 1;
        for part in [1, 6, 7, 8, record.len() / 2, record.len() - 1] {
            let files = killed.with(&name, [bytes, &record[..part]].concat());
            assert_eq!(killed.hold(&files, &name, &format!("{part} bytes more")).await, Opens);
        }
        let files = killed.with(&name, [&bytes[..], &[0; 5_000]].concat());
        assert_eq!(killed.hold(&files, &name, "zeros behind").await, Opens);
    }
    assert!(torn > 1, "{torn}");
}

/// Damage of any sort. `GODWIT_STORE_DAMAGES` says how many are tried, `GODWIT_STORE_SEED` which.
#[tokio::test]
async fn anything() {
    let Images { older, killed, stopped, other } = images().await;
    let seed = variable("GODWIT_STORE_SEED").unwrap_or(1);
    for seed in seed..seed + variable("GODWIT_STORE_DAMAGES").unwrap_or(200) {
        let mut random = Random(seed);
        let image = [&killed, &stopped][random.below(2)];
        let names = image.files.iter().filter(|(name, bytes)| !name.starts_with("LO") && !bytes.is_empty());
        let names: Vec<_> = names.map(|(name, _)| name).collect();
        let name = names[random.below(names.len())].clone();
        let mut bytes = image.files[&name].clone();
        let at = random.below(bytes.len());
        let len = 1 + random.below(bytes.len().min(5_000));
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = 0),
            3 => bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = random.below(256) as u8),
            4 => drop(bytes.drain(at..(at + len).min(bytes.len()))),
            5 => bytes.extend(random.bytes(len)),
            6 => bytes.extend_from_within(at..(at + len).min(image.files[&name].len())),
            _ => {
                let from = [&older, &other, &killed, &stopped][random.below(4)];
                let donor = from.files.values().nth(random.below(from.files.len())).unwrap();
                bytes.clone_from(donor);
            }
        }
        let outcome = image.hold(&image.with(&name, bytes), &name, &format!("seed {seed}")).await;
        assert!(outcome != Fails || name.ends_with(".sst"), "{name}, seed {seed}: {outcome:?}");
    }
}
