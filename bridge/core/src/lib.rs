//! The decisions of the bridge, pure: no runtime, no store, no sockets, no wall clock, no randomness.
//!
//! A lane hands in what it has read and what time it is. It gets back what to write, and what to do when that is on disk.
//!
//! What comes in:
//! - [`call`]: the calls of `rpc`: their owners, and what must be known of each.
//! - [`command`]: what a conversation is asked to do. [`reply_to`]: where the answer goes.
//! - [`state_cache`]: the users and conversations that a lane has read, and what a command still needs. [`keys`]: what they are
//!   read by.
//!
//! How it is decided:
//! - [`decide`]: one command against the state: an [`outcome::Outcome`], or a [`refusal::Refusal`].
//! - [`conversation`]: members, order and watermarks of one conversation. [`recent`]: what its last places hold.
//! - [`group`]: what the members of a group may do, and invites. [`membership_count`]: how many conversations a user is in.
//! - [`mls`]: the group of an encrypted conversation, and what begins its next epoch.
//! - [`retention`]: how long messages are kept. [`credential`]: whether what let a device in still holds.
//! - [`send_count`]: retries that carry a number of their client. [`retry`]: retries that carry none.
//!
//! What comes out:
//! - [`outcome`]: entries, changes of the store, and effects. [`event`]: what operators may know of it.
//! - [`outbox`]: what concerns rows of another partition. [`intake`]: how that partition takes it in, once and in order.
//! - [`reaction`]: a reaction as history keeps it.
//! - [`entry`]: an inbox entry's bytes. [`stored`]: the other stored values. [`floor`]: where numbers go on after a restore.
//! - [`push`]: who is told that something waits while it is not connected.
//! - [`delivery_window`]: one connection's deliveries: window, cursor, acknowledgements. [`usage`]: how much waits in an inbox.

pub mod call;
pub mod command;
pub mod conversation;
pub mod credential;
pub mod decide;
pub mod delivery_window;
pub mod entry;
pub mod event;
pub mod floor;
pub mod group;
pub mod intake;
pub mod keys;
pub mod membership_count;
pub mod mls;
pub mod outbox;
pub mod outcome;
pub mod push;
pub mod reaction;
pub mod recent;
pub mod refusal;
pub mod reply_to;
pub mod retention;
pub mod retry;
pub mod send_count;
pub mod state_cache;
pub mod stored;
pub mod usage;
