//! S3's operations on a folder, as far as Godwit and its links need them (but for reading: `read`). Everything else is
//! answered with 501.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::condition::Condition;
use crate::folder::{Folder, PutRefusal};

/// Most parts of an upload.
const PARTS_MAX: i32 = 10_000;

/// One bucket in a folder.
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) folder: Arc<Folder>,
}

impl Bucket {
    fn is_it(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.name { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }
}

/// Of an object.
pub(crate) fn refused(refusal: PutRefusal) -> S3Error {
    match refusal {
        PutRefusal::Absent => s3_error!(NoSuchKey),
        PutRefusal::WrongHash => s3_error!(BadDigest, "not the SHA-256 that was announced"),
        PutRefusal::Another => s3_error!(PreconditionFailed),
        PutRefusal::NoRoom => s3_error!(ServiceUnavailable, "no room"),
        PutRefusal::CutOff(_) => s3_error!(IncompleteBody),
        PutRefusal::Io(error) => {
            tracing::error!(%error, "the embedded object store failed");
            S3Error::internal_error(error)
        }
    }
}

/// Of an upload in parts.
fn refused_upload(refusal: PutRefusal) -> S3Error {
    match refusal {
        PutRefusal::Absent => s3_error!(NoSuchUpload),
        other => refused(other),
    }
}

fn part_number(number: i32) -> S3Result<u32> {
    let number = Some(number).filter(|number| (1..=PARTS_MAX).contains(number));
    number.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| s3_error!(InvalidArgument, "part number"))
}

fn length(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Of a content: as `read` shows it.
pub(crate) fn hash_digits(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn tag(of: impl std::fmt::Display) -> String {
    format!("\"{of}\"")
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let condition = Condition::of(&request.headers);
        let condition = condition.ok_or_else(|| s3_error!(InvalidArgument, "If-Match or If-None-Match"))?;
        let PutObjectInput { bucket, key, body, checksum_sha256, .. } = request.input;
        self.is_it(&bucket)?;
        let announced = checksum_sha256.as_ref().map(|text| STANDARD.decode(text).ok()?.try_into().ok());
        let announced = announced.map(|hash| hash.ok_or_else(|| s3_error!(InvalidArgument, "not a SHA-256")));
        let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let hash = self.folder.put(&key, body, announced.transpose()?, &condition).await.map_err(refused)?;
        let e_tag = Some(tag(hash_digits(&hash)));
        Ok(S3Response::new(PutObjectOutput { checksum_sha256, e_tag, ..Default::default() }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, .. } = request.input;
        self.is_it(&bucket)?;
        match self.folder.delete(&key).await {
            Ok(()) | Err(PutRefusal::Absent) => Ok(S3Response::new(DeleteObjectOutput::default())),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = request.input;
        self.is_it(&bucket)?;
        let number = getrandom::u64().map_err(|error| S3Error::internal_error(std::io::Error::other(error)))?;
        let upload = format!("{number:016x}");
        self.folder.begin(&key, &upload).await.map_err(refused)?;
        let (bucket, key, upload_id) = (Some(bucket), Some(key), Some(upload));
        Ok(S3Response::new(CreateMultipartUploadOutput { bucket, key, upload_id, ..Default::default() }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { bucket, key, upload_id, part_number: number, body, .. } = request.input;
        self.is_it(&bucket)?;
        let number = part_number(number)?;
        let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let size = self.folder.put_part(&key, &upload_id, number, body).await.map_err(refused_upload)?;
        let e_tag = Some(tag(format_args!("{number}-{size}")));
        Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let ListPartsInput { bucket, key, upload_id, .. } = request.input;
        self.is_it(&bucket)?;
        let parts = self.folder.parts(&key, &upload_id).await.map_err(refused_upload)?;
        let parts = parts.into_iter().map(|(number, size)| Part {
            part_number: i32::try_from(number).ok(),
            size: Some(length(size)),
            e_tag: Some(tag(format_args!("{number}-{size}"))),
            ..Default::default()
        });
        let (parts, is_truncated) = (Some(parts.collect()), Some(false));
        Ok(S3Response::new(ListPartsOutput { parts, is_truncated, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = request.input;
        self.is_it(&bucket)?;
        let parts = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let numbers = parts.iter().map(|part| part_number(part.part_number.unwrap_or_default()));
        let numbers = numbers.collect::<S3Result<Vec<_>>>()?;
        let hash = self.folder.assemble(&key, &upload_id, &numbers).await.map_err(refused_upload)?;
        let (bucket, e_tag) = (Some(bucket), Some(tag(hash_digits(&hash))));
        Ok(S3Response::new(CompleteMultipartUploadOutput { bucket, key: Some(key), e_tag, ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = request.input;
        self.is_it(&bucket)?;
        self.folder.abort(&key, &upload_id).await.map_err(refused_upload)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    /// Of one key: what the prefix says.
    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let ListMultipartUploadsInput { bucket, prefix, .. } = request.input;
        self.is_it(&bucket)?;
        let key = prefix.ok_or_else(|| s3_error!(NotImplemented))?;
        let uploads = self.folder.uploads(&key).await.map_err(refused)?;
        let uploads = uploads.into_iter().map(|upload| MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some(upload),
            ..Default::default()
        });
        let (uploads, is_truncated) = (Some(uploads.collect()), Some(false));
        Ok(S3Response::new(ListMultipartUploadsOutput { uploads, is_truncated, ..Default::default() }))
    }
}
