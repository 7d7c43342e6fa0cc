//! Groups as their members have them, against what the server has of them.

#![cfg(feature = "client")]

mod party;

use godwit_e2ee::mls::group::{CommitMessages, Group};
use godwit_e2ee::mls::key_package::{self, KeyPackageError};
use godwit_e2ee::mls::public_group::{Commit, Founding, PublicGroup};
use godwit_e2ee::mls::{ADDS_PER_COMMIT_MAX, GroupError, GroupId};
use godwit_e2ee::time::UnixTime;

use party::{ID, NOW, Waiting, agree, device, found, order, welcomes_for};

const DAY: u64 = 24 * 60 * 60;

fn names(devices: &[godwit_e2ee::certificate::DeviceCertificate]) -> Vec<String> {
    devices.iter().map(|device| format!("{}/{}", device.user(), device.device())).collect()
}

#[test]
fn a_group_is_founded_without_a_commit() {
    let others = [Waiting::new("ann", "tablet"), Waiting::new("ben", "phone")];
    let (server, mut groups) = found(&device("ann", "phone"), &others);
    assert_eq!(server.epoch().unwrap().number(), 1);
    assert_eq!(server.leaves().unwrap().len(), 3);
    agree(&server, &mut groups.iter_mut().collect::<Vec<_>>());
}

#[test]
fn commits_add_remove_and_update() {
    let (mut server, mut groups) = found(&device("ann", "phone"), &[Waiting::new("ben", "phone")]);
    let cleo = Waiting::new("cleo", "phone");

    // Ann adds Cleo.
    let (messages, secrets) = groups[0].commit(&[&cleo.package.message], &[], NOW).unwrap();
    let (next, applied) = order(&server, &messages, &[&cleo.device]).unwrap();
    assert_eq!((names(&applied.added), applied.external), (vec!["cleo/phone".to_owned()], false));
    assert_eq!(names(std::slice::from_ref(&applied.committer)), ["ann/phone"]);
    server = next;
    groups[0].apply_own(&secrets).unwrap();
    assert_eq!(groups[1].process(&messages.commit).unwrap().applied, applied);
    groups.push(cleo.join(&messages.welcomes[0], &server.tree().unwrap()).unwrap());
    let before = agree(&server, &mut groups.iter_mut().collect::<Vec<_>>());

    // Ben updates.
    let (messages, secrets) = groups[1].commit(&[], &[], NOW).unwrap();
    server = order(&server, &messages, &[]).unwrap().0;
    groups[1].apply_own(&secrets).unwrap();
    for index in [0, 2] {
        groups[index].process(&messages.commit).unwrap();
    }
    assert_ne!(agree(&server, &mut groups.iter_mut().collect::<Vec<_>>()), before);

    // Cleo removes Ann.
    let ann = groups[0].own_leaf();
    let (messages, secrets) = groups[2].commit(&[], &[ann], NOW).unwrap();
    let (next, applied) = order(&server, &messages, &[]).unwrap();
    assert_eq!(names(&applied.removed), ["ann/phone"]);
    groups[2].apply_own(&secrets).unwrap();
    assert!(groups[1].process(&messages.commit).unwrap().still_in);
    assert!(!groups[0].process(&messages.commit).unwrap().still_in);
    let [_, ben, cleo] = &mut groups[..] else { unreachable!("three") };
    agree(&next, &mut [ben, cleo]);
}

#[test]
fn a_device_joins_from_outside_in_the_place_of_its_older_leaf() {
    let (server, mut groups) = found(&device("ann", "phone"), &[Waiting::new("ben", "phone")]);
    let (info, tree) = (groups[0].group_info().unwrap(), server.tree().unwrap());

    // A device that was not there.
    let tablet = device("ann", "tablet");
    let (mut group, messages) = Group::join_from_outside(&tablet, &info, &tree, NOW).unwrap();
    let (next, applied) = order(&server, &messages, &[]).unwrap();
    assert!(applied.external);
    assert_eq!((names(&applied.added), names(&applied.removed)), (vec!["ann/tablet".to_owned()], vec![]));
    for other in &mut groups {
        assert_eq!(other.process(&messages.commit).unwrap().applied, applied);
    }

    // One that has lost its state, and has another key.
    let again = device("ben", "phone");
    let (mut ben, rejoined) =
        Group::join_from_outside(&again, &messages.group_info, &next.tree().unwrap(), NOW).unwrap();
    let (last, applied) = order(&next, &rejoined, &[]).unwrap();
    assert_eq!(
        (names(&applied.added), names(&applied.removed)),
        (vec!["ben/phone".to_owned()], vec!["ben/phone".to_owned()])
    );
    assert_eq!(last.leaves().unwrap().len(), 3);
    groups[0].process(&rejoined.commit).unwrap();
    group.process(&rejoined.commit).unwrap();
    agree(&last, &mut [&mut groups[0], &mut group, &mut ben]);
}

#[test]
fn what_is_stored_goes_on_as_if_it_had_not_been() {
    let ann = device("ann", "phone");
    let (mut server, mut groups) = found(&ann, &[Waiting::new("ben", "phone")]);
    let stored = groups[0].store().unwrap();
    let (messages, secrets) = groups[0].commit(&[], &[], NOW).unwrap();

    let mut reloaded = Group::load(&ann, &stored).unwrap();
    let mut at_server = server.clone();
    at_server = PublicGroup::load(&at_server.state().unwrap(), &at_server.tree().unwrap()).unwrap();
    assert_eq!(at_server.tree_hash(), server.tree_hash());
    server = order(&at_server, &messages, &[]).unwrap().0;
    reloaded.apply_own(&secrets).unwrap();
    groups[1].process(&messages.commit).unwrap();
    agree(&server, &mut [&mut reloaded, &mut groups[1]]);
    assert!(server.state().unwrap().len() < 300);
}

#[test]
fn keys_of_an_epoch_are_given_once() {
    let (_, mut groups) = found(&device("ann", "phone"), &[]);
    groups[0].take_keys().unwrap();
    assert!(groups[0].take_keys().is_err());
}

#[test]
fn the_server_refuses_what_is_of_another_epoch_or_group() {
    let (server, mut groups) = found(&device("ann", "phone"), &[Waiting::new("ben", "phone")]);
    let (first, secrets) = groups[0].commit(&[], &[], NOW).unwrap();
    let (second, _) = groups[1].commit(&[], &[], NOW).unwrap();
    let next = order(&server, &first, &[]).unwrap().0;
    assert!(matches!(order(&next, &second, &[]), Err(GroupError::OtherEpoch(2))));
    groups[0].apply_own(&secrets).unwrap();

    let (elsewhere, _) = found(&device("ann", "phone"), &[]);
    assert!(order(&elsewhere, &first, &[]).is_err());
}

#[test]
fn the_server_refuses_what_does_not_belong_to_the_commit() {
    let (server, mut groups) = found(&device("ann", "phone"), &[Waiting::new("ben", "phone")]);
    let cleo = Waiting::new("cleo", "phone");
    let (good, _) = groups[0].commit(&[&cleo.package.message], &[], NOW).unwrap();
    let (other, _) = groups[0].commit(&[], &[], NOW).unwrap();

    let other_info = CommitMessages { group_info: other.group_info.clone(), ..good.clone() };
    assert!(matches!(order(&server, &other_info, &[&cleo.device]), Err(GroupError::GroupInfo)));
    assert!(matches!(order(&server, &good, &[]), Err(GroupError::Welcomes)), "no Welcome");
    assert!(
        matches!(order(&server, &good, &[&device("dan", "phone")]), Err(GroupError::Welcomes)),
        "for another device"
    );
    assert!(order(&server, &good, &[&cleo.device]).is_ok());
}

#[test]
fn no_byte_of_a_commit_can_be_altered() {
    let ben = [Waiting::new("ben", "phone")];
    let (server, mut groups) = found(&device("ann", "phone"), &ben);
    let stored = groups[1].store().unwrap();
    let (good, _) = groups[0].commit(&[], &[], NOW).unwrap();
    // The membership tag is the last. It needs the group's secrets, so that the server cannot check it.
    let checked = good.commit.len() - 32;
    for byte in 0..good.commit.len() {
        let mut altered = good.clone();
        altered.commit[byte] ^= 1;
        assert_eq!(order(&server, &altered, &[]).is_err(), byte < checked, "byte {byte} at the server");
        let mut group = Group::load(&ben[0].device, &stored).unwrap();
        assert!(group.process(&altered.commit).is_err(), "byte {byte} at a member");
    }
    Group::load(&ben[0].device, &stored).unwrap().process(&good.commit).unwrap();
}

#[test]
fn a_commit_adds_32_devices_and_no_more() {
    let (server, mut groups) = found(&device("ann", "phone"), &[]);
    let many: Vec<_> = (0..=ADDS_PER_COMMIT_MAX).map(|n| Waiting::new("ben", &format!("phone{n}"))).collect();
    let packages: Vec<_> = many.iter().map(|one| &one.package.message[..]).collect();
    assert!(groups[0].commit(&packages, &[], NOW).is_err());
    let (messages, _) = groups[0].commit(&packages[1..], &[], NOW).unwrap();
    let devices: Vec<_> = many[1..].iter().map(|one| &one.device).collect();
    assert_eq!(order(&server, &messages, &devices).unwrap().1.added.len(), ADDS_PER_COMMIT_MAX);
    assert!(messages.commit.len() < 32_768, "{} bytes", messages.commit.len());
}

#[test]
fn a_device_is_in_a_group_once() {
    let ann = device("ann", "phone");
    let again = Waiting::new("ann", "phone");
    assert!(Group::found(&ann, ID, &[&again.package.message], NOW).is_err());
    let (_, mut groups) = found(&ann, &[]);
    assert!(groups[0].commit(&[&again.package.message], &[], NOW).is_err());
}

#[test]
fn a_founding_is_refused_that_is_not_what_it_says() {
    let (ann, ben) = (device("ann", "phone"), Waiting::new("ben", "phone"));
    let (_, messages) = Group::found(&ann, ID, &[&ben.package.message], NOW).unwrap();
    let welcomes = welcomes_for(&[&ben.device], &messages.welcomes);
    let good = Founding { group_info: &messages.group_info, tree: &messages.tree, welcomes: &welcomes };
    let other = GroupId { generation: 1, ..ID };
    assert!(matches!(PublicGroup::found(other, good, NOW), Err(GroupError::OtherGroup)));
    assert!(matches!(PublicGroup::found(ID, Founding { welcomes: &[], ..good }, NOW), Err(GroupError::Welcomes)));
    for byte in 0..messages.tree.len() {
        let mut tree = messages.tree.clone();
        tree[byte] ^= 1;
        assert!(PublicGroup::found(ID, Founding { tree: &tree, ..good }, NOW).is_err(), "byte {byte} of the tree");
    }
    for byte in 0..messages.group_info.len() {
        let mut info = messages.group_info.clone();
        info[byte] ^= 1;
        assert!(PublicGroup::found(ID, Founding { group_info: &info, ..good }, NOW).is_err(), "byte {byte}");
    }
}

#[test]
fn a_proposal_alone_is_no_commit() {
    let (server, _) = found(&device("ann", "phone"), &[]);
    let nothing = Commit { message: b"nothing", group_info: b"", welcomes: &[] };
    assert!(matches!(server.after(nothing, NOW), Err(GroupError::Malformed(_))));
}

#[test]
fn a_key_package_is_of_its_device_and_of_its_time() {
    let ann = Waiting::new("ann", "phone");
    let check = |bytes: &[u8], now| key_package::check(bytes, ann.device.certificate(), now);
    let good = check(&ann.package.message, NOW).unwrap();
    assert_eq!((good.reference, good.last_resort), (ann.package.reference.clone(), false));
    assert_eq!(good.expires, UnixTime::new(NOW.seconds() + 90 * DAY));
    let last = ann.device.key_package(true, NOW).unwrap();
    assert!(check(&last.message, NOW).unwrap().last_resort);

    let at = |days: i64| UnixTime::new(NOW.seconds().saturating_add_signed(days * DAY as i64));
    assert!(check(&ann.package.message, UnixTime::new(NOW.seconds() - DAY + 60)).is_ok(), "a clock that is a day slow");
    assert_eq!(check(&ann.package.message, at(-2)), Err(KeyPackageError::Lifetime));
    assert!(check(&ann.package.message, at(89)).is_ok());
    assert_eq!(check(&ann.package.message, at(91)), Err(KeyPackageError::Invalid));

    let other = Waiting::new("ann", "phone");
    assert_eq!(check(&other.package.message, NOW), Err(KeyPackageError::Certificate));
    for byte in 0..ann.package.message.len() {
        let mut bad = ann.package.message.clone();
        bad[byte] ^= 1;
        assert!(check(&bad, NOW).is_err(), "byte {byte}");
    }
}
