//! What happens in a run, as far as anybody needs to know.

use godwit_core::entry::Entry;
use godwit_core::outbox::Link;
use godwit_schemas::client;

use crate::plan::Traits;

/// A place in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) conversation: u64,
    pub(crate) sequence: u64,
}

/// What a device receives in a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Message { say: String, sender: u32 },
    Change(client::Change),
}

/// Devices by their index in [`crate::facts::Facts::devices`].
#[derive(Debug)]
pub(crate) enum Event {
    /// The operator asks for a device.
    Adding {
        user: String,
        name: String,
        traits: Traits,
    },
    Added {
        device: usize,
    },
    Leaving {
        device: usize,
    },
    Gone {
        device: usize,
    },
    /// The operator asks for a user to be erased, with all its devices.
    Erasing {
        user: String,
    },
    /// The operator asks for a new password.
    Renewing {
        device: usize,
    },
    Renewed {
        device: usize,
    },
    /// On disk: the device's number.
    Numbered {
        user: String,
        name: String,
        id: u64,
    },
    /// A client begins a connection.
    Dialled {
        device: usize,
    },
    /// A device that reads events was told that it is subscribed.
    Subscribed {
        device: usize,
    },
    /// A client publishes something that takes a place. `counted_to`: it is counted, and for the user of this name.
    /// `titled`: its words will stand there.
    Sent {
        device: usize,
        credential: usize,
        say: String,
        counted_to: Option<String>,
        again: bool,
        titled: bool,
    },
    /// PUBACK, or for a call its response.
    Answered {
        device: usize,
        credential: usize,
        say: String,
        reason: u32,
        at: Option<Place>,
    },
    /// On disk: an inbox entry.
    Stored {
        id: u64,
        order: u64,
        entry: Entry,
    },
    /// An inbox entry was deleted.
    Erased {
        id: u64,
        order: u64,
    },
    /// On disk: one partition has sent something to another.
    SentOut {
        link: Link,
        number: u64,
    },
    /// On disk: a partition has taken in what was sent to it, up to this number.
    TakenIn {
        link: Link,
        number: u64,
    },
    /// On disk: what was sent is kept no more.
    LetGo {
        link: Link,
        number: u64,
    },
    /// A scan of a device's inbox walked over entries that were deleted.
    Passed {
        id: u64,
        orders: Vec<u64>,
    },
    /// A client has read a PUBLISH. `from`: the sender's name, where it is told.
    Received {
        device: usize,
        credential: usize,
        #[expect(dead_code, reason = "for the reader of a trace")]
        connection: u64,
        place: Place,
        what: What,
        #[expect(dead_code, reason = "for the reader of a trace")]
        again: bool,
        from: Option<String>,
    },
    /// A client is about to write PUBACK.
    Acked {
        device: usize,
        place: Place,
    },
    /// A client is told how far a member is.
    Ticked {
        device: usize,
        credential: usize,
        receipt: client::Receipt,
    },
    ReadSent {
        device: usize,
        place: Place,
    },
    ReadStored {
        device: usize,
        place: Place,
    },
    /// A client was told what it cannot know or understand.
    Odd {
        device: usize,
        what: String,
    },
    /// It is on disk that the device is pushed. It never connects.
    Paged {
        device: usize,
    },
    /// The push service has taken a push.
    Pushed {
        device: usize,
    },
    /// The bridge starts.
    Started {
        #[expect(dead_code, reason = "for the reader of a trace")]
        lanes: u32,
        power_lost: bool,
    },
    /// For the reader of a trace.
    Note(#[expect(dead_code, reason = "for the reader of a trace")] String),
}
