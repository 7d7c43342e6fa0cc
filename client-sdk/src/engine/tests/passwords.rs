//! A password that is renewed: whatever is lost, the device gets in.

use super::*;

/// The next connection: it brings this password, is welcome, and goes on with its session.
async fn welcome(broker: &Broker, password: &str) -> Peer {
    let (mut peer, brought) = broker.knock().await;
    assert_eq!(brought, password);
    peer.connack(true, 128).await;
    peer
}

/// Answers the call for a new password with this one.
async fn give(peer: &mut Peer, password: &str) {
    let asked = loop {
        match peer.next().await {
            Some(Packet::Publish(publish)) => break publish,
            Some(_) => {}
            None => panic!("closed"),
        }
    };
    let request = client::Request::decode(asked.payload.clone()).unwrap();
    assert!(matches!(&request.call, Some(Call::RenewPassword(call)) if call.device == "phone"), "{request:?}");
    let response = client::Response { id: request.id, password: password.to_owned(), ..Default::default() };
    let mut publish = Publish::new("rpc", QoS::AtLeastOnce, response.encode_to_vec(), None);
    publish.pkid = 1;
    peer.send(Packet::Publish(publish)).await;
}

#[tokio::test]
async fn a_new_password_is_stored_before_use_and_outlives_the_apps() {
    let (broker, store) = (Broker::start().await, VolatileStore::new());
    let client = builder(&broker, &store).open().await.unwrap();
    let mut peer = welcome(&broker, "secret").await;
    let renewal = tokio::spawn(async move { (client.renew_password().await, client) });
    give(&mut peer, "new").await;
    let (renewed, client) = soon(renewal).await.unwrap();
    assert_eq!(renewed.unwrap(), "new");
    // It comes at once, with the new one; but it is killed, and started again.
    let (before, brought) = broker.knock().await;
    assert_eq!(brought, "new");
    client.close().await.unwrap();
    drop(before);
    let client = builder(&broker, &store).open().await.unwrap();
    let peer = welcome(&broker, "new").await;
    soon(client.status().wait_for(|status| *status == Status::Online)).await.unwrap();
    drop(peer);
    // From here on no other is tried.
    let (mut peer, brought) = broker.knock().await;
    assert_eq!(brought, "new");
    peer.refuse().await;
    soon(client.status().wait_for(|status| matches!(status, Status::Refused(_)))).await.unwrap();
}

/// The call was carried out twice, and its first answer came last: what it said is void.
#[tokio::test]
async fn where_the_new_password_is_void_the_one_before_is_good() {
    let (broker, store) = (Broker::start().await, VolatileStore::new());
    let client = builder(&broker, &store).open().await.unwrap();
    let mut peer = welcome(&broker, "secret").await;
    let renewal = tokio::spawn(async move { (client.renew_password().await, client) });
    give(&mut peer, "void").await;
    let (renewed, client) = soon(renewal).await.unwrap();
    assert_eq!(renewed.unwrap(), "void");
    let (mut peer, brought) = broker.knock().await;
    assert_eq!(brought, "void");
    peer.refuse().await;
    let peer = welcome(&broker, "secret").await;
    soon(client.status().wait_for(|status| *status == Status::Online)).await.unwrap();
    client.close().await.unwrap();
    drop(peer);
    let client = builder(&broker, &store).open().await.unwrap();
    welcome(&broker, "secret").await;
    drop(client);
}

#[tokio::test]
async fn a_lost_answer_changes_nothing_and_is_requested_again() {
    let (broker, store) = (Broker::start().await, VolatileStore::new());
    let client = builder(&broker, &store).open().await.unwrap();
    let mut peer = welcome(&broker, "secret").await;
    let renewal = tokio::spawn(async move { (client.renew_password().await, client) });
    while !matches!(peer.next().await.expect("not closed"), Packet::Publish(_)) {}
    drop(peer);
    let mut peer = welcome(&broker, "secret").await;
    give(&mut peer, "new").await;
    let (renewed, _client) = soon(renewal).await.unwrap();
    assert_eq!(renewed.unwrap(), "new");
    welcome(&broker, "new").await;
}

#[tokio::test]
async fn an_operators_password_is_tried_after_the_stored_ones() {
    let (broker, store) = (Broker::start().await, VolatileStore::new());
    let client = builder(&broker, &store).open().await.unwrap();
    let mut peer = welcome(&broker, "secret").await;
    let renewal = tokio::spawn(async move { (client.renew_password().await, client) });
    give(&mut peer, "renewed").await;
    let (_, client) = soon(renewal).await.unwrap();
    let peer = welcome(&broker, "renewed").await;
    soon(client.status().wait_for(|status| *status == Status::Online)).await.unwrap();
    client.close().await.unwrap();
    drop(peer);
    let (user, device) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
    let given = Client::builder(&broker.address(), user, device, "given").store(store.clone()).protocol(Protocol::V5);
    let client = given.open().await.unwrap();
    let (mut peer, brought) = broker.knock().await;
    assert_eq!(brought, "renewed");
    peer.refuse().await;
    welcome(&broker, "given").await;
    drop(client);
}
