//! Files that messages refer to. Their bytes go straight between apps and an object store, by links signed here; what is
//! here is who may have which, and how long it stays.
//!
//! - `objects`: what is needed of an object store; [`s3`]: any S3 server.
//! - `service`: the one task that owns all records of files. Lanes hand it users' calls; `upload` carries them out, `gc`
//!   lets go of what nothing refers to any more. `access`: who may have a file. `record`: stored values.
//!
//! References are written by the lanes, in the commit of the message (see `godwit_core::decide`). Two promises hold at any
//! moment, also when the process dies: what a message refers to is there, and what is in the object store has a row that
//! will have it deleted. So the row is on disk before the first link is given, and goes after the object.

use std::sync::Arc;

use godwit_core::call::MediaCall;
use godwit_schemas::client;
use godwit_schemas::ids::UserId;
use tokio::sync::mpsc;

use self::objects::Objects;

pub(crate) mod access;
mod gc;
pub mod objects;
pub(crate) mod record;
pub mod s3;
pub(crate) mod service;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use upload::CONTENT_TYPE_BYTES_MAX;

/// Calls that may wait; a lane refuses further ones.
pub(crate) const QUEUE: usize = 256;

/// How files are kept.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// The object store.
    pub objects: Arc<dyn Objects>,
    /// Largest file in bytes.
    pub file_bytes_max: u64,
    /// A larger file goes up in parts of so many bytes.
    pub multipart_bytes: u64,
    /// How long a link may be used.
    pub link_s: u32,
    /// How long an upload is kept that is not finished, or that nothing has referred to.
    pub unused_s: u32,
    /// Bytes that a user may upload in a day (UTC).
    pub user_bytes_per_day: u64,
    /// Files that a user may upload in a day (UTC).
    pub user_uploads_per_day: u32,
    /// Media types that are allowed, like `image/jpeg`, or `image/*`.
    pub content_types: Vec<String>,
}

/// Where the answer to a call goes.
pub(crate) type MediaReply = Box<dyn FnOnce(client::Response) + Send>;

/// A call of a user, for the media service.
pub(crate) struct MediaRequest {
    pub(crate) user: UserId,
    pub(crate) call: MediaCall,
    pub(crate) reply: MediaReply,
}

/// To the media service.
pub(crate) type MediaHandle = mpsc::Sender<MediaRequest>;
