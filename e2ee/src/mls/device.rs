//! A device with its keys, as it acts in groups, and the key packages that it makes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use mls_rs::client_builder::{
    BaseConfig, WithCryptoProvider, WithGroupStateStorage, WithIdentityProvider, WithKeyPackageRepo, WithMlsRules,
};
use mls_rs::extension::MlsExtension as _;
use mls_rs::extension::recommended::LastResortKeyPackageExt;
use mls_rs::mls_rs_codec::{MlsDecode as _, MlsEncode as _};
use mls_rs::{Client, ExtensionList};
use mls_rs_core::group::{EpochRecord, GroupState, GroupStateStorage};
use mls_rs_core::identity::{BasicCredential, SigningIdentity};
use mls_rs_core::key_package::{KeyPackageData, KeyPackageStorage};
use zeroize::Zeroizing;

use super::identity::Certificates;
use super::key_package::LIFETIME;
use super::provider::{Provider, SUITE};
use super::rules::Rules;
use super::{GroupError, mls_time};
use crate::certificate::DeviceCertificate;
use crate::crypto::SigningKey;
use crate::time::{CLOCK_SKEW, UnixTime};

pub(super) type Config = WithKeyPackageRepo<
    Slot,
    WithGroupStateStorage<
        Slot,
        WithMlsRules<Rules, WithCryptoProvider<Provider, WithIdentityProvider<Certificates, BaseConfig>>>,
    >,
>;

/// The device that this is, with the key that its certificate is of.
#[derive(Clone)]
pub struct Device {
    certificate: DeviceCertificate,
    key: SigningKey,
}

/// A key package that was just made.
pub struct NewKeyPackage {
    /// The hash by which a Welcome names it.
    pub reference: Vec<u8>,
    /// What the server is given: an MLSMessage.
    pub message: Vec<u8>,
    /// What the device keeps, by the reference, until a Welcome comes: private keys.
    pub secret: Zeroizing<Vec<u8>>,
}

impl Device {
    /// # Errors
    ///
    /// The certificate is of another key.
    pub fn new(certificate: DeviceCertificate, key: SigningKey) -> Result<Self, GroupError> {
        if *certificate.leaf_key() == key.public() {
            Ok(Self { certificate, key })
        } else {
            Err(GroupError::Credential("the certificate is of another key".to_owned()))
        }
    }

    /// What says whose the device is.
    #[must_use]
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// What the device signs with.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Makes a key package that can be used for 90 days: once, or as a last resort more often.
    ///
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn key_package(&self, last_resort: bool, now: UnixTime) -> Result<NewKeyPackage, GroupError> {
        let slot = Slot::default();
        let mut extensions = ExtensionList::new();
        if last_resort {
            extensions.set(LastResortKeyPackageExt.into_extension().map_err(mls_rs::error::MlsError::from)?);
        }
        let client = self.client(slot.clone(), Rules::LATER);
        let begins = mls_time(now.before(CLOCK_SKEW));
        let message =
            client.generate_key_package_message(extensions, ExtensionList::new(), Some(begins))?.to_bytes()?;
        let (reference, secret) = slot.take_key_package().ok_or(GroupError::Kind("a key package"))?;
        Ok(NewKeyPackage { reference, message, secret })
    }

    pub(super) fn client(&self, slot: Slot, rules: Rules) -> Client<Config> {
        Client::builder()
            .identity_provider(Certificates)
            .crypto_provider(Provider)
            .mls_rules(rules)
            .group_state_storage(slot.clone())
            .key_package_repo(slot)
            .key_package_lifetime(LIFETIME + CLOCK_SKEW)
            .signing_identity(signing_identity(&self.certificate), self.key.seed().to_vec().into(), SUITE)
            .build()
    }
}

/// What stands in the leaf of this device.
fn signing_identity(certificate: &DeviceCertificate) -> SigningIdentity {
    let credential = BasicCredential::new(certificate.to_bytes()).into_credential();
    SigningIdentity::new(credential, certificate.leaf_key().to_vec().into())
}

/// The storage of mls-rs: a place in memory for one group and one key package. What is put in and taken out are bytes,
/// which the caller keeps in a commit of its own, so that no group is ever written in part, or apart from what led to it.
///
/// Epochs that are over are not kept: no message of MLS is encrypted, so nothing needs them.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    group: Option<Zeroizing<Vec<u8>>>,
    key_package: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Slot {
    pub(super) fn with_group(state: &[u8]) -> Self {
        let group = Some(Zeroizing::new(state.to_vec()));
        Self(Arc::new(Mutex::new(Kept { group, key_package: None })))
    }

    pub(super) fn with_key_package(reference: &[u8], secret: &[u8]) -> Self {
        let key_package = Some((reference.to_vec(), Zeroizing::new(secret.to_vec())));
        Self(Arc::new(Mutex::new(Kept { group: None, key_package })))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_group(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.kept().group.take()
    }

    fn take_key_package(&self) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        self.kept().key_package.take()
    }
}

impl GroupStateStorage for Slot {
    type Error = Infallible;

    fn state(&self, _: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Infallible> {
        Ok(self.kept().group.clone())
    }

    fn epoch(&self, _: &[u8], _: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Infallible> {
        Ok(None)
    }

    fn write(&mut self, state: GroupState, _: Vec<EpochRecord>, _: Vec<EpochRecord>) -> Result<(), Infallible> {
        self.kept().group = Some(state.data);
        Ok(())
    }

    fn max_epoch_id(&self, _: &[u8]) -> Result<Option<u64>, Infallible> {
        Ok(None)
    }
}

impl KeyPackageStorage for Slot {
    type Error = mls_rs::mls_rs_codec::Error;

    fn delete(&mut self, _: &[u8]) -> Result<(), Self::Error> {
        // The caller does, in the commit that takes the group in; one of last resort it keeps.
        Ok(())
    }

    fn insert(&mut self, id: Vec<u8>, package: KeyPackageData) -> Result<(), Self::Error> {
        self.kept().key_package = Some((id, Zeroizing::new(package.mls_encode_to_vec()?)));
        Ok(())
    }

    fn get(&self, id: &[u8]) -> Result<Option<KeyPackageData>, Self::Error> {
        let kept = self.kept();
        let package = kept.key_package.as_ref().filter(|(reference, _)| reference == id);
        package.map(|(_, bytes)| KeyPackageData::mls_decode(&mut &***bytes)).transpose()
    }
}
