//! What apps link to speak with Godwit: [`Client`], a handle on one task that keeps a connection, an outbox and an inbox
//! which survive the app, and everything between them.
//!
//! ```no_run
//! use godwit_client::{Client, Event};
//! use godwit_client::ids::{DeviceName, UserId};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, phone) = (UserId::new("alice")?, DeviceName::new("phone")?);
//! let client = Client::builder("mqtt://127.0.0.1:1883", alice, phone, "password").open().await?;
//! let sent = client.send(UserId::new("bob")?, "hello").await?;
//! sent.delivered().await?;
//! let mut events = client.events();
//! loop {
//!     let delivery = events.next().await?;
//!     if let Event::Message(message) = &delivery.event {
//!         println!("{:?}", message.body);
//!     }
//!     events.confirm(&delivery).await?;
//! }
//! # }
//! ```
//!
//! What it promises:
//!
//! - [`Client::send`] returns when the message is on this device's disk. From then on it is delivered once, whoever is
//!   killed when.
//! - An event is on this device's disk before the server is told that it was received, so the delivered tick is true.
//!   The app sees each event until it has [confirmed](Events::confirm) it, and never afterwards.
//! - Within a conversation events come in its order, each once. A place that stays empty is told ([`Event::Missing`]).
//!
//! Inside: the `engine` (one task) speaks through the `network` (one connection; the only place that names rumqttc) and
//! remembers in the `ledger` (one thread) on a [`store`]. [`wire`] has the payloads alone, for those who bring an MQTT
//! client of their own.

mod builder;
mod client;
mod conversation;
#[cfg(feature = "e2ee")]
mod encryption;
mod engine;
mod error;
mod event;
mod ledger;
mod media;
mod network;
mod properties;
mod send;
mod signal;
mod status;
pub mod store;
pub mod text;
mod tracker;
#[cfg(feature = "media")]
mod transfer;
pub mod wire;

pub use builder::Builder;
pub use bytes::Bytes;
#[cfg(feature = "e2ee")]
pub use client::SafetyNumber;
pub use client::{
    Client, Contact, Device, FoundPhone, Invite, MediaLink, Mute, MuteFor, PageRange, Past, PastMessage, Profile,
    ProfileUpdate, PushAddress, PushKeys, PushRegistration, PushStatus, ResultPage, Summary, Upload, UploadRequest,
};
pub use conversation::{Conversation, Member};
#[cfg(feature = "e2ee")]
pub use encryption::EncryptionState;
pub use error::{EncryptionFailure, Error, FileFailure, Refusal};
pub use event::{Delivery, Event, Events, Message, Reaction};
pub use godwit_schemas::client::{Audience, GroupSettings, GroupsFrom, Preview, PushPayload, Role};
pub use godwit_schemas::phone::PhoneNumber;
pub use godwit_schemas::{ids, reason};
pub use ledger::PendingSend;
pub use media::{FileId, Media};
pub use network::Protocol;
pub use network::traffic::{ByteCount, Purpose, Traffic};
pub use properties::Properties;
pub use send::{Draft, Recipient, SendHandle, SendId, SendState};
pub use signal::{Presence, Signal, Signals, TYPING};
pub use status::{OfflineCause, Status};
#[cfg(feature = "media")]
pub use transfer::{FileDraft, FileHandle, FileState, Progress, Saving, Sending};
pub use wire::ConversationUpdate;

/// The snippets of the guide compile as they stand.
#[cfg(all(doctest, feature = "media", feature = "sqlite"))]
#[doc = include_str!("../../docs/users/library.md")]
struct Guide;
