//! Enhanced authentication by "jwt": CONNECT, and AUTH on the open connection.

use godwit_schemas::bus::{Connected, Renewed, Resume};

use super::*;
use crate::token::TokenClaims;

/// Names alice's phone; signed by nobody.
const TOKEN: &str = "e30.eyJzdWIiOiJhbGljZSIsImRldmljZSI6InBob25lIn0.x";

/// Properties that say this method, with these data.
fn by(method: &str, data: &str) -> Vec<u8> {
    [&[0x15][..], &string(method), &[0x16], &string(data)].concat()
}

/// CONNECT of nobody in particular.
fn connect_by(properties: &[u8]) -> Vec<u8> {
    let head = [&string("MQTT")[..], &[5, 2, 0, 0]].concat();
    packet(0x10, &[&head, &props(5, properties), &string("")])
}

fn auth(reason: u8, properties: &[u8]) -> Vec<u8> {
    packet(0xF0, &[&[reason], &props(5, properties)])
}

async fn world() -> World {
    let tokens = Some(TokenClaims { user: "sub".to_owned(), device: "device".to_owned() });
    World::start(BrokerSettings { tokens, ..BrokerSettings::default() }).await
}

async fn connect_with_token(world: &mut World) -> (Client, u64) {
    let mut client = world.dial();
    client.send(&connect_by(&by("jwt", TOKEN))).await;
    let (number, frame) = world.lane.next().await;
    let up::Frame::Connect(asked) = frame else { panic!("{frame:?}") };
    assert_eq!((asked.user.as_str(), asked.device.as_str(), &asked.password[..]), ("alice", "phone", TOKEN.as_bytes()));
    world.lane.send(number, Connected { ends_at_s: Some(100), ..Connected::default() }).await;
    let connack = client.packet().await;
    assert_eq!(connack[3], 0);
    assert!(connack.windows(6).any(|bytes| bytes == b"\x15\0\x03jwt"), "{connack:?}");
    (client, number)
}

async fn asked(world: &mut World) -> Bytes {
    match world.lane.next().await {
        (_, up::Frame::Renew(renew)) => renew.token,
        (_, other) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_sent_until_the_lane_answers() {
    let mut world = world().await;
    let (mut client, number) = connect_with_token(&mut world).await;
    client.send(&auth(0x19, &by("jwt", "another"))).await;
    assert_eq!(asked(&mut world).await, "another");
    // The lane lost it, and asks for everything again.
    world.lane.send(0, frames::Reattach {}).await;
    let (_, frame) = world.lane.next().await;
    let up::Frame::Connect(again) = frame else { panic!("{frame:?}") };
    assert_eq!(again.resume.map(|resume| resume.ends_at_s), Some(Some(100)));
    assert_eq!(asked(&mut world).await, "another");
    world.lane.send(number, Renewed { ends_at_s: Some(200) }).await;
    assert_eq!(client.packet().await, b"\xF0\x08\0\x06\x15\0\x03jwt");
    world.lane.send(0, frames::Reattach {}).await;
    let (_, frame) = world.lane.next().await;
    let up::Frame::Connect(frames::Connect { resume: Some(Resume { ends_at_s, .. }), .. }) = frame else {
        panic!("{frame:?}")
    };
    assert_eq!(ends_at_s, Some(200));
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn other_authentication_methods_are_refused() {
    let mut world = world().await;
    for packets in [
        vec![auth(0x18, &by("jwt", "x"))],
        vec![auth(0x19, &by("SCRAM-SHA-1", "x"))],
        vec![auth(0x19, &[])],
        vec![vec![0xF0, 0]],
        vec![auth(0x19, &by("jwt", "x")), auth(0x19, &by("jwt", "x"))],
    ] {
        let (mut client, _) = connect_with_token(&mut world).await;
        client.send(&packets.concat()).await;
        assert_eq!(client.goodbye().await, 0x82, "{packets:02X?}");
        client.closed().await;
        while !matches!(world.lane.next().await.1, up::Frame::Disconnect(_)) {}
    }
    for (properties, reason) in [(by("SCRAM-SHA-1", TOKEN), 0x8C), (by("jwt", "junk"), 0x86), (vec![0x16, 0, 0], 0x82)]
    {
        let mut client = world.dial();
        client.send(&connect_by(&properties)).await;
        assert_eq!(client.packet().await[3], reason, "{properties:02X?}");
    }
    // Where there are no tokens there is no such method.
    let world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&connect_by(&by("jwt", TOKEN))).await;
    assert_eq!(client.packet().await[3], 0x8C);
}
