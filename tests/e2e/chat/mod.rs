//! What chat users do, over MQTT's `rpc` and over HTTP.
//!
//! - `phone`: a device that reads events and calls. `web`: the same user over HTTP. `user`: somebody who does what holds
//!   over both ways over one of them; `route` tells which request is which call.
//! - `media`: files. Everything else is tests.

mod account;
mod blocked;
mod contract;
mod crowded;
mod data;
mod encrypted;
mod groups;
mod http;
mod live;
pub(crate) mod media;
pub(crate) mod messages;
mod muted;
mod numbers;
mod once;
mod people;
pub(crate) mod phone;
mod restored;
mod route;
mod strangers;
mod user;
pub(crate) mod web;
