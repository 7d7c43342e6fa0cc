//! The server is killed between a commit and its push, again and again: what is owed is pushed after the next start, at least
//! once, and nothing is pushed that its user has read meanwhile. `GODWIT_PUSH_KILLS`: how often.

use serde_json::json;

use super::Scene;

/// Between the commit and the push, before and behind what a lane and the pusher do.
const POINTS: [&str; 3] = ["after-commit", "before-push", "after-push"];

impl Scene {
    /// Bob's conversation with Alice, and its last place.
    fn last(&self) -> (u64, u64) {
        let listed = self.bob().done("GET", "/conversations", None);
        let direct = &listed["conversations"][0];
        (direct["conversation"].as_u64().expect("a number"), direct["last_sequence"].as_u64().expect("a number"))
    }
}

#[test]
fn a_server_that_is_killed_again_and_again_pushes_what_it_owes() {
    let kills = std::env::var("GODWIT_PUSH_KILLS").map_or(6, |kills| kills.parse().expect("a number"));
    let mut scene = Scene::with("good/bob", &[]);
    let mut read = 0;
    for kill in 0..kills {
        let point = POINTS[kill % POINTS.len()];
        // Beyond what connecting writes; then at one message or another.
        let nth = if point == "after-commit" { 3 + kill % 4 } else { 1 };
        scene.die_at(&format!("{point}:{nth}"));
        scene.service.drain();
        scene.server.start_again();
        let (conversation, last) = scene.last();
        if kill % 4 == 3 {
            // He has read it elsewhere, before anybody could be pushed.
            scene.bob().done("PUT", &format!("/conversations/{conversation}/read"), Some(json!({ "sequence": last })));
            read = last;
            continue;
        }
        loop {
            let (_, payload) = scene.service.taken();
            assert!(payload.sequence > read, "{kill}, {point}: {} was read, up to {read}", payload.sequence);
            if payload.sequence == last {
                break;
            }
        }
    }
    scene.check_log();
}
