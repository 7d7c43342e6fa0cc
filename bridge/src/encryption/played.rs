//! A validator for tests and simulations, which need to know who is in which group and not that signatures hold: what devices hand
//! in are lines of text. It refuses what a real one refuses for other reasons than cryptography.
//!
//! | what | text |
//! |---|---|
//! | a link of an identity | `link USER NUMBER KEY` |
//! | a certificate | `cert USER DEVICE KEY SALT` |
//! | a key package | `package USER DEVICE one\|last ENDS_S SALT` |
//! | a group info | `info CONVERSATION GENERATION EPOCH` |
//! | a tree | certificates, one a line; of one that is founded the first is the founder's |
//! | a commit | `commit EPOCH`, `by CERTIFICATE`, then a line `+CERTIFICATE` or `-USER DEVICE` for each change |

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};

use super::{Certified, HandedIn, Invalid, LeafOf, MlsGroupId, NextGroup, PublicGroup, Validator};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct PlayedValidator;

impl Validator for PlayedValidator {
    fn identity(&self, user: &UserId, chain: &[Bytes]) -> Result<(), Invalid> {
        let is_link = |(number, link): (usize, &Bytes)| match words(link)?[..] {
            ["link", of, at, _] if of == user.as_str() && at == number.to_string() => Some(()),
            _ => None,
        };
        (1..).zip(chain).try_for_each(is_link).ok_or(Invalid("not the identity of this user"))
    }

    fn certificate(&self, user: &UserId, chain: &[Bytes], certificate: &[u8]) -> Result<Certified, Invalid> {
        let leaf = leaf(certificate).ok_or(Invalid("not a certificate"))?;
        let key = chain.last().and_then(|link| words(link)?.get(3).copied().map(str::to_owned));
        let signed_by = words(certificate).and_then(|it| it.get(3).copied().map(str::to_owned));
        let is_good = leaf.user == *user && key.is_some() && key == signed_by;
        is_good.then_some(Certified { user: leaf.user, device: leaf.device }).ok_or(Invalid("another key signed it"))
    }

    fn key_package(&self, package: &[u8], certificate: &[u8], last_resort: bool, now_s: u32) -> Result<u32, Invalid> {
        let of = leaf(certificate).ok_or(Invalid("not a certificate"))?;
        let ends_s = words(package).and_then(|it| match it[..] {
            ["package", user, device, kind, ends_s, _]
                if user == of.user.as_str() && device == of.device.as_str() && (kind == "last") == last_resort =>
            {
                ends_s.parse().ok()
            }
            _ => None,
        });
        ends_s.filter(|ends_s| *ends_s > now_s).ok_or(Invalid("not a key package of this device"))
    }

    fn found(&self, id: MlsGroupId, founded: &HandedIn, _now_s: u32) -> Result<NextGroup, Invalid> {
        let epoch =
            info(&founded.group_info, id).filter(|epoch| *epoch > 0).ok_or(Invalid("not the info of this group"))?;
        let leaves = leaves(&founded.tree).ok_or(Invalid("not a tree"))?;
        let founder = leaves.first().cloned().ok_or(Invalid("nobody is in the group"))?;
        next(id, epoch, leaves.clone(), founder, &leaves[1..], founded)
    }

    fn commit(&self, group: &PublicGroup, commit: &HandedIn, _now_s: u32) -> Result<NextGroup, Invalid> {
        applied(group, commit).ok_or(Invalid("not a commit of this group"))?
    }
}

fn applied(group: &PublicGroup, handed_in: &HandedIn) -> Option<Result<NextGroup, Invalid>> {
    let (id, epoch) = parse_state(&group.state)?;
    let mut leaves = leaves(&group.tree)?;
    let mut lines = std::str::from_utf8(&handed_in.commit).ok()?.lines();
    let of_epoch = lines.next()?.strip_prefix("commit ")?.parse::<u64>().ok()?;
    let committer = leaf(lines.next()?.strip_prefix("by ")?.as_bytes())?;
    let is_next = info(&handed_in.group_info, id)? == epoch + 1;
    if of_epoch != number(id, epoch) || !is_next {
        return None;
    }
    if !leaves.contains(&committer) {
        // It comes from outside, in the place of a leaf that it had.
        leaves.retain(|leaf| !leaf.is_device(&committer.user, &committer.device));
        leaves.push(committer.clone());
    }
    let mut added = Vec::new();
    for line in lines {
        if let Some(certificate) = line.strip_prefix('+') {
            added.push(leaf(certificate.as_bytes())?);
        } else {
            let (user, device) = line.strip_prefix('-')?.split_once(' ')?;
            let (user, device) = (UserId::new(user).ok()?, DeviceName::new(device).ok()?);
            let before = leaves.len();
            leaves.retain(|leaf| !leaf.is_device(&user, &device));
            if leaves.len() == before {
                return None;
            }
        }
    }
    if added.iter().any(|new| leaves.iter().any(|leaf| leaf.is_device(&new.user, &new.device))) {
        return None;
    }
    leaves.extend(added.iter().cloned());
    Some(next(id, epoch + 1, leaves, committer, &added, handed_in))
}

fn next(
    id: MlsGroupId,
    epoch: u32,
    leaves: Vec<LeafOf>,
    committer: LeafOf,
    added: &[LeafOf],
    handed_in: &HandedIn,
) -> Result<NextGroup, Invalid> {
    let is_welcomed = |leaf: &LeafOf| handed_in.welcomes.iter().any(|it| leaf.is_device(&it.user, &it.device));
    if handed_in.welcomes.len() != added.len() || !added.iter().all(is_welcomed) {
        return Err(Invalid("there is one welcome for each device that is added"));
    }
    let state = format!("group {} {} {epoch}", id.conversation, id.generation).into();
    let tree: Vec<_> = leaves.iter().map(|leaf| String::from_utf8_lossy(&leaf.certificate)).collect();
    let group = PublicGroup { state, tree: tree.join("\n").into() };
    Ok(NextGroup { group, epoch: number(id, epoch), leaves, committer, added: added.len() })
}

impl LeafOf {
    fn is_device(&self, user: &UserId, device: &DeviceName) -> bool {
        self.user == *user && self.device == *device
    }
}

fn number(id: MlsGroupId, epoch: u32) -> u64 {
    (u64::from(id.generation) << 32) + u64::from(epoch)
}

fn words(text: &[u8]) -> Option<Vec<&str>> {
    Some(std::str::from_utf8(text).ok()?.split(' ').collect())
}

fn leaf(certificate: &[u8]) -> Option<LeafOf> {
    match words(certificate)?[..] {
        ["cert", user, device, _, _] => Some(LeafOf {
            user: UserId::new(user).ok()?,
            device: DeviceName::new(device).ok()?,
            certificate: Bytes::copy_from_slice(certificate),
        }),
        _ => None,
    }
}

fn leaves(tree: &[u8]) -> Option<Vec<LeafOf>> {
    std::str::from_utf8(tree).ok()?.lines().map(|line| leaf(line.as_bytes())).collect()
}

/// The epoch, if it is of this group.
fn info(text: &[u8], id: MlsGroupId) -> Option<u32> {
    match words(text)?[..] {
        ["info", conversation, generation, epoch]
            if conversation == id.conversation.to_string() && generation == id.generation.to_string() =>
        {
            epoch.parse().ok()
        }
        _ => None,
    }
}

fn parse_state(state: &[u8]) -> Option<(MlsGroupId, u32)> {
    match words(state)?[..] {
        ["group", conversation, generation, epoch] => {
            let conversation = ConversationId::new(conversation.parse().ok()?);
            Some((MlsGroupId { conversation, generation: generation.parse().ok()? }, epoch.parse().ok()?))
        }
        _ => None,
    }
}
