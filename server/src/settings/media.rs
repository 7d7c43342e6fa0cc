//! Settings of files: where they are kept, and how much a user may.

use std::net::SocketAddr;

use super::layers::Layers;
use super::listeners::optional;
use super::{number, refuse_plaintext};

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSettings {
    pub(crate) storage: Storage,
    /// Where apps reach it, if not where the bridge does.
    pub(crate) public_url: Option<String>,
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) file_bytes_max: u64,
    pub(crate) multipart_bytes: u64,
    pub(crate) link_s: u32,
    pub(crate) unused_s: u32,
    pub(crate) grace_s: u32,
    pub(crate) user_bytes_per_day: u64,
    pub(crate) user_uploads_per_day: u32,
    pub(crate) content_types: Vec<String>,
}

/// Which object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Storage {
    /// None: there are no files.
    Nowhere,
    /// The one in this process.
    Embedded { listen: SocketAddr, tls_listen: Option<SocketAddr>, connections_max: usize },
    /// Another S3 server.
    Elsewhere { endpoint: String, path_style: bool },
}

impl FileSettings {
    pub(super) fn tls_listen(&self) -> Option<SocketAddr> {
        match self.storage {
            Storage::Embedded { tls_listen, .. } => tls_listen,
            Storage::Nowhere | Storage::Elsewhere { .. } => None,
        }
    }
}

const DAY_S: u64 = 24 * 3_600;
/// S3's longest life of a link.
const LINK_S_MAX: u64 = 7 * DAY_S;

pub(super) fn parse(from: &mut Layers) -> FileSettings {
    let endpoint = from.take("media.endpoint", |text: String| url(&text));
    let public_url = from.take("media.public_url", |text: String| url(&text));
    let listen = from.take("media.listen", |text: String| optional(&text));
    let plaintext = from.take("media.allow_plaintext", Ok::<bool, String>);
    let tls_listen = from.take("media.tls_listen", |text: String| optional(&text));
    let connections_max = number(from, "media.connections_max", 1..=65_536);
    let path_style = from.take("media.path_style", Ok::<bool, String>);
    let storage = match (endpoint, listen) {
        (Some(endpoint), _) => Storage::Elsewhere { endpoint, path_style },
        (None, Some(listen)) => {
            refuse_plaintext(from, "media.listen", listen, "media.allow_plaintext", plaintext);
            if tls_listen.is_some() && public_url.is_none() {
                // The certificate's name is not known.
                from.refuse("media.public_url", "needed with media.tls_listen: how links begin".to_owned());
            }
            Storage::Embedded { listen, tls_listen, connections_max }
        }
        (None, None) => Storage::Nowhere,
    };
    FileSettings {
        storage,
        public_url,
        region: from.take("media.region", |text: String| filled(text)),
        bucket: from.take("media.bucket", |text: String| filled(text)),
        file_bytes_max: number(from, "media.file_bytes_max", 1..=1 << 40),
        multipart_bytes: number(from, "media.multipart_bytes", 1_024..=1 << 32),
        link_s: number(from, "media.link_s", 1..=LINK_S_MAX),
        unused_s: number(from, "media.unused_s", 1..=30 * DAY_S),
        grace_s: number(from, "media.grace_s", 0..=365 * DAY_S),
        user_bytes_per_day: number(from, "media.user_bytes_per_day", 0..=1 << 50),
        user_uploads_per_day: number(from, "media.user_uploads_per_day", 0..=u32::MAX.into()),
        content_types: from.take("media.content_types", content_types),
    }
}

fn filled(text: String) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// Without a path: the signature covers it. Empty: none.
fn url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host.map(|host| host.strip_suffix('/').unwrap_or(host)) {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        _ => Err(format!("{text:?} is not like https://media.example.org, without a path")),
    }
}

fn content_types(text: String) -> Result<Vec<String>, String> {
    let types: Vec<_> = text.split(',').map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty()).collect();
    let good = |kind: &String| kind.split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty());
    match types.iter().find(|kind| !good(kind)) {
        Some(bad) => Err(format!("{bad:?} is not like image/jpeg or image/*")),
        None => Ok(types),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_and_nothing_else() {
        for (text, expected) in [
            ("", None),
            ("https://m.example.org/", Some("https://m.example.org")),
            ("http://[::1]:9", Some("http://[::1]:9")),
        ] {
            assert_eq!(url(text), Ok(expected.map(str::to_owned)));
        }
        for bad in ["m.example.org", "https://", "https://a/b", "ftp://a", "https://a@b", "https://a?b"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn content_types_are_a_list() {
        let good = content_types("image/*, text/plain,".to_owned()).expect("good");
        assert_eq!(good, ["image/*", "text/plain"]);
        assert!(content_types("image".to_owned()).is_err());
    }
}
