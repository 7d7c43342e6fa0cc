//! Buses between edges and lanes (see [`godwit_schemas::bus`]) that know neither of them. The server opens one and hands it to
//! the broker, to the bridge, or to both.
//!
//! - [`local`]: within one process.
//! - [`nats`]: between the processes of a cluster, over NATS.
//! - `payload_queue`: what waits for the reader of a link, on either.
//!
//! The bus of two processes on one machine is rumqttd's router, which is part of the broker (`godwit_broker::router_bus`).

pub mod local;
pub mod nats;
mod payload_queue;
