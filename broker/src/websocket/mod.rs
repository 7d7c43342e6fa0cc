//! MQTT over WebSocket (MQTT 5, section 6; RFC 6455), for browsers. [`upgrade()`] answers the HTTP request that a client
//! begins with; [`WebSocket`] is the stream behind it, as any other to a connection.
//!
//! Called by the listeners. What a frame carries is handed on as it comes, so neither a frame nor a message of many
//! fragments is ever held, however long it claims to be: an idle connection costs about a hundred bytes more than one
//! without WebSocket, and the limits are those of the packets within. There is no compression.

mod frame;
mod stream;
mod upgrade;

pub use stream::WebSocket;
pub use upgrade::upgrade;
