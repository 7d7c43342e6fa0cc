//! Keys of devices, and what they know of each other's users. The server is played by hand.

use godwit_e2ee::certificate::DeviceCertificate;
use godwit_e2ee::link::LinkOffer;
use godwit_e2ee::mls::key_package;
use godwit_e2ee::time::UnixTime;
use godwit_schemas::ids::DeviceName;

use super::*;
use crate::error::EncryptionFailure;
use crate::ledger::identity::{OwnState, PACKAGES};

const NOW_S: u64 = 1_800_000_000;
const DAY_S: u64 = 24 * 60 * 60;

/// A device, and what it calls itself.
struct Own {
    ledger: Ledger,
    name: DeviceName,
}

/// What the server keeps of a user.
#[derive(Default)]
struct Kept {
    chain: Vec<Bytes>,
    certificates: Vec<Bytes>,
}

impl Own {
    fn new(of: &str, device: &str) -> Self {
        let store = Box::new(VolatileStore::new());
        let ledger = Ledger::open(store, &user(of), device, true, Beginning { after: 100, counter: 7 }).unwrap();
        Self { ledger, name: DeviceName::new(device).unwrap() }
    }

    fn begins(&mut self) -> &mut Self {
        self.ledger.begin_identity(&self.name, NOW_S).unwrap();
        self
    }

    fn publishes(&mut self, server: &mut Kept) -> client::PublishKeys {
        let call = self.ledger.keys_to_publish(0, true, NOW_S).unwrap();
        server.chain.extend((!call.identity.is_empty()).then(|| call.identity.clone()));
        server.certificates.push(call.certificate.clone());
        self.ledger.published(true, NOW_S).unwrap();
        call
    }

    fn meets(&mut self, who: &str, server: &Kept) -> Result<bool, EncryptionFailure> {
        self.ledger.met(&user(who), &server.chain, &server.certificates).unwrap()
    }

    fn state(&mut self) -> OwnState {
        self.ledger.own_state(NOW_S).unwrap()
    }
}

#[test]
fn a_first_device_makes_keys_and_publishes_them() {
    let (mut phone, mut server) = (Own::new("alice", "phone"), Kept::default());
    assert_eq!(phone.meets("alice", &server), Err(EncryptionFailure::NoKeys("alice".to_owned())));
    assert_eq!(phone.state(), OwnState::New);
    assert_eq!(phone.begins().state(), OwnState::Unpublished);
    let call = phone.publishes(&mut server);
    assert_eq!(phone.state(), OwnState::Published { old: false });
    assert_eq!(phone.ledger.own_state(NOW_S + 61 * DAY_S).unwrap(), OwnState::Published { old: true });
    let certificate = DeviceCertificate::from_bytes(&call.certificate).unwrap();
    assert_eq!(call.key_packages.len(), PACKAGES as usize);
    for package in call.key_packages.iter().chain([&call.last_resort]) {
        let checked = key_package::check(package, &certificate, UnixTime::new(NOW_S)).unwrap();
        assert_eq!(checked.last_resort, package == &call.last_resort);
        assert!(phone.ledger.store.get(&keys::key_package(&checked.reference)).unwrap().is_some());
    }
    assert_eq!(phone.meets("alice", &server), Ok(false), "its own identity is no news");
    let later = phone.ledger.keys_to_publish(30, false, NOW_S).unwrap();
    assert_eq!((later.key_packages.len(), later.certificate.len(), later.last_resort.len()), (2, 0, 0));
}

#[test]
fn keys_of_packages_outlive_them_and_then_go() {
    let (mut phone, mut server) = (Own::new("alice", "phone"), Kept::default());
    phone.begins().publishes(&mut server);
    let count = |phone: &mut Own| {
        let (from, to) = keys::KEY_PACKAGES;
        phone.ledger.store.scan(from, to, crate::store::Scan::Forward, 999).unwrap().len()
    };
    assert_eq!(count(&mut phone), 33);
    phone.ledger.published(true, NOW_S + 61 * DAY_S).unwrap();
    assert_eq!(count(&mut phone), 33);
    phone.ledger.published(true, NOW_S + 122 * DAY_S).unwrap();
    assert_eq!(count(&mut phone), 0);
}

#[test]
fn a_device_is_linked_by_an_older_one() {
    let (mut phone, mut tablet, mut server) =
        (Own::new("alice", "phone"), Own::new("alice", "tablet"), Kept::default());
    phone.begins().publishes(&mut server);
    assert_eq!(tablet.meets("alice", &server), Ok(false));
    let offer = tablet.ledger.link_offer(&tablet.name).unwrap();
    assert_eq!(tablet.ledger.link_offer(&tablet.name).unwrap(), offer, "the same, as long as it waits");
    assert_eq!(tablet.state(), OwnState::Uncertified { linking: true });
    assert_eq!(tablet.ledger.awaited_link().unwrap().unwrap(), offer.link);

    let scanned = LinkOffer::from_bytes(&offer.to_bytes()).unwrap();
    let sealed = phone.ledger.accept_link(&scanned, NOW_S).unwrap().unwrap();
    assert!(tablet.ledger.linked(&tablet.name, &sealed[1..]).unwrap().is_err());
    tablet.ledger.linked(&tablet.name, &sealed).unwrap().unwrap();
    assert_eq!(tablet.state(), OwnState::Unpublished);
    assert_eq!(tablet.ledger.recovery_code().unwrap(), phone.ledger.recovery_code().unwrap());
    assert_eq!(tablet.publishes(&mut server).identity.len(), 0, "the chain is as it was");
    assert_eq!(phone.meets("alice", &server), Ok(false));

    // One that has not been linked links nobody.
    let mut other = Own::new("alice", "watch");
    assert_eq!(other.ledger.accept_link(&scanned, NOW_S).unwrap(), Err(EncryptionFailure::NotHere));
}

#[test]
fn an_answer_by_another_identity_is_refused() {
    let (mut phone, mut tablet, mut server) =
        (Own::new("alice", "phone"), Own::new("alice", "tablet"), Kept::default());
    phone.begins().publishes(&mut server);
    tablet.meets("alice", &server).unwrap();
    let offer = tablet.ledger.link_offer(&tablet.name).unwrap();
    let mut stranger = Own::new("alice", "strange");
    let sealed = stranger.begins().ledger.accept_link(&offer, NOW_S).unwrap().unwrap();
    assert!(tablet.ledger.linked(&tablet.name, &sealed).unwrap().is_err());
    assert_eq!(tablet.state(), OwnState::Uncertified { linking: true });
}

#[test]
fn the_recovery_code_certifies_a_device() {
    let (mut phone, mut server) = (Own::new("alice", "phone"), Kept::default());
    phone.begins().publishes(&mut server);
    let code = phone.ledger.recovery_code().unwrap().unwrap();
    let mut new = Own::new("alice", "new");
    new.meets("alice", &server).unwrap();
    let name = new.name.clone();
    assert!(new.ledger.recover(&name, "0000", NOW_S).unwrap().is_err());
    let mut stranger = Own::new("alice", "strange");
    let strange = stranger.begins().ledger.recovery_code().unwrap().unwrap();
    assert!(new.ledger.recover(&name, &strange, NOW_S).unwrap().is_err());
    new.ledger.recover(&name, &code.to_lowercase(), NOW_S).unwrap().unwrap();
    new.publishes(&mut server);
    assert_eq!(phone.meets("alice", &server), Ok(false));
}

#[test]
fn who_begins_anew_is_told_of_and_verified_no_more() {
    let (mut phone, mut server) = (Own::new("alice", "phone"), Kept::default());
    phone.begins().publishes(&mut server);
    let (mut bob, mut new) = (Own::new("bob", "phone"), Own::new("alice", "new"));
    assert_eq!(bob.meets("alice", &server), Ok(false));
    bob.ledger.set_verified(&user("alice"), true).unwrap();
    assert!(bob.ledger.is_verified(&user("alice")).unwrap());

    new.meets("alice", &server).unwrap();
    new.begins().publishes(&mut server);
    assert_eq!(bob.meets("alice", &server), Ok(true));
    assert_eq!(told(&mut bob.ledger), [Event::IdentityChanged { user: user("alice") }]);
    assert!(!bob.ledger.is_verified(&user("alice")).unwrap());
    // The older device hears of it, and has to be linked again.
    assert_eq!(phone.meets("alice", &server), Ok(true));
    assert_eq!(phone.state(), OwnState::Uncertified { linking: false });
    assert_eq!(new.meets("alice", &server), Ok(false), "who did it knows");
}

#[test]
fn another_past_of_somebody_is_not_believed() {
    let (mut phone, mut server) = (Own::new("alice", "phone"), Kept::default());
    phone.begins().publishes(&mut server);
    let mut bob = Own::new("bob", "phone");
    bob.meets("alice", &server).unwrap();
    bob.ledger.set_verified(&user("alice"), true).unwrap();
    let (mut stranger, mut lies) = (Own::new("alice", "strange"), Kept::default());
    stranger.begins().publishes(&mut lies);
    let forked = Err(EncryptionFailure::Forked("alice".to_owned()));
    assert_eq!(bob.meets("alice", &lies), forked);
    assert_eq!(bob.meets("alice", &Kept::default()), forked, "somebody who had keys has them no more");
    assert!(bob.ledger.is_verified(&user("alice")).unwrap());
    assert!(told(&mut bob.ledger).is_empty());
}

#[test]
fn of_two_first_devices_one_gives_up() {
    let (mut phone, mut tablet, mut server) =
        (Own::new("alice", "phone"), Own::new("alice", "tablet"), Kept::default());
    phone.begins();
    tablet.begins();
    phone.publishes(&mut server);
    tablet.ledger.give_up_identity().unwrap();
    assert_eq!(tablet.state(), OwnState::Uncertified { linking: false });
    assert_eq!(tablet.meets("alice", &server), Ok(false));
    let offer = tablet.ledger.link_offer(&tablet.name).unwrap();
    let sealed = phone.ledger.accept_link(&offer, NOW_S).unwrap().unwrap();
    tablet.ledger.linked(&tablet.name, &sealed).unwrap().unwrap();
}
