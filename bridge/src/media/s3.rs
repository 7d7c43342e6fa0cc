//! Any S3 server. The only module that names aws-sdk-s3 and what belongs to it.
//!
//! Two clients of the same account: one asks the server where the bridge reaches it, the other signs links for where apps
//! do, since a signature covers the host. Checksums are sent and verified only where we ask for them: most other servers do
//! not know those that the SDK would add by itself.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::tls;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use godwit_schemas::media::MediaId;
use sha2::{Digest as _, Sha256};

use super::objects::{ObjectContent, Objects, ObjectsAnswer, ObjectsError, SignedLink, StoredObject, StoredPart};

/// Which server, and as whom.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Where the bridge reaches it, like `https://s3.example.org`.
    pub endpoint: String,
    /// Where apps do.
    pub public_url: String,
    /// What its signatures name.
    pub region: String,
    /// It must exist.
    pub bucket: String,
    /// The bucket stands in the path rather than in the host's name.
    pub path_style: bool,
    /// Access key and secret key; `None`: from the environment, files, or the machine, as AWS's own programs look for them.
    pub keys: Option<(String, String)>,
}

/// An S3 server: one bucket, reached by a client for the server itself and one that signs links for apps.
#[derive(Debug)]
pub struct S3 {
    own: Client,
    signing: Client,
    bucket: String,
}

impl S3 {
    /// Looks for credentials. Does not ask the server anything.
    pub async fn connect(settings: &S3Settings) -> Self {
        let crypto = tls::rustls_provider::CryptoMode::Ring;
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(crypto)).build_https();
        let shared = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .region(Region::new(settings.region.clone()))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let shared = match &settings.keys {
            Some((access, secret)) => {
                let keys = Credentials::new(access, secret, None, None, "settings");
                shared.credentials_provider(SharedCredentialsProvider::new(keys))
            }
            None => shared,
        };
        let shared = shared.load().await;
        let client = |endpoint: &str| {
            let config = aws_sdk_s3::config::Builder::from(&shared);
            Client::from_conf(config.endpoint_url(endpoint).force_path_style(settings.path_style).build())
        };
        Self { own: client(&settings.endpoint), signing: client(&settings.public_url), bucket: settings.bucket.clone() }
    }
}

/// Whatever was asked, the answer says `Absent` or why not.
fn failed<E, R>(doing: &'static str) -> impl FnOnce(SdkError<E, R>) -> ObjectsError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    move |error| match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("NotFound" | "NoSuchKey" | "NoSuchUpload") => ObjectsError::Absent,
        _ => ObjectsError::Failed { doing, cause: causes(&error) },
    }
}

/// An error and what led to it. (What the SDK would show has the whole answer in it.)
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn within(life_s: u32) -> Result<PresigningConfig, ObjectsError> {
    let life = PresigningConfig::expires_in(Duration::from_secs(life_s.into()));
    life.map_err(|error| ObjectsError::Failed { doing: "sign a link", cause: error.to_string() })
}

fn link(method: &'static str, signed: &PresignedRequest) -> SignedLink {
    let headers = signed.headers().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    SignedLink { method, url: signed.uri().to_owned(), headers }
}

fn length(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A SHA-256 of the whole object. That of a multipart upload is mostly one of its parts' hashes, and ends in `-<parts>`.
fn whole_hash(checksum: Option<&str>) -> Option<[u8; 32]> {
    STANDARD.decode(checksum?).ok()?.try_into().ok()
}

impl Objects for S3 {
    fn put_link<'a>(
        &'a self,
        object: MediaId,
        content: &'a ObjectContent,
        life_s: u32,
    ) -> ObjectsAnswer<'a, SignedLink> {
        async move {
            let put = self.signing.put_object().bucket(&self.bucket).key(object.to_string());
            let put = put.content_length(length(content.size)).content_type(&content.content_type);
            let put = put.checksum_sha256(STANDARD.encode(content.sha256));
            Ok(link("PUT", &put.presigned(within(life_s)?).await.map_err(failed("sign a link"))?))
        }
        .boxed()
    }

    fn part_link<'a>(
        &'a self,
        object: MediaId,
        upload: &'a str,
        part: u32,
        size: u64,
        life_s: u32,
    ) -> ObjectsAnswer<'a, SignedLink> {
        async move {
            let put = self.signing.upload_part().bucket(&self.bucket).key(object.to_string()).upload_id(upload);
            let put = put.part_number(length(part.into()) as i32).content_length(length(size));
            Ok(link("PUT", &put.presigned(within(life_s)?).await.map_err(failed("sign a link"))?))
        }
        .boxed()
    }

    fn get_link<'a>(&'a self, object: MediaId, content_type: &'a str, life_s: u32) -> ObjectsAnswer<'a, SignedLink> {
        async move {
            let get = self.signing.get_object().bucket(&self.bucket).key(object.to_string());
            // A browser that was handed the link shall not run it.
            let get = get.response_content_type(content_type).response_content_disposition("attachment");
            Ok(link("GET", &get.presigned(within(life_s)?).await.map_err(failed("sign a link"))?))
        }
        .boxed()
    }

    fn begin<'a>(&'a self, object: MediaId, content: &'a ObjectContent) -> ObjectsAnswer<'a, String> {
        async move {
            let begin = self.own.create_multipart_upload().bucket(&self.bucket).key(object.to_string());
            let begun = begin.content_type(&content.content_type).send().await.map_err(failed("begin an upload"))?;
            let nameless = || ObjectsError::Failed { doing: "begin an upload", cause: "it has no name".to_owned() };
            begun.upload_id.ok_or_else(nameless)
        }
        .boxed()
    }

    fn parts<'a>(&'a self, object: MediaId, upload: &'a str) -> ObjectsAnswer<'a, Vec<StoredPart>> {
        async move {
            let list = self.own.list_parts().bucket(&self.bucket).key(object.to_string()).upload_id(upload);
            let mut pages = list.into_paginator().send();
            let mut parts = Vec::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(failed("list parts"))?;
                parts.extend(page.parts.unwrap_or_default().into_iter().filter_map(|part| {
                    let number = u32::try_from(part.part_number?).ok()?;
                    Some(StoredPart { number, size: u64::try_from(part.size?).ok()?, tag: part.e_tag? })
                }));
            }
            parts.sort_by_key(|part| part.number);
            Ok(parts)
        }
        .boxed()
    }

    fn finish<'a>(&'a self, object: MediaId, upload: &'a str, parts: &'a [StoredPart]) -> ObjectsAnswer<'a, ()> {
        async move {
            let parts = parts.iter().map(|part| {
                CompletedPart::builder().part_number(length(part.number.into()) as i32).e_tag(&part.tag).build()
            });
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
            let finish = self.own.complete_multipart_upload().bucket(&self.bucket).key(object.to_string());
            let finish = finish.upload_id(upload).multipart_upload(parts);
            finish.send().await.map_err(failed("finish an upload")).map(drop)
        }
        .boxed()
    }

    fn stat(&self, object: MediaId) -> ObjectsAnswer<'_, StoredObject> {
        async move {
            let head = self.own.head_object().bucket(&self.bucket).key(object.to_string());
            let head = head.checksum_mode(ChecksumMode::Enabled).send().await.map_err(failed("look at an object"))?;
            let size = head.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            Ok(StoredObject { size, sha256: whole_hash(head.checksum_sha256.as_deref()) })
        }
        .boxed()
    }

    fn hash(&self, object: MediaId) -> ObjectsAnswer<'_, [u8; 32]> {
        async move {
            let get = self.own.get_object().bucket(&self.bucket).key(object.to_string());
            let mut body = get.send().await.map_err(failed("read an object"))?.body;
            let mut hash = Sha256::new();
            while let Some(bytes) = body.next().await {
                let cut = |error: aws_sdk_s3::primitives::ByteStreamError| error.to_string();
                let cut = |error| ObjectsError::Failed { doing: "read an object", cause: cut(error) };
                hash.update(bytes.map_err(cut)?);
            }
            Ok(hash.finalize().into())
        }
        .boxed()
    }

    /// The names are asked for: the bridge may have ended before it wrote one down.
    fn abort(&self, object: MediaId) -> ObjectsAnswer<'_, ()> {
        async move {
            let key = object.to_string();
            let list = self.own.list_multipart_uploads().bucket(&self.bucket).prefix(&key);
            let begun = list.send().await.map_err(failed("list uploads"))?.uploads.unwrap_or_default();
            for upload in begun.iter().filter(|upload| upload.key.as_ref() == Some(&key)) {
                let abort = self.own.abort_multipart_upload().bucket(&self.bucket).key(&key);
                let abort = abort.set_upload_id(upload.upload_id.clone());
                match abort.send().await.map_err(failed("abort an upload")) {
                    Ok(_) | Err(ObjectsError::Absent) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn delete(&self, object: MediaId) -> ObjectsAnswer<'_, ()> {
        async move {
            let delete = self.own.delete_object().bucket(&self.bucket).key(object.to_string());
            match delete.send().await.map_err(failed("delete an object")) {
                Ok(_) | Err(ObjectsError::Absent) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn s3(path_style: bool) -> S3 {
        S3::connect(&S3Settings {
            endpoint: "http://10.0.0.1:9000".to_owned(),
            public_url: "https://media.example.org".to_owned(),
            region: "eu-central-1".to_owned(),
            bucket: "files".to_owned(),
            path_style,
            keys: Some(("access".to_owned(), "secret".to_owned())),
        })
        .await
    }

    #[tokio::test]
    async fn a_link_binds_what_is_uploaded_and_names_the_public_host() {
        let content = ObjectContent { size: 9, sha256: [7; 32], content_type: "image/png".to_owned() };
        let object = MediaId::new([1; 16]);
        let link = s3(true).await.put_link(object, &content, 60).await.expect("signed");
        assert!(link.url.starts_with(&format!("https://media.example.org/files/{object}?")), "{}", link.url);
        let signed = "X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost%3Bx-amz-checksum-sha256";
        assert!(link.url.contains(signed) && link.url.contains("X-Amz-Expires=60"), "{}", link.url);
        let mut headers = link.headers;
        headers.sort();
        let expected =
            [("content-type", "image/png"), ("x-amz-checksum-sha256", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let link = s3(true).await.get_link(object, "audio/ogg; codecs=opus", 60).await.expect("signed");
        assert!(link.url.contains("response-content-disposition=attachment"), "{}", link.url);
        assert!(link.url.contains("response-content-type=audio%2Fogg%3B%20codecs%3Dopus"), "{}", link.url);
        let link = s3(false).await.part_link(object, "upload", 3, 9, 60).await.expect("signed");
        assert!(link.url.starts_with(&format!("https://files.media.example.org/{object}?")), "{}", link.url);
        assert!(link.url.contains("partNumber=3") && link.url.contains("SignedHeaders=content-length%3Bhost"));
        assert_eq!(link.headers, []);
    }

    #[test]
    fn a_hash_of_hashes_is_none_of_the_object() {
        let whole = STANDARD.encode([7; 32]);
        assert_eq!(whole_hash(Some(&whole)), Some([7; 32]));
        assert_eq!([whole_hash(Some(&format!("{whole}-3"))), whole_hash(None)], [None, None]);
    }
}
