//! Files on their way up: announced, uploaded by links, verified. Called by the media service, for the calls CreateUpload,
//! GetUpload, CompleteUpload and DiscardUpload.
//!
//! Whether a file is there already is told only to who may have it: it has shown that it knows the content's hash and size,
//! and could download it. Everybody else uploads; when that is verified, the copies are joined.

use std::sync::Arc;

use bytes::Bytes;
use godwit_core::refusal::{self, Refusal};
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, UserId};
use godwit_schemas::media::MediaId;
use godwit_store::crash::{self, Point};
use godwit_store::keys::media as keys;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, Write};
use mime::Mime;

use super::objects::{Objects, ObjectsError, StoredPart};
use super::record::{MediaRecord, QuotaRecord};
use super::service::{MediaEvent, MediaService, Unfit, mark, put, refuse};
use super::{MediaReply, access};
use crate::writes;

/// Media of the same content that are looked at.
const ALIKE_MAX: usize = 32;
/// Links to parts in one answer.
const LINKS_MAX: usize = 16;
/// Most parts of an upload, by S3.
const PARTS_MAX: u64 = 10_000;
pub(crate) const CONTENT_TYPE_BYTES_MAX: usize = 127;
const DAY_S: u32 = 24 * 3_600;

impl<S: Store> MediaService<S> {
    pub(super) async fn create(
        &mut self,
        user: &UserId,
        call: client::CreateUpload,
        reply: MediaReply,
    ) -> Result<(), StoreError> {
        let Ok(hash) = <[u8; 32]>::try_from(&call.sha256[..]) else { return refuse(reply, refusal::BAD_FILE_HASH) };
        if let Err(refused) = self.admits(&call).and(self.admits_to(user, call.conversation).await?) {
            return refuse(reply, refused);
        }
        if let Some((id, mut record)) = self.unfinished(user, &hash).await?.filter(|(_, it)| it.size == call.size) {
            // What it is was told anew: it may have been corrected.
            record.content_type = call.content_type;
            return self.give_links(id, record, 0, reply).await;
        }
        let there = self.find(user, &hash, call.size).await?;
        let charge = match self.charge(user, if there.is_some() { 0 } else { call.size }).await? {
            Ok(charge) => charge,
            Err(refused) => return refuse(reply, refused),
        };
        let mut random = [0; 16];
        if getrandom::fill(&mut random).is_err() {
            return refuse(reply, refusal::NO_RANDOMNESS_FOR_FILE);
        }
        let id = MediaId::new(random);
        match there {
            Some(there) => self.share_object(id, user, call.content_type, &there, charge, reply).await,
            None => self.announce(id, user, call, hash, charge, reply).await,
        }
    }

    /// What is wrong with a file itself.
    fn admits(&self, call: &client::CreateUpload) -> Result<(), Refusal> {
        if call.size == 0 {
            return Err(refusal::EMPTY_FILE);
        }
        if call.size > self.settings.file_bytes_max || call.size / self.settings.multipart_bytes >= PARTS_MAX {
            return Err(refusal::FILE_TOO_LARGE);
        }
        if is_allowed(&self.settings.content_types, &call.content_type) {
            Ok(())
        } else {
            Err(refusal::CONTENT_TYPE_NOT_ALLOWED)
        }
    }

    async fn admits_to(&mut self, user: &UserId, conversation: u64) -> Result<Result<(), Refusal>, StoreError> {
        if conversation == 0 {
            return Ok(Ok(()));
        }
        Ok(match access::is_member(&self.store, ConversationId::new(conversation), user).await? {
            Some(true) => Ok(()),
            Some(false) => Err(refusal::NOT_IN_CONVERSATION),
            None => Err(refusal::NO_CONVERSATION),
        })
    }

    /// The user's unfinished upload of a content.
    async fn unfinished(
        &mut self,
        user: &UserId,
        hash: &[u8; 32],
    ) -> Result<Option<(MediaId, MediaRecord)>, StoreError> {
        let id = self.store.multi_get(&[keys::unfinished(user, hash)]).await?.pop().flatten();
        let Some(id) = id.and_then(|id| keys::parse_id(&id)) else { return Ok(None) };
        Ok(access::record(&self.store, id).await?.map(|record| (id, record)))
    }

    /// A complete file of this content that the user may have.
    async fn find(&mut self, user: &UserId, hash: &[u8; 32], size: u64) -> Result<Option<MediaRecord>, StoreError> {
        for (id, record) in self.alike(hash).await?.into_iter().filter(|(_, it)| it.is_ready() && it.size == size) {
            let own = record.owner == user.as_str();
            if own || access::may_have(&self.store, id, user, None, self.now_s).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Complete media of the same content.
    async fn alike(&mut self, hash: &[u8; 32]) -> Result<Vec<(MediaId, MediaRecord)>, StoreError> {
        let (from, to) = keys::contents(hash);
        let rows = self.store.scan(Table::Media, &from, &to, ALIKE_MAX, usize::MAX).await?;
        let ids: Vec<_> = rows.iter().filter_map(|(key, _)| keys::parse_last(key)).collect();
        let wanted: Vec<_> = ids.iter().map(|id| keys::media(*id)).collect();
        let found = self.store.multi_get(&wanted).await?;
        let records = ids.into_iter().zip(found);
        Ok(records.filter_map(|(id, value)| Some((id, decoded("media", &id, &value?)?))).collect())
    }

    /// What the user has uploaded today, with this.
    async fn charge(&mut self, user: &UserId, bytes: u64) -> Result<Result<Write, Refusal>, StoreError> {
        let value = self.store.multi_get(&[keys::quota(user)]).await?.pop().flatten();
        let used = value.and_then(|value| decoded::<QuotaRecord>("quota", user, &value)).unwrap_or_default();
        let day = self.now_s / DAY_S;
        let used = if used.day == day { used } else { QuotaRecord { day, ..QuotaRecord::default() } };
        let used = QuotaRecord { bytes: used.bytes.saturating_add(bytes), uploads: used.uploads + 1, ..used };
        let over = used.bytes > self.settings.user_bytes_per_day || used.uploads > self.settings.user_uploads_per_day;
        self.metrics.over_quota.add(over.into());
        Ok(if over { Err(refusal::TOO_MUCH_UPLOADED) } else { Ok(writes::put(keys::quota(user), &used)) })
    }

    /// Another name for what is there.
    async fn share_object(
        &mut self,
        id: MediaId,
        user: &UserId,
        content_type: String,
        there: &MediaRecord,
        charge: Write,
        reply: MediaReply,
    ) -> Result<(), StoreError> {
        let (Some(hash), Some(object)) = (there.hash(), there.object()) else {
            return refuse(reply, refusal::NO_MEDIA);
        };
        let record = MediaRecord {
            owner: user.to_string(),
            content_type,
            keep_until_s: self.now_s.saturating_add(self.settings.unused_s),
            ..there.clone()
        };
        let due = keys::due(record.keep_until_s, id);
        self.commit(vec![charge, put(id, &record), mark(keys::content(&hash, object, id)), mark(due)]).await?;
        reply(client::Response { upload: Some(completed(id)), ..Default::default() });
        Ok(())
    }

    /// A new upload: the row that will have it swept is on disk before anything can be uploaded.
    async fn announce(
        &mut self,
        id: MediaId,
        user: &UserId,
        call: client::CreateUpload,
        hash: [u8; 32],
        charge: Write,
        reply: MediaReply,
    ) -> Result<(), StoreError> {
        let in_parts = call.size > self.settings.multipart_bytes;
        let record = MediaRecord {
            owner: user.to_string(),
            sha256: hash.to_vec(),
            size: call.size,
            content_type: call.content_type,
            object: id.as_bytes().to_vec(),
            part_bytes: if in_parts { self.settings.multipart_bytes } else { 0 },
            keep_until_s: self.now_s.saturating_add(self.settings.unused_s),
            ..MediaRecord::default()
        };
        let due = keys::due(record.keep_until_s, id);
        let unfinished = writes::set(keys::unfinished(user, &hash), Some(Bytes::copy_from_slice(id.as_bytes())));
        self.commit(vec![charge, put(id, &record), unfinished, mark(due)]).await?;
        self.metrics.uploads_begun.increment();
        crash::point(Point::Announced);
        self.give_links(id, record, 0, reply).await
    }

    pub(super) async fn resume(
        &mut self,
        user: &UserId,
        call: &client::GetUpload,
        reply: MediaReply,
    ) -> Result<(), StoreError> {
        match self.own(user, &call.media).await? {
            Some((id, record)) if !record.complete => self.give_links(id, record, call.after, reply).await,
            Some((id, _)) => {
                reply(client::Response { upload: Some(completed(id)), ..Default::default() });
                Ok(())
            }
            None => refuse(reply, refusal::NO_MEDIA),
        }
    }

    /// The user's own file that has this name.
    async fn own(&mut self, user: &UserId, id: &str) -> Result<Option<(MediaId, MediaRecord)>, StoreError> {
        let Ok(id) = id.parse::<MediaId>() else { return Ok(None) };
        let record = access::record(&self.store, id).await?;
        Ok(record.filter(|it| it.owner == user.as_str() && !it.doomed).map(|record| (id, record)))
    }

    /// Links to what is not there yet. How long they may be used is on disk before: until then it is not swept for good.
    async fn give_links(
        &mut self,
        id: MediaId,
        mut record: MediaRecord,
        after: u32,
        reply: MediaReply,
    ) -> Result<(), StoreError> {
        let Some(content) = record.content() else { return refuse(reply, refusal::NO_MEDIA) };
        record.links_until_s = self.now_s.saturating_add(self.settings.link_s);
        record.keep_until_s = self.now_s.saturating_add(self.settings.unused_s);
        self.commit(vec![put(id, &record), mark(keys::due(record.keep_until_s, id))]).await?;
        let objects = self.settings.objects.clone();
        if record.part_bytes == 0 {
            return match objects.put_link(id, &content, self.settings.link_s).await {
                Ok(link) => {
                    let link = Some(self.link(link));
                    let upload = client::Upload { media: id.to_string(), link, ..Default::default() };
                    reply(client::Response { upload: Some(upload), ..Default::default() });
                    Ok(())
                }
                Err(error) => self.unanswered(reply, &error),
            };
        }
        if record.upload.is_empty() {
            let waiting = self.beginning.entry(id).or_default();
            waiting.push(reply);
            if waiting.len() == 1 {
                self.start(async move { MediaEvent::Begun(id, objects.begin(id, &content).await) });
            }
        } else {
            let upload = record.upload;
            self.start(async move { MediaEvent::Listed(id, after, objects.parts(id, &upload).await, reply) });
        }
        Ok(())
    }

    /// The object store has named an upload in parts.
    pub(super) async fn begun(&mut self, id: MediaId, begun: Result<String, ObjectsError>) -> Result<(), StoreError> {
        let waiting = self.beginning.remove(&id).unwrap_or_default();
        if let (Ok(upload), Some(mut record)) = (&begun, access::record(&self.store, id).await?) {
            record.upload.clone_from(upload);
            self.commit(vec![put(id, &record)]).await?;
        }
        for reply in waiting {
            match &begun {
                Ok(_) => self.listed(id, 0, Ok(Vec::new()), reply).await?,
                Err(error) => self.unanswered(reply, error)?,
            }
        }
        Ok(())
    }

    pub(super) async fn listed(
        &mut self,
        id: MediaId,
        after: u32,
        parts: Result<Vec<StoredPart>, ObjectsError>,
        reply: MediaReply,
    ) -> Result<(), StoreError> {
        let record = access::record(&self.store, id).await?;
        let Some(record) = record.filter(|record| !record.complete) else { return refuse(reply, refusal::NO_MEDIA) };
        let parts = match parts {
            Ok(parts) => parts,
            // It was made an object, and the bridge ended before it wrote that down.
            Err(ObjectsError::Absent) => (1..=record.parts()).map(|number| whole_part(&record, number)).collect(),
            Err(error) => return self.unanswered(reply, &error),
        };
        let stored = parts.iter().filter(|part| part.size == record.part_size(part.number)).map(|part| part.number);
        let stored: Vec<_> = stored.collect();
        let missing = (1..=record.parts()).filter(|part| *part > after && stored.binary_search(part).is_err());
        let mut links = Vec::new();
        for part in missing.take(LINKS_MAX) {
            let (size, life_s) = (record.part_size(part), self.settings.link_s);
            match self.settings.objects.part_link(id, &record.upload, part, size, life_s).await {
                Ok(link) => links.push(client::PartLink { part, link: Some(self.link(link)) }),
                Err(error) => return self.unanswered(reply, &error),
            }
        }
        let (media, part_bytes) = (id.to_string(), record.part_bytes);
        let upload = client::Upload { media, part_bytes, stored, parts: links, ..Default::default() };
        reply(client::Response { upload: Some(upload), ..Default::default() });
        Ok(())
    }

    pub(super) async fn complete(&mut self, user: &UserId, media: &str, reply: MediaReply) -> Result<(), StoreError> {
        let Some((id, record)) = self.own(user, media).await? else { return refuse(reply, refusal::NO_MEDIA) };
        if record.complete {
            reply(client::Response { upload: Some(completed(id)), ..Default::default() });
            return Ok(());
        }
        if self.ending.contains(&id) {
            return refuse(reply, refusal::NO_MEDIA);
        }
        let waiting = self.verifying.entry(id).or_default();
        waiting.push(reply);
        if waiting.len() == 1 {
            let objects = self.settings.objects.clone();
            self.start(async move { MediaEvent::Verified(id, verify(objects, id, record).await) });
        }
        Ok(())
    }

    pub(super) async fn verified(&mut self, id: MediaId, verified: Result<(), Unfit>) -> Result<(), StoreError> {
        let waiting = self.verifying.remove(&id).unwrap_or_default();
        let answer = match (verified, access::record(&self.store, id).await?) {
            (_, None) => Err(refusal::NO_MEDIA),
            (Ok(()), Some(record)) => {
                crash::point(Point::Verified);
                self.accept(id, record).await?;
                Ok(completed(id))
            }
            (Err(Unfit::Incomplete), _) => Err(refusal::UPLOAD_INCOMPLETE),
            (Err(Unfit::Another), Some(record)) => {
                self.remove(id, &record, Vec::new()).await?;
                Err(refusal::UPLOAD_DIFFERS)
            }
            (Err(Unfit::Unknown(error)), _) => {
                self.metrics.store_failures.increment();
                tracing::warn!(%error, "an upload cannot be verified now");
                Err(refusal::OBJECT_STORE_SILENT)
            }
        };
        for reply in waiting {
            match &answer {
                Ok(upload) => reply(client::Response { upload: Some(upload.clone()), ..Default::default() }),
                Err(refused) => refuse(reply, *refused)?,
            }
        }
        Ok(())
    }

    /// The file is there. If another object has the same content, that one serves for both.
    async fn accept(&mut self, id: MediaId, mut record: MediaRecord) -> Result<(), StoreError> {
        let Some(hash) = record.hash() else { return Ok(()) };
        let mut writes = Vec::new();
        let alike = self.alike(&hash).await?;
        let other = alike.iter().filter(|(other, it)| *other != id && it.is_ready() && it.size == record.size);
        if let Some(object) = other.filter_map(|(_, it)| it.object()).find(|object| *object != id) {
            writes.extend(self.discard_object(id, &record));
            record.object = object.as_bytes().to_vec();
        }
        let (Ok(owner), Some(object)) = (UserId::new(&record.owner), record.object()) else { return Ok(()) };
        writes.push(writes::set(keys::unfinished(&owner, &hash), None));
        writes.push(mark(keys::content(&hash, object, id)));
        record.complete = true;
        record.upload = String::new();
        record.keep_until_s = self.now_s.saturating_add(self.settings.unused_s);
        writes.extend([put(id, &record), mark(keys::due(record.keep_until_s, id))]);
        self.commit(writes).await?;
        self.metrics.uploads.increment();
        self.metrics.uploaded_bytes.add(record.size);
        Ok(())
    }

    pub(super) async fn discard(&mut self, user: &UserId, media: &str, reply: MediaReply) -> Result<(), StoreError> {
        match self.own(user, media).await? {
            Some((id, record)) if !record.complete && !self.verifying.contains_key(&id) => {
                self.remove(id, &record, Vec::new()).await?;
                reply(client::Response::default());
                Ok(())
            }
            _ => refuse(reply, refusal::NO_MEDIA),
        }
    }
}

fn completed(id: MediaId) -> client::Upload {
    client::Upload { media: id.to_string(), complete: true, ..Default::default() }
}

fn whole_part(record: &MediaRecord, number: u32) -> StoredPart {
    StoredPart { number, size: record.part_size(number), tag: String::new() }
}

/// Compares what the object store has with what was announced; of parts it makes an object first.
async fn verify(objects: Arc<dyn Objects>, id: MediaId, record: MediaRecord) -> Result<(), Unfit> {
    let content = record.content().ok_or(Unfit::Another)?;
    if record.part_bytes > 0 {
        match objects.parts(id, &record.upload).await {
            Ok(parts) => {
                let whole = parts.len() == record.parts() as usize
                    && (1..).zip(&parts).all(|(n, part)| part.number == n && part.size == record.part_size(n));
                if !whole {
                    return Err(Unfit::Incomplete);
                }
                objects.finish(id, &record.upload, &parts).await?;
            }
            // Perhaps it is an object already.
            Err(ObjectsError::Absent) => {}
            Err(error) => return Err(error.into()),
        }
        objects.abort(id).await?;
    }
    let stored = match objects.stat(id).await {
        // The object store has given up what was begun.
        Err(ObjectsError::Absent) if record.part_bytes > 0 => return Err(Unfit::Another),
        stored => stored?,
    };
    if stored.size != content.size {
        return Err(Unfit::Another);
    }
    let hash = match stored.sha256 {
        Some(hash) => hash,
        None => objects.hash(id).await?,
    };
    if hash == content.sha256 { Ok(()) } else { Err(Unfit::Another) }
}

/// `image/*` allows `image/png`, and with parameters what is allowed without (RFC 9110, section 8.3.1).
fn is_allowed(allowed: &[String], content_type: &str) -> bool {
    let is_short = content_type.len() <= CONTENT_TYPE_BYTES_MAX;
    // It stands in headers and in links.
    let is_plain = content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let Some(parsed) = content_type.parse::<Mime>().ok().filter(|_| is_short && is_plain) else { return false };
    let Some((kind, subtype)) = parsed.essence_str().split_once('/') else { return false };
    let fits = |pattern: &String| {
        let (of, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
        of.eq_ignore_ascii_case(kind) && (sub == "*" || sub.eq_ignore_ascii_case(subtype))
    };
    // A range of types is none.
    let is_whole = !kind.is_empty() && !subtype.is_empty() && !parsed.essence_str().contains('*');
    is_whole && allowed.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_may_have_parameters() {
        let allowed = ["audio/*", "text/plain", "image/svg+xml"].map(str::to_owned);
        for good in [
            "audio/ogg",
            "audio/ogg; codecs=opus",
            "Audio/OGG;codecs=\"opus, vorbis\"",
            "text/plain;charset=utf-8;format=flowed",
            "image/svg+xml",
        ] {
            assert!(is_allowed(&allowed, good), "{good}");
        }
        let long = format!("audio/{}", "x".repeat(CONTENT_TYPE_BYTES_MAX));
        for bad in [
            "",
            "audio",
            "audio/",
            "/ogg",
            "audio/*",
            "*/*",
            "text/html",
            "text/plain, text/html",
            "audio/o gg",
            "audio/ogg; codecs",
            "audio/ogg\r\nx: y",
            "audio/ogg; x=\"\u{e9}\"",
            &long,
        ] {
            assert!(!is_allowed(&allowed, bad), "{bad}");
        }
    }
}
