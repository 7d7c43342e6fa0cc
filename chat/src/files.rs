//! Files in words: what a message refers to, and how far one is that goes up or comes down.

use std::path::{Path, PathBuf};

use futures::stream::{self, LocalBoxStream, StreamExt as _};
use godwit_client::ids::Seq;
use godwit_client::{FileHandle, FileState, Media, Progress, Saving, SendState};
use tokio::sync::watch;

use crate::text::one_line;

/// Percent between two lines about one file.
const STEP: u64 = 10;

/// What a message with files shows before its words, and how to save them.
pub(crate) fn shown(media: &[Media], at: Seq) -> String {
    let files = media.iter().map(|it| {
        let (name, kind) = (one_line(it.name.as_bytes()), one_line(it.content_type.as_bytes()));
        format!("[{name}, {}, {kind}; /save {at}]", size(it.size))
    });
    files.collect::<Vec<_>>().join(" ")
}

/// The same of one that is not sent yet.
pub(crate) fn shown_going(name: &str, bytes: u64, state: &FileState) -> String {
    format!("[{}, {}: {}]", one_line(name.as_bytes()), size(bytes), words(state))
}

/// How far a file is.
pub(crate) fn words(state: &FileState) -> String {
    match state {
        FileState::Waiting => "waits".to_owned(),
        FileState::Hashing(progress) => format!("read {} %", percent(*progress, 1)),
        FileState::Uploading(progress) => format!("sent {} %", percent(*progress, 1)),
        FileState::Paused => "paused, /resume".to_owned(),
        FileState::Verifying => "verified".to_owned(),
        FileState::Message(_, SendState::Queued) => "uploaded".to_owned(),
        FileState::Message(_, SendState::Refused(refusal)) => format!("not sent: {refusal}"),
        FileState::Message(..) => "sent".to_owned(),
        FileState::Failed(failure) => format!("not sent: {failure}"),
    }
}

fn percent(progress: Progress, step: u64) -> u64 {
    progress.done.saturating_mul(100) / progress.total.max(1) / step * step
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

/// Where a file is to be saved: in a folder it goes by its own name, of which only the last part counts.
///
/// # Errors
/// What is there already is not replaced.
pub(crate) fn place(path: &Path, media: &Media) -> Result<PathBuf, String> {
    let own = Path::new(&media.name).file_name().unwrap_or("file".as_ref());
    let path = if path.is_dir() { path.join(own) } else { path.to_owned() };
    if path.exists() { Err(format!("{} is there already", path.display())) } else { Ok(path) }
}

/// Lines about a file that goes up, until its message is sent or it does not go on.
pub(crate) fn going(handle: &FileHandle, name: String) -> LocalBoxStream<'static, String> {
    let states = handle.watch();
    let lines = stream::unfold(Some((states, String::new())), move |it| {
        let name = name.clone();
        async move {
            let (mut states, said) = it?;
            loop {
                let state = states.borrow_and_update().clone();
                let line = format!("* {name}: {}", stepped(&state));
                let over = is_over(&state);
                if over || line != said {
                    return Some((line.clone(), (!over).then_some((states, line))));
                }
                states.changed().await.ok()?;
            }
        }
    });
    lines.boxed_local()
}

/// As [`words`], not too often.
fn stepped(state: &FileState) -> String {
    match state {
        FileState::Hashing(_) | FileState::Waiting => "waits".to_owned(),
        FileState::Uploading(progress) => format!("sent {} %", percent(*progress, STEP)),
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

/// Lines about a file that comes down, until it is there.
pub(crate) fn coming(saving: Saving, path: PathBuf) -> LocalBoxStream<'static, String> {
    let progress = saving.watch();
    let name = path.display().to_string();
    let lines = stream::unfold(Some((saving, progress, 0)), move |it| {
        let name = name.clone();
        async move {
            let (saving, mut progress, mut said) = it?;
            loop {
                if !next_step(&mut progress, &mut said).await {
                    let line = match saving.saved().await {
                        Ok(()) => format!("* saved {name}"),
                        Err(error) => format!("* not saved {name}: {error}"),
                    };
                    return Some((line, None));
                }
                if said < 100 {
                    return Some((format!("* {name}: {said} % there"), Some((saving, progress, said))));
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
        let shown = [0, 999, 1_000, 1_250, 999_999, 3_140_000, 2_500_000_000].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.2 kB", "999.9 kB", "3.1 MB", "2.5 GB"]);
    }

    #[test]
    fn a_name_from_elsewhere_leads_nowhere_else_and_replaces_nothing() {
        let folder = std::env::temp_dir();
        let place = |name: &str| place(&folder, &Media::new("m", name));
        assert_eq!(place("../../etc/a name of my own"), Ok(folder.join("a name of my own")));
        assert_eq!(place(".."), Ok(folder.join("file")));
        let taken = std::env::current_exe().unwrap();
        assert!(super::place(&taken, &Media::new("m", "x")).is_err());
    }

    #[test]
    fn what_a_message_says_of_its_files() {
        let media = Media { size: 3_140_000, content_type: "image/jpeg".into(), ..Media::new("m", "a\nb.jpg") };
        assert_eq!(shown(&[media], Seq::new(7)), "[a\u{23CE} b.jpg, 3.1 MB, image/jpeg; /save 7]");
        let half = FileState::Uploading(Progress { done: 5, total: 10 });
        assert_eq!(shown_going("a", 10, &half), "[a, 10 B: sent 50 %]");
    }
}
