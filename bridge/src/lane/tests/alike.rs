//! Who is not let in learns nothing from how long that took: as much is done whoever it was.

use godwit_schemas::bus::Connect;

use super::counted::Counted;
use super::edge::Scene;

#[tokio::test(start_paused = true)]
async fn a_wrong_password_costs_the_same_if_there_is_no_such_device() {
    let mut scene = Scene::new(Counted::new()).await;
    scene.add("alice", "phone").await;
    let wrong = Connect { password: "wrong".into(), ..scene.connect_frame("alice", "phone") };
    // Nothing is in memory but what these have brought there, twice.
    scene.crash().await;
    let mut connection = 1;
    for round in 0..2 {
        let mut costs = Vec::new();
        for (user, device) in [("alice", "phone"), ("bob", "phone")] {
            scene.store.cost();
            let connect = Connect { user: user.to_owned(), device: device.to_owned(), ..wrong.clone() };
            assert_eq!(scene.connect(connection, connect).await.reason, 0x86);
            costs.push(scene.store.cost());
            connection += 1;
        }
        assert_eq!(costs[0], costs[1], "round {round}");
        assert_eq!(costs[0], (usize::from(round == 0), 0));
    }
    // Another device of a user that was looked at is like the first one.
    scene.store.cost();
    let connect = Connect { device: "watch".to_owned(), ..wrong };
    assert_eq!(scene.connect(connection, connect).await.reason, 0x86);
    assert_eq!(scene.store.cost().0, 0);
}
