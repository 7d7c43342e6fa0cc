//! What a client can make large costs others nothing: each such structure is small once and large once, and what others do
//! reads as many rows of the store beside the one as beside the other.

use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::topic::Filters;

use super::contacts;
use super::counted::Counted;
use super::edge::{self, Scene, to_user};
use super::{ALICE, BOB};
use crate::BridgeSettings;

/// More than a window of deliveries and a page of a list, so that both are full.
const SMALL: u64 = 300;
/// A user blocks 1,000 others at the most.
const LARGE: u64 = 900;

/// What carol, or somebody with an account like hers, makes large.
#[derive(Debug, Clone, Copy)]
enum Structure {
    /// The inbox of bob's phone, which is off.
    Inbox,
    /// Bob's conversations.
    Conversations,
    /// Who blocked bob, and whom he blocked.
    Blocked,
    /// Bob's contacts, and whose contact he is.
    Contacts,
    /// The conversation of alice and bob.
    History,
    /// Answers to calls that carol does not acknowledge.
    Answers,
}

use Structure::{Answers, Blocked, Contacts, Conversations, History, Inbox};

impl Structure {
    const ALL: [Self; 6] = [Inbox, Conversations, Blocked, Contacts, History, Answers];

    async fn grow(self, scene: &mut Scene<Counted>, count: u64) {
        let done = |response: client::Response| assert_eq!(response.reason, 0, "{response:?}");
        match self {
            Inbox => {
                for first in (1..count).step_by(10) {
                    scene.send_messages(CAROL, "bob", first, 10).await;
                }
            }
            Conversations => {
                for number in 0..count {
                    let group = client::CreateGroup { title: number.to_string(), users: vec!["bob".to_owned()] };
                    done(scene.ask(user("carol"), Call::CreateGroup(group)).await);
                }
            }
            Blocked | Contacts => {
                for number in 0..count {
                    let other = format!("user-{number}");
                    scene.add(&other, "phone").await;
                    for (by, of) in [("bob", other.as_str()), (&other, "bob")] {
                        let call = match self {
                            Blocked => Call::Block(client::Block { user: of.to_owned() }),
                            _ => contacts::add(of, ""),
                        };
                        done(scene.ask(user(by), call).await);
                    }
                }
            }
            History => {
                scene.enter(BOB, "bob", "phone", Filters::RAW).await;
                for number in 1..=count {
                    scene.publish(ALICE, to_user(number, "bob", "x"));
                    let order = scene.delivered(BOB).await.order;
                    scene.acknowledge(BOB, vec![order]);
                }
                scene.disconnect(BOB, false);
            }
            Answers => {
                // As many as its rate allows are under way.
                for number in 1..=count {
                    let call = Call::ListContacts(client::ListContacts::default());
                    scene.publish(CAROL, edge::calling(number, call));
                }
            }
        }
        scene.settle().await;
    }
}

const CAROL: u64 = 3;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Rows that are read while alice writes to bob, while bob comes and gets what waits first, and while dave and erin, who
/// have nothing to do with it, do the same.
async fn costs(structure: Structure, count: u64) -> [usize; 4] {
    let mut scene =
        Scene::with(Counted::new(), BridgeSettings { inbox_entries: 1_000_000, inbox_bytes: 0, ..edge::settings() })
            .await;
    for user in ["alice", "bob", "carol", "dave", "erin"] {
        scene.add(user, "phone").await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(CAROL, "carol", "phone", Filters::RPC).await;
    scene.enter(4, "dave", "phone", Filters::NONE).await;
    structure.grow(&mut scene, count).await;

    let mut costs = [0; 4];
    let mut before = scene.store.rows_read();
    for (cost, (sender, to, receiver)) in costs.chunks_mut(2).zip([(ALICE, "bob", 5), (4, "erin", 6)]) {
        let first = LARGE + 1;
        scene.send_messages(sender, to, first, 1).await;
        scene.settle().await;
        cost[0] = scene.store.rows_read() - before;
        before += cost[0];
        scene.enter(receiver, to, "phone", Filters::EVENTS).await;
        scene.delivered(receiver).await;
        scene.settle().await;
        cost[1] = scene.store.rows_read() - before;
        before += cost[1];
    }
    costs
}

#[tokio::test(start_paused = true)]
async fn what_is_large_costs_others_what_is_small_does() {
    for structure in Structure::ALL {
        let [small, large] = [costs(structure, SMALL).await, costs(structure, LARGE).await];
        for (what, (small, large)) in
            ["alice sends", "bob comes", "dave sends", "erin comes"].iter().zip(small.iter().zip(large))
        {
            // Those whose contact he is are told that he is there, a bounded number at a time: see `presence`.
            if matches!((structure, *what), (Contacts, "bob comes")) {
                continue;
            }
            assert!(large <= small + 2, "{structure:?}: {what}: {small} rows beside {SMALL}, {large} beside {LARGE}");
        }
    }
}
