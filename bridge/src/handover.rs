//! Handing over what waited for a phone number to the user who claims it: each message is sent once more by its sender. Called
//! by operators' commands and by registration, while messages to the number are held.

use std::collections::HashMap;

use godwit_core::entry::EntryKind;
use godwit_schemas::client::{self, change::Change, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Seq, UserId};
use godwit_schemas::reason::Reason;
use prost::Message as _;

use crate::audit::Actor;
use crate::lanes::{Lanes, ShuttingDown};
use crate::messages::{AdminError, AdminRequest, Principal, UserRequest, WaitingPage};
use crate::phone::PhoneHash;

/// Gives `to` what waits for a number that it claims. Begun again after a crash it sends nothing twice: the device that
/// waited counts what it sends.
pub(crate) async fn hand_over(lanes: &Lanes, by: Actor, hash: &PhoneHash, to: &UserId) -> Result<(), AdminError> {
    let next = || lanes.ask_about(by, hash, |reply| AdminRequest::NextWaiting(*hash, to.clone(), reply));
    while let Some(device) = next().await? {
        send_again(lanes, by, hash, device, to).await?;
        lanes.ask_about(by, hash, |reply| AdminRequest::HandedOver(*hash, device, reply)).await?;
    }
    Ok(())
}

/// Sends what is in an inbox to somebody else.
async fn send_again(
    lanes: &Lanes,
    by: Actor,
    hash: &PhoneHash,
    device: DeviceId,
    to: &UserId,
) -> Result<(), AdminError> {
    let mut places = HashMap::new();
    let mut after = Order::default();
    loop {
        let ask = |reply| AdminRequest::Waiting(device, after, reply);
        let WaitingPage { now_s, entries, next } = lanes.ask_about(by, hash, ask).await?;
        for (order, entry) in entries {
            let Ok(sender) = UserId::new(&String::from_utf8_lossy(&entry.sender_name)) else { continue };
            let place = (entry.conversation, entry.sequence);
            let ask = match entry.kind {
                EntryKind::Message => {
                    let client::Message { body, media, properties, silent, mentions, .. } = entry.message(now_s);
                    let replied: Option<&(ConversationId, Seq)> =
                        entry.reply_to.and_then(|reply_to| places.get(&(entry.conversation, reply_to)));
                    UserRequest::Send(client::Send {
                        to: Some(client::send::To::User(to.to_string())),
                        client_sequence: order.get(),
                        body,
                        expires_in_s: if entry.limited { entry.expires_at_s.saturating_sub(now_s).max(1) } else { 0 },
                        reply_to: replied.map_or(0, |(_, sequence)| sequence.get()),
                        media,
                        counter: 0,
                        epoch: 0,
                        properties,
                        silent,
                        mentions,
                        // It could not be sealed: there was nobody to seal it for.
                        mls_epoch: 0,
                    })
                }
                EntryKind::Change => {
                    match edited(&entry.content).and_then(|it| Some((places.get(&(place.0, it.0))?, it.1))) {
                        Some(((conversation, sequence), body)) => {
                            let (conversation, sequence) = (conversation.get(), sequence.get());
                            UserRequest::Call(
                                Call::Edit(client::Edit { conversation, sequence, body, mls_epoch: 0 }).into(),
                            )
                        }
                        None => continue,
                    }
                }
                EntryKind::Recalled => continue,
            };
            let response = lanes.ask_as(sender, Principal::Waiting(device), ask).await;
            let response = response.map_err(|ShuttingDown| AdminError::ShuttingDown)?;
            match Reason::from_u32(response.reason) {
                // Limits of the sender do not hold here (`Origin::handed_over`): it is the receiver's.
                Reason::QUOTA_EXCEEDED => return Err(AdminError::InboxFull(to.clone())),
                Reason::SERVER_BUSY => return Err(AdminError::NoRoom),
                // Whatever else is refused concerns a sender who is gone.
                _ => {}
            }
            // A retry does not learn where the first attempt stands.
            if response.sequence > 0 {
                places.insert(place, (ConversationId::new(response.conversation), Seq::new(response.sequence)));
            }
        }
        let Some(next) = next else { return Ok(()) };
        after = next;
    }
}

fn edited(change: &[u8]) -> Option<(Seq, bytes::Bytes)> {
    match client::Change::decode(change).ok()?.change? {
        Change::Edited(edited) => Some((Seq::new(edited.sequence), edited.body)),
        _ => None,
    }
}
