//! What is inside sealed bodies, generated from `proto/godwit/content.proto`, which is its reference.

#![allow(missing_docs, reason = "generated; the .proto file is the documentation")]

include!(concat!(env!("OUT_DIR"), "/godwit.content.rs"));
