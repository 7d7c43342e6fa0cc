//! Pushes: a device that is not connected is told through its vendor's push service that something waits in its inbox.
//!
//! The inbox is the record of what is owed. A device that is not connected is owed a push while its inbox has an entry that
//! notifies (`godwit_core::push`) above the order up to which it was pushed, which is one row of the device. So nothing is
//! written on the path of a message, and a push is sent at least once whatever ends in between: the row rises after the push
//! service has answered, and at a start the pusher looks at all registered devices.
//!
//! - `post`: how lanes tell the pusher of a device, without waiting. `messages`: what the pusher asks of lanes.
//! - `pusher`: the one task that owns what is under way. `queue`: which devices are to be looked at, and when.
//! - `inspect`: what a device is owed. `compose`: what it is told. `outcome`: what follows from a push service's answer.
//! - `rescan`: what a start, or a full queue, has missed. `address`: where a device is pushed, as it is stored.
//!
//! `godwit-push` speaks to the push services. Conversations are told nothing: a push is no delivery.

use std::sync::Arc;
use std::time::Duration;

use godwit_push::Gateway;
use godwit_store::{Durability, Store, StoreError, keys};

pub(crate) mod address;
mod compose;
mod inspect;
pub(crate) mod messages;
mod outcome;
pub(crate) mod post;
pub(crate) mod pusher;
mod queue;
mod rescan;

use crate::writes;

/// How devices are pushed.
#[derive(Debug, Clone)]
pub struct PushSettings {
    /// Who speaks to the push services.
    pub gateway: Arc<dyn Gateway>,
    /// How long a push waits for the device to connect by itself.
    pub delay: Duration,
    /// While another device of its user has sent something within this time, a push waits longer.
    pub active: Duration,
    /// Most pushes of a device in a minute.
    pub per_minute: u32,
    /// Devices that may wait to be pushed. What comes when there are as many is found later.
    pub queue: usize,
    /// How long a push service keeps a push at most.
    pub ttl_max: Duration,
}

/// The key that push services know this server by, made by the first start that pushes. Durable when it returns.
///
/// # Errors
/// The store's, or the system gives no random bits.
pub(crate) async fn key<S: Store>(store: &S) -> Result<Vec<u8>, StoreError> {
    if let Some(key) = store.multi_get(&[keys::push_key()]).await?.pop().flatten() {
        return Ok(key.to_vec());
    }
    let no_bits = || StoreError { doing: "draw random bits", cause: "the system has none".to_owned() };
    let key = godwit_push::generate_key().ok_or_else(no_bits)?;
    store.commit(vec![writes::set(keys::push_key(), Some(key.clone().into()))], Durability::Synced).await?;
    Ok(key)
}
