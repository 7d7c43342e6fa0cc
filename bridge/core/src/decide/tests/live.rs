//! Live signals: who hears of them.

use super::*;

fn live(scene: &mut Scene, from: &str, conversation: ConversationId, body: &'static [u8]) -> Outcome {
    // Nothing is kept for a retry: it may as well be heard twice.
    let origin = CommandOrigin { publish_record: None, ..origin(from) };
    scene.run(Command::Live { origin, conversation, body: Bytes::from_static(body) })
}

fn hear(outcome: &Outcome) -> Vec<u64> {
    let heard = outcome.effects.iter().filter_map(|effect| match effect.kind {
        EffectKind::Live { device, .. } => Some(device.get()),
        _ => None,
    });
    heard.collect()
}

#[test]
fn other_members_hear_and_nothing_is_written() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob", "carol"]);
    let outcome = live(&mut scene, "bob", id, b"typing");
    assert_eq!(hear(&outcome), [1, 9, 3]);
    assert!(outcome.entries.is_empty() && outcome.changes.is_empty() && !outcome.durable);
    let Some(EffectKind::Live { payload, .. }) = outcome.effects.first().map(|effect| effect.kind.clone()) else {
        panic!()
    };
    assert_eq!(client::Live::decode(payload), Ok(client::Live { member: 1, body: Bytes::from_static(b"typing") }));
    for (from, body, reason) in [("dave", &b""[..], Reason::NOT_AUTHORIZED), ("bob", &[0; 257], Reason::QUOTA_EXCEEDED)]
    {
        let outcome = live(&mut scene, from, id, body);
        assert_eq!((published(&outcome).0, hear(&outcome)), (reason, vec![]));
    }
}

#[test]
fn a_block_silences_live_signals_between_the_two() {
    let mut scene = Scene::new();
    let id = published(&scene.post("alice", To::User(user("bob")), b"hello")).1;
    assert_eq!(hear(&live(&mut scene, "alice", id, b"")), [2]);
    scene.block("bob", "alice");
    assert!(hear(&live(&mut scene, "alice", id, b"")).is_empty());
    assert!(hear(&live(&mut scene, "bob", id, b"")).is_empty());
}
