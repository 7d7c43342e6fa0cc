//! What apps link to speak with Godwit. So far the payloads: what to publish, and what arrives. No I/O: use any MQTT
//! client below it. Connections, and an outbox and inbox that survive the app, build on this.
//!
//! - [`Publication`]: a topic and a payload, to be published with QoS 1.
//! - [`Event`]: what the server publishes to `inbox`, read and checked.
//!
//! ```
//! use godwit_client::{Event, Publication};
//! use godwit_schemas::ids::UserId;
//!
//! let hello = Publication::to_user(&UserId::new("bob")?, 1, "hello");
//! assert_eq!(hello.topic, "send");
//! assert!(Event::parse(b"not an event"[..].into()).is_err());
//! # Ok::<(), godwit_schemas::ids::BadName>(())
//! ```

mod event;
mod publication;

pub use event::{Change, Event, Malformed, Member};
pub use publication::Publication;
