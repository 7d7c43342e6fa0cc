//! The embedded object store: an S3 server on the file system, for those who have no other. Started by the server beside
//! the bridge; apps reach it by the links that the bridge signs. The only crate that names s3s, which speaks the protocol
//! and checks signatures.
//!
//! It has one bucket and knows what Godwit asks for: PUT, GET (ranges too), HEAD and DELETE of an object, conditions of them,
//! and uploads in parts. Nothing is done without a signature. An object that is acknowledged is on disk and has the SHA-256 that was
//! announced; one that was cut off leaves nothing.
//!
//! - `folder`: objects as files. `protocol`: S3's operations on them. `read`: GET and HEAD, by the rules of HTTP. `condition`:
//!   those of PUT. `keys`: who may. `cors`: browsers' pages. `serve`: connections. `links`: how many by one link.

mod condition;
mod cors;
mod folder;
mod keys;
mod links;
mod protocol;
mod read;
mod serve;

pub use folder::Folder;
pub use keys::Keys;
pub use serve::{Guest, ObjectServer};
