//! Files that are to be sent: each has a record from the call until its message is in the outbox, which is one commit, or
//! until it is given up. What is known of an upload is written down as it becomes known, so that it goes on after a crash.

use godwit_schemas::ids::{ConversationId, Seq};
use prost::Message;

use super::outbound::recipient;
use super::record::{FailedFileRecord, FailureRecord, UnconfirmedEvent};
use super::{Ledger, decoded, failure, failure_record, keys};
use crate::error::FileFailure;
use crate::media::{FileId, Media};
use crate::send::{Draft, Recipient, SendId};
use crate::store::{LocalStoreError, Scan};

/// Files that were sent or given up and can still be asked about.
const OVER_KEPT: u64 = 1_000;

/// A file that is to be sent. Numbers are never reused.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FileRecord {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    /// What it was when it was to be sent.
    #[prost(uint64, tag = "2")]
    pub(crate) size: u64,
    /// Since 1970.
    #[prost(uint64, tag = "3")]
    pub(crate) modified_ns: u64,
    /// Empty: not known yet.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) sha256: bytes::Bytes,
    /// What the server calls it; empty: it does not know of it yet.
    #[prost(string, tag = "5")]
    pub(crate) media: String,
    /// Whom it is for: one of these three.
    #[prost(string, tag = "6")]
    pub(crate) user: String,
    #[prost(string, tag = "7")]
    pub(crate) phone: String,
    #[prost(uint64, tag = "8")]
    pub(crate) conversation: u64,
    #[prost(string, tag = "9")]
    pub(crate) name: String,
    #[prost(string, tag = "10")]
    pub(crate) content_type: String,
    #[prost(bytes = "bytes", tag = "11")]
    pub(crate) thumbnail: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "12")]
    pub(crate) key: bytes::Bytes,
    /// Of the message, like the next two.
    #[prost(bytes = "bytes", tag = "13")]
    pub(crate) body: bytes::Bytes,
    #[prost(uint32, tag = "14")]
    pub(crate) expires_in_s: u32,
    #[prost(uint64, tag = "15")]
    pub(crate) reply_to: u64,
    #[prost(uint64, tag = "16")]
    pub(crate) queued_at_s: u64,
    #[prost(bool, tag = "17")]
    pub(crate) paused: bool,
    /// Its upload is to be discarded.
    #[prost(bool, tag = "18")]
    pub(crate) cancelled: bool,
    /// Of the message, like the next.
    #[prost(bool, tag = "19")]
    pub(crate) silent: bool,
    #[prost(uint32, repeated, tag = "20")]
    pub(crate) mentions: Vec<u32>,
}

impl FileRecord {
    pub(crate) fn recipient(&self) -> Recipient {
        recipient(&self.user, &self.phone, self.conversation)
    }
}

/// What became of a file.
#[derive(Clone, PartialEq, Message)]
struct OverRecord {
    /// Its message; 0: there is none.
    #[prost(uint64, tag = "1")]
    send: u64,
    #[prost(message, optional, tag = "2")]
    failure: Option<FailureRecord>,
}

/// How far a file is, as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FileStage {
    UnderWay { paused: bool },
    Sent(SendId),
    Failed(FileFailure),
}

fn key(id: FileId) -> Vec<u8> {
    keys::numbered(keys::FILES, id.get())
}

impl Ledger {
    /// Writes down that a file is to be sent.
    pub(crate) fn add_file(&mut self, record: &FileRecord) -> Result<FileId, LocalStoreError> {
        let id = FileId::new(self.number(keys::LAST_FILE)? + 1);
        self.set_number(keys::LAST_FILE, id.get())?;
        self.put(&key(id), record)?;
        Ok(id)
    }

    /// All files that are to be sent, oldest first, those that are called off included.
    pub(crate) fn files(&mut self) -> Result<Vec<(FileId, FileRecord)>, LocalStoreError> {
        let (from, to) = keys::above(keys::FILES, 0);
        let pairs = self.store.scan(&from, &to, Scan::Forward, usize::MAX)?;
        pairs.into_iter().map(|(key, value)| Ok((FileId::new(keys::number(&key)), decoded(&value)?))).collect()
    }

    /// One of them, unless it is called off.
    fn file(&mut self, id: FileId) -> Result<Option<FileRecord>, LocalStoreError> {
        Ok(self.record(&key(id))?.filter(|record: &FileRecord| !record.cancelled))
    }

    /// How far a file is; `None`: there is none, or it is no longer kept.
    pub(crate) fn file_stage(&mut self, id: FileId) -> Result<Option<FileStage>, LocalStoreError> {
        if let Some(record) = self.record::<FileRecord>(&key(id))? {
            let under_way = FileStage::UnderWay { paused: record.paused };
            return Ok(Some(if record.cancelled { FileStage::Failed(FileFailure::Cancelled) } else { under_way }));
        }
        let over = self.record::<OverRecord>(&keys::numbered(keys::FILES_OVER, id.get()))?;
        Ok(over.map(|over| match over.failure {
            Some(record) => FileStage::Failed(failure(record)),
            None => FileStage::Sent(SendId::new(over.send)),
        }))
    }

    /// Changes a record; false: there is none any more.
    fn change_file(&mut self, id: FileId, change: impl FnOnce(&mut FileRecord)) -> Result<bool, LocalStoreError> {
        let Some(mut record) = self.file(id)? else { return Ok(false) };
        change(&mut record);
        self.put(&key(id), &record)?;
        Ok(true)
    }

    /// What was found out of a file: its hash, and what the server calls it.
    pub(crate) fn note_file(
        &mut self,
        id: FileId,
        sha256: bytes::Bytes,
        media: String,
    ) -> Result<bool, LocalStoreError> {
        self.change_file(id, |record| (record.sha256, record.media) = (sha256, media))
    }

    /// It does not go on until it is said to; false: it is too late.
    pub(crate) fn pause_file(&mut self, id: FileId, paused: bool) -> Result<bool, LocalStoreError> {
        self.change_file(id, |record| record.paused = paused)
    }

    /// It will not be sent; false: it is too late.
    pub(crate) fn cancel_file(&mut self, id: FileId) -> Result<bool, LocalStoreError> {
        self.change_file(id, |record| record.cancelled = true)
    }

    /// What is to be discarded on the server for a file that was called off; `None`: nothing. Another file may go by the
    /// same upload.
    pub(crate) fn upload_to_discard(&mut self, id: FileId) -> Result<Option<String>, LocalStoreError> {
        let files = self.files()?;
        let media = files.iter().find(|(it, _)| *it == id).map(|(_, record)| record.media.clone());
        let media = media.filter(|media| !media.is_empty());
        Ok(media.filter(|media| !files.iter().any(|(it, record)| *it != id && record.media == *media)))
    }

    /// A file that was called off needs nothing more.
    pub(crate) fn forget_file(&mut self, id: FileId) -> Result<(), LocalStoreError> {
        self.file_over(id, OverRecord { send: 0, failure: Some(failure_record(&FileFailure::Cancelled)) })
    }

    /// It is uploaded: its message goes to the outbox, in this commit. `None`: it was paused or called off.
    pub(crate) fn file_uploaded(&mut self, id: FileId, now_s: u64) -> Result<Option<SendId>, LocalStoreError> {
        let Some(record) = self.file(id)?.filter(|record| !record.paused) else { return Ok(None) };
        let to = record.recipient();
        let FileRecord { media, name, thumbnail, key, size, content_type, sha256, .. } = record;
        let media = Media { id: media, name, thumbnail, key, size, content_type, sha256 };
        let draft = Draft {
            body: record.body,
            expires_in_s: record.expires_in_s,
            reply_to: Seq::unless_zero(record.reply_to),
            media: vec![media],
            silent: record.silent,
            mentions: record.mentions,
        };
        let send = self.queue(&to, draft, now_s)?;
        self.file_over(id, OverRecord { send: send.get(), failure: None })?;
        Ok(Some(send))
    }

    /// It will not be sent, and the app is told why. False: it was called off before.
    pub(crate) fn file_failed(&mut self, id: FileId, why: &FileFailure) -> Result<bool, LocalStoreError> {
        let Some(record) = self.file(id)? else { return Ok(false) };
        let failure = failure_record(why);
        self.file_over(id, OverRecord { send: 0, failure: Some(failure.clone()) })?;
        let FileRecord { name, user, phone, conversation, .. } = record;
        let failed = FailedFileRecord { file: id.get(), name, user, phone, conversation, failure: Some(failure) };
        self.tell(UnconfirmedEvent::FileFailed(failed))?;
        Ok(true)
    }

    fn file_over(&mut self, id: FileId, over: OverRecord) -> Result<(), LocalStoreError> {
        self.store.delete(&key(id))?;
        self.put(&keys::numbered(keys::FILES_OVER, id.get()), &over)?;
        match id.get().checked_sub(OVER_KEPT) {
            Some(old) => self.store.delete(&keys::numbered(keys::FILES_OVER, old)),
            None => Ok(()),
        }
    }

    /// The conversation in which a file is going to be shared, if this device knows it.
    pub(crate) fn conversation_of(&mut self, record: &FileRecord) -> Result<Option<ConversationId>, LocalStoreError> {
        match record.recipient() {
            Recipient::Conversation(id) => Ok(Some(id)),
            Recipient::User(user) => self.direct(&user),
            Recipient::Phone(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godwit_schemas::ids::UserId;

    use super::*;
    use crate::event::Event;
    use crate::ledger::Beginning;
    use crate::store::{LocalStore, VolatileStore};

    fn bob() -> Recipient {
        Recipient::User(UserId::new("bob").unwrap())
    }

    fn ledger(store: impl LocalStore) -> Ledger {
        let (alice, beginning) = (UserId::new("alice").unwrap(), Beginning { after: 100, counter: 7 });
        Ledger::open(Box::new(store), &alice, "phone", true, beginning).unwrap()
    }

    fn photo() -> FileRecord {
        let caption = Bytes::from_static(b"look");
        FileRecord {
            path: "/photo".into(),
            size: 9,
            user: "bob".into(),
            body: caption,
            reply_to: 3,
            ..Default::default()
        }
    }

    /// `open` opens the same store again, as an app would that was killed in between.
    fn check<S: LocalStore>(open: impl Fn() -> S) {
        let mut it = ledger(open());
        let ids = [(); 4].map(|()| it.add_file(&photo()).unwrap());
        let [sent, paused, cancelled, failed] = ids;
        for id in ids {
            assert!(it.note_file(id, Bytes::from_static(b"hash"), "m".into()).unwrap());
        }
        assert!(it.pause_file(paused, true).unwrap() && it.cancel_file(cancelled).unwrap());
        it.commit().unwrap();
        drop(it);

        let mut it = ledger(open());
        let files: Vec<_> = it.files().unwrap();
        assert_eq!(files.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        assert_eq!((&files[0].1.media[..], &files[0].1.sha256[..]), ("m", &b"hash"[..]));
        assert_eq!(it.file_uploaded(paused, 9).unwrap(), None, "it waits");
        assert_eq!(it.file_uploaded(cancelled, 9).unwrap(), None);
        assert_eq!(it.upload_to_discard(cancelled).unwrap(), None, "others go by the same upload");
        it.forget_file(cancelled).unwrap();
        let send = it.file_uploaded(sent, 9).unwrap().unwrap();
        assert!(it.file_failed(failed, &FileFailure::Storage(404)).unwrap());
        it.commit().unwrap();
        drop(it);

        let mut it = ledger(open());
        assert_eq!(it.file_stage(sent).unwrap(), Some(FileStage::Sent(send)));
        assert_eq!(it.file_stage(cancelled).unwrap(), Some(FileStage::Failed(FileFailure::Cancelled)));
        assert_eq!(it.file_stage(failed).unwrap(), Some(FileStage::Failed(FileFailure::Storage(404))));
        assert_eq!(it.file_stage(FileId::new(99)).unwrap(), None);
        for over in [sent, cancelled, failed] {
            let changed = [it.pause_file(over, true).unwrap(), it.cancel_file(over).unwrap()];
            assert_eq!((changed, it.file_uploaded(over, 9).unwrap()), ([false, false], None), "a second message");
            assert!(!it.note_file(over, Bytes::new(), String::new()).unwrap());
        }
        let outbox = it.unanswered(0, 99, 0).unwrap().sends;
        let media = Media { size: 9, sha256: "hash".into(), ..Media::new("m", "") };
        assert_eq!((outbox.len(), outbox[0].id, &outbox[0].to), (1, send, &bob()));
        assert_eq!((&outbox[0].draft.body[..], &outbox[0].draft.media), (&b"look"[..], &vec![media.clone()]));
        assert_eq!(it.pending(&bob()).unwrap()[0].media, [media]);
        let (_, events) = it.events(0, 9).unwrap();
        let [told] = &events[..] else { panic!("{events:?}") };
        let failure = FileFailure::Storage(404);
        assert_eq!(told.event, Event::FileFailed { file: failed, to: bob(), name: String::new(), failure });
        assert_eq!(it.files().unwrap().len(), 1);
        assert!(it.pause_file(paused, false).unwrap());
        assert!(it.cancel_file(paused).unwrap());
        assert_eq!(it.upload_to_discard(paused).unwrap().as_deref(), Some("m"), "nobody else does any more");
    }

    #[test]
    fn a_file_has_one_end_in_any_store() {
        let store = VolatileStore::new();
        check(|| store.clone());
        #[cfg(feature = "sqlite")]
        {
            let folder = tempfile::tempdir().unwrap();
            check(|| crate::store::SqliteStore::open(folder.path().join("store")).unwrap());
        }
    }

    #[test]
    fn failures_read_back() {
        let refusal = crate::send::refusal(0x97, "too large");
        let all = [FileFailure::Changed, FileFailure::Gone, FileFailure::Io("why".into()), FileFailure::Damaged];
        for it in all.into_iter().chain([refusal.into(), FileFailure::Storage(403), FileFailure::Cancelled]) {
            assert_eq!(failure(failure_record(&it)), it);
        }
    }
}
