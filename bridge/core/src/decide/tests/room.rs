//! Whose inboxes take what, and what is refused.

use super::*;
use crate::usage::Fullness;

fn rename(id: ConversationId) -> Call {
    Call::Rename(client::Rename { conversation: id.get(), title: "h".into() })
}

fn fill(scene: &mut Scene, device: u64, fullness: Fullness) {
    scene.cache.set_fullness(DeviceId::new(device), fullness);
}

fn is_refused(outcome: &Outcome) -> bool {
    published(outcome).0 == Reason::QUOTA_EXCEEDED && outcome.entries.is_empty() && outcome.changes.is_empty()
}

#[test]
fn a_full_device_is_left_out_and_nobody_else() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob", "carol"]);
    let direct = published(&scene.post("alice", To::User(user("bob")), b"hello")).1;
    fill(&mut scene, 9, Fullness::Full);
    fill(&mut scene, 3, Fullness::Full);
    for id in [group, direct] {
        assert_eq!(
            recipients(&scene.post("bob", To::Conversation(id), b"x"), EntryKind::Message),
            [1],
            "Alice has another"
        );
    }
    assert_eq!(recipients(&scene.post("alice", To::Conversation(group), b"x"), EntryKind::Message), [2]);
    let (response, outcome) = scene.call("alice", rename(group));
    assert_eq!((response.reason, recipients(&outcome, EntryKind::Change)), (0, vec![1, 2]));
    let add = Call::AddMember(client::AddMember { conversation: group.get(), user: "dave".into() });
    let (response, outcome) = scene.call("alice", add);
    assert_eq!((response.reason, recipients(&outcome, EntryKind::Change)), (0, vec![1, 2, 4]));
    fill(&mut scene, 3, Fullness::Free);
    assert_eq!(recipients(&scene.post("alice", To::Conversation(group), b"x"), EntryKind::Message), [2, 3, 4]);
}

#[test]
fn what_nobody_would_get_is_refused() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob", "carol"]);
    let direct = published(&scene.post("alice", To::User(user("carol")), b"hello")).1;
    fill(&mut scene, 3, Fullness::Full);
    for to in [To::Conversation(direct), To::User(user("carol"))] {
        assert!(is_refused(&scene.post("alice", to, b"hello")));
    }
    assert!(is_refused(&scene.post("dave", To::User(user("carol")), b"hello")), "nothing is opened either");
    fill(&mut scene, 2, Fullness::Full);
    assert!(is_refused(&scene.post("alice", To::Conversation(group), b"hello")), "her own tablet does not count");
    let calls = [
        rename(group),
        Call::CreateGroup(client::CreateGroup { title: "g".into(), users: vec!["carol".into()] }),
        Call::SetRetention(client::SetRetention { conversation: group.get(), retention: None }),
        Call::React(client::React {
            conversation: group.get(),
            sequence: 1,
            reaction: "+".into(),
            ..Default::default()
        }),
        Call::Edit(client::Edit { conversation: group.get(), sequence: 1, body: Bytes::new(), mls_epoch: 0 }),
    ];
    for call in calls {
        let (response, outcome) = scene.call("alice", call.clone());
        assert_eq!(Reason::from_u32(response.reason), Reason::QUOTA_EXCEEDED, "{call:?}");
        assert!(outcome.entries.is_empty() && outcome.changes.is_empty());
    }
    // Her own device has the message already; and whoever is full can be removed, and is told.
    assert_eq!(published(&scene.post("carol", To::Conversation(direct), b"hello")).0, Reason::SUCCESS);
    let remove = Call::RemoveMember(client::RemoveMember { conversation: group.get(), user: "carol".into() });
    let (response, outcome) = scene.call("alice", remove);
    assert_eq!((response.reason, recipients(&outcome, EntryKind::Change)), (0, vec![1, 9, 2, 3]));
}

#[test]
fn a_sender_s_own_full_devices_refuse_it_nothing() {
    let mut scene = Scene::new();
    [1, 9].into_iter().for_each(|device| fill(&mut scene, device, Fullness::Full));
    let outcome = scene.post("alice", To::User(user("bob")), b"hello");
    assert_eq!(recipients(&outcome, EntryKind::Message), [2]);
    assert_eq!(recipients(&scene.post("bob", To::User(user("bob")), b"to myself"), EntryKind::Message), []);
    assert!(is_refused(&scene.post("alice", To::User(user("alice")), b"to myself")), "there it is for nobody else");
}

#[test]
fn a_retry_of_what_was_accepted_is_not_refused() {
    let mut scene = Scene::new();
    let send = |scene: &mut Scene| {
        let to = To::User(user("bob"));
        let draft = Draft { client_sequence: numbered(1), ..Draft::default() };
        published(&scene.run(Command::Post { origin: origin("alice"), to, draft }))
    };
    let first = send(&mut scene);
    fill(&mut scene, 2, Fullness::Full);
    assert_eq!(send(&mut scene), first);
}
