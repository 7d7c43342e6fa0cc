//! A send that the server takes for one that it knows: a retry, or something else that has the same number.

use super::*;

fn counter(publish: &Publish) -> u64 {
    Send::decode(publish.payload.clone()).unwrap().counter
}

#[tokio::test]
async fn each_store_has_a_count_of_its_own() {
    let broker = Broker::start().await;
    let (kept, lost) = (VolatileStore::new(), VolatileStore::new());
    let mut counters = Vec::new();
    for store in [&kept, &kept, &lost] {
        let client = builder(&broker, store).open().await.unwrap();
        let mut peer = broker.welcome(false, 128).await;
        client.send(HERE, "x").await.unwrap();
        let publish = peer.publish().await;
        peer.puback(&publish).await;
        counters.push(counter(&publish));
        client.close().await.unwrap();
    }
    assert!(counters[0] > 0);
    assert_eq!(counters[0], counters[1]);
    assert_ne!(counters[0], counters[2], "what an earlier store has sent is nothing to this one");
}

#[tokio::test]
async fn a_retry_that_the_server_knows_is_sent() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    let handles = [client.send(HERE, "one").await.unwrap(), client.send(HERE, "two").await.unwrap()];
    for _ in 0..2 {
        peer.publish().await;
    }
    drop(peer);
    let mut peer = broker.welcome(true, 128).await;
    for _ in 0..2 {
        let publish = peer.publish().await;
        peer.puback_known(&publish, handles[1].id().get()).await;
    }
    for handle in handles {
        soon(handle.sent()).await.unwrap();
    }
}

/// Another copy of the store has counted on, or this is an older state of it. Which of the numbers it has used is not known.
#[tokio::test]
async fn a_repetition_of_what_another_store_sent_is_refused() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    let handles = [client.send(HERE, "one").await.unwrap(), client.send(HERE, "two").await.unwrap()];
    let last = handles[1].id().get() + 1_000;
    for handle in &handles {
        let publish = peer.publish().await;
        peer.puback_known(&publish, last).await;
        let error = soon(handle.sent()).await.unwrap_err();
        assert!(matches!(&error, Error::Refused(refusal) if refusal.reason.get() == 0x91), "{error}");
        assert!(error.retry_helps());
    }
    let mut events = client.events();
    for handle in &handles {
        let delivery = soon(events.next()).await.unwrap();
        assert!(matches!(&delivery.event, Event::Refused { send, .. } if *send == handle.id()), "{delivery:?}");
    }
    // It goes on above what others have counted.
    let again = client.send(HERE, "one").await.unwrap();
    let publish = peer.publish().await;
    assert_eq!(said(&publish), (last + 1, "one".to_owned()));
    peer.puback(&publish).await;
    soon(again.sent()).await.unwrap();
}
