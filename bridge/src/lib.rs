//! The memory of Godwit: conversations, inboxes, receipts, replay, and the HTTP API.

pub mod admin;
