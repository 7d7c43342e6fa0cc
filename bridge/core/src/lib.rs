//! The decisions of the bridge, pure: no runtime, no store, no sockets, no wall clock, no randomness.
//!
//! A lane hands in what it read and what time it is, and gets back what to write and what to do once that is on disk.
//!
//! - [`command`]: what a conversation is asked to do.
//! - [`world`]: the users and conversations that a lane has read, and what a command still needs.
//! - [`decide`]: one command against the world: an [`outcome::Outcome`].
//! - [`conversation`]: members, order, watermarks: the rules of one conversation.
//! - [`group`]: what the members of a group may do, and invites.
//! - [`retention`]: how long messages are kept.
//! - [`session`]: one device's deliveries: window, cursor, acknowledgements. [`load`]: how much waits in an inbox.
//! - [`fact`]: what happened, as operators may know it.
//! - [`entry`]: an inbox entry's bytes. [`record`]: the other stored values. [`doubt`]: retries without a count.

pub mod command;
pub mod conversation;
pub mod decide;
pub mod doubt;
pub mod entry;
pub mod fact;
pub mod group;
pub mod load;
pub mod outcome;
pub mod record;
pub mod retention;
pub mod session;
pub mod world;
