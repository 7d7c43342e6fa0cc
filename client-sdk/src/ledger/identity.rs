//! This device's keys for end-to-end encryption, and who others are by theirs: which identity keys each user has had, as far as
//! this device was told. A user's chain only grows; one that does not go on from what is here is not taken.

use godwit_e2ee::certificate::{CertificateRequest, DeviceCertificate, DeviceKind};
use godwit_e2ee::crypto::{CryptoError, SigningKey};
use godwit_e2ee::identity::{Continuation, IdentityChain, IdentityLink};
use godwit_e2ee::link::{LINK_BYTES, LinkOffer, PendingLink};
use godwit_e2ee::mls::{Device, GroupError};
use godwit_e2ee::time::UnixTime;
use godwit_e2ee::user_secret::{SECRET_BYTES, UserSecret};
use godwit_e2ee::vault::VaultKey;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceName, UserId};
use prost::Message;

use super::record::UnconfirmedEvent;
use super::{Ledger, keys};
use crate::error::EncryptionFailure;
use crate::store::{LocalStoreError, Scan};

/// Key packages for one use that a device leaves with the server.
pub(crate) const PACKAGES: u32 = 32;
/// So old, packages are made anew: they are good for 90 days.
const RENEWED_AFTER_S: u64 = 60 * 24 * 60 * 60;
/// So long after its package was made, a Welcome to it may still be under way.
const KEPT_S: u64 = 121 * 24 * 60 * 60;

/// Keys of this device, and what it has of its user's.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OwnKeysRecord {
    /// What the device signs with.
    #[prost(bytes = "vec", tag = "1")]
    leaf_seed: Vec<u8>,
    /// Empty: the device is not certified.
    #[prost(bytes = "vec", tag = "2")]
    certificate: Vec<u8>,
    /// Empty: it holds none.
    #[prost(bytes = "vec", tag = "3")]
    user_secret: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    vault_key: Vec<u8>,
    /// A link of the user's chain that the server does not have yet.
    #[prost(bytes = "vec", tag = "5")]
    new_link: Vec<u8>,
    /// The server has the certificate.
    #[prost(bool, tag = "6")]
    published: bool,
    /// When packages were made anew.
    #[prost(uint64, tag = "7")]
    renewed_at_s: u64,
    /// While the device waits to be linked: the link's id and the private key.
    #[prost(bytes = "vec", tag = "8")]
    link: Vec<u8>,
}

/// A user as this device knows it.
#[derive(Clone, PartialEq, Message)]
struct PersonRecord {
    /// From the first.
    #[prost(bytes = "vec", repeated, tag = "1")]
    links: Vec<Vec<u8>>,
    /// The identity key that this user has compared.
    #[prost(bytes = "vec", tag = "2")]
    verified: Vec<u8>,
}

/// The private keys of a key package.
#[derive(Clone, PartialEq, Message)]
struct PackageRecord {
    #[prost(bytes = "vec", tag = "1")]
    secret: Vec<u8>,
    #[prost(uint64, tag = "2")]
    made_at_s: u64,
    /// It may be used more than once.
    #[prost(bool, tag = "3")]
    last_resort: bool,
}

/// How far this device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnState {
    /// It has no keys.
    New,
    /// It has keys, which nobody has certified; `true`: it waits for the answer to its link.
    Uncertified { linking: bool },
    /// It is certified, and the server does not know.
    Unpublished,
    /// It is certified. `true`: its packages are to be made anew.
    Published { old: bool },
}

/// What is to be asked of, and put into, the store's own words.
fn impossible(error: impl ToString) -> LocalStoreError {
    LocalStoreError::new("make keys", error)
}

fn from_crypto(error: CryptoError) -> LocalStoreError {
    impossible(error)
}

fn from_group(error: GroupError) -> LocalStoreError {
    impossible(error)
}

fn seed(bytes: &[u8]) -> Result<SigningKey, LocalStoreError> {
    let seed = bytes.try_into().map_err(|_| LocalStoreError::new("read a damaged record", "a key"))?;
    Ok(SigningKey::from_seed(seed))
}

fn secret_of(record: &OwnKeysRecord) -> Option<UserSecret> {
    let bytes: [u8; SECRET_BYTES] = record.user_secret[..].try_into().ok()?;
    Some(UserSecret::from_bytes(bytes))
}

impl Ledger {
    fn own_keys(&mut self) -> Result<OwnKeysRecord, LocalStoreError> {
        Ok(self.record(keys::OWN_KEYS)?.unwrap_or_default())
    }

    /// What this user's epoch keys are sealed with.
    pub(super) fn vault_key(&mut self) -> Result<Option<VaultKey>, LocalStoreError> {
        let bytes: Option<[u8; 32]> = self.own_keys()?.vault_key.try_into().ok();
        Ok(bytes.map(VaultKey::from_bytes))
    }

    /// How far this device is.
    pub(crate) fn own_state(&mut self, now_s: u64) -> Result<OwnState, LocalStoreError> {
        let own = self.own_keys()?;
        Ok(if own.leaf_seed.is_empty() {
            OwnState::New
        } else if own.certificate.is_empty() {
            OwnState::Uncertified { linking: !own.link.is_empty() }
        } else if !own.published {
            OwnState::Unpublished
        } else {
            OwnState::Published { old: now_s.saturating_sub(own.renewed_at_s) > RENEWED_AFTER_S }
        })
    }

    /// This device with its keys; `None`: it is not certified.
    pub(crate) fn own_device(&mut self) -> Result<Option<Device>, LocalStoreError> {
        let own = self.own_keys()?;
        if own.certificate.is_empty() {
            return Ok(None);
        }
        let certificate = DeviceCertificate::from_bytes(&own.certificate).map_err(impossible)?;
        Device::new(certificate, seed(&own.leaf_seed)?).map(Some).map_err(from_group)
    }

    /// Makes what this device signs with, if it has nothing yet.
    fn leaf_key(&mut self, own: &mut OwnKeysRecord) -> Result<SigningKey, LocalStoreError> {
        if own.leaf_seed.is_empty() {
            own.leaf_seed = SigningKey::generate().map_err(from_crypto)?.seed().to_vec();
        }
        seed(&own.leaf_seed)
    }

    /// Makes a new identity of this user, and certifies this device by it: the first one, or one in the place of the last
    /// that is known.
    pub(crate) fn begin_identity(&mut self, device: &DeviceName, now_s: u64) -> Result<(), LocalStoreError> {
        let (secret, now) = (UserSecret::generate().map_err(from_crypto)?, UnixTime::new(now_s));
        let me = self.me.clone();
        let link = match self.chain(&me)? {
            Some(chain) => IdentityLink::next(&chain, &secret.identity_key(), None, now),
            None => IdentityLink::first(&me, &secret.identity_key(), now),
        };
        self.certify_own(device, &secret, link.version(), now, link.to_bytes())
    }

    /// Certifies this device by the user's secret, whose identity key has this number.
    fn certify_own(
        &mut self,
        device: &DeviceName,
        secret: &UserSecret,
        version: u32,
        now: UnixTime,
        new_link: Vec<u8>,
    ) -> Result<(), LocalStoreError> {
        let mut own = self.own_keys()?;
        let leaf_key = self.leaf_key(&mut own)?.public();
        let request =
            CertificateRequest { user: self.me.clone(), device: device.clone(), leaf_key, kind: DeviceKind::Native };
        own.certificate = DeviceCertificate::issue(request, &secret.identity_key(), version, now).to_bytes();
        (own.user_secret, own.vault_key) = (secret.bytes().to_vec(), secret.vault_key().bytes().to_vec());
        (own.new_link, own.published, own.link) = (new_link, false, Vec::new());
        self.put(keys::OWN_KEYS, &own)
    }

    /// The identity that this device has begun is not the user's: another device was first.
    pub(crate) fn give_up_identity(&mut self) -> Result<(), LocalStoreError> {
        let own = self.own_keys()?;
        self.put(keys::OWN_KEYS, &OwnKeysRecord { leaf_seed: own.leaf_seed, ..OwnKeysRecord::default() })
    }

    /// The recovery code; `None`: this device does not hold the user's secret.
    pub(crate) fn recovery_code(&mut self) -> Result<Option<String>, LocalStoreError> {
        Ok(secret_of(&self.own_keys()?).map(|secret| secret.code().to_string()))
    }

    /// Certifies this device by what the user has typed.
    pub(crate) fn recover(
        &mut self,
        device: &DeviceName,
        code: &str,
        now_s: u64,
    ) -> Result<Result<(), EncryptionFailure>, LocalStoreError> {
        let secret = match UserSecret::from_code(code) {
            Ok(secret) => secret,
            Err(error) => return Ok(Err(EncryptionFailure::Code(error.to_string()))),
        };
        let me = self.me.clone();
        let Some(chain) = self.chain(&me)? else { return Ok(Err(EncryptionFailure::NotThere)) };
        if *chain.last().identity_key() != secret.identity_key().public() {
            return Ok(Err(EncryptionFailure::Code("the code is not of this user's keys".to_owned())));
        }
        let version = chain.last().version();
        self.certify_own(device, &secret, version, UnixTime::new(now_s), Vec::new()).map(Ok)
    }

    /// What this device shows to be linked. The same, as long as it waits.
    pub(crate) fn link_offer(&mut self, device: &DeviceName) -> Result<LinkOffer, LocalStoreError> {
        let mut own = self.own_keys()?;
        let key = self.leaf_key(&mut own)?;
        if own.link.is_empty() {
            let pending = PendingLink::begin(device.clone(), DeviceKind::Native, &key).map_err(from_crypto)?;
            own.link = [&pending.offer().link[..], pending.private()].concat();
        }
        self.put(keys::OWN_KEYS, &own)?;
        Ok(pending_link(&own, device, &key)?.offer().clone())
    }

    /// The id of the link that this device waits for.
    pub(crate) fn awaited_link(&mut self) -> Result<Option<Vec<u8>>, LocalStoreError> {
        Ok(self.own_keys()?.link.get(..LINK_BYTES).map(<[u8]>::to_vec))
    }

    /// The answer to this device's offer. The user's chain is here.
    pub(crate) fn linked(
        &mut self,
        device: &DeviceName,
        sealed: &[u8],
    ) -> Result<Result<(), EncryptionFailure>, LocalStoreError> {
        let mut own = self.own_keys()?;
        let key = self.leaf_key(&mut own)?;
        let grant = match pending_link(&own, device, &key)?.open(sealed) {
            Ok(grant) => grant,
            Err(error) => return Ok(Err(EncryptionFailure::Code(error.to_string()))),
        };
        let me = self.me.clone();
        if !self.chain(&me)?.is_some_and(|chain| chain.certifies(&grant.certificate, false)) {
            return Ok(Err(EncryptionFailure::Code("the answer is not by this user's identity key".to_owned())));
        }
        own.certificate = grant.certificate.to_bytes();
        own.user_secret = grant.secret.map_or_else(Vec::new, |secret| secret.bytes().to_vec());
        own.vault_key = grant.vault.bytes().to_vec();
        (own.published, own.link) = (false, Vec::new());
        self.put(keys::OWN_KEYS, &own)?;
        Ok(Ok(()))
    }

    /// Certifies another device of this user, and seals what it needs.
    pub(crate) fn accept_link(
        &mut self,
        offer: &LinkOffer,
        now_s: u64,
    ) -> Result<Result<Vec<u8>, EncryptionFailure>, LocalStoreError> {
        let own = self.own_keys()?;
        let Some(secret) = secret_of(&own) else { return Ok(Err(EncryptionFailure::NotHere)) };
        let Ok(mine) = DeviceCertificate::from_bytes(&own.certificate) else {
            return Ok(Err(EncryptionFailure::Unlinked));
        };
        let request = offer.request(&self.me);
        let now = UnixTime::new(now_s);
        let certificate = DeviceCertificate::issue(request, &secret.identity_key(), mine.version(), now);
        Ok(Ok(offer.accept(&certificate, &secret).map_err(from_crypto)?))
    }

    /// What the server is to be handed: this device's certificate, and as many key packages as are missing there.
    pub(crate) fn keys_to_publish(
        &mut self,
        there: u32,
        anew: bool,
        now_s: u64,
    ) -> Result<client::PublishKeys, LocalStoreError> {
        let own = self.own_keys()?;
        let Some(device) = self.own_device()? else { return Ok(client::PublishKeys::default()) };
        let mut call = client::PublishKeys::default();
        if !own.published {
            (call.certificate, call.identity) = (own.certificate.into(), own.new_link.into());
        }
        for _ in there..PACKAGES {
            call.key_packages.push(self.key_package(&device, false, now_s)?.into());
        }
        if anew {
            call.last_resort = self.key_package(&device, true, now_s)?.into();
        }
        Ok(call)
    }

    fn key_package(&mut self, device: &Device, last_resort: bool, now_s: u64) -> Result<Vec<u8>, LocalStoreError> {
        let made = device.key_package(last_resort, UnixTime::new(now_s)).map_err(from_group)?;
        let record = PackageRecord { secret: made.secret.to_vec(), made_at_s: now_s, last_resort };
        self.put(&keys::key_package(&made.reference), &record)?;
        Ok(made.message)
    }

    /// The server has what it was handed; `anew`: a package of last resort was with it.
    pub(crate) fn published(&mut self, anew: bool, now_s: u64) -> Result<(), LocalStoreError> {
        let mut own = self.own_keys()?;
        (own.published, own.new_link) = (true, Vec::new());
        if anew {
            own.renewed_at_s = now_s;
            self.drop_old_packages(now_s)?;
        }
        self.put(keys::OWN_KEYS, &own)
    }

    /// The private keys of a key package of this device.
    pub(super) fn package_secret(&mut self, reference: &[u8]) -> Result<Option<Vec<u8>>, LocalStoreError> {
        Ok(self.record::<PackageRecord>(&keys::key_package(reference))?.map(|record| record.secret))
    }

    /// This device is in a group by it: nobody else is to use it.
    pub(super) fn package_used(&mut self, reference: &[u8]) -> Result<(), LocalStoreError> {
        let key = keys::key_package(reference);
        let once = self.record::<PackageRecord>(&key)?.is_some_and(|record| !record.last_resort);
        if once { self.store.delete(&key) } else { Ok(()) }
    }

    fn drop_old_packages(&mut self, now_s: u64) -> Result<(), LocalStoreError> {
        let (from, to) = keys::KEY_PACKAGES;
        for (key, value) in self.store.scan(from, to, Scan::Forward, usize::MAX)? {
            if now_s.saturating_sub(super::decoded::<PackageRecord>(&value)?.made_at_s) > KEPT_S {
                self.store.delete(&key)?;
            }
        }
        Ok(())
    }

    /// The identity keys of a user, as far as they are known.
    pub(crate) fn chain(&mut self, user: &UserId) -> Result<Option<IdentityChain>, LocalStoreError> {
        let Some(person) = self.record::<PersonRecord>(&keys::person(user))? else { return Ok(None) };
        chain_of(user, &person.links).map(Some).map_err(|error| LocalStoreError::new("read a damaged record", error))
    }

    /// Whether this user has compared the key that another one has now.
    pub(crate) fn is_verified(&mut self, user: &UserId) -> Result<bool, LocalStoreError> {
        let person = self.record::<PersonRecord>(&keys::person(user))?.unwrap_or_default();
        Ok(self.chain(user)?.is_some_and(|chain| chain.last().identity_key()[..] == person.verified[..]))
    }

    /// This user has compared the key that another one has now, or does not believe it any more.
    pub(crate) fn set_verified(&mut self, user: &UserId, verified: bool) -> Result<(), LocalStoreError> {
        let Some(mut person) = self.record::<PersonRecord>(&keys::person(user))? else { return Ok(()) };
        let key = self.chain(user)?.map(|chain| chain.last().identity_key().to_vec());
        person.verified = key.filter(|_| verified).unwrap_or_default();
        self.put(&keys::person(user), &person)
    }

    /// What the server says of a user: its chain, and its devices' certificates, by which what they have signed is opened.
    /// Certificates that the chain has not signed are left out. Returns whether there is something for the app.
    pub(crate) fn met(
        &mut self,
        user: &UserId,
        links: &[bytes::Bytes],
        certificates: &[bytes::Bytes],
    ) -> Result<Result<bool, EncryptionFailure>, LocalStoreError> {
        let forked = || EncryptionFailure::Forked(user.to_string());
        let links: Vec<_> = links.iter().map(|link| link.to_vec()).collect();
        if links.is_empty() && self.chain(user)?.is_none() {
            return Ok(Err(EncryptionFailure::NoKeys(user.to_string())));
        }
        let Ok(chain) = chain_of(user, &links) else { return Ok(Err(forked())) };
        let known = self.chain(user)?;
        let news = match known.as_ref().map(|known| chain.since(&known.pin())) {
            None | Some(Ok(Continuation::Same)) => false,
            Some(Ok(Continuation::Endorsed | Continuation::Reset)) => true,
            Some(Err(_)) => return Ok(Err(forked())),
        };
        let mut person: PersonRecord = self.record(&keys::person(user))?.unwrap_or_default();
        for bytes in certificates {
            if let Ok(certificate) = DeviceCertificate::from_bytes(bytes)
                && chain.certifies(&certificate, true)
            {
                self.keep_signer(&certificate)?;
            }
        }
        person.links = links;
        self.put(&keys::person(user), &person)?;
        // What this device has changed itself is no news to it.
        let news = if *user == self.me { self.lost_identity(&chain)? } else { news };
        if news {
            self.tell(UnconfirmedEvent::IdentityChanged(user.to_string()))?;
        }
        Ok(Ok(news))
    }

    /// Another device has given this user another identity: this device's certificate is worth nothing any more.
    fn lost_identity(&mut self, chain: &IdentityChain) -> Result<bool, LocalStoreError> {
        let own = self.own_keys()?;
        let certificate = DeviceCertificate::from_bytes(&own.certificate).ok();
        let lost = own.published && certificate.is_some_and(|certificate| !chain.certifies(&certificate, false));
        if lost {
            self.give_up_identity()?;
        }
        Ok(lost)
    }
}

fn chain_of(user: &UserId, links: &[Vec<u8>]) -> Result<IdentityChain, godwit_e2ee::identity::ChainError> {
    let links = links.iter().map(|link| IdentityLink::from_bytes(link)).collect::<Result<_, _>>()?;
    IdentityChain::new(user.clone(), links)
}

fn pending_link(own: &OwnKeysRecord, device: &DeviceName, key: &SigningKey) -> Result<PendingLink, LocalStoreError> {
    let damaged = || LocalStoreError::new("read a damaged record", "a link");
    let (link, private) = own.link.split_first_chunk::<LINK_BYTES>().ok_or_else(damaged)?;
    let private = private.try_into().map_err(|_| damaged())?;
    Ok(PendingLink::resume(*link, private, device.clone(), DeviceKind::Native, key))
}
