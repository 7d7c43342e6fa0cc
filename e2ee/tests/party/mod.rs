//! Devices for tests, and how they meet at the server.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use godwit_e2ee::certificate::{CertificateRequest, DeviceCertificate, DeviceKind};
use godwit_e2ee::crypto::SigningKey;
use godwit_e2ee::mls::group::{CommitMessages, Group};
use godwit_e2ee::mls::public_group::{Commit, Founding, PublicGroup, WelcomeFor};
use godwit_e2ee::mls::{Applied, Device, GroupError, GroupId, NewKeyPackage};
use godwit_e2ee::time::UnixTime;
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};

pub(crate) const NOW: UnixTime = UnixTime::new(1_800_000_000);

pub(crate) const ID: GroupId = GroupId { conversation: ConversationId::new(77), generation: 0 };

/// The identity key of a user: from its name.
pub(crate) fn identity(user: &str) -> SigningKey {
    let mut seed = [7; 32];
    for (byte, letter) in seed.iter_mut().zip(user.bytes()) {
        *byte = letter;
    }
    SigningKey::from_seed(&seed)
}

/// A certified device.
pub(crate) fn device(user: &str, name: &str) -> Device {
    let key = SigningKey::generate().unwrap();
    let request = CertificateRequest {
        user: UserId::new(user).unwrap(),
        device: DeviceName::new(name).unwrap(),
        leaf_key: key.public(),
        kind: DeviceKind::Native,
    };
    let certificate = DeviceCertificate::issue(request, &identity(user), 1, NOW);
    Device::new(certificate, key).unwrap()
}

/// A device that waits to be added.
pub(crate) struct Waiting {
    pub(crate) device: Device,
    pub(crate) package: NewKeyPackage,
}

impl Waiting {
    pub(crate) fn new(user: &str, name: &str) -> Self {
        let device = device(user, name);
        let package = device.key_package(false, NOW).unwrap();
        Self { device, package }
    }

    pub(crate) fn join(&self, welcome: &[u8], tree: &[u8]) -> Result<Group, GroupError> {
        assert_eq!(Group::welcomed(welcome).unwrap(), [&self.package.reference[..]]);
        Group::join(&self.device, welcome, (&self.package.reference, &self.package.secret), tree)
    }
}

pub(crate) fn welcomes_for<'a>(devices: &[&'a Device], welcomes: &'a [Vec<u8>]) -> Vec<WelcomeFor<'a>> {
    let one = |(device, message): (&&'a Device, &'a Vec<u8>)| WelcomeFor {
        user: device.certificate().user().as_str(),
        device: device.certificate().device().as_str(),
        message,
    };
    devices.iter().zip(welcomes).map(one).collect()
}

/// Founds a group of these, each of whom joins; and the server's view of it.
pub(crate) fn found(founder: &Device, others: &[Waiting]) -> (PublicGroup, Vec<Group>) {
    let packages: Vec<_> = others.iter().map(|other| &other.package.message[..]).collect();
    let (first, messages) = Group::found(founder, ID, &packages, NOW).unwrap();
    let devices: Vec<_> = others.iter().map(|other| &other.device).collect();
    let welcomes = welcomes_for(&devices, &messages.welcomes);
    let founding = Founding { group_info: &messages.group_info, tree: &messages.tree, welcomes: &welcomes };
    let (server, by) = PublicGroup::found(ID, founding, NOW).unwrap();
    assert_eq!(by, *founder.certificate());
    let joined = others.iter().zip(&messages.welcomes);
    let groups = joined.map(|(other, welcome)| other.join(welcome, &messages.tree).unwrap());
    (server, std::iter::once(first).chain(groups).collect())
}

/// Hands a commit to the server, which adds these.
pub(crate) fn order(
    server: &PublicGroup,
    messages: &CommitMessages,
    added: &[&Device],
) -> Result<(PublicGroup, Applied), GroupError> {
    let welcomes = welcomes_for(added, &messages.welcomes);
    let commit = Commit { message: &messages.commit, group_info: &messages.group_info, welcomes: &welcomes };
    server.after(commit, NOW)
}

/// All are at the server's epoch, and agree on its secrets. Returns what they have the same.
pub(crate) fn agree(server: &PublicGroup, groups: &mut [&mut Group]) -> Vec<u8> {
    let mut keys = None;
    for group in &mut *groups {
        assert_eq!(group.epoch().unwrap(), server.epoch().unwrap());
        assert_eq!(group.leaves().unwrap(), server.leaves().unwrap());
        let of_this = (group.authenticator().unwrap(), group.take_keys().unwrap());
        assert!(*keys.get_or_insert_with(|| of_this.clone()) == of_this);
    }
    keys.expect("there is a group").0
}
