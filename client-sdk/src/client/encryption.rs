//! End-to-end encryption, as people have to do with it: devices that are linked, the recovery code, and who somebody is.

use std::time::Duration;

use bytes::Bytes;
use godwit_e2ee::content::Kind;
use godwit_e2ee::link::LinkOffer;
use godwit_e2ee::safety_number::{Party, safety_number, scannable};
use godwit_schemas::client::request::Call;
use godwit_schemas::client::{AcceptLink, Edit, React, commit_group};
use godwit_schemas::ids::{ConversationId, Seq, UserId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Client;
use crate::encryption::{EncryptionState, claim, hand_in, meet};
use crate::engine::now_s;
use crate::error::{EncryptionFailure, Error};
use crate::ledger::groups::ClaimedPackage;

/// How long it takes, or less, until something can be sealed that cannot be yet.
const NOT_NOW: Duration = Duration::from_millis(200);

/// What two people compare to know that nobody stands between them. It is the same for both, on all their devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    /// 60 digits, to be read out.
    pub digits: String,
    /// To be shown as a code, and scanned by the other: about 80 bytes.
    pub code: Vec<u8>,
    /// This user has compared it, and the other has had no other key since.
    pub verified: bool,
}

impl Client {
    async fn meet(&self, user: &UserId) -> Result<(), Error> {
        meet(&self.0.shared, user, (&self.0.commands.downgrade(), self.0.call_timeout)).await
    }

    /// How far this device is, to be watched.
    pub fn encryption(&self) -> watch::Receiver<EncryptionState> {
        self.0.shared.encryption.state.subscribe()
    }

    /// What this user and another one compare. Asks the server who the other is now.
    ///
    /// # Errors
    /// [`EncryptionFailure::NoKeys`]: one of them has none; [`EncryptionFailure::Forked`]; as of calls.
    pub async fn safety_number(&self, user: &UserId) -> Result<SafetyNumber, Error> {
        for one in [&self.0.user, user] {
            self.meet(one).await?;
        }
        let (me, other) = (self.0.user.clone(), user.clone());
        let found = self.0.shared.ledger.call(move |it| {
            let (Some(mine), Some(theirs)) = (it.chain(&me)?, it.chain(&other)?) else { return Ok(None) };
            let party = |user, identity_key| Party { user, identity_key };
            let (mine, theirs) = (mine.last().identity_key(), theirs.last().identity_key());
            let pair = (party(&me, mine), party(&other, theirs));
            let (digits, code) = (safety_number(pair.0, pair.1), scannable(pair.0, pair.1));
            Ok(Some(SafetyNumber { digits, code, verified: it.is_verified(&other)? }))
        });
        found.await?.ok_or_else(|| EncryptionFailure::NoKeys(user.to_string()).into())
    }

    /// This user has compared the safety number with the other's, `scanned` its code, and they are the same; or, with
    /// `verified` false, does not believe it any more. A code that is another than this device's is refused, and changes
    /// nothing.
    ///
    /// # Errors
    /// [`EncryptionFailure::Code`]: somebody may stand between them; as [`Self::safety_number`].
    pub async fn verify(&self, user: &UserId, scanned: Option<&[u8]>, verified: bool) -> Result<(), Error> {
        let number = self.safety_number(user).await?;
        if scanned.is_some_and(|scanned| scanned != number.code) {
            return Err(EncryptionFailure::Code("the codes are not the same".to_owned()).into());
        }
        let user = user.clone();
        self.0.shared.ledger.call(move |it| it.set_verified(&user, verified)).await
    }

    /// What another device of this user is to scan, so that it links this one. It stays good until that has happened: then
    /// [`Self::encryption`] says [`EncryptionState::Ready`].
    ///
    /// # Errors
    /// [`EncryptionFailure::NotHere`]: this device has keys already; as of calls.
    pub async fn link_offer(&self) -> Result<Vec<u8>, Error> {
        if *self.encryption().borrow() != EncryptionState::Unlinked {
            return Err(EncryptionFailure::NotHere.into());
        }
        let device = self.0.device.clone();
        let offer = self.0.shared.ledger.call(move |it| it.link_offer(&device)).await?;
        self.0.shared.encryption.wake.notify_one();
        Ok(offer.to_bytes())
    }

    /// Links a new device of this user, whose [`Self::link_offer`] was scanned. Show its name first, and ask: it will read
    /// everything that this user reads.
    ///
    /// # Errors
    /// [`EncryptionFailure::Code`]: it is no such code; [`EncryptionFailure::NotHere`]: this device cannot; as of calls.
    pub async fn link_accept(&self, scanned: &[u8]) -> Result<(), Error> {
        let offer = self.read_offer(scanned)?;
        let link = offer.link.to_vec().into();
        let sealed = self.0.shared.ledger.call(move |it| it.accept_link(&offer, now_s())).await??;
        self.call(Call::AcceptLink(AcceptLink { link, sealed: sealed.into() })).await.map(drop)
    }

    /// What the device is called whose [`Self::link_offer`] was scanned.
    ///
    /// # Errors
    /// [`EncryptionFailure::Code`]: it is no such code.
    pub fn offered_device(&self, scanned: &[u8]) -> Result<String, Error> {
        Ok(self.read_offer(scanned)?.device.to_string())
    }

    fn read_offer(&self, scanned: &[u8]) -> Result<LinkOffer, EncryptionFailure> {
        LinkOffer::from_bytes(scanned).map_err(|_| EncryptionFailure::Code("this is no code of a device".to_owned()))
    }

    /// What gives this user's keys and history to a new device when all others are lost: to be written down, and shown to
    /// nobody. `None`: this device does not hold it.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn recovery_code(&self) -> Result<Option<String>, Error> {
        self.0.shared.ledger.call(|it| it.recovery_code()).await
    }

    /// Certifies this device by the recovery code.
    ///
    /// # Errors
    /// [`EncryptionFailure::Code`]: there is a mistake in it, or it is not of this user's keys; as of calls.
    pub async fn recover(&self, code: &str) -> Result<(), Error> {
        self.meet(&self.0.user).await?;
        let (device, code) = (self.0.device.clone(), code.to_owned());
        self.0.shared.ledger.call(move |it| it.recover(&device, &code, now_s())).await??;
        self.0.shared.encryption.wake.notify_one();
        Ok(())
    }

    /// Begins anew with another identity, on this device: for who has lost all others and the recovery code. Others are told,
    /// this user's other devices have to be linked again, and what was encrypted before is not read any more.
    ///
    /// # Errors
    /// As of calls.
    pub async fn reset_identity(&self) -> Result<(), Error> {
        self.meet(&self.0.user).await?;
        let device = self.0.device.clone();
        self.0.shared.ledger.call(move |it| it.begin_identity(&device, now_s())).await?;
        self.0.shared.encryption.wake.notify_one();
        Ok(())
    }

    /// Whether a conversation's messages are encrypted. Once they are, nothing is sent there that is not.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn is_encrypted(&self, id: ConversationId) -> Result<bool, Error> {
        self.0.shared.ledger.call(move |it| it.is_encrypted(id)).await
    }

    /// Has the messages of a conversation encrypted from end to end from now on, and for ever. For either side of a direct
    /// conversation, and for owner and admins of a group, whose members all have keys. It is so when
    /// [`ConversationUpdate::Encrypted`](crate::ConversationUpdate::Encrypted) comes; what is sent meanwhile waits for it.
    ///
    /// # Errors
    /// [`EncryptionFailure::NoKeys`]: of a member; [`EncryptionFailure::Unlinked`]; as of calls.
    pub async fn encrypt(&self, id: ConversationId) -> Result<(), Error> {
        self.describe(id).await?;
        let members = self.conversation(id).await?.map(|it| it.members).unwrap_or_default();
        let users: Vec<_> = members.into_iter().filter(|it| it.present).map(|it| it.user).collect();
        let claimed = self.claim(&users).await?;
        let _alone = self.0.shared.encryption.committing.lock().await;
        let commit = self.0.shared.ledger.call(move |it| it.found_group(id, None, &claimed, now_s())).await??;
        hand_in(&self.0.shared, commit, (&self.0.commands.downgrade(), self.0.call_timeout)).await
    }

    /// Adds a user's devices to the group of an encrypted conversation, with the user; `None`: it is not encrypted.
    pub(super) async fn add_encrypted(&self, id: ConversationId, user: &UserId) -> Result<Option<()>, Error> {
        if !self.is_encrypted(id).await? {
            return Ok(None);
        }
        let claimed = self.claim(std::slice::from_ref(user)).await?;
        self.commit(id, claimed, Vec::new(), commit_group::With::Add(user.to_string())).await.map(Some)
    }

    /// Removes a user's devices from the group of an encrypted conversation, with the user; `None`: it is not encrypted.
    pub(super) async fn remove_encrypted(&self, id: ConversationId, user: &UserId) -> Result<Option<()>, Error> {
        if !self.is_encrypted(id).await? {
            return Ok(None);
        }
        let gone = vec![(user.to_string(), None)];
        self.commit(id, Vec::new(), gone, commit_group::With::Remove(user.to_string())).await.map(Some)
    }

    async fn commit(
        &self,
        id: ConversationId,
        claimed: Vec<ClaimedPackage>,
        gone: Vec<(String, Option<String>)>,
        with: commit_group::With,
    ) -> Result<(), Error> {
        let _alone = self.0.shared.encryption.committing.lock().await;
        let made = self.0.shared.ledger.call(move |it| it.commit_group(id, &claimed, &gone, now_s()));
        let mut commit = made.await??;
        commit.with = Some(with);
        hand_in(&self.0.shared, commit, (&self.0.commands.downgrade(), self.0.call_timeout)).await
    }

    /// Key packages of all devices of these users, who all must have some, but of this device.
    async fn claim(&self, users: &[UserId]) -> Result<Vec<ClaimedPackage>, Error> {
        let mut claimed = Vec::new();
        for user in users {
            let of_user = claim(&self.0.shared, user, (&self.0.commands.downgrade(), self.0.call_timeout)).await?;
            if of_user.is_empty() && *user != self.0.user {
                return Err(EncryptionFailure::NoKeys(user.to_string()).into());
            }
            claimed.extend(of_user);
        }
        Ok(claimed)
    }

    /// The call that gives a message another body, sealed where that is so.
    pub(super) async fn edit_call(&self, id: ConversationId, sequence: Seq, body: Bytes) -> Result<Edit, Error> {
        let sealed = self.seal_about(id, Kind::Edit, sequence, body.clone()).await?;
        let (body, mls_epoch) = sealed.unwrap_or((body, 0));
        Ok(Edit { conversation: id.get(), sequence: sequence.get(), body, mls_epoch })
    }

    /// The call that reacts to a message, sealed where that is so.
    pub(super) async fn react_call(&self, id: ConversationId, sequence: Seq, reaction: &str) -> Result<React, Error> {
        let call = React { conversation: id.get(), sequence: sequence.get(), ..Default::default() };
        let text = Bytes::copy_from_slice(reaction.as_bytes());
        Ok(match self.seal_about(id, Kind::Reaction, sequence, text).await? {
            None => React { reaction: reaction.to_owned(), ..call },
            // That there is none any more, the server sees.
            Some((_, mls_epoch)) if reaction.is_empty() => React { mls_epoch, ..call },
            Some((sealed, mls_epoch)) => React { sealed, mls_epoch, ..call },
        })
    }

    /// What is said about a message, sealed; `None`: the conversation is not encrypted.
    async fn seal_about(
        &self,
        id: ConversationId,
        kind: Kind,
        sequence: Seq,
        body: Bytes,
    ) -> Result<Option<(Bytes, u64)>, Error> {
        let deadline = Instant::now() + self.0.call_timeout;
        loop {
            let body = body.clone();
            let sealed = self.0.shared.ledger.call(move |it| it.seal_about(id, (kind, sequence), &body, now_s()));
            match sealed.await? {
                // Who is in the group is being learned, or an epoch ends.
                Err(EncryptionFailure::NotNow) if Instant::now() < deadline => {
                    self.0.shared.encryption.wake.notify_one();
                    sleep(NOT_NOW).await;
                }
                sealed => return Ok(sealed?),
            }
        }
    }
}
