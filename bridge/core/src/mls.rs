//! The MLS group of an encrypted conversation, as far as decisions need it: its epoch, and which devices are in it. What is in a
//! group was checked before; that it fits the members, and that one commit follows another, is decided here.

use std::collections::BTreeMap;

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, DeviceName, Seq, UserId};

use crate::floor::Floor;
use crate::stored::MlsRecord;

/// Where the generation begins in an epoch.
const GENERATION_BITS: u32 = 32;
/// Messages are taken for so long in one epoch: a commit is kept longer by that than what was sent before it, so that no device
/// gets a message whose epoch it was not told of.
pub const EPOCH_S: u32 = 7 * 24 * 3_600;
/// A group is reset at most so often.
pub const RESET_S: u32 = 3_600;
/// A generation counts resets, or hours since 1970 if these are more: so none is there twice, whatever a restored store forgets.
const GENERATION_S: u32 = RESET_S;
/// So far clocks of devices may be ahead.
const AHEAD_S: u32 = 24 * 3_600;

/// A device in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MlsLeaf {
    /// The device.
    pub device: DeviceId,
    /// Which certificate stands in the leaf, as in `DeviceRecord`.
    pub certificate: u64,
}

/// What has begun an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochBeginning {
    /// The epoch before; 0: there was no group.
    pub before: u64,
    /// SHA-256 of what was handed in.
    pub hash: [u8; 32],
    /// Where its change stands.
    pub sequence: Seq,
}

/// The group of a conversation, which is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlsState {
    /// Generation * 2^32 + the epoch of the group.
    pub epoch: u64,
    /// Second since 1970 at which it began.
    pub began_at_s: u32,
    /// What has begun it.
    pub begun_by: EpochBeginning,
    /// Who is in the group, ascending.
    leaves: Vec<MlsLeaf>,
    /// Second since 1970 at which the group was founded, or reset.
    founded_at_s: u32,
    /// The store had gone back so far by then.
    floor: Floor,
    /// Minute since 1970 of the last commit, and commits in it.
    commits: (u32, u32),
}

impl MlsState {
    /// A group that is founded, or takes the place of one before.
    pub fn founded(epoch: u64, begun_by: EpochBeginning, leaves: Vec<MlsLeaf>, floor: Floor, now_s: u32) -> Self {
        let mut state =
            Self { epoch, began_at_s: now_s, begun_by, leaves, founded_at_s: now_s, floor, commits: (now_s / 60, 0) };
        state.leaves.sort_unstable();
        state
    }

    /// A commit has begun the next epoch.
    pub fn begin(&mut self, epoch: u64, begun_by: EpochBeginning, mut leaves: Vec<MlsLeaf>, now_s: u32) {
        leaves.sort_unstable();
        let commits = if self.commits.0 == now_s / 60 { self.commits.1 } else { 0 };
        *self = Self {
            epoch,
            began_at_s: now_s,
            begun_by,
            leaves,
            commits: (now_s / 60, commits.saturating_add(1)),
            ..*self
        };
    }

    /// Commits of this minute.
    pub fn commits_in_minute(&self, now_s: u32) -> u32 {
        if self.commits.0 == now_s / 60 { self.commits.1 } else { 0 }
    }

    /// The certificate of a device that is in the group.
    pub fn certificate_of(&self, device: DeviceId) -> Option<u64> {
        let index = self.leaves.binary_search_by_key(&device, |leaf| leaf.device).ok()?;
        Some(self.leaves[index].certificate)
    }

    /// How many devices are in it.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// Where the change stands that this has made, if it was the last.
    pub fn accepted_before(&self, before: u64, hash: &[u8; 32]) -> Option<Seq> {
        let EpochBeginning { before: last, hash: of_last, sequence } = &self.begun_by;
        (*last == before && of_last == hash).then_some(*sequence)
    }

    /// The epoch has lasted too long for another message.
    pub fn is_worn(&self, now_s: u32) -> bool {
        now_s.saturating_sub(self.began_at_s) > EPOCH_S
    }

    /// The store went back since the group was founded: devices are ahead of it, and their epochs must not be given again.
    pub fn is_outdated(&self, floor: Floor) -> bool {
        self.floor != floor
    }

    /// It was reset a short while ago.
    pub fn is_new(&self, now_s: u32) -> bool {
        now_s.saturating_sub(self.founded_at_s) < RESET_S
    }

    /// The lowest generation that a group may have that takes its place.
    fn first_generation(&self, floor: Floor) -> u64 {
        generation(self.epoch).saturating_add(1).max(u64::from(floor.at_s() / GENERATION_S))
    }

    /// The generation of a group that takes its place.
    pub fn next_generation(&self, floor: Floor, now_s: u32) -> u32 {
        let next = self.first_generation(floor).max(u64::from(now_s / GENERATION_S));
        u32::try_from(next).unwrap_or(u32::MAX)
    }

    /// Whether a group that takes its place may have this epoch: for a day [`Self::next_generation`] is good.
    pub fn is_followed_by(&self, epoch: u64, floor: Floor, now_s: u32) -> bool {
        let first = self.first_generation(floor);
        let last = u64::from(now_s.saturating_add(AHEAD_S) / GENERATION_S).max(first);
        (first..=last).contains(&generation(epoch))
    }

    /// The stored form.
    pub fn to_record(&self) -> MlsRecord {
        MlsRecord {
            epoch: self.epoch,
            began_at_s: self.began_at_s,
            devices: self.leaves.iter().map(|leaf| leaf.device.get()).collect(),
            certificates: self.leaves.iter().map(|leaf| leaf.certificate).collect(),
            before: self.begun_by.before,
            begun_by: self.begun_by.hash.to_vec(),
            sequence: self.begun_by.sequence.get(),
            founded_at_s: self.founded_at_s,
            floor: self.floor.get(),
            minute: self.commits.0,
            commits: self.commits.1,
        }
    }

    /// Reads the stored form. `None` if it is damaged.
    pub fn from_record(record: &MlsRecord) -> Option<Self> {
        let (devices, certificates) = (record.devices.iter(), record.certificates.iter());
        let leaf =
            |(device, certificate): (&u64, &u64)| MlsLeaf { device: DeviceId::new(*device), certificate: *certificate };
        let hash = record.begun_by.as_slice().try_into().ok()?;
        (devices.len() == certificates.len()).then(|| Self {
            epoch: record.epoch,
            began_at_s: record.began_at_s,
            begun_by: EpochBeginning { before: record.before, hash, sequence: Seq::new(record.sequence) },
            leaves: devices.zip(certificates).map(leaf).collect(),
            founded_at_s: record.founded_at_s,
            floor: Floor::new(record.floor),
            commits: (record.minute, record.commits),
        })
    }
}

fn generation(epoch: u64) -> u64 {
    epoch >> GENERATION_BITS
}

/// A device in a group that was checked, as its leaf names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedLeaf {
    /// Whose it is.
    pub user: UserId,
    /// Its name.
    pub device: DeviceName,
    /// Which certificate stands in the leaf.
    pub certificate: u64,
}

/// What a commit makes of a group, or a group that is founded, as it was checked beside the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedGroup {
    /// The epoch that it begins.
    pub epoch: u64,
    /// To be kept: all but the tree.
    pub state: Bytes,
    /// To be kept.
    pub tree: Bytes,
    /// Everybody in it.
    pub leaves: Vec<CheckedLeaf>,
    /// Who has made it.
    pub committer: CheckedLeaf,
    /// Leaves that it adds.
    pub added: usize,
}

/// What is told of an epoch that begins.
#[derive(Debug)]
pub(crate) struct EpochStep {
    /// Without a welcome.
    pub(crate) told: client::MlsChange,
    /// The welcome of each device that is let in by one.
    pub(crate) welcomes: BTreeMap<DeviceId, Bytes>,
    /// It was founded: also devices without a certificate are told, and nothing after that.
    pub(crate) founds: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u32 = 1_800_000_000;

    fn state(epoch: u64) -> MlsState {
        let leaves = [3, 1, 2].map(|it| MlsLeaf { device: DeviceId::new(it), certificate: it + 10 });
        let begun_by = EpochBeginning { before: 0, hash: [7; 32], sequence: Seq::new(5) };
        MlsState::founded(epoch, begun_by, leaves.into(), Floor::default(), NOW_S)
    }

    #[test]
    fn survives_storage() {
        let mut it = state(1);
        assert_eq!(MlsState::from_record(&it.to_record()), Some(it.clone()));
        let begun_by = EpochBeginning { before: 1, hash: [8; 32], sequence: Seq::new(6) };
        it.begin(2, begun_by, vec![MlsLeaf { device: DeviceId::new(9), certificate: 1 }], NOW_S + 1);
        assert_eq!(MlsState::from_record(&it.to_record()), Some(it.clone()));
        assert_eq!((it.commits_in_minute(NOW_S + 1), it.commits_in_minute(NOW_S + 61)), (1, 0));
        assert_eq!(MlsState::from_record(&MlsRecord { begun_by: vec![0; 31], ..it.to_record() }), None);
        assert_eq!(MlsState::from_record(&MlsRecord { devices: vec![], ..it.to_record() }), None);
    }

    #[test]
    fn devices_are_found_in_it() {
        let it = state(1);
        assert_eq!(it.certificate_of(DeviceId::new(2)), Some(12));
        assert_eq!(it.certificate_of(DeviceId::new(4)), None);
    }

    #[test]
    fn no_generation_comes_twice_whatever_the_store_forgets() {
        let hour = u64::from(NOW_S / 3_600);
        let epoch = |generation: u64| (generation << 32) + 1;
        let (it, none) = (state(epoch(0)), Floor::default());
        assert!(!it.is_followed_by(epoch(0), none, NOW_S));
        assert!(it.is_followed_by(epoch(1), none, NOW_S) && it.is_followed_by(epoch(hour), none, NOW_S));
        assert!(!it.is_followed_by(epoch(hour + 25), none, NOW_S), "it would be there when its hour comes");
        let restored = none.after(u64::from(NOW_S) * 1_000);
        assert!(it.is_outdated(restored) && !it.is_outdated(none));
        assert!(!it.is_followed_by(epoch(1), restored, NOW_S), "it may have been there");
        assert!(it.is_followed_by(epoch(hour), restored, NOW_S));
        let ahead = state(epoch(hour + 24));
        assert!(ahead.is_followed_by(epoch(hour + 25), none, NOW_S));
    }
}
