//! Commands that were under way when their device was shut out.

use super::*;
use crate::credential::Fingerprint;

/// Alice's devices have these passwords from here on.
fn renew(scene: &mut Scene, devices: &[(u64, &[u8])]) {
    let device = |(id, hash): &(u64, &[u8])| DeviceRecord { password_hash: hash.to_vec(), ..device_record(*id) };
    let record = UserRecord { devices: devices.iter().map(device).collect(), ..UserRecord::default() };
    scene.cache.insert_user(user("alice"), Some(record));
}

fn commands(group: ConversationId) -> Vec<Command> {
    let fingerprint = Some(Fingerprint::of(&device_record(1)));
    let origin = || CommandOrigin { fingerprint, ..origin("alice") };
    let draft = || Draft { body: Bytes::from_static(b"late"), ..Draft::default() };
    let call = |call| Command::Call {
        origin: origin(),
        id: 7,
        call: of_conversation(call),
        correlation: Bytes::new(),
        secret: [1; 16],
    };
    let conversation = group;
    vec![
        Command::Post { origin: origin(), to: To::Conversation(group), draft: draft() },
        Command::Post { origin: origin(), to: To::User(user("bob")), draft: draft() },
        Command::Post { origin: origin(), to: To::User(user("dave")), draft: draft() },
        Command::Live { origin: origin(), conversation, body: Bytes::new() },
        Command::Read { origin: origin(), conversation, up_to: Seq::new(1) },
        call(Call::Leave(client::Leave { conversation: group.get() })),
        call(Call::Describe(client::Describe { conversation: group.get(), ..Default::default() })),
        call(Call::Recall(client::Recall { conversation: group.get(), sequence: 2 })),
        call(Call::CreateGroup(client::CreateGroup { title: "g".into(), users: vec!["bob".into()] })),
        call(Call::OpenDirect(client::OpenDirect { user: "erin".into() })),
    ]
}

#[test]
fn what_a_void_credential_asked_for_changes_nothing() {
    let void: [&[(u64, &[u8])]; 4] = [&[(1, &[7; 32]), (9, &[])], &[(9, &[])], &[(65, &[])], &[]];
    for devices in void {
        let mut scene = Scene::new();
        let group = scene.group(&["bob", "carol"]);
        scene.post("alice", To::User(user("bob")), b"hello");
        scene.post("alice", To::Conversation(group), b"hello");
        renew(&mut scene, devices);
        for command in commands(group) {
            let outcome = scene.run(command.clone());
            assert_eq!(published(&outcome).0, Reason::NOT_AUTHORIZED, "{command:?}");
            let Outcome { entries, changes, effects, durable, .. } = outcome;
            assert!(entries.is_empty() && changes.is_empty() && !durable, "{command:?}");
            assert_eq!(effects.len(), 1, "{command:?}: told the asker alone");
        }
    }
}

#[test]
fn another_device_and_an_administrator_go_on() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob", "carol"]);
    renew(&mut scene, &[(1, &[7; 32]), (9, &[8; 32])]);
    let of = |device, hash: &[u8]| {
        let record = DeviceRecord { password_hash: hash.to_vec(), ..device_record(device) };
        let fingerprint = Some(Fingerprint::of(&record));
        CommandOrigin { device: Some(DeviceId::new(device)), fingerprint, ..origin("alice") }
    };
    let administrator = CommandOrigin { device: None, ..origin("alice") };
    for origin in [of(1, &[7; 32]), of(9, &[8; 32]), administrator] {
        let draft = Draft { body: Bytes::from_static(b"x"), ..Draft::default() };
        let outcome = scene.run(Command::Post { origin, to: To::Conversation(group), draft });
        assert_eq!(published(&outcome).0, Reason::SUCCESS);
    }
}
