use godwit_schemas::media::MediaId;

use super::*;
use crate::stored::ReferenceRecord;

const FILE: MediaId = MediaId::new([7; 16]);

fn file(name: &str) -> client::Media {
    client::Media { id: FILE.to_string(), name: name.to_owned(), size: 1, ..Default::default() }
}

/// Alice may share the file, and nobody else.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.files.push((user("alice"), FILE));
    scene
}

fn send(scene: &mut Scene, from: &str, to: To, draft: Draft) -> Outcome {
    scene.run(Command::Post { origin: origin(from), to, draft })
}

fn with(media: Vec<client::Media>) -> Draft {
    Draft { media, ..Draft::default() }
}

fn references(outcome: &Outcome) -> Vec<(MediaId, ReferenceRecord)> {
    let shared = outcome.changes.iter().filter_map(|change| match change {
        StoreChange::Shared(_, id, reference) => Some((*id, *reference)),
        _ => None,
    });
    shared.collect()
}

fn refusal(outcome: &Outcome) -> Reason {
    published(outcome).0
}

#[test]
fn a_message_refers_to_shareable_files_and_describes_them() {
    let mut scene = scene();
    let outcome = send(&mut scene, "alice", To::User(user("bob")), with(vec![file("pic")]));
    let entry = Entry::decode(outcome.entries.last().unwrap().value.clone()).unwrap();
    let [known] = &entry.files()[..] else { panic!("one file") };
    assert_eq!((&known.name[..], known.size, &known.content_type[..]), ("pic", 99, "image/png"));
    assert!(Entry::decode(outcome.entries.last().unwrap().reference.clone().unwrap()).unwrap().files().is_empty());
    for refused in ["bob", "carol"] {
        let outcome = send(&mut scene, refused, To::User(user("dave")), with(vec![file("pic")]));
        assert_eq!(refusal(&outcome), Reason::TOPIC_NAME_INVALID);
        assert!(outcome.entries.is_empty(), "no conversation was opened for it");
    }
    for (media, reason) in [
        (vec![file("pic"); 17], Reason::IMPLEMENTATION_SPECIFIC),
        (vec![file(&"n".repeat(256))], Reason::IMPLEMENTATION_SPECIFIC),
        (vec![client::Media { id: "x".into(), ..Default::default() }], Reason::TOPIC_NAME_INVALID),
        (vec![client::Media { thumbnail: vec![0; 1_000].into(), ..file("") }], Reason::QUOTA_EXCEEDED),
    ] {
        assert_eq!(refusal(&send(&mut scene, "alice", To::User(user("bob")), with(media))), reason);
    }
}

#[test]
fn a_retry_is_none_although_the_file_has_gone() {
    let mut scene = scene();
    let draft = Draft { client_sequence: numbered(5), ..with(vec![file("pic")]) };
    let (_, id, sequence) = published(&send(&mut scene, "alice", To::User(user("bob")), draft.clone()));
    scene.files.clear();
    scene.cache.seal();
    let again = send(&mut scene, "alice", To::User(user("bob")), draft.clone());
    assert_eq!(published(&again), (Reason::SUCCESS, id, sequence));
    assert!(again.entries.is_empty() && references(&again).is_empty());
    let another = send(&mut scene, "alice", To::User(user("bob")), Draft { client_sequence: numbered(6), ..draft });
    assert_eq!(refusal(&another), Reason::TOPIC_NAME_INVALID);
}

#[test]
fn a_reference_lasts_as_long_as_the_message_and_a_grace() {
    let mut scene = scene();
    let conversation = scene.group(&["bob"]);
    let to = To::Conversation(conversation);
    let outcome = send(&mut scene, "alice", to.clone(), with(vec![file("pic")]));
    let [(FILE, reference)] = references(&outcome)[..] else { panic!("one reference") };
    assert_eq!((reference.expires_at_s, reference.sender, reference.unseen), (NOW_S + 3_600, 0, false));
    let sequence = published(&outcome).2;
    let got = received(sequence, sequence, &[]);
    let acked = |user, device| acked(user, device, conversation, got.clone(), &[sequence]);
    scene.now_s += 100;
    assert_eq!(references(&scene.run(acked("bob", 2))), [], "alice's other device has still to get it");
    let [(FILE, reference)] = references(&scene.run(acked("alice", 9)))[..] else { panic!("one reference") };
    assert_eq!(reference.expires_at_s, NOW_S + 100 + RULES.media_grace_s);

    let brief = Draft { expires_in_s: Some(10), ..with(vec![file("pic")]) };
    let outcome = send(&mut scene, "alice", to.clone(), brief);
    assert_eq!(references(&outcome)[0].1.expires_at_s, scene.now_s + 10);
    scene.rules.history = Policy::up_to(History::Days(1));
    let outcome = send(&mut scene, "alice", to, with(vec![file("pic")]));
    assert_eq!(references(&outcome)[0].1.expires_at_s, scene.now_s + 86_400);
}

#[test]
fn a_recall_ends_references_also_when_nothing_else_is_left() {
    for row in [true, false] {
        let mut scene = scene();
        let outcome = send(&mut scene, "alice", To::User(user("bob")), with(vec![file("pic")]));
        let (_, id, sequence) = published(&outcome);
        let entry = Entry::decode(outcome.entries.last().unwrap().value.clone()).unwrap();
        let reference = ReferenceRecord { expires_at_s: NOW_S + 60, sender: entry.sender.get(), unseen: false };
        scene.found = MessageCopies {
            row: row.then_some(entry),
            references: vec![(FILE, reference)],
            ..MessageCopies::default()
        };
        let call = Call::Recall(client::Recall { conversation: id.get(), sequence: sequence.get() });
        assert_eq!(scene.call("bob", call.clone()).0.reason, Reason::NOT_AUTHORIZED.into());
        let (response, outcome) = scene.call("alice", call);
        assert_eq!(response.reason, 0);
        assert!(outcome.changes.contains(&StoreChange::Unshared((id, sequence), FILE, NOW_S)));
    }
}
