//! Payloads between clients and server, generated from `proto/godwit/client.proto`, which is their reference.

#![allow(missing_docs, reason = "generated; the .proto file is the documentation")]

/// Most links of a user's identity chain: the server takes no more, and a client reads none that is longer.
pub const IDENTITY_LINKS_MAX: usize = 64;

include!(concat!(env!("OUT_DIR"), "/godwit.client.rs"));
