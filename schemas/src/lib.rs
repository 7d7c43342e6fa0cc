//! The contract that every part of Godwit shares: wire messages, ids, the topic grammar and limits. No I/O.
//!
//! - [`client`]: what MQTT payloads carry between clients and server.
//! - [`bus`]: frames between edges (broker) and lanes (bridge), and the [`bus::Bus`] they travel on.
//! - [`content`]: what devices say to each other inside sealed bodies.
//! - [`flow`]: how much of a stream between an edge and a lane is on its way.
//! - [`ids`]: names and numbers, checked once where they enter.
//! - [`media`]: names of files.
//! - [`topic`]: what a client may publish to and subscribe to.
//! - [`reason`]: the MQTT 5 reason codes that Godwit answers with.
//! - [`phone`]: phone numbers.
//! - [`host`]: the `Host` of requests over HTTP.
//! - [`properties`]: user properties that are the server's own.
//! - [`network`]: networks, as limits by address count them.
//! - [`origin`]: which pages in browsers are let in.
//! - [`partition`]: who owns which user and which conversation.

pub mod bus;
pub mod client;
pub mod content;
pub mod flow;
pub mod host;
pub mod ids;
pub mod media;
pub mod network;
pub mod origin;
pub mod partition;
pub mod phone;
pub mod properties;
pub mod reason;
pub mod retry;
pub mod topic;
