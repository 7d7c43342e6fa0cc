//! Who leads, and what of those who led.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::journal::{Journal as _, LogId, Segment};
use crate::registry::{MemberState, Registry as _};

#[tokio::test(start_paused = true)]
async fn a_leader_keeps_leading_while_others_stand_by() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    assert_eq!(leadership.term(), 1);
    let standby = tokio::time::timeout(Duration::from_secs(3_600), scene.lead("b"));
    assert!(standby.await.is_err(), "an hour");
    assert!(leadership.is_confirmed());
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    let members = scene.registry.members().await.expect("read");
    let of = |name: &str| members.iter().find(|member| member.name == name).expect("a member");
    assert_eq!((of("a").state, of("b").state), (MemberState::Leading, MemberState::Standby));
    assert!(scene.journal.segments().len() < 5, "what is applied is removed");
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_within_seconds_and_nothing_is_lost() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    drop((store, leadership));
    let began = Instant::now();
    let (store, leadership) = scene.lead("b").await;
    assert!((4..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(leadership.term(), 2);
    assert!(get(&store, receipt(1, 1)).await.is_some());
    applied().await;
    let placement = scene.registry.placement().await.expect("read").expect("placed");
    assert_eq!(placement.replay, [], "all of it is in tables");
    assert_eq!(scene.journal.segments().len(), 1, "and the journal of the dead is removed");
}

#[tokio::test(start_paused = true)]
async fn a_released_leader_is_followed_at_once() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    leadership.release().await;
    assert_eq!(scene.tables.changes(), 1, "it has applied everything");
    let error = store.commit(vec![put(receipt(1, 2), b"x")], Durability::Synced).await;
    error.expect_err("nothing is committed any more");
    let began = Instant::now();
    let (store, _leadership) = scene.lead("b").await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(get(&store, receipt(1, 1)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_released_leader_waits_for_slow_tables() {
    let scene = Scene::new();
    let ready_at = Instant::now() + Duration::from_secs(6);
    let tables = MemoryTables::failing(Arc::new(move || Instant::now() < ready_at));
    let candidate = Candidate { tables: tables.clone(), ..scene.member("a") };
    let (store, leadership) = candidate.lead().await.expect("leads");
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    leadership.release().await;
    assert!((6..8).contains(&(Instant::now() - ready_at + Duration::from_secs(6)).as_secs()));
    assert_eq!(tables.changes(), 1, "all is applied");
}

#[tokio::test(start_paused = true)]
async fn a_head_does_not_move_while_earlier_journals_are_to_be_read() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    commit(&store, vec![put(receipt(1, 1), b"old")]).await;
    drop((store, leadership));
    let (store, leadership) = scene.lead("b").await;
    scene.registry.set_stuck(true);
    commit(&store, vec![put(receipt(1, 1), b"new")]).await;
    applied().await;
    drop((store, leadership));
    scene.registry.set_stuck(false);
    let (store, _leadership) = scene.lead("c").await;
    assert_eq!(get(&store, receipt(1, 1)).await.as_deref(), Some(&b"new"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_zombie_commits_nothing_and_learns_that_it_leads_no_more() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    let log = scene.registry.placement().await.expect("read").expect("placed").owner;
    let by = LogId::draw().expect("random");
    scene.journal.seal(Segment { log, number: 0 }, by).await.expect("sealed");
    let error = store.commit(vec![put(receipt(1, 1), b"y")], Durability::Synced).await;
    assert!(error.expect_err("refused").cause.contains("another process"));
    assert!(leadership.lost().await.contains("another process"));
    assert!(!leadership.is_confirmed());
    drop((store, leadership));
    let (store, _leadership) = scene.lead("b").await;
    assert_eq!(get(&store, receipt(1, 1)).await.as_deref(), Some(&b"x"[..]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_zombie_learns_it_within_seconds() {
    let scene = Scene::new();
    let (_store, leadership) = scene.lead("a").await;
    let log = scene.registry.placement().await.expect("read").expect("placed").owner;
    scene.journal.seal(Segment { log, number: 0 }, LogId::draw().expect("random")).await.expect("sealed");
    tokio::time::timeout(Duration::from_secs(2), leadership.lost()).await.expect("it learns");
}

#[tokio::test(start_paused = true)]
async fn of_many_standbys_one_takes_over() {
    for seed in 0..20 {
        let scene = Scene::troubled(seed);
        let (store, leadership) = scene.lead("first").await;
        commit(&store, vec![put(receipt(1, 1), b"x")]).await;
        drop((store, leadership));
        let (found, mut leaders) = tokio::sync::mpsc::channel(8);
        for n in 0..5 {
            let (scene, found) = (scene.clone(), found.clone());
            tokio::spawn(async move {
                let led = scene.lead(&format!("standby-{n}")).await;
                let _ = found.send(led).await;
            });
        }
        let (store, leadership) = leaders.recv().await.expect("one leads");
        assert!(get(&store, receipt(1, 1)).await.is_some());
        let second = tokio::time::timeout(Duration::from_secs(60), leaders.recv());
        assert!(second.await.is_err(), "seed {seed}");
        assert!(leadership.is_confirmed());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_while_it_takes_over_is_followed() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    drop((store, leadership));
    for ms in (3_800..4_300).step_by(20) {
        let _ = tokio::time::timeout(Duration::from_millis(ms), scene.lead("b")).await;
    }
    let (store, _leadership) = scene.lead("c").await;
    assert!(get(&store, receipt(1, 1)).await.is_some());
    applied().await;
    assert!(get(&store, receipt(1, 1)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_slept_is_not_confirmed() {
    let slept = Arc::new(AtomicU64::new(0));
    let scene = Scene::new();
    let (steady, asleep) = (scene.steady.clone(), slept.clone());
    let steady: ClockSource = Arc::new(move || steady() + Duration::from_secs(asleep.load(Ordering::Relaxed)));
    let (_store, leadership) = Scene { steady, ..scene }.lead("a").await;
    assert!(leadership.is_confirmed());
    slept.store(4, Ordering::Relaxed);
    assert!(!leadership.is_confirmed());
    sleep(Duration::from_secs(2)).await;
    assert!(leadership.is_confirmed(), "it leads still");
}

#[tokio::test(start_paused = true)]
async fn segments_roll_and_are_read_in_order() {
    let stuck = Arc::new(AtomicBool::new(true));
    let is_stuck = stuck.clone();
    let tables = MemoryTables::failing(Arc::new(move || is_stuck.load(Ordering::Relaxed)));
    let scene = Scene { tables, ..Scene::new() };
    let (store, leadership) = scene.lead("a").await;
    for n in 0..200_u8 {
        commit(&store, vec![put(receipt(1, n.into()), &[n]), put(receipt(2, 1), &[n])]).await;
        sleep(Duration::from_secs(1)).await;
    }
    drop((store, leadership));
    assert_eq!(scene.journal.segments().len(), 4, "a segment a minute");
    stuck.store(false, Ordering::Relaxed);
    let (store, _leadership) = scene.lead("b").await;
    for _ in 0..2 {
        let keys: Vec<_> = (0..200).map(|n| receipt(1, n)).collect();
        assert!(store.multi_get(&keys).await.expect("read").iter().all(Option::is_some));
        assert_eq!(get(&store, receipt(2, 1)).await.as_deref(), Some(&[199][..]));
        applied().await;
    }
    assert_eq!(scene.journal.segments().len(), 1, "all of the old journal is removed");
}

#[tokio::test(start_paused = true)]
async fn records_are_later_than_those_of_every_leader_before() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    commit(&store, vec![put(receipt(1, 1), b"x")]).await;
    leadership.release().await;
    let mut wall_s = 1_790_000_000;
    for n in 0..5 {
        // Each of them has a clock that is an hour behind.
        wall_s -= 3_600;
        let wall: ClockSource = Arc::new(move || Duration::from_secs(wall_s));
        let (store, leadership) = Candidate { wall, ..scene.member("b") }.lead().await.expect("leads");
        commit(&store, vec![put(receipt(1, 1), &[n])]).await;
        if n % 2 == 0 {
            leadership.release().await
        } else {
            drop(leadership)
        }
        let read = get(&store, receipt(1, 1)).await;
        assert_eq!(read.as_deref(), Some(&[n][..]), "from tables too");
    }
}
