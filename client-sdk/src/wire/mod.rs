//! Payloads: what to publish, and what arrives. No I/O. For those who bring an MQTT client of their own, and for the
//! engine.

mod event;
mod publication;

pub(crate) use event::parse_member;
pub use event::{ConversationUpdate, InboxEvent, Malformed, OpenedMember};
pub use publication::Publication;
