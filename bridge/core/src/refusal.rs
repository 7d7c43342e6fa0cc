//! Every refusal that a client may get: its reason code and a sentence for people. `docs/users/reason-codes.md` lists the codes.

#![allow(missing_docs, reason = "the text of a refusal says what it is for")]

use godwit_schemas::client;
use godwit_schemas::reason::Reason;

/// Why the server did not do something. A client reads it as `Refusal` of godwit-client (`client-sdk/src/error.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub text: &'static str,
}

impl Refusal {
    const fn new(reason: Reason, text: &'static str) -> Self {
        Self { reason, text }
    }

    /// As the answer to a call.
    pub fn to_response(self) -> client::Response {
        client::Response { reason: self.reason.into(), text: self.text.to_owned(), ..Default::default() }
    }
}

// Users, devices and their passwords.

pub const NO_USER: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "no such user");
/// Otherwise the user could join conversations for as long as it is taken out of them.
pub const USER_BEING_REMOVED: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "this user is being removed");
pub const YOURSELF: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "that is yourself");
pub const NO_DEVICE: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "no such device");
pub const DEVICE_SHUT_OUT: Refusal =
    Refusal::new(Reason::NOT_AUTHORIZED, "this device has been removed, or has another password now");
pub const DEVICE_NEVER_CONNECTED: Refusal =
    Refusal::new(Reason::BAD_USER_NAME_OR_PASSWORD, "no such device: connect over MQTT first");
pub const WRONG_PASSWORD: Refusal =
    Refusal::new(Reason::BAD_USER_NAME_OR_PASSWORD, "unknown device, or wrong password");
pub const NOT_YOUR_DEVICE: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "a device renews its own password only");
pub const NO_RANDOMNESS_FOR_PASSWORD: Refusal =
    Refusal::new(Reason::SERVER_BUSY, "no randomness for a password: try again later");
pub const TOO_MANY_BLOCKED: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "you block 1,000 users");
pub const LABEL_TOO_LARGE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "label over 128 bytes");

// Profiles, contacts, presence and phone numbers.

pub const NAME_TOO_LARGE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "name over 128 bytes");
pub const ABOUT_TOO_LARGE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "about over 512 bytes");
pub const PICTURE_TOO_LARGE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "picture over 64 bytes");
pub const UNKNOWN_AUDIENCE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "unknown audience");
pub const TOO_MANY_CONTACTS: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "you have 5,000 contacts");
pub const TOO_MANY_USERS_AT_ONCE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "up to 100 users at once");
pub const BAD_PHONE_NUMBER: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "not a phone number in E.164");
pub const BAD_PHONE_HASHES: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "1 to 1,000 hashes of 32 bytes");
pub const TOO_MANY_PHONE_NUMBERS: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "too many phone numbers today");

// Conversations and groups.

pub const NO_CONVERSATION: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "no such conversation");
pub const NOT_IN_CONVERSATION: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "not a member of this conversation");
pub const CALLER_IN_TOO_MANY_CONVERSATIONS: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "you are in as many conversations as a user may be in");
pub const USER_IN_TOO_MANY_CONVERSATIONS: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "another user is in as many conversations as a user may be in");
pub const ADDED_BY_STRANGERS_TOO_OFTEN: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "strangers have added another user to many groups today: hand out an invite");
/// One text for all causes: nobody is told that it is blocked.
pub const MAY_NOT_ADD: Refusal =
    Refusal::new(Reason::NOT_AUTHORIZED, "this user does not let you add it to groups: hand out an invite");
pub const REQUEST_NOT_ACCEPTED: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "your messages wait to be accepted: no more of them before some are fetched");
pub const NOT_A_GROUP: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "not a group");
pub const ROLE_TOO_LOW: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "your role in this group does not allow that");
pub const OWNER_ONLY: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "only the owner may do that");
pub const OWNER_STAYS: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "nobody removes the owner");
pub const UNKNOWN_ROLE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "unknown role");
pub const ALREADY_A_MEMBER: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a member already");
pub const NOT_A_MEMBER: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "that user is not a member");
pub const TOO_FEW_MEMBERS: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a group has at least two members");
pub const GROUP_FULL: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "the group is full");
pub const TITLE_TOO_LARGE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "title over 256 bytes");
pub const NO_INVITE: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "no such invite");
pub const TOO_MANY_INVITES: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "the group has 16 invites");

// Publishes and messages.

pub const NOT_A_SEND: Refusal = Refusal::new(Reason::PAYLOAD_FORMAT_INVALID, "the payload is not a Send");
pub const NOT_A_RECEIPT: Refusal = Refusal::new(Reason::PAYLOAD_FORMAT_INVALID, "the payload is not a ReadReceipt");
pub const NOT_A_REQUEST: Refusal = Refusal::new(Reason::PAYLOAD_FORMAT_INVALID, "the payload is not a Request");
pub const UNKNOWN_PUBLISH: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "unknown kind of publish");
pub const NOT_PROPERTIES: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "the properties cannot be read");
/// The device speaks of the history of another epoch.
pub const ANOTHER_EPOCH: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "the server was restored from a backup: it has another epoch");
pub const MAY_NOT_SEND: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "not allowed to send in this group");
pub const CLIENT_SEQUENCE_TOO_FAR: Refusal = Refusal::new(
    Reason::IMPLEMENTATION_SPECIFIC,
    "the client sequence is above 2^62 and more than 2^32 above the last accepted one",
);
pub const INBOX_FULL: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "the inbox of a recipient is full");
pub const BODY_TOO_LARGE: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "body over the limit");
pub const BODY_NOT_UTF8: Refusal =
    Refusal::new(Reason::PAYLOAD_FORMAT_INVALID, "the body is not UTF-8, although its payload format says so");
pub const BAD_PAYLOAD_FORMAT: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a payload format is 0 or 1");
pub const BAD_RESPONSE_TOPIC: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a response topic is not empty, and has no wildcard");
pub const BAD_PROPERTY_STRING: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a string in a property has no U+0000");
pub const PROPERTIES_TOO_LARGE: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "properties over the limit");
pub const TOO_MANY_USER_PROPERTIES: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "more user properties than the limit");
pub const RESERVED_USER_PROPERTY: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "the user properties `from` and `seq` are the server's own");
pub const LIVE_SIGNAL_TOO_LARGE: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "a live signal has up to 256 bytes");
pub const TOO_MANY_LIVE_SIGNALS: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "more than ten live signals in a second");
pub const NO_MESSAGE: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "no such message");
pub const NOT_YOUR_MESSAGE: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "not your message");
pub const RECALL_WINDOW_OVER: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "too late");
pub const REACTION_TOO_LARGE: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "reaction over 32 bytes, or sealed over 512");

// End-to-end encryption.

pub const NO_ENCRYPTION_HERE: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "conversations cannot be encrypted on this server");
pub const TOO_MANY_CHECKS_WAIT: Refusal =
    Refusal::new(Reason::SERVER_BUSY, "too much of what devices hand in waits to be checked: try again later");
pub const CERTIFICATE_TOO_LARGE: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a certificate or identity link over 512 bytes");
pub const KEY_PACKAGE_TOO_LARGE: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a key package over 2,048 bytes");
pub const TOO_MANY_KEY_PACKAGES: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "more key packages than the limit");
pub const NO_CERTIFICATE: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this device has no certificate: publish one with it");
pub const NO_IDENTITY: Refusal = Refusal::new(
    Reason::IMPLEMENTATION_SPECIFIC,
    "this user has no identity key: publish the first with the first certificate",
);
pub const TOO_MANY_CERTIFICATES: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "this user has had 1,000 certificates");
pub const TOO_MANY_LINKS: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "this user has had 64 identity keys");
pub const TOO_MANY_CLAIMS: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "too many key packages claimed today");
pub const NOT_CERTIFIED: Refusal = Refusal::new(Reason::NOT_AUTHORIZED, "this device has no certificate");
pub const BAD_VAULT_ROWS: Refusal = Refusal::new(
    Reason::IMPLEMENTATION_SPECIFIC,
    "1 to 100 rows at once, each with an epoch and 1 to 256 sealed bytes",
);
pub const VAULT_FULL: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "the vault has as many rows as it may have");
pub const BAD_LINK: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a link has 16 bytes, and what is sealed for it 1 to 4,096");
pub const NO_LINK: Refusal =
    Refusal::new(Reason::TOPIC_NAME_INVALID, "nothing was accepted for this link, or not any more");

pub const NOT_ENCRYPTED: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this conversation is not encrypted");
pub const ALREADY_ENCRYPTED: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this conversation is encrypted already");
pub const NOT_SEALED: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this conversation is encrypted: seal what you send there");
pub const ENCRYPTION_REQUIRED: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "conversations must be encrypted on this server");
pub const ANOTHER_MLS_EPOCH: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this conversation is in another MLS epoch");
pub const MLS_GROUP_OWES: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "somebody has to be removed from the MLS group first");
pub const MLS_EPOCH_WORN: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this MLS epoch has lasted 7 days: commit first");
pub const MLS_GROUP_OUTDATED: Refusal = Refusal::new(
    Reason::IMPLEMENTATION_SPECIFIC,
    "the server was restored from a backup: reset the MLS group of this conversation",
);
pub const NOT_IN_MLS_GROUP: Refusal =
    Refusal::new(Reason::NOT_AUTHORIZED, "this device is not in the conversation's MLS group");
pub const MEMBER_WITHOUT_KEYS: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a member has no device with a certificate");
pub const MLS_RESET_TOO_SOON: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "the MLS group was founded less than an hour ago");
pub const TOO_MANY_COMMITS: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "more commits in a minute than the conversation takes");
pub const TOO_MANY_LEAVES: Refusal =
    Refusal::new(Reason::QUOTA_EXCEEDED, "more devices than an MLS group may have, or than one commit may add");
pub const COMMIT_TOO_LARGE: Refusal = Refusal::new(
    Reason::IMPLEMENTATION_SPECIFIC,
    "a commit over 65,536 bytes, a group info or welcome over 8,192, or over 1 MiB in all",
);
pub const NOT_YOUR_COMMIT: Refusal = Refusal::new(Reason::PAYLOAD_FORMAT_INVALID, "another device has made the commit");
pub const LEAF_NOT_ALLOWED: Refusal = Refusal::new(
    Reason::PAYLOAD_FORMAT_INVALID,
    "somebody would be in the MLS group who is no certified device of a member",
);

// Pushes.

pub const NO_PUSH_HERE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this server does not push there");
pub const NO_PUSH_TO_APP: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this server does not push to that app");
pub const BAD_PUSH_ADDRESS: Refusal = Refusal::new(
    Reason::IMPLEMENTATION_SPECIFIC,
    "not a token, or not the URL of a push service that this server uses",
);
pub const BAD_PUSH_KEYS: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "p256dh is a point of P-256 with 65 bytes, and auth has 16 bytes");
pub const NOT_PUSH_OF_ANOTHER: Refusal =
    Refusal::new(Reason::NOT_AUTHORIZED, "a device says only of itself where it is pushed");
pub const NO_DEVICE_NAMED: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "name a device");
pub const TOO_MANY_MENTIONS: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "more than 100 mentions");

// Files.

pub const NO_MEDIA_HERE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "this server keeps no media");
pub const NO_MEDIA: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "no such media");
pub const NO_COMPLETE_MEDIA: Refusal = Refusal::new(Reason::TOPIC_NAME_INVALID, "no such media, or it is not complete");
pub const TOO_MANY_FILES: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "more than 16 files");
pub const FILE_NAME_TOO_LARGE: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a file's name has over 255 bytes");
pub const BAD_FILE_HASH: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a SHA-256 has 32 bytes");
pub const EMPTY_FILE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "a file has at least one byte");
pub const CONTENT_TYPE_NOT_ALLOWED: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "content type not allowed here");
pub const FILE_TOO_LARGE: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "file over the limit");
pub const TOO_MUCH_UPLOADED: Refusal = Refusal::new(Reason::QUOTA_EXCEEDED, "more than you may upload in a day");
pub const NO_RANDOMNESS_FOR_FILE: Refusal = Refusal::new(Reason::SERVER_BUSY, "no randomness for a name");
pub const UPLOAD_INCOMPLETE: Refusal = Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "it is not all uploaded");
pub const UPLOAD_DIFFERS: Refusal =
    Refusal::new(Reason::IMPLEMENTATION_SPECIFIC, "what was uploaded is not what was announced: begin anew");
pub const OBJECT_STORE_SILENT: Refusal =
    Refusal::new(Reason::SERVER_BUSY, "the object store does not answer: try again later");
pub const MEDIA_SERVICE_BUSY: Refusal =
    Refusal::new(Reason::SERVER_BUSY, "too many calls for media wait: try again later");

// The server as a whole.

pub const STORE_NEARLY_FULL: Refusal = Refusal::new(Reason::SERVER_BUSY, "the server has no room: try again later");
pub const TOO_MANY_REQUESTS_WAIT: Refusal =
    Refusal::new(Reason::MESSAGE_RATE_TOO_HIGH, "too many requests of this user wait already");
pub const ITEM_TOO_LARGE: Refusal =
    Refusal::new(Reason::PACKET_TOO_LARGE, "an item of the page does not fit into a packet that this connection takes");
