//! Downloads by link as HTTP has them: ranges, conditions, HEAD; with curl, and with boto3.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use super::depot::{announcement, complete, content, curl, get, put_all, send, upload};
use crate::chat::web::Web;
use crate::clients::python;
use crate::server::Server;

/// What curl tells of an answer.
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

fn ask(link: &Value, method: &str, headers: &[&str]) -> Got {
    let link = json!({ "method": method, "url": link["url"], "headers": {} });
    let mut arguments: Vec<_> = headers.iter().flat_map(|header| ["--header", header]).collect();
    arguments.push(if method == "HEAD" { "--head" } else { "--include" });
    let (status, answer) = curl(&link, &arguments);
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("a head") + 4;
    Got { status, head: String::from_utf8_lossy(&answer[..end]).into_owned(), body: answer[end..].to_vec() }
}

/// A link to a shared file, and the server that has it.
fn shared(bytes: &[u8]) -> (Server, Value) {
    let server = Server::start();
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    server.add_user("bob", "phone");
    let media = upload(&web, bytes);
    send(&web, "bob", &media, json!({}));
    let link = web.done("GET", &format!("/media/{media}/download"), None);
    (server, link)
}

#[test]
fn a_link_is_read_as_http_has_it() {
    let photo = content(1_000, 1);
    let (_server, link) = shared(&photo);
    let whole = ask(&link, "GET", &[]);
    assert_eq!((whole.status, &whole.body), (200, &photo));
    assert_eq!(whole.header("content-type"), Some("image/jpeg"));
    assert_eq!(whole.header("content-disposition"), Some("attachment"));
    let tag = whole.header("etag").expect("a tag").to_owned();
    let date = whole.header("last-modified").expect("a date").to_owned();

    let head = ask(&link, "HEAD", &["range: bytes=0-1"]);
    assert_eq!((head.status, head.header("content-length"), head.header("etag")), (200, Some("1000"), Some(&tag[..])));
    let part = ask(&link, "GET", &["range: bytes=-10"]);
    assert_eq!((part.status, &part.body[..]), (206, &photo[990..]));
    assert_eq!(part.header("content-range"), Some("bytes 990-999/1000"));
    for range in ["items=0-1", "bytes=0-1,5-6", "bytes=x"] {
        let whole = ask(&link, "GET", &[&format!("range: {range}")]);
        assert_eq!((whole.status, whole.body.len()), (200, 1_000), "{range}");
    }
    let behind = ask(&link, "GET", &["range: bytes=1000-"]);
    assert_eq!((behind.status, behind.header("content-range")), (416, Some("bytes */1000")));

    for (had, status) in [(&tag[..], 206), (&date, 206), ("\"other\"", 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 200)] {
        let got = ask(&link, "GET", &["range: bytes=500-", &format!("if-range: {had}")]);
        assert_eq!((got.status, got.body.len()), (status, if status == 206 { 500 } else { 1_000 }), "{had}");
    }
    for (header, status) in [
        (format!("if-none-match: {tag}"), 304),
        ("if-none-match: \"other\"".to_owned(), 200),
        (format!("if-modified-since: {date}"), 304),
        ("if-match: \"other\"".to_owned(), 412),
        (format!("if-match: {tag}"), 200),
        ("if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 412),
    ] {
        for method in ["GET", "HEAD"] {
            let got = ask(&link, method, &[&header]);
            assert_eq!(got.status, status, "{method} {header}");
            assert!(status != 304 || got.header("etag") == Some(&tag), "{}", got.head);
        }
    }
}

#[test]
fn a_condition_of_an_upload_is_judged_by_what_is_there() {
    let server = Server::start();
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    let photo = content(1_000, 1);
    let file = server.data().join("photo");
    std::fs::write(&file, &photo).expect("written");
    let link = web.done("POST", "/media", Some(announcement(&photo)))["link"].clone();
    let put = |condition: &str| curl(&link, &["--header", condition, "--upload-file", file.to_str().expect("text")]).0;
    assert_eq!(put("if-match: *"), 404);
    assert_eq!(put("if-none-match: *"), 200);
    assert_eq!([put("if-none-match: *"), put("if-match: \"other\"")], [412, 412]);
    assert_eq!([put("if-match: *"), put("if-none-match: \"other\""), put("x: y")], [200, 200, 200]);
}

#[test]
fn a_link_is_for_reading_and_no_more() {
    let (_server, link) = shared(&content(1_000, 1));
    let url = link["url"].as_str().expect("a URL");
    for method in ["DELETE", "PUT", "POST", "OPTIONS"] {
        assert!(ask(&link, method, &[]).status >= 400, "{method}");
    }
    let other = json!({ "url": url.replacen("attachment", "inline", 1) });
    assert_eq!((ask(&other, "GET", &[]).status, ask(&other, "HEAD", &[]).status), (403, 403));
    let bare = json!({ "url": url.split('?').next().expect("a URL") });
    assert_eq!((ask(&bare, "GET", &[]).status, ask(&bare, "HEAD", &[]).status), (403, 403));
    assert_eq!(get(&link).0, 200);
}

#[test]
fn a_file_is_what_its_last_announcement_says() {
    let server = Server::start();
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    server.add_user("bob", "phone");
    let speech = content(2_000, 1);
    let mut announced = announcement(&speech);
    announced["content_type"] = "audio/mpeg".into();
    web.done("POST", "/media", Some(announced.clone()));
    announced["content_type"] = "audio/ogg; codecs=\"opus\"".into();
    let upload = web.done("POST", "/media", Some(announced));
    put_all(&upload, &speech);
    let media = complete(&web, &upload);
    send(&web, "bob", &media, json!({}));
    let link = web.done("GET", &format!("/media/{media}/download"), None);
    let got = ask(&link, "GET", &[]);
    assert_eq!((got.status, got.header("content-type")), (200, Some("audio/ogg; codecs=\"opus\"")));
    assert_eq!(got.body, speech);
}

#[test]
fn a_request_has_one_host() {
    let server = Server::start();
    let send = |address, head: &str| {
        let mut stream = TcpStream::connect::<std::net::SocketAddr>(address).expect("connected");
        stream.write_all(head.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    };
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a/b\r\n"] {
        for address in [server.media(), server.http()] {
            let answer = send(address, &format!("GET /healthz HTTP/1.1\r\n{hosts}connection: close\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{hosts}: {answer}");
        }
    }
}

/// What an SDK of S3's expects of GetObject and HeadObject, of an empty object too.
const BOTO: &str = r#"
import sys
import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

url, access, secret, bucket = sys.argv[1:]
config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, proxies={}, retries={"total_max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1", config=config)
content = bytes(range(256)) * 40

def status(call, **more):
    try:
        answer = call(Bucket=bucket, **more)
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response

put = s3.put_object(Bucket=bucket, Key="full", Body=content)
s3.put_object(Bucket=bucket, Key="empty", Body=b"")
got = s3.get_object(Bucket=bucket, Key="full")
assert got["Body"].read() == content and got["ETag"] == put["ETag"], got
head = s3.head_object(Bucket=bucket, Key="full", ChecksumMode="ENABLED")
assert head["ContentLength"] == len(content) and head["ETag"] == put["ETag"] and head["ChecksumSHA256"], head
assert head["LastModified"] == got["LastModified"], head

code, got = status(s3.get_object, Key="full", Range="bytes=5-9")
assert code == 206 and got["Body"].read() == content[5:10] and got["ContentRange"] == "bytes 5-9/10240", got
for ignored in ["items=0-1", "bytes=0-1,3-4"]:
    code, got = status(s3.get_object, Key="full", Range=ignored)
    assert code == 200 and got["Body"].read() == content, (ignored, got)
code, got = status(s3.get_object, Key="full", Range="bytes=10240-")
assert code == 416 and got["Error"]["Code"] == "InvalidRange", got
assert got["ResponseMetadata"]["HTTPHeaders"]["content-range"] == "bytes */10240", got
for range in ["bytes=-1", "bytes=0-", "bytes=0-0"]:
    code, got = status(s3.get_object, Key="empty", Range=range)
    assert code == 200 and got["Body"].read() == b"", (range, got)

for call in [s3.get_object, s3.head_object]:
    assert status(call, Key="full", IfMatch=put["ETag"])[0] == 200
    assert status(call, Key="full", IfMatch='"other"')[0] == 412
    assert status(call, Key="full", IfNoneMatch=put["ETag"])[0] == 304
    assert status(call, Key="full", IfNoneMatch='"other"')[0] == 200
    assert status(call, Key="full", IfModifiedSince=head["LastModified"])[0] == 304
    assert status(call, Key="full", IfUnmodifiedSince=head["LastModified"])[0] == 200
    assert status(call, Key="absent")[0] == 404

named = s3.get_object(Bucket=bucket, Key="full", ResponseContentType="text/plain", ResponseCacheControl="no-store")
assert named["ContentType"] == "text/plain" and named["CacheControl"] == "no-store", named
upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
parts = [s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=n, Body=content)["ETag"] for n in (1, 2)]
s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(parts, 1)]})
assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == content * 2
"#;

#[test]
fn an_sdk_reads_as_from_any_other_store() {
    let server = Server::start();
    let keys = std::fs::read_to_string(server.data().join("media.keys")).expect("keys");
    let (access, secret) = keys.trim().split_once('\n').expect("two lines");
    let url = format!("http://{}", server.media());
    let run =
        Command::new(python()).args(["-c", BOTO, &url, access, secret, "godwit-media"]).env("NO_PROXY", "*").output();
    let run = run.expect("python starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
