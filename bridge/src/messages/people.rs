//! What lanes say to each other about contacts and presence.

use bytes::Bytes;
use godwit_core::outcome::EffectKind;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};

use super::Continuation;

/// Between lanes, about contacts and presence. What is told is bounded by what a lane reads in a tick, what is asked by what devices may have under
/// way.
pub(crate) enum People {
    /// Users of that lane have come or gone: tell users of this one.
    Told(u32, Vec<PresenceUpdate>),
    /// Which of these users of this lane are online?
    Look(PresenceQuery, Vec<UserId>),
    /// That lane's answer: those that may be seen.
    Seen(u32, PresenceQuery, Vec<client::Presence>),
    /// A user of this lane has a contact, which is on disk; the answer to the call.
    ContactAdded(UserId, UserId, Vec<EffectKind>),
    /// The user is no more, and all lanes know: forget its contacts and its profile, then go on.
    Forget(UserId, Continuation),
    /// Of that user there is nothing left: its name may be somebody else's.
    Forgotten(UserId, Continuation),
}

/// News of a user.
pub(crate) struct PresenceUpdate {
    /// Of whom.
    pub(crate) user: UserId,
    /// `client.Presence`.
    pub(crate) payload: Bytes,
    /// Users of one lane.
    pub(crate) to: Vec<UserId>,
}

/// A question, and where the answer goes.
#[derive(Clone)]
pub(crate) struct PresenceQuery {
    /// Who wants to know.
    pub(crate) by: UserId,
    /// Its lane.
    pub(crate) lane: u32,
    /// What for.
    pub(crate) whom: Requester,
    /// Tell also when those who are offline were last seen.
    pub(crate) offline_too: bool,
}

/// What a question is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Requester {
    /// A call.
    Call(u64),
    /// A device that has begun to listen.
    Device(DeviceId),
    /// All devices of the user that listen.
    Devices,
}
