//! User properties that the server adds to a raw delivery (MQTT 5). Senders may not use these names: receivers would take
//! them for the server's word.

/// User name of who sent the message.
pub const SENDER: &str = "from";
/// The message's place in its conversation.
pub const SEQUENCE: &str = "seq";
