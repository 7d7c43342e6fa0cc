//! Godwit's MQTT broker: listeners for clients, one light task for each connection, and the edge's end of the bus.
//!
//! A broker knows MQTT, and nothing of what messages mean. It turns a client's packets into frames for the lane that owns the
//! client's user, and the lane's frames into packets (`godwit_schemas::bus`). The server calls it, and hands it a
//! [`Bus`](godwit_schemas::bus::Bus).
//!
//! It promises:
//! - No client can stop it, make it hold more than a bounded amount of memory for it, or see another client's topics.
//! - Answers to publishes leave in the order of the publishes.
//! - A lost batch or a restarted bridge closes no connection.
//!
//! # A client's packet, file by file
//! 1. `listener` accepts the TCP connection; `handshake` does PROXY header, TLS and WebSocket.
//! 2. `connection_driver` is the connection's task: it reads bytes; `mqtt` splits and decodes packets.
//! 3. `connection` is the protocol's state machine, without I/O: it answers the client, and hands frames to the lane.
//! 4. `lane_stream` gathers the frames for one lane; `bus_link` publishes them in batches.
//!
//! A lane's frame comes by the same way back: `bus_link`, `connection`, `connection_driver`.
//!
//! `edge` is the registry of connections, and `context` is what they share. Logging of level `trace` shows each publish at every
//! one of these hops; its fields `connection` and `number` (of the publish) or `order` (of the delivery) are those of the frames.

mod accepted;
mod broker;
mod bus_link;
mod connection;
mod connection_driver;
pub mod connection_limits;
mod context;
pub mod counters;
mod edge;
mod embedded;
mod handshake;
mod lane_stream;
mod listener;
mod login_queue;
mod mqtt;
pub mod pressure;
pub mod proxy;
mod rejections;
pub mod router_bus;
mod settings;
mod timer;
pub mod tls;
pub mod token;
pub mod websocket;
mod websocket_door;

#[cfg(test)]
mod tests;

pub use broker::{Broker, BrokerError, BrokerFailed, BrokerHealth, BrokerMetrics, start};
pub use embedded::EmbeddedBroker;
pub use settings::{BrokerSettings, ListenerSettings};
pub use websocket_door::{WebSocketDoor, WebSocketPlace};
