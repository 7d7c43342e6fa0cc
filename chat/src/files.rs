//! Files in words: what a message refers to, and how far one is that goes up or comes down; and where one is saved.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use futures::stream::{self, LocalBoxStream, StreamExt as _};
use godwit_client::ids::Seq;
use godwit_client::text::{file_name, numbered_file_name};
use godwit_client::{FileHandle, FileId, FileState, Media, Progress, Saving, SendId, SendState};
use tokio::sync::watch;

use crate::shown::{Shown, shown};

/// Percent between two lines about one file.
const STEP: u64 = 10;
/// Files of one name in a folder.
const NUMBERS_MAX: u32 = 999;

/// A line about something that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileReport {
    pub(crate) line: Shown,
    /// It was not done.
    pub(crate) failed: bool,
    /// An event says the same. It must be confirmed before the program ends, or the next start tells it again.
    pub(crate) event: Option<EventAbout>,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EventAbout {
    Send(SendId),
    File(FileId),
}

/// Lines, as they come.
pub(crate) type FileReports<'a> = LocalBoxStream<'a, FileReport>;

/// What a message with files shows before its words, and how to save them.
pub(crate) fn shown(media: &[Media], at: Seq) -> Shown {
    let files = media.iter().map(|it| {
        let (name, kind) = (name(&it.name), name(&it.content_type));
        shown!["[", name, ", ", size(it.size), ", ", kind, "; /save ", at, "]"]
    });
    Shown::join(files, " ")
}

/// A name between brackets: none of its own end them.
pub(crate) fn name(name: &str) -> Shown {
    Shown::name(name.replace('[', "(").replace(']', ")"))
}

/// The same of one that is not sent yet.
pub(crate) fn shown_going(file: &str, bytes: u64, state: &FileState) -> Shown {
    shown!["[", name(file), ", ", size(bytes), ": ", words(state), "]"]
}

/// How far a file is.
pub(crate) fn words(state: &FileState) -> Shown {
    match state {
        FileState::Waiting => shown!["waits"],
        FileState::Hashing(progress) => shown!["read ", percent(*progress, 1), " %"],
        FileState::Uploading(progress) => shown!["sent ", percent(*progress, 1), " %"],
        FileState::Paused => shown!["paused, /resume"],
        FileState::Verifying => shown!["verified"],
        FileState::Message(_, SendState::Queued) => shown!["uploaded"],
        FileState::Message(_, SendState::Refused(refusal)) => shown!["not sent: ", Shown::error(refusal)],
        FileState::Message(..) => shown!["sent"],
        FileState::Failed(failure) => shown!["not sent: ", Shown::error(failure)],
    }
}

fn percent(progress: Progress, step: u64) -> u64 {
    progress.done.saturating_mul(100) / progress.total.max(1) / step * step
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> Shown {
    let tenths = |unit: u64, name: &'static str| shown![bytes / unit, ".", bytes % unit * 10 / unit, name];
    match bytes {
        0..1_000 => shown![bytes, " B"],
        1_000..1_000_000 => tenths(1_000, " kB"),
        1_000_000..1_000_000_000 => tenths(1_000_000, " MB"),
        _ => tenths(1_000_000_000, " GB"),
    }
}

/// Where a file is to be saved: at the path that the person gave, or in that folder, by a name that is made of its sender's.
/// Nothing is replaced, nor is a place given twice (`given`).
///
/// # Errors
/// There is something at that path already.
pub(crate) fn place(path: &Path, media: &Media, given: &mut HashSet<PathBuf>) -> Result<PathBuf, Shown> {
    // A link that leads nowhere is something too.
    let mut is_free = |path: &Path| fs::symlink_metadata(path).is_err() && given.insert(path.to_owned());
    if !path.is_dir() {
        let there = || shown![path_in_words(path), " is there already"];
        return if is_free(path) { Ok(path.to_owned()) } else { Err(there()) };
    }
    let name = file_name(&media.name);
    let numbered = (1..=NUMBERS_MAX).map(|number| numbered_file_name(&name, number));
    let mut places = std::iter::once(name.clone()).chain(numbered).map(|name| path.join(name));
    places.find(|path| is_free(path)).ok_or_else(|| shown!["there are too many files of that name"])
}

/// A path of this machine.
pub(crate) fn path_in_words(path: &Path) -> Shown {
    Shown::line(path.display().to_string())
}

/// Lines about a file that goes up, until its message is sent or it does not go on.
pub(crate) fn going(handle: &FileHandle, name: Shown) -> FileReports<'static> {
    let (file, states) = (handle.id(), handle.watch());
    let lines = stream::unfold(Some((states, Shown::default())), move |it| {
        let name = name.clone();
        async move {
            let (mut states, said) = it?;
            loop {
                let state = states.borrow_and_update().clone();
                let line = shown!["* ", name, ": ", stepped(&state)];
                let over = is_over(&state);
                if over || line != said {
                    let event = matches!(state, FileState::Failed(_)).then_some(EventAbout::File(file));
                    let told = FileReport { line: line.clone(), failed: has_failed(&state), event };
                    return Some((told, (!over).then_some((states, line))));
                }
                states.changed().await.ok()?;
            }
        }
    });
    lines.boxed_local()
}

/// As [`words`], not too often.
fn stepped(state: &FileState) -> Shown {
    match state {
        FileState::Hashing(_) | FileState::Waiting => shown!["waits"],
        FileState::Uploading(progress) => shown!["sent ", percent(*progress, STEP), " %"],
        other => words(other),
    }
}

fn is_over(state: &FileState) -> bool {
    match state {
        FileState::Message(_, state) => *state != SendState::Queued,
        FileState::Failed(_) | FileState::Paused => true,
        _ => false,
    }
}

fn has_failed(state: &FileState) -> bool {
    matches!(state, FileState::Failed(_) | FileState::Message(_, SendState::Refused(_)))
}

/// Lines about a file that comes down, until it is there.
pub(crate) fn coming(saving: Saving, path: &Path) -> FileReports<'static> {
    let progress = saving.watch();
    let name = path_in_words(path);
    let lines = stream::unfold(Some((saving, progress, 0)), move |it| {
        let name = name.clone();
        async move {
            let (saving, mut progress, mut said) = it?;
            loop {
                if !next_step(&mut progress, &mut said).await {
                    let told = match saving.saved().await {
                        Ok(()) => FileReport { line: shown!["* saved ", name], failed: false, event: None },
                        Err(error) => {
                            let line = shown!["* not saved ", name, ": ", Shown::error(error)];
                            FileReport { line, failed: true, event: None }
                        }
                    };
                    return Some((told, None));
                }
                if said < 100 {
                    let line = shown!["* ", name, ": ", said, " % there"];
                    return Some((FileReport { line, failed: false, event: None }, Some((saving, progress, said))));
                }
            }
        }
    });
    lines.boxed_local()
}

/// Waits for another step; false: no more come.
async fn next_step(progress: &mut watch::Receiver<Progress>, said: &mut u64) -> bool {
    while progress.changed().await.is_ok() {
        let now = percent(*progress.borrow_and_update(), STEP);
        if now > *said {
            *said = now;
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown =
            [0, 999, 1_000, 1_250, 999_999, 3_140_000, 2_500_000_000].map(|bytes| size(bytes).as_str().to_owned());
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.2 kB", "999.9 kB", "3.1 MB", "2.5 GB"]);
    }

    #[test]
    fn a_senders_file_name_stays_in_the_folder_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut given = HashSet::new();
        let mut place = |path: &Path, name: &str| super::place(path, &Media::new("m", name), &mut given);
        assert_eq!(place(folder.path(), "../../etc/a name of my own"), Ok(at("a name of my own")));
        assert_eq!(place(folder.path(), ".."), Ok(at("file")));
        assert_eq!(place(folder.path(), ".bashrc"), Ok(at("bashrc")));
        assert_eq!(place(folder.path(), ".bashrc"), Ok(at("bashrc (1)")), "the first is on its way");
        fs::write(at("photo.jpg"), "mine").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("photo (1).jpg")).unwrap();
        assert_eq!(place(folder.path(), "photo.jpg"), Ok(at("photo (2).jpg")));
        for taken in ["photo.jpg", "photo (1).jpg"] {
            assert!(place(&at(taken), "x").is_err(), "{taken}");
        }
        assert_eq!(place(&at(".mine"), "x"), Ok(at(".mine")), "what the person says is as it says");
    }

    #[test]
    fn what_a_message_says_of_its_files() {
        let media = |name: &str| Media { size: 3_140_000, content_type: "image/jpeg".into(), ..Media::new("m", name) };
        let shown = |name: &str| shown(&[media(name)], Seq::new(7)).as_str().to_owned();
        assert_eq!(shown("a\nb.jpg"), "[a\u{23CE} b.jpg, 3.1 MB, image/jpeg; /save 7]");
        assert_eq!(shown("a; /save 9] [b\x1b[2J"), "[a; /save 9) (b\u{FFFD}(2J, 3.1 MB, image/jpeg; /save 7]");
        let half = FileState::Uploading(Progress { done: 5, total: 10 });
        assert_eq!(shown_going("a", 10, &half).as_str(), "[a, 10 B: sent 50 %]");
    }
}
