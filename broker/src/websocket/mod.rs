//! MQTT over WebSocket (MQTT 5, section 6; RFC 6455), for browsers. [`upgrade()`] answers the HTTP request with which a client begins;
//! [`WebSocket`] is the stream of MQTT behind it.
//!
//! A handshake calls it. Payload is passed on as it comes: neither a frame nor a fragmented message is ever held, whatever length it
//! announces. So an idle connection takes about a hundred bytes more than one without WebSocket, and the only limits are those of MQTT
//! packets. There is no compression.

mod frame;
mod stream;
mod upgrade;

pub use stream::WebSocket;
pub use upgrade::{SUBPROTOCOL, UpgradeError, check_headers, upgrade};
