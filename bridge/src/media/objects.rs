//! What the bridge needs of an object store. Called by the media service alone, which waits for no answer. Implementation: [`super::s3`]; the tests have one in memory.

use std::fmt;

use futures::future::BoxFuture;
use godwit_schemas::media::MediaId;

/// A request that whoever has it may make, until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedLink {
    /// `PUT` or `GET`.
    pub method: &'static str,
    /// With the signature.
    pub url: String,
    /// Signed too, besides `host` and `content-length`, which every HTTP client sends by itself.
    pub headers: Vec<(String, String)>,
}

/// What an object is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectContent {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the whole content.
    pub sha256: [u8; 32],
    /// Media type, as the sender says.
    pub content_type: String,
}

/// An object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredObject {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the whole content, if the store has verified it.
    pub sha256: Option<[u8; 32]>,
}

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Number of the part, from 1.
    pub number: u32,
    /// Size in bytes.
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
pub type ObjectsAnswer<'a, T> = BoxFuture<'a, Result<T, ObjectsError>>;

/// An object store. Links are signed without a request to it.
pub trait Objects: fmt::Debug + Send + Sync + 'static {
    /// For an object in one request: with this content and no other.
    fn put_link<'a>(
        &'a self,
        object: MediaId,
        content: &'a ObjectContent,
        life_s: u32,
    ) -> ObjectsAnswer<'a, SignedLink>;

    /// For a part of so many bytes.
    fn part_link<'a>(
        &'a self,
        object: MediaId,
        upload: &'a str,
        part: u32,
        size: u64,
        life_s: u32,
    ) -> ObjectsAnswer<'a, SignedLink>;

    /// For reading, as something of this content type. (An object may be many files', each of which says what it is.)
    fn get_link<'a>(&'a self, object: MediaId, content_type: &'a str, life_s: u32) -> ObjectsAnswer<'a, SignedLink>;

    /// Begins an object in parts; returns the upload's name.
    fn begin<'a>(&'a self, object: MediaId, content: &'a ObjectContent) -> ObjectsAnswer<'a, String>;

    /// The parts that are there, ascending.
    fn parts<'a>(&'a self, object: MediaId, upload: &'a str) -> ObjectsAnswer<'a, Vec<StoredPart>>;

    /// Makes an object of all these parts.
    fn finish<'a>(&'a self, object: MediaId, upload: &'a str, parts: &'a [StoredPart]) -> ObjectsAnswer<'a, ()>;

    /// What is there.
    fn stat(&self, object: MediaId) -> ObjectsAnswer<'_, StoredObject>;

    /// Reads an object to its end, for its hash.
    fn hash(&self, object: MediaId) -> ObjectsAnswer<'_, [u8; 32]>;

    /// Ends whatever was begun of an object in parts.
    fn abort(&self, object: MediaId) -> ObjectsAnswer<'_, ()>;

    /// Deletes an object, if it is there.
    fn delete(&self, object: MediaId) -> ObjectsAnswer<'_, ()>;
}
