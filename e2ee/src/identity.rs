//! Which identity keys a user has had: a chain of links, one for each key, each naming the one before by its hash.
//!
//! The server keeps the chain and hands out all of it, so it can show no other past to those who know one. A client pins
//! the last link it saw of each user, and refuses a chain that does not go on from there.

use godwit_schemas::client::IDENTITY_LINKS_MAX;
use godwit_schemas::ids::UserId;

use crate::certificate::DeviceCertificate;
use crate::crypto::{self, CryptoError, HASH_BYTES, KEY_BYTES, SIGNATURE_BYTES, SigningKey};
use crate::time::UnixTime;
use crate::wire::{self, Malformed, Reader};

const FORMAT: u16 = 1;
const LABEL_OWN: &str = "IdentityLink";
const LABEL_PREVIOUS: &str = "IdentityLink previous";

/// One identity key of a user, and how it came after the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityLink {
    version: u32,
    identity_key: [u8; KEY_BYTES],
    previous: [u8; HASH_BYTES],
    not_before: UnixTime,
    /// By the key itself: nobody claims a key that it does not have.
    own: [u8; SIGNATURE_BYTES],
    /// By the key before. Absent of the first link, and after a reset: who made it did not have that key.
    endorsed: Option<[u8; SIGNATURE_BYTES]>,
}

/// Why links are no chain of this user, or not the one that was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not the encoding of a link.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no link, or there are more than [`IDENTITY_LINKS_MAX`].
    #[error("a chain has 1 to {IDENTITY_LINKS_MAX} links")]
    Length,
    /// A link does not name the one before it, or has not the next number.
    #[error("a link does not follow the one before it")]
    Order,
    /// A link is not signed as it says.
    #[error("a link is not signed by its key")]
    Signature,
    /// The chain is another than the one that was pinned, or a shorter one: somebody shows another past.
    #[error("the chain does not go on from the link that is known")]
    Forked,
}

impl From<CryptoError> for ChainError {
    fn from(_: CryptoError) -> Self {
        Self::Signature
    }
}

/// The last link that a client has seen of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Its number.
    pub version: u32,
    /// Its hash, which stands for all links up to it.
    pub hash: [u8; HASH_BYTES],
}

/// What has happened since a link was pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// Nothing.
    Same,
    /// There are new keys, and each was signed by the one before.
    Endorsed,
    /// There is a new key that nobody has signed who had the one before: tell the user, who may have verified that one.
    Reset,
}

impl IdentityLink {
    /// The first key of a user.
    #[must_use]
    pub fn first(user: &UserId, key: &SigningKey, now: UnixTime) -> Self {
        Self::make(user, key, None, 1, [0; HASH_BYTES], now)
    }

    /// The key after the last one of `chain`. With that last key as `previous` it is endorsed; without, it is a reset.
    #[must_use]
    pub fn next(chain: &IdentityChain, key: &SigningKey, previous: Option<&SigningKey>, now: UnixTime) -> Self {
        let last = chain.last();
        Self::make(&chain.user, key, previous, last.version + 1, last.hash(&chain.user), now)
    }

    fn make(
        user: &UserId,
        key: &SigningKey,
        endorser: Option<&SigningKey>,
        version: u32,
        previous: [u8; HASH_BYTES],
        now: UnixTime,
    ) -> Self {
        let own = [0; SIGNATURE_BYTES];
        let mut link = Self { version, identity_key: key.public(), previous, not_before: now, own, endorsed: None };
        let signed = link.signed_bytes(user);
        link.own = wire::sign(key, LABEL_OWN, &signed);
        link.endorsed = endorser.map(|endorser| wire::sign(endorser, LABEL_PREVIOUS, &signed));
        link
    }

    fn signed_bytes(&self, user: &UserId) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        wire::put_opaque(&mut out, user.as_str().as_bytes());
        self.put_fields(&mut out);
        out
    }

    fn put_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.identity_key);
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.not_before.seconds().to_be_bytes());
    }

    /// The link as it travels. It does not name its user: that is said by where it is asked for, and is signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(220);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        self.put_fields(&mut out);
        out.extend_from_slice(&self.own);
        match &self.endorsed {
            Some(signature) => {
                out.push(1);
                out.extend_from_slice(signature);
            }
            None => out.push(0),
        }
        out
    }

    /// Reads a link. Its signatures are checked where it becomes a part of a chain.
    ///
    /// # Errors
    ///
    /// The bytes are no link.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u16()? != FORMAT {
            return Err(Malformed);
        }
        let version = reader.u32()?;
        let identity_key = reader.array()?;
        let previous = reader.array()?;
        let not_before = UnixTime::new(reader.u64()?);
        let own = reader.array()?;
        let endorsed = match reader.u8()? {
            0 => None,
            1 => Some(reader.array()?),
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(Self { version, identity_key, previous, not_before, own, endorsed })
    }

    fn hash(&self, user: &UserId) -> [u8; HASH_BYTES] {
        crypto::sha256(&[&self.signed_bytes(user)])
    }

    /// The key.
    #[must_use]
    pub fn identity_key(&self) -> &[u8; KEY_BYTES] {
        &self.identity_key
    }

    /// Its number in the chain, from 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the key before it did not sign it, although there was one.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.version > 1 && self.endorsed.is_none()
    }

    fn check(&self, user: &UserId, before: Option<&Self>) -> Result<(), ChainError> {
        let (version, previous) = before.map_or((1, [0; HASH_BYTES]), |b| (b.version + 1, b.hash(user)));
        if self.version != version || self.previous != previous {
            return Err(ChainError::Order);
        }
        let signed = self.signed_bytes(user);
        wire::verify(&self.identity_key, LABEL_OWN, &signed, &self.own)?;
        match (&self.endorsed, before) {
            (Some(signature), Some(before)) => wire::verify(&before.identity_key, LABEL_PREVIOUS, &signed, signature)?,
            (Some(_), None) => return Err(ChainError::Signature),
            (None, _) => {}
        }
        Ok(())
    }
}

/// All links of a user, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityChain {
    user: UserId,
    links: Vec<IdentityLink>,
}

impl IdentityChain {
    /// Checks that these are the links of `user`, from the first.
    ///
    /// # Errors
    ///
    /// They are not.
    pub fn new(user: UserId, links: Vec<IdentityLink>) -> Result<Self, ChainError> {
        if links.is_empty() || links.len() > IDENTITY_LINKS_MAX {
            return Err(ChainError::Length);
        }
        let mut before = None;
        for link in &links {
            link.check(&user, before)?;
            before = Some(link);
        }
        Ok(Self { user, links })
    }

    /// Appends a link.
    ///
    /// # Errors
    ///
    /// It does not follow the last one. The chain stays as it was.
    pub fn append(&mut self, link: IdentityLink) -> Result<(), ChainError> {
        if self.links.len() >= IDENTITY_LINKS_MAX {
            return Err(ChainError::Length);
        }
        link.check(&self.user, Some(self.last()))?;
        self.links.push(link);
        Ok(())
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// From the first.
    #[must_use]
    pub fn links(&self) -> &[IdentityLink] {
        &self.links
    }

    /// The link whose key the user has now.
    #[must_use]
    pub fn last(&self) -> &IdentityLink {
        self.links.last().expect("a chain has a link")
    }

    /// What a client that has seen this chain keeps of it.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin { version: self.last().version, hash: self.last().hash(&self.user) }
    }

    /// Whether this chain goes on from `pin`, and how.
    ///
    /// # Errors
    ///
    /// It does not: [`ChainError::Forked`].
    pub fn since(&self, pin: &Pin) -> Result<Continuation, ChainError> {
        let known = pin.version.checked_sub(1).and_then(|index| self.links.get(index as usize));
        if known.is_none_or(|link| link.hash(&self.user) != pin.hash) {
            return Err(ChainError::Forked);
        }
        let new = &self.links[pin.version as usize..];
        Ok(if new.is_empty() {
            Continuation::Same
        } else if new.iter().any(IdentityLink::is_reset) {
            Continuation::Reset
        } else {
            Continuation::Endorsed
        })
    }

    /// Whether the user's key has certified this device: the key of now, or with `retired` one of an earlier time, as of
    /// those who sent what stands in history.
    #[must_use]
    pub fn certifies(&self, certificate: &DeviceCertificate, retired: bool) -> bool {
        let link = certificate.version().checked_sub(1).and_then(|index| self.links.get(index as usize));
        let current = certificate.version() == self.last().version;
        certificate.user() == &self.user
            && (current || retired)
            && link.is_some_and(|link| link.identity_key == *certificate.identity_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::new(1_800_000_000);

    fn ann() -> UserId {
        UserId::new("ann").unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    /// A chain of a first key, an endorsed one, and one after a reset.
    fn chain(length: usize) -> IdentityChain {
        let mut chain = IdentityChain::new(ann(), vec![IdentityLink::first(&ann(), &key(1), NOW)]).unwrap();
        let endorsed = IdentityLink::next(&chain, &key(2), Some(&key(1)), NOW);
        chain.append(endorsed).unwrap();
        let reset = IdentityLink::next(&chain, &key(3), None, NOW);
        chain.append(reset).unwrap();
        IdentityChain::new(ann(), chain.links[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_chain_goes_on_from_what_was_pinned() {
        let whole = chain(3);
        assert_eq!(whole.since(&chain(3).pin()), Ok(Continuation::Same));
        assert_eq!(chain(2).since(&chain(1).pin()), Ok(Continuation::Endorsed));
        assert_eq!(whole.since(&chain(2).pin()), Ok(Continuation::Reset));
        assert_eq!(whole.since(&chain(1).pin()), Ok(Continuation::Reset));
    }

    #[test]
    fn another_past_is_refused() {
        let other = IdentityChain::new(ann(), vec![IdentityLink::first(&ann(), &key(9), NOW)]).unwrap();
        assert_eq!(other.since(&chain(1).pin()), Err(ChainError::Forked));
        assert_eq!(chain(2).since(&chain(3).pin()), Err(ChainError::Forked), "a shorter one");
        let mut skipped = chain(3).links;
        skipped.remove(1);
        assert_eq!(IdentityChain::new(ann(), skipped), Err(ChainError::Order));
    }

    #[test]
    fn a_link_of_another_user_or_key_is_refused() {
        let bob = UserId::new("bob").unwrap();
        assert_eq!(IdentityChain::new(bob, chain(1).links), Err(ChainError::Signature));
        let forged = IdentityLink::next(&chain(1), &key(2), Some(&key(7)), NOW);
        assert_eq!(chain(1).append(forged), Err(ChainError::Signature));
    }

    #[test]
    fn no_byte_of_a_link_can_be_altered() {
        let good = chain(3);
        for index in 0..3 {
            let bytes = good.links[index].to_bytes();
            assert_eq!(IdentityLink::from_bytes(&bytes), Ok(good.links[index].clone()));
            for byte in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[byte] ^= 1 << (byte % 8);
                let Ok(link) = IdentityLink::from_bytes(&bad) else { continue };
                let mut links = good.links.clone();
                links[index] = link;
                assert!(IdentityChain::new(ann(), links).is_err(), "link {index}, byte {byte}");
            }
        }
    }
}
