//! Files, with curl as the one that brings them up and down.
//!
//! - `depot`: what is in the embedded object store, and requests to it.
//! - `transfer`: links, and what they bind. `lifetime`: what goes when. `limits`: what is refused. `moto`: another S3 server.
//!   `pages`: browsers. `reading`: ranges and conditions. `secrets`: what the log does not tell.

pub(crate) mod depot;
mod lifetime;
mod limits;
pub(crate) mod moto;
mod pages;
mod reading;
mod secrets;
mod transfer;
