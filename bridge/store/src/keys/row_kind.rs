//! What a row is. Every key is made for one of these kinds, so that the golden store (tests/golden) has a row of each: a kind
//! that is added here and not there fails its test.

use super::{StoreKey, Table};

macro_rules! kinds {
    ($($kind:ident = $table:ident $tag:literal,)*) => {
        /// See the module. The table of keys is in [`super`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the table of keys says what each is")]
        pub enum RowKind {
            $($kind,)*
        }

        impl RowKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Where its rows are, and what tells them from others there: at the beginning of a key, in the table of messages
            /// behind the message's place.
            pub const fn tag(self) -> (Table, &'static [u8]) {
                match self {
                    $(Self::$kind => (Table::$table, $tag),)*
                }
            }
        }
    };
}

kinds! {
    User = Directory b"u",
    Session = Directory b"s",
    PublishRecord = Directory b"d",
    Backlog = Directory b"q",
    FullSince = Directory b"v",
    Profile = Directory b"f",
    ContactCount = Directory b"k",
    Contact = Directory b"k",
    Watcher = Directory b"K",
    Watched = Directory b"K",
    LastSeen = Directory b"l",
    DeviceCounter = Directory b"n",
    Phone = Directory b"h",
    PhoneInbox = Directory b"w",
    WrittenTo = Directory b"W",
    Code = Directory b"g",
    Revoked = Directory b"g",
    PhoneSecret = Directory b"y",
    LastOrder = Directory b"o",
    Starts = Directory b"b",
    Time = Directory b"t",
    Origin = Directory b"Z",
    OutboxItem = Directory b"j",
    OutboxCounter = Directory b"J",
    IntakeCursor = Directory b"i",
    MarkedUser = Directory b"eu",
    MarkedDevice = Directory b"ed",
    MarkedConversation = Directory b"ec",
    Push = Directory b"p",
    Pushed = Directory b"x",
    PushAddress = Directory b"a",
    PushKey = Directory b"z",
    Identity = Directory b"I",
    Certificate = Directory b"c",
    DeviceKeys = Directory b"M",
    KeyPackage = Directory b"m",
    Link = Directory b"L",
    Conversation = Conversations b"c",
    State = Conversations b"t",
    Recent = Conversations b"r",
    Pair = Conversations b"p",
    Membership = Conversations b"m",
    MembershipCount = Conversations b"m",
    Mute = Conversations b"q",
    MlsGroup = Conversations b"g",
    VaultRow = Conversations b"v",
    VaultCount = Conversations b"V",
    ConversationCounter = Conversations b"n",
    Entry = Inbox b"",
    Receipt = Receipts b"",
    Message = Messages b"",
    OwnMessage = Messages b"o",
    Reaction = Messages b"r",
    OwnReaction = Messages b"s",
    Holders = Messages b"w",
    Media = Media b"o",
    MediaContent = Media b"h",
    MediaUnfinished = Media b"w",
    MediaReference = Media b"r",
    MediaHolder = Media b"b",
    MediaDue = Media b"g",
    MediaGarbage = Media b"x",
    MediaQuota = Media b"q",
}

impl RowKind {
    /// A key that is the tag and these parts.
    pub(super) fn key(self, parts: &[&[u8]]) -> StoreKey {
        let (table, tag) = self.tag();
        let mut key = Vec::with_capacity(tag.len() + parts.iter().map(|part| part.len()).sum::<usize>());
        key.extend_from_slice(tag);
        parts.iter().for_each(|part| key.extend_from_slice(part));
        (table, key)
    }
}
