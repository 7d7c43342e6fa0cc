//! Phone numbers as the server knows them: by hash. A number that nobody has registered with can be written to all the
//! same: a *waiting* user stands for it, with a name that only this server can tell and one device, which has an inbox and
//! no name. Who registers with the number takes over user and device. Who has it under another name gets what waited,
//! sent once more by the same senders ([`hand_over`]).

use std::collections::HashMap;

use godwit_core::entry::Kind;
use godwit_schemas::client::{self, change::Change, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Seq, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::reason::Reason;
use prost::Message as _;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::admin::{Admin, AdminError};
use crate::chat::Who;
use crate::mail::{AdminRequest, Ask, Mail, Waiting};

/// SHA-256 of a number in E.164 with its plus sign.
pub(crate) type PhoneHash = [u8; 32];

/// Hashes a number as clients do.
pub(crate) fn hash(number: PhoneNumber) -> PhoneHash {
    Sha256::digest(number.to_string()).into()
}

/// Makes the names of waiting users. Without the secret a name tells nothing of the number.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    secret: [u8; 32],
}

impl Names {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The name of the user that waits for a number: 128 bits of a keyed hash.
    pub(crate) fn of(&self, hash: &PhoneHash) -> UserId {
        let digest = Sha256::new().chain_update(self.secret).chain_update(hash).finalize();
        name_of(digest.as_slice())
    }

    /// A name that looks like those, for who cannot have the number's own.
    pub(crate) fn any() -> Result<UserId, AdminError> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| AdminError::NoRandomness(error.to_string()))?;
        Ok(name_of(&bits))
    }

    /// What registration codes are hashed with.
    pub(crate) fn code_key(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"registration code").chain_update(self.secret).finalize().into()
    }
}

fn name_of(bits: &[u8]) -> UserId {
    let text: String = bits.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    UserId::new(&format!("n-{text}")).unwrap_or_else(|_| unreachable!("34 plain characters"))
}

/// Gives `to` what waits for a number that it claims. Begun again after a crash it sends nothing twice: the device that
/// waited counts what it sends.
pub(crate) async fn hand_over(admin: &Admin, hash: &PhoneHash, to: &UserId) -> Result<(), AdminError> {
    let next = || admin.ask_about(hash, |reply| AdminRequest::NextWaiting(*hash, to.clone(), reply));
    while let Some(device) = next().await? {
        send_again(admin, hash, device, to).await?;
        admin.ask_about(hash, |reply| AdminRequest::HandedOver(*hash, device, reply)).await?;
    }
    Ok(())
}

/// Sends what is in an inbox to somebody else.
async fn send_again(admin: &Admin, hash: &PhoneHash, device: DeviceId, to: &UserId) -> Result<(), AdminError> {
    let mut places = HashMap::new();
    let mut after = Order::default();
    loop {
        let ask = |reply| AdminRequest::Waiting(device, after, reply);
        let Waiting { now_s, entries, next } = admin.ask_about(hash, ask).await?;
        for (order, entry) in entries {
            let Ok(sender) = UserId::new(&String::from_utf8_lossy(&entry.sender_name)) else { continue };
            let place = (entry.conversation, entry.sequence);
            let media = entry.files();
            let ask = match entry.kind {
                Kind::Message => {
                    let replied: Option<&(ConversationId, Seq)> = places.get(&(entry.conversation, entry.reply_to));
                    Ask::Send(client::Send {
                        to: Some(client::send::To::User(to.to_string())),
                        client_sequence: order.get(),
                        body: entry.content,
                        expires_in_s: if entry.limited { entry.expires_at_s.saturating_sub(now_s).max(1) } else { 0 },
                        reply_to: replied.map_or(0, |(_, sequence)| sequence.get()),
                        media,
                    })
                }
                Kind::Change => match edited(&entry.content).and_then(|it| Some((places.get(&(place.0, it.0))?, it.1)))
                {
                    Some(((conversation, sequence), body)) => {
                        let (conversation, sequence) = (conversation.get(), sequence.get());
                        Ask::Call(Call::Edit(client::Edit { conversation, sequence, body }))
                    }
                    None => continue,
                },
                Kind::Recalled => continue,
            };
            let response = ask_as(admin, sender, Who::Waiting(device), ask).await?;
            if response.reason == u32::from(Reason::QUOTA_EXCEEDED) {
                return Err(AdminError::InboxFull(to.clone()));
            }
            // Whatever else is refused concerns a sender who is gone. A retry does not learn where the first attempt stands.
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

async fn ask_as(admin: &Admin, user: UserId, who: Who, ask: Ask) -> Result<client::Response, AdminError> {
    let (reply, answer) = oneshot::channel();
    admin.mail(Partition::of_user(&user), Mail::Ask(user, who, ask, reply));
    answer.await.map_err(|_| AdminError::ShuttingDown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_clients() {
        // printf +4930123456 | sha256sum
        let hash = hash(PhoneNumber::parse("+4930123456").unwrap());
        let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "a909469fabf3f43d0b7b6c42a85a6e7e8ceb36c7a2f0f1b9c15b80dc16384cb7");
    }

    #[test]
    fn names_differ_from_server_to_server() {
        let hash = hash(PhoneNumber::parse("+4930123456").unwrap());
        let (one, other) = (Names::new([1; 32]), Names::new([2; 32]));
        assert_eq!(one.of(&hash), one.of(&hash));
        assert_ne!(one.of(&hash), other.of(&hash));
        assert_eq!(one.of(&hash).as_str().len(), 34);
    }
}
