//! Sends that the server has stored, this device does not know in which conversation: to a user whose conversation it
//! does not know yet, or to a phone number, if the answer did not say whose it is. For the latter the server is asked.

use bytes::Bytes;
use godwit_schemas::client::FoundPhone;
use godwit_schemas::ids::UserId;
use godwit_schemas::phone::PhoneNumber;
use sha2::{Digest as _, Sha256};

use super::record::{DoubtRecord, HomelessRecord};
use super::{Ledger, keys};
use crate::send::{Recipient, SendId};
use crate::store::{Scan, StoreError};

/// Numbers that are asked for at a time.
const AT_ONCE: usize = 100;

/// A number as the server is asked for it.
pub(crate) fn phone_hash(number: PhoneNumber) -> Bytes {
    Sha256::digest(number.to_string()).to_vec().into()
}

impl Ledger {
    /// A send was stored, nobody said where.
    pub(super) fn stored_somewhere(&mut self, to: &Recipient, id: SendId) -> Result<(), StoreError> {
        let key = match to {
            Recipient::User(user) => keys::homeless(user),
            Recipient::Phone(number) => {
                self.has_new_phones = true;
                keys::homeless_phone(&number.to_string())
            }
            Recipient::Conversation(_) => return Ok(()),
        };
        self.add_homeless(&key, [id.get()])
    }

    fn add_homeless(&mut self, key: &[u8], sends: impl IntoIterator<Item = u64>) -> Result<(), StoreError> {
        let mut homeless: HomelessRecord = self.record(key)?.unwrap_or_default();
        homeless.sends.extend(sends);
        self.put(key, &homeless)
    }

    /// A hole in any direct conversation may be the place of a send to a number.
    pub(super) fn has_homeless_phones(&mut self) -> Result<bool, StoreError> {
        let (from, to) = keys::HOMELESS_PHONES;
        Ok(!self.store.scan(from, to, Scan::Forward, 1)?.is_empty())
    }

    /// Numbers of which it is to be asked who has them.
    pub(crate) fn homeless_phones(&mut self) -> Result<Vec<PhoneNumber>, StoreError> {
        let (from, to) = keys::HOMELESS_PHONES;
        let pairs = self.store.scan(from, to, Scan::Forward, AT_ONCE)?;
        Ok(pairs.iter().filter_map(|(key, _)| keys::phone_number(key)).collect())
    }

    /// The same, if there are more than when it was asked last.
    pub(crate) fn new_phones(&mut self) -> Result<Vec<PhoneNumber>, StoreError> {
        if std::mem::take(&mut self.has_new_phones) { self.homeless_phones() } else { Ok(Vec::new()) }
    }

    /// Who has the numbers of these hashes, of which was `asked`. Returns sends that have a place now.
    pub(crate) fn phones_found(&mut self, asked: &[Bytes], found: &[FoundPhone]) -> Result<Vec<SendId>, StoreError> {
        let mut placed = Vec::new();
        for number in self.homeless_phones()? {
            let hash = phone_hash(number);
            if !asked.contains(&hash) {
                continue;
            }
            let key = keys::homeless_phone(&number.to_string());
            let homeless: HomelessRecord = self.record(&key)?.unwrap_or_default();
            self.store.delete(&key)?;
            let user = found.iter().find(|it| it.sha256 == hash).and_then(|it| UserId::new(&it.user).ok());
            // Nobody: then nobody knows where they are.
            if let Some(user) = user {
                placed.extend(self.sent_to(&user, homeless)?);
            }
        }
        Ok(placed)
    }

    fn sent_to(&mut self, user: &UserId, homeless: HomelessRecord) -> Result<Vec<SendId>, StoreError> {
        let Some(id) = self.direct(user)? else {
            self.add_homeless(&keys::homeless(user), homeless.sends)?;
            return Ok(Vec::new());
        };
        let mut it = self.conversation_record(id)?;
        let doubts = homeless.sends.into_iter().map(|id| DoubtRecord { id, above: 0, below: 0 });
        it.doubts.splice(0..0, doubts);
        let placed = self.settle(id, &mut it)?;
        self.put(&keys::conversation(id), &it)?;
        Ok(placed)
    }
}
