//! Payloads between clients and server, generated from `proto/godwit/client.proto`, which is their reference.

#![allow(missing_docs, reason = "generated; the .proto file is the documentation")]

include!(concat!(env!("OUT_DIR"), "/godwit.client.rs"));
