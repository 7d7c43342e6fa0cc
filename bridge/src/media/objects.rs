//! What the bridge needs of an object store. Implementation: [`super::s3`]; the tests have one in memory.

use std::fmt;

use futures::future::BoxFuture;
use godwit_schemas::media::MediaId;

/// A request that whoever has it may make, until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `PUT` or `GET`.
    pub method: &'static str,
    /// With the signature.
    pub url: String,
    /// Signed too, besides `host` and `content-length`, which every HTTP client sends by itself.
    pub headers: Vec<(String, String)>,
}

/// What an object is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Of all of them.
    pub sha256: [u8; 32],
    /// As the sender says.
    pub content_type: String,
}

/// An object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// Of all of them, if the store has verified it.
    pub sha256: Option<[u8; 32]>,
}

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// The store's name for it.
    pub tag: String,
}

/// The store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectsError {
    /// There is no such object or upload.
    #[error("no such object")]
    Absent,
    /// It may be done later.
    #[error("object store: {doing}: {cause}")]
    Failed {
        /// What was attempted.
        doing: &'static str,
        /// What the store, or the network, said.
        cause: String,
    },
}

/// What the store answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ObjectsError>>;

/// See the module. Links are made without asking the store.
pub trait Objects: fmt::Debug + Send + Sync + 'static {
    /// For an object in one request: with this content and no other.
    fn put_link<'a>(&'a self, object: MediaId, content: &'a Content, life_s: u32) -> Answer<'a, Link>;

    /// For a part of so many bytes.
    fn part_link<'a>(&'a self, object: MediaId, upload: &'a str, part: u32, size: u64, life_s: u32)
    -> Answer<'a, Link>;

    /// For reading.
    fn get_link(&self, object: MediaId, life_s: u32) -> Answer<'_, Link>;

    /// Begins an object in parts; returns the upload's name.
    fn begin<'a>(&'a self, object: MediaId, content: &'a Content) -> Answer<'a, String>;

    /// The parts that are there, ascending.
    fn parts<'a>(&'a self, object: MediaId, upload: &'a str) -> Answer<'a, Vec<Part>>;

    /// Makes an object of all these parts.
    fn finish<'a>(&'a self, object: MediaId, upload: &'a str, parts: &'a [Part]) -> Answer<'a, ()>;

    /// What is there.
    fn stat(&self, object: MediaId) -> Answer<'_, Stored>;

    /// Reads an object to its end, for its hash.
    fn hash(&self, object: MediaId) -> Answer<'_, [u8; 32]>;

    /// Ends whatever was begun of an object in parts.
    fn abort(&self, object: MediaId) -> Answer<'_, ()>;

    /// Deletes an object, if it is there.
    fn delete(&self, object: MediaId) -> Answer<'_, ()>;
}
