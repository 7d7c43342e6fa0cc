//! Sends that the server has stored, this device does not know in which conversation: to a user whose conversation it
//! does not know yet, or to a phone number, if the answer did not say whose it is. For the latter the server is asked.

use bytes::Bytes;
use godwit_schemas::client::FoundPhone;
use godwit_schemas::ids::UserId;
use godwit_schemas::phone::PhoneNumber;
use sha2::{Digest as _, Sha256};

use super::record::{UnplacedSendRecord, UnroutedSendsRecord};
use super::{Ledger, keys};
use crate::send::{Recipient, SendId};
use crate::store::{LocalStoreError, Scan};

/// Numbers that are asked for at a time.
const AT_ONCE: usize = 100;

/// A number as the server is asked for it.
pub(crate) fn phone_hash(number: PhoneNumber) -> Bytes {
    Sha256::digest(number.to_string()).to_vec().into()
}

impl Ledger {
    /// A send was stored, nobody said where.
    pub(super) fn stored_without_conversation(&mut self, to: &Recipient, id: SendId) -> Result<(), LocalStoreError> {
        let key = match to {
            Recipient::User(user) => keys::unrouted(user),
            Recipient::Phone(number) => {
                self.has_new_phones = true;
                keys::unrouted_phone(&number.to_string())
            }
            Recipient::Conversation(_) => return Ok(()),
        };
        self.add_unrouted(&key, [id.get()])
    }

    fn add_unrouted(&mut self, key: &[u8], sends: impl IntoIterator<Item = u64>) -> Result<(), LocalStoreError> {
        let mut unrouted: UnroutedSendsRecord = self.record(key)?.unwrap_or_default();
        unrouted.sends.extend(sends);
        self.put(key, &unrouted)
    }

    /// A hole in any direct conversation may be the place of a send to a number.
    pub(super) fn has_unrouted_phones(&mut self) -> Result<bool, LocalStoreError> {
        let (from, to) = keys::UNROUTED_PHONES;
        Ok(!self.store.scan(from, to, Scan::Forward, 1)?.is_empty())
    }

    /// Numbers of which it is to be asked who has them.
    pub(crate) fn unrouted_phones(&mut self) -> Result<Vec<PhoneNumber>, LocalStoreError> {
        let (from, to) = keys::UNROUTED_PHONES;
        let pairs = self.store.scan(from, to, Scan::Forward, AT_ONCE)?;
        Ok(pairs.iter().filter_map(|(key, _)| keys::phone_number(key)).collect())
    }

    /// The same, if there are more than when it was asked last.
    pub(crate) fn new_phones(&mut self) -> Result<Vec<PhoneNumber>, LocalStoreError> {
        if std::mem::take(&mut self.has_new_phones) { self.unrouted_phones() } else { Ok(Vec::new()) }
    }

    /// Who has the numbers of these hashes, of which was `asked`. Returns sends that have a place now.
    pub(crate) fn phones_found(
        &mut self,
        asked: &[Bytes],
        found: &[FoundPhone],
    ) -> Result<Vec<SendId>, LocalStoreError> {
        let mut placed = Vec::new();
        for number in self.unrouted_phones()? {
            let hash = phone_hash(number);
            if !asked.contains(&hash) {
                continue;
            }
            let key = keys::unrouted_phone(&number.to_string());
            let unrouted: UnroutedSendsRecord = self.record(&key)?.unwrap_or_default();
            self.store.delete(&key)?;
            let user = found.iter().find(|it| it.sha256 == hash).and_then(|it| UserId::new(&it.user).ok());
            // Nobody: then nobody knows where they are.
            if let Some(user) = user {
                placed.extend(self.sent_to(&user, unrouted)?);
            }
        }
        Ok(placed)
    }

    fn sent_to(&mut self, user: &UserId, unrouted: UnroutedSendsRecord) -> Result<Vec<SendId>, LocalStoreError> {
        let Some(id) = self.direct(user)? else {
            self.add_unrouted(&keys::unrouted(user), unrouted.sends)?;
            return Ok(Vec::new());
        };
        let mut conversation = self.conversation_record(id)?;
        let unplaced = unrouted.sends.into_iter().map(|id| UnplacedSendRecord { id, above: 0, below: 0 });
        conversation.unplaced.splice(0..0, unplaced);
        let placed = self.settle(id, &mut conversation)?;
        self.put(&keys::conversation(id), &conversation)?;
        Ok(placed)
    }
}
