//! What chat users do, over MQTT's `rpc` and over HTTP.
//!
//! - `phone`: a device that reads events and calls. `web`: the same user over HTTP.
//! - `media`: files. Everything else is tests.

mod account;
mod data;
mod groups;
mod http;
mod live;
mod media;
mod messages;
mod numbers;
mod people;
mod phone;
mod web;
