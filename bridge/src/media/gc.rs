//! What nothing refers to any more goes. The media service does it, a bounded share at a time. Keeps P6. A file is looked at when a row says so: whatever ends a reference, or might, leaves
//! one. So the cost does not grow with what is stored.
//!
//! The end of a file takes three steps, each on disk before the next: it is doomed, so that no message may refer to it any
//! more; when every lane has written what it decided before that, and still nothing refers to it, its rows give way to
//! one that has its object deleted; that row goes when the object has.

use bytes::Bytes;
use godwit_schemas::ids::UserId;
use godwit_schemas::media::MediaId;
use godwit_store::crash::{self, Point};
use godwit_store::keys::StoreKey;
use godwit_store::keys::media as keys;
use godwit_store::{Store, StoreError, Table, Write};
use tokio::sync::oneshot;
use tracing::warn;

use super::access;
use super::objects::ObjectsError;
use super::record::MediaRecord;
use super::service::{MediaEvent, MediaService, put};
use crate::messages::{Barrier, LaneMessage};
use crate::writes;

/// Files that are looked at in one round, and objects that are deleted.
const ROUND_MAX: usize = 64;
/// A request that began while its link could be used may last so long.
const STRAGGLERS_S: u32 = 3_600;
/// After the object store has failed.
const PAUSE_S: u32 = 10;

impl<S: Store> MediaService<S> {
    pub(super) async fn look_at_what_is_due(&mut self) -> Result<(), StoreError> {
        let (from, to) = keys::due_by(self.now_s);
        let rows = self.store.scan(Table::Media, &from, &to, ROUND_MAX, usize::MAX).await?;
        for (key, value) in rows {
            let row = (Table::Media, key.to_vec());
            match keys::parse_last(&key) {
                Some(id) if self.ending.contains(&id) || self.verifying.contains_key(&id) => {}
                Some(id) => self.look_at(id, row, value == keys::REFERENCE_ENDED).await?,
                None => self.commit(vec![writes::set(row, None)]).await?,
            }
        }
        Ok(())
    }

    /// Whether a file is still needed; `row` says that this was to be asked, and `used`: because of a reference.
    async fn look_at(&mut self, id: MediaId, row: StoreKey, used: bool) -> Result<(), StoreError> {
        let mut gone = vec![row];
        let record = access::record(&self.store, id).await?;
        let Some(mut record) = record.filter(|record| used || record.keep_until_s <= self.now_s) else {
            // It is no more, or there is a row for later.
            return self.commit(deletions(gone)).await;
        };
        if !record.complete {
            return self.remove(id, &record, gone).await;
        }
        let needed = access::find_reference(&self.store, id, self.now_s, &mut gone).await?;
        if needed && !record.doomed {
            return self.commit(deletions(gone)).await;
        }
        if !record.doomed {
            record.doomed = true;
            self.commit(vec![put(id, &record)]).await?;
        }
        crash::point(Point::Doomed);
        // The row stays until the end of this, which is begun again if the bridge ends before.
        self.ending.insert(id);
        let (tell, told) = oneshot::channel();
        let all = Barrier::new(Box::new(move || {
            let _ = tell.send(());
        }));
        for lane in self.lanes.iter() {
            let _ = lane.send(LaneMessage::Pass(all.clone()));
        }
        drop(all);
        self.start(async move {
            let _ = told.await;
            MediaEvent::Passed(id)
        });
        Ok(())
    }

    /// Every message that could refer to a doomed file is on disk.
    pub(super) async fn passed(&mut self, id: MediaId) -> Result<(), StoreError> {
        self.ending.remove(&id);
        let Some(mut record) = access::record(&self.store, id).await? else { return Ok(()) };
        let mut gone = Vec::new();
        if access::find_reference(&self.store, id, self.now_s, &mut gone).await? {
            record.doomed = false;
            let mut writes = deletions(gone);
            writes.push(put(id, &record));
            return self.commit(writes).await;
        }
        self.remove(id, &record, gone).await
    }

    /// Forgets a file that nothing refers to, and these rows. Its object goes with the last that shares it.
    pub(super) async fn remove(
        &mut self,
        id: MediaId,
        record: &MediaRecord,
        gone: Vec<StoreKey>,
    ) -> Result<(), StoreError> {
        let mut writes = deletions(gone);
        writes.push(writes::set(keys::media(id), None));
        if let (Some(hash), Some(object)) = (record.hash(), record.object()) {
            writes.push(writes::set(keys::content(&hash, object, id), None));
            if let Some(owner) = UserId::new(&record.owner).ok().filter(|_| !record.complete) {
                writes.push(writes::set(keys::unfinished(&owner, &hash), None));
            }
            let (from, to) = keys::contents_in(&hash, object);
            let sharing = self.store.scan(Table::Media, &from, &to, 2, usize::MAX).await?;
            if sharing.iter().all(|(key, _)| keys::parse_last(key) == Some(id)) {
                writes.extend(self.discard_object(object, record));
            }
        }
        self.commit(writes).await
    }

    /// Has an object deleted: now, and again when nothing can be uploaded to it any more.
    pub(super) fn discard_object(&self, object: MediaId, record: &MediaRecord) -> Vec<Write> {
        let in_parts = Bytes::copy_from_slice(&[u8::from(record.part_bytes > 0)]);
        let later_s = record.links_until_s.saturating_add(STRAGGLERS_S);
        let times = [Some(self.now_s), Some(later_s).filter(|later_s| *later_s > self.now_s)];
        let rows = times.into_iter().flatten().map(|at_s| keys::garbage(at_s, object));
        rows.map(|row| writes::set(row, Some(in_parts.clone()))).collect()
    }

    pub(super) async fn delete_garbage(&mut self) -> Result<(), StoreError> {
        if self.now_s < self.delete_from_s {
            return Ok(());
        }
        let (from, to) = keys::garbage_by(self.now_s);
        let rows = self.store.scan(Table::Media, &from, &to, ROUND_MAX, usize::MAX).await?;
        for (key, value) in rows {
            let row = (Table::Media, key.to_vec());
            let Some(object) = keys::parse_last(&key).filter(|_| self.deleting.insert(row.clone())) else { continue };
            let (objects, in_parts) = (self.settings.objects.clone(), value.first() == Some(&1));
            self.start(async move {
                let aborted = if in_parts { objects.abort(object).await } else { Ok(()) };
                let deleted = match aborted {
                    Ok(()) => objects.delete(object).await,
                    error => error,
                };
                MediaEvent::Deleted(row, deleted)
            });
        }
        Ok(())
    }

    pub(super) async fn deleted(&mut self, row: StoreKey, deleted: Result<(), ObjectsError>) -> Result<(), StoreError> {
        self.deleting.remove(&row);
        if let Err(error) = deleted {
            warn!(%error, "an object is to be deleted, and is tried again");
            self.delete_from_s = self.now_s.saturating_add(PAUSE_S);
            return Ok(());
        }
        crash::point(Point::Deleted);
        self.commit(vec![writes::set(row, None)]).await
    }
}

fn deletions(keys: Vec<StoreKey>) -> Vec<Write> {
    keys.into_iter().map(|key| writes::set(key, None)).collect()
}
