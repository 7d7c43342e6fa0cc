//! Pushes: where this device is told that something waits while it is not connected, what the user has muted, and a look into
//! the inbox without taking anything out.
//!
//! The payload of a push is a [`PushPayload`](crate::PushPayload), encrypted to the device as RFC 8291 has it. What decrypts it runs while the app does
//! not: a notification extension, a service, a service worker (docs/users/push.md).

use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::client::{
    self, ApnsAddress, FcmAddress, GetPush, ListMutes, PeekInbox, Preview, SetMute, SetPush, WebAddress, set_push::To,
};
use godwit_schemas::ids::{ConversationId, Order};
use prost::Message as _;

use super::{Client, ResultPage};
use crate::error::Error;
use crate::wire;

/// Through which push service a device is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAddress {
    /// Apple's.
    Apns {
        /// The device token, as the system gives it.
        token: Bytes,
        /// The app's bundle id.
        topic: String,
        /// The app was built for development.
        sandbox: bool,
    },
    /// Firebase Cloud Messaging.
    Fcm {
        /// The registration token.
        token: String,
    },
    /// Web Push, UnifiedPush.
    Web {
        /// The subscription's URL.
        endpoint: String,
    },
}

/// What payloads are encrypted to: this device's own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushKeys {
    /// An uncompressed point of P-256: 65 bytes.
    pub p256dh: Bytes,
    /// A secret of 16 bytes.
    pub auth: Bytes,
}

/// How this device is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRegistration {
    /// Where.
    pub address: PushAddress,
    /// `None`: pushes have no payload.
    pub keys: Option<PushKeys>,
    /// How much of a message is in a push.
    pub preview: Preview,
    /// What the user has not read, for the badge.
    pub unread: u32,
}

/// How this device is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushStatus {
    /// The server's public key for Web Push; `None`: it does none.
    pub vapid: Option<Bytes>,
    /// `apns`, `fcm` or `web`. `None`: nowhere. If it should be, its address was given up: register again.
    pub provider: Option<String>,
}

/// How long a conversation is muted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MuteFor {
    /// In whole seconds, at least one.
    Time(Duration),
    /// Until it is muted no more.
    Ever,
}

/// A conversation that is muted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mute {
    /// Which.
    pub conversation: ConversationId,
    /// For how long still.
    pub lasts: MuteFor,
    /// But for messages that mention the user.
    pub mentions_only: bool,
}

impl Client {
    /// Says where this device is told that something waits while it is not connected. To be called at each start of the app:
    /// addresses change, and one that is not renewed for 60 days is forgotten. On the server's disk when it returns.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn set_push(&self, registration: PushRegistration) -> Result<(), Error> {
        let PushRegistration { address, keys, preview, unread } = registration;
        let to = match address {
            PushAddress::Apns { token, topic, sandbox } => To::Apns(ApnsAddress { token, topic, sandbox }),
            PushAddress::Fcm { token } => To::Fcm(FcmAddress { token }),
            PushAddress::Web { endpoint } => To::Web(WebAddress { endpoint }),
        };
        let (p256dh, auth) = keys.map(|keys| (keys.p256dh, keys.auth)).unwrap_or_default();
        let call = SetPush { to: Some(to), p256dh, auth, preview: preview.into(), unread, device: String::new() };
        self.call(Call::SetPush(call)).await.map(drop)
    }

    /// This device is pushed nowhere any more.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn drop_push(&self) -> Result<(), Error> {
        self.call(Call::SetPush(SetPush::default())).await.map(drop)
    }

    /// How this device is pushed, and the server's key for Web Push.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn push_status(&self) -> Result<PushStatus, Error> {
        let client::Push { vapid, provider, .. } =
            self.call(Call::GetPush(GetPush::default())).await?.push.unwrap_or_default();
        let vapid = Some(vapid).filter(|key| !key.is_empty());
        Ok(PushStatus { vapid, provider: Some(provider).filter(|provider| !provider.is_empty()) })
    }

    /// Nothing is pushed of a conversation, on any device of the user; with `mentions_only` but for messages that mention it.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn mute(&self, id: ConversationId, lasts: MuteFor, mentions_only: bool) -> Result<(), Error> {
        let for_s = match lasts {
            MuteFor::Ever => u32::MAX,
            MuteFor::Time(time) => u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1),
        };
        let call = SetMute { conversation: id.get(), for_s, mentions_only };
        self.call(Call::SetMute(call)).await.map(drop)
    }

    /// Ends [`Self::mute`].
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn unmute(&self, id: ConversationId) -> Result<(), Error> {
        let call = SetMute { conversation: id.get(), ..SetMute::default() };
        self.call(Call::SetMute(call)).await.map(drop)
    }

    /// The conversations that the user has muted, behind this one, by number.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn mutes(&self, after: Option<ConversationId>) -> Result<ResultPage<Mute, ConversationId>, Error> {
        let after = after.map_or(0, ConversationId::get);
        let response = self.call(Call::ListMutes(ListMutes { after })).await?;
        let mute = |client::Mute { conversation, for_s, mentions_only }| {
            let time = MuteFor::Time(Duration::from_secs(for_s.into()));
            let lasts = if for_s == u32::MAX { MuteFor::Ever } else { time };
            Mute { conversation: ConversationId::new(conversation), lasts, mentions_only }
        };
        let next = Some(response.next).filter(|next| *next > 0).map(ConversationId::new);
        Ok(ResultPage { items: response.mutes.into_iter().map(mute).collect(), next })
    }

    /// A page of what waits in this device's inbox on the server. Nothing of it is acknowledged, and nothing gets into this
    /// device's store: it is delivered as if nobody had looked.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn peek(&self, after: Option<Order>) -> Result<ResultPage<wire::InboxEvent, Order>, Error> {
        let after = after.map_or(0, Order::get);
        let response = self.call(Call::PeekInbox(PeekInbox { device: String::new(), after })).await?;
        let event = |event: client::Event| wire::InboxEvent::parse(event.encode_to_vec().into()).ok();
        let next = Some(response.next).filter(|next| *next > 0).map(Order::new);
        Ok(ResultPage { items: response.history.into_iter().filter_map(event).collect(), next })
    }
}
