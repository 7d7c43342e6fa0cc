//! GET and HEAD of an object, as HTTP has them: conditions and ranges (RFC 9110, sections 13 and 14), before s3s would read
//! them another way. Called by s3s when the signature is good.
//!
//! A range is one range of bytes, or is ignored, as the RFC allows: also of an object without any bytes, and behind an
//! `If-Range` that does not hold. The entity tag is the SHA-256 of the content, so it is a strong one.

use std::io::SeekFrom;
use std::ops;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headers::{
    AcceptRanges, ContentLength, ContentRange, ETag, HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfRange,
    IfUnmodifiedSince, LastModified,
};
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName,
    HeaderValue, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::Extensions;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use s3s::dto::{Range, StreamingBlob};
use s3s::route::S3Route;
use s3s::{Body, S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::folder::{Folder, Found};
use crate::links::pairs;
use crate::protocol::{hash_digits, refused, tag};
use crate::serve::note_signer;

const READ_BYTES: usize = 64 << 10;
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

/// What a link may say of the answer to it (S3, GetObject).
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", CONTENT_TYPE),
    ("response-content-disposition", CONTENT_DISPOSITION),
    ("response-content-language", CONTENT_LANGUAGE),
    ("response-content-encoding", CONTENT_ENCODING),
    ("response-cache-control", CACHE_CONTROL),
    ("response-expires", EXPIRES),
];
/// What else the query of such a request may have: its signature.
const OF_SIGNATURES: [&str; 4] = ["x-id", "AWSAccessKeyId", "Expires", "Signature"];

/// An extension of a request that was HEAD, and has the signature of a GET.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadByLink;

/// Objects of one bucket.
pub(crate) struct Reading {
    pub(crate) bucket: String,
    pub(crate) folder: Arc<Folder>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ReadOutcome {
    Whole,
    Part(ops::Range<u64>),
    NotModified,
    /// A condition does not hold.
    Failed,
    /// The range is behind the end.
    Unsatisfiable,
}

/// What conditions are about.
struct Validators {
    tag: ETag,
    modified: SystemTime,
}

#[async_trait::async_trait]
impl S3Route for Reading {
    fn is_match(&self, method: &Method, uri: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        let is_plain = |name: &[u8]| {
            let is = |it: &str| it.as_bytes() == name;
            name.starts_with(b"X-Amz-") || OF_SIGNATURES.into_iter().any(is) || OVERRIDES.iter().any(|(it, _)| is(it))
        };
        let reads = matches!(*method, Method::GET | Method::HEAD);
        reads && place(uri).is_some() && pairs(uri).all(|(name, _)| is_plain(&name))
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        note_signer(request.credentials.is_some(), &request.headers, &request.extensions)
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<(StatusCode, Body)>> {
        let (bucket, key) = place(&request.uri).ok_or_else(|| s3_error!(NoSuchKey))?;
        if bucket != self.bucket {
            return Err(s3_error!(NoSuchBucket));
        }
        let found = self.folder.find(&key).await.map_err(refused)?;
        let is_head = request.method == Method::HEAD || request.extensions.get::<HeadByLink>().is_some();
        let validators = Validators {
            tag: tag(hash_digits(&found.hash)).parse().map_err(S3Error::internal_error)?,
            modified: found.modified,
        };
        let outcome = judge(&request.headers, is_head, found.size, &validators);
        let mut headers = HeaderMap::new();
        headers.typed_insert(validators.tag);
        headers.typed_insert(LastModified::from(validators.modified));
        let (status, wanted) = match outcome {
            ReadOutcome::NotModified => {
                let answer = (StatusCode::NOT_MODIFIED, Body::empty());
                return Ok(S3Response::with_headers(answer, headers));
            }
            ReadOutcome::Failed => return Err(s3_error!(PreconditionFailed)),
            ReadOutcome::Unsatisfiable => return Err(unsatisfiable(found.size)),
            ReadOutcome::Part(part) => {
                let range = ContentRange::bytes(part.clone(), found.size).map_err(S3Error::internal_error)?;
                headers.typed_insert(range);
                (StatusCode::PARTIAL_CONTENT, part)
            }
            ReadOutcome::Whole => {
                let hash = HeaderValue::try_from(STANDARD.encode(found.hash)).map_err(S3Error::internal_error)?;
                headers.insert(CHECKSUM, hash);
                (StatusCode::OK, 0..found.size)
            }
        };
        headers.typed_insert(AcceptRanges::bytes());
        headers.typed_insert(ContentLength(wanted.end - wanted.start));
        describe(&mut headers, &request.uri)?;
        let body = if is_head { Body::empty() } else { content(found, wanted).await? };
        Ok(S3Response::with_headers((status, body), headers))
    }
}

/// Bucket and key.
fn place(uri: &Uri) -> Option<(String, String)> {
    let path = percent_decode_str(uri.path()).decode_utf8().ok()?;
    let (bucket, key) = path.strip_prefix('/')?.split_once('/')?;
    (!key.is_empty()).then(|| (bucket.to_owned(), key.to_owned()))
}

/// In the order of RFC 9110, section 13.2.2.
fn judge(headers: &HeaderMap, is_head: bool, size: u64, validators: &Validators) -> ReadOutcome {
    let if_match = headers.typed_get::<IfMatch>().map(|condition| condition.precondition_passes(&validators.tag));
    let unmodified =
        || headers.typed_get::<IfUnmodifiedSince>().map(|since| since.precondition_passes(validators.modified));
    if if_match.or_else(unmodified) == Some(false) {
        return ReadOutcome::Failed;
    }
    let if_none_match =
        headers.typed_get::<IfNoneMatch>().map(|condition| condition.precondition_passes(&validators.tag));
    let modified = || headers.typed_get::<IfModifiedSince>().map(|since| since.is_modified(validators.modified));
    if if_none_match.or_else(modified) == Some(false) {
        return ReadOutcome::NotModified;
    }
    let range = range(headers).filter(|_| !is_head && size > 0 && is_same(headers, validators));
    match range.map(|range| range.check(size)) {
        None => ReadOutcome::Whole,
        Some(Ok(part)) => ReadOutcome::Part(part),
        Some(Err(_)) => ReadOutcome::Unsatisfiable,
    }
}

/// The one range of bytes that is asked for; what is not that is as if it were absent (section 14.2).
fn range(headers: &HeaderMap) -> Option<Range> {
    let mut values = headers.get_all(RANGE).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (unit, range) = value.to_str().ok()?.split_once('=')?;
    Range::parse(&format!("{}={}", unit.to_ascii_lowercase(), range.trim())).ok()
}

/// Whether what the client has a part of is what is here: by the tag, or by exactly this date (section 13.1.5).
fn is_same(headers: &HeaderMap, validators: &Validators) -> bool {
    match headers.typed_try_get::<IfRange>() {
        Ok(None) => true,
        Ok(Some(had)) => had == IfRange::etag(validators.tag.clone()) || had == IfRange::date(validators.modified),
        Err(_) => false,
    }
}

/// With the size, so that the client can ask for what is there (section 15.5.17).
fn unsatisfiable(size: u64) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.typed_insert(ContentRange::unsatisfied_bytes(size));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let mut error = s3_error!(InvalidRange);
    error.set_headers(headers);
    error
}

/// What it is: what the link says, or just bytes. A browser that was handed the link shall not run it.
fn describe(headers: &mut HeaderMap, uri: &Uri) -> S3Result<()> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in pairs(uri) {
        let Some((_, header)) = OVERRIDES.iter().find(|(it, _)| it.as_bytes() == name) else { continue };
        let value = HeaderValue::from_bytes(&value).map_err(|_| s3_error!(InvalidArgument, "{header}"))?;
        headers.insert(header, value);
    }
    Ok(())
}

async fn content(found: Found, wanted: ops::Range<u64>) -> S3Result<Body> {
    let mut file = found.file;
    file.seek(SeekFrom::Start(wanted.start)).await.map_err(S3Error::internal_error)?;
    let bytes = ReaderStream::with_capacity(file.take(wanted.end - wanted.start), READ_BYTES);
    Ok(Body::from(StreamingBlob::wrap(bytes)))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const TAG: &str = "\"abcd\"";
    const OTHER: &str = "\"dcba\"";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn ask(is_head: bool, size: u64, headers: &[(&'static str, &str)]) -> ReadOutcome {
        // With a fraction of a second, as files have it.
        let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let it = Validators { tag: TAG.parse().expect("a tag"), modified };
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        let mut map = HeaderMap::new();
        headers.iter().map(header).for_each(|(name, value)| _ = map.append(name, value));
        judge(&map, is_head, size, &it)
    }

    #[test]
    fn a_range_is_served_refused_or_ignored() {
        let of = |range: &str| ask(false, 10, &[("range", range)]);
        for (range, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("Bytes=2-", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-100", 0..10),
            ("bytes=0-100", 0..10),
        ] {
            assert_eq!(of(range), ReadOutcome::Part(part), "{range}");
        }
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(of(range), ReadOutcome::Unsatisfiable, "{range}");
        }
        let ignored =
            ["items=0-1", "bytes=0-1,3-4", "bytes", "bytes=", "bytes=a-b", "bytes=5-2", "bytes=0-1-2", "\u{e9}"];
        for range in ignored {
            assert_eq!(of(range), ReadOutcome::Whole, "{range}");
        }
        assert_eq!(ask(false, 10, &[("range", "bytes=0-1"), ("range", "bytes=3-4")]), ReadOutcome::Whole);
        assert_eq!(ask(true, 10, &[("range", "bytes=0-1")]), ReadOutcome::Whole, "HEAD");
        for range in ["bytes=-1", "bytes=0-", "bytes=0-0", "bytes=-0"] {
            assert_eq!(ask(false, 0, &[("range", range)]), ReadOutcome::Whole, "{range} of nothing");
        }
    }

    #[test]
    fn a_download_goes_on_only_where_it_is_the_same() {
        let with = |had: &str| ask(false, 10, &[("range", "bytes=4-"), ("if-range", had)]);
        for had in [TAG, DATE] {
            assert_eq!(with(had), ReadOutcome::Part(4..10), "{had}");
        }
        for had in [OTHER, "W/\"abcd\"", EARLIER, LATER, "abcd", ""] {
            assert_eq!(with(had), ReadOutcome::Whole, "{had}");
        }
    }

    #[test]
    fn conditions_hold_or_do_not() {
        use ReadOutcome::{Failed, NotModified, Part, Whole};
        let both = format!("{OTHER}, {TAG}");
        let cases: [(&[(&'static str, &str)], ReadOutcome); 16] = [
            (&[("if-none-match", TAG)], NotModified),
            (&[("if-none-match", "W/\"abcd\"")], NotModified),
            (&[("if-none-match", &both)], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", OTHER)], Whole),
            (&[("if-modified-since", DATE)], NotModified),
            (&[("if-modified-since", LATER)], NotModified),
            (&[("if-modified-since", EARLIER)], Whole),
            (&[("if-modified-since", "yesterday")], Whole),
            (&[("if-none-match", OTHER), ("if-modified-since", DATE)], Whole),
            (&[("if-match", OTHER)], Failed),
            (&[("if-match", "*")], Whole),
            (&[("if-unmodified-since", EARLIER)], Failed),
            (&[("if-unmodified-since", DATE)], Whole),
            (&[("if-match", TAG), ("if-unmodified-since", EARLIER)], Whole),
            (&[("if-match", TAG), ("range", "bytes=0-1")], Part(0..2)),
        ];
        for (headers, outcome) in cases {
            assert_eq!(ask(false, 10, headers), outcome, "{headers:?}");
            let expected = if outcome == Part(0..2) { Whole } else { outcome };
            assert_eq!(ask(true, 10, headers), expected, "HEAD {headers:?}");
        }
    }

    #[tokio::test]
    async fn only_a_plain_object_is_read_here() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Arc::new(Folder::open(root.path(), 0).await.expect("made"));
        let reading = Reading { bucket: "b".to_owned(), folder };
        let is_match = |method: Method, uri: &'static str| {
            reading.is_match(&method, &Uri::from_static(uri), &HeaderMap::new(), &mut Extensions::new())
        };
        for uri in ["/b/k", "/b/%6b?X-Amz-Date=1&response%2Dcontent-type=a&x-id=GetObject"] {
            assert!(is_match(Method::GET, uri) && is_match(Method::HEAD, uri), "{uri}");
            assert!(!is_match(Method::PUT, uri), "{uri}");
        }
        for uri in ["/b", "/b/", "/b/k?uploadId=u", "/b/k?acl", "/b/k?partNumber=1"] {
            assert!(!is_match(Method::GET, uri), "{uri}");
        }
        assert_eq!(place(&Uri::from_static("/b/%6b")), Some(("b".to_owned(), "k".to_owned())));
    }
}
