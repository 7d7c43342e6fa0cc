//! Who guesses codes and passwords, and who measures how long the answer takes.

use std::time::Instant;

use super::{Bystanders, lets_in, spread};
use crate::identity::registration::{PHONE, code_for, verify};
use crate::mqtt::{CLEAN, Client, Version};
use crate::server::{Account, Server};

#[test]
fn guessing_a_code_makes_it_worthless() {
    let server = Server::with(&[("registration.enabled", "true"), ("registration.tries", "3")]);
    let mut others = Bystanders::meet(&server);
    let code = code_for(&server, PHONE);
    others.go_on_during(|| {
        for guess in (0..100).map(|guess| format!("{guess:06}")).filter(|guess| *guess != code) {
            let status = verify(&server, PHONE, &guess, "phone").status;
            assert!(matches!(status, 403 | 429), "{guess}: {status}");
        }
    });
    assert_ne!(verify(&server, PHONE, &code, "phone").status, 201, "it has borne its guesses");
    lets_in(&server, &server.add_user("carol", "phone"));
}

/// That as much is done for each is shown where it can be counted, in the lane's own tests.
#[test]
fn answers_do_not_tell_who_is_there() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let account = |user: &str, device: &str| Account {
        user: user.to_owned(),
        device: device.to_owned(),
        password: format!("{}x", &carol.password[1..]),
    };
    let asked = [("a device", "carol", "phone"), ("no device", "carol", "tablet"), ("no user", "dave", "phone")];
    let mut took = [const { Vec::new() }; 3];
    others.go_on_during(|| {
        for n in 0..300 {
            let (_, user, device) = asked[n % 3];
            let mut client = Client::open(server.mqtt(), Version::V5);
            let begun = Instant::now();
            let answer = client.login(&account(user, device), CLEAN).expect("CONNACK");
            took[n % 3].push(begun.elapsed());
            assert_eq!(answer, (0x86, false), "{user}/{device}");
        }
    });
    for ((what, ..), took) in asked.iter().zip(&mut took) {
        println!("  a wrong password of {what}: {}", spread(took));
    }
    lets_in(&server, &carol);
}
