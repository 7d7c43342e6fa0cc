//! A file as a message tells of it: what it is, not its bytes. These go over HTTP (`Client::send_file` and
//! `Client::save_file`, or by the links that `Client::create_upload` and `Client::download_link` give).

use bytes::Bytes;
use godwit_schemas::client;

/// A file that a message refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Media {
    /// What the server calls it.
    pub id: String,
    /// What its sender calls it: for people, and no path. `text::file_name` makes one of it.
    pub name: String,
    /// A small picture of it, of the sender's making.
    pub thumbnail: Bytes,
    /// For files that were encrypted before they went up: what it takes to read them.
    pub key: Bytes,
    /// Bytes of the file. From the server, which has verified it, like the rest.
    pub size: u64,
    /// Like `image/jpeg`: what the sender says it is.
    pub content_type: String,
    /// SHA-256 of the file.
    pub sha256: Bytes,
}

impl Media {
    /// A file that was uploaded, or that this user may see, under this name.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), ..Self::default() }
    }
}

impl From<client::Media> for Media {
    fn from(media: client::Media) -> Self {
        let client::Media { id, name, thumbnail, key, size, content_type, sha256 } = media;
        Self { id, name, thumbnail, key, size, content_type, sha256 }
    }
}

impl From<Media> for client::Media {
    fn from(media: Media) -> Self {
        let Media { id, name, thumbnail, key, size, content_type, sha256 } = media;
        Self { id, name, thumbnail, key, size, content_type, sha256 }
    }
}

/// A file that this device sends, numbered in the order of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u64);

impl FileId {
    /// Wraps a number that the app kept.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, to keep.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// As it goes to the server, which adds the rest.
pub(crate) fn announced(media: Media) -> client::Media {
    let Media { id, name, thumbnail, key, .. } = media;
    client::Media { id, name, thumbnail, key, ..Default::default() }
}

/// As the server tells of them.
pub(crate) fn told(media: Vec<client::Media>) -> Vec<Media> {
    media.into_iter().map(Media::from).collect()
}
