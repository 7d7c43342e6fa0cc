//! CONNECT, keep alive, and how connections end.

use std::time::Duration;

use godwit_schemas::bus::{Close, Connected, Disconnect, Subscribed, up};
use godwit_schemas::ids::{DeviceName, UserId};
use tokio::time::{Instant, sleep};

use super::*;
use crate::connection_limits::NetworkLimits;

async fn refused(bytes: &[u8]) -> Vec<u8> {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(bytes).await;
    let connack = client.packet().await;
    client.closed().await;
    world.lane.quiet().await;
    connack
}

/// Code and text of a CONNACK of MQTT 5 that refuses.
async fn told(bytes: &[u8]) -> (u8, String) {
    let connack = refused(bytes).await;
    (reason(&connack, 0x20, 3), String::from_utf8_lossy(connack.get(8..).unwrap_or_default()).into_owned())
}

#[tokio::test(start_paused = true)]
async fn a_bad_connect_is_refused_without_the_lane() {
    assert_eq!(refused(&connect_as(4, &[], "phone", "a/b", "secret")).await, [0x20, 2, 0, 4]);
    let rule = "a name has 1 to 64 of the characters a-z A-Z 0-9 . _ - @ and does not start with a dot";
    for (device, user, password, code, text) in [
        ("phone", "a/b", "secret", 0x86, &format!("user name: {rule}")[..]),
        ("phone", "", "secret", 0x86, "no user name"),
        ("phone", "alice", "", 0x86, "no password"),
        ("a b", "alice", "secret", 0x85, &format!("client identifier: {rule}")),
        ("", "alice", "secret", 0x85, "no client identifier: it names the device"),
    ] {
        assert_eq!(told(&connect_as(5, &[], device, user, password)).await, (code, text.to_owned()));
    }
    let no_room = [0x27, 0, 0, 0, 40];
    assert_eq!(refused(&connect_as(5, &no_room, "", "alice", "secret")).await, [0x20, 3, 0, 0x85, 0]);
    assert_eq!(refused(&connect_as(4, &[], "phone", "alice", "")).await, [0x20, 2, 0, 4]);
    assert_eq!(refused(&connect_as(4, &[], "", "alice", "secret")).await, [0x20, 2, 0, 2]);
    assert_eq!(refused(&connect_as(3, &[], "phone", "alice", "secret")).await, [0x20, 2, 0, 1]);
    assert_eq!(refused(&connect_as(6, &[], "phone", "alice", "secret")).await, [0x20, 3, 0, 0x84, 0]);
    let receive_maximum_0 = [0x21, 0, 0];
    assert_eq!(refused(&connect(5, &receive_maximum_0)).await, [0x20, 3, 0, 0x82, 0]);
    let method = [0x15, 0, 1, b'm'];
    assert_eq!(told(&connect(5, &method)).await.0, 0x8C);
    let twice = [0x11, 0, 0, 0, 1].repeat(2);
    assert_eq!(told(&connect(5, &twice)).await.0, 0x82);
    let mut longer = [&connect(5, &[])[..], b"!"].concat();
    longer[1] += 1;
    assert_eq!(told(&longer).await, (0x81, "a packet is malformed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn wills_are_refused() {
    let will = |level: u8| {
        let head = [&string("MQTT")[..], &[level, 0xC6, 0, 10]].concat();
        let will = [props(level, &[]), string("gone"), string("bye")].concat();
        packet(0x10, &[&head, &props(level, &[]), &string("phone"), &will, &string("alice"), &string("secret")])
    };
    assert_eq!(refused(&will(4)).await, [0x20, 2, 0, 5]);
    let connack = refused(&will(5)).await;
    assert_eq!(connack[3], 0x87);
    assert!(connack.ends_with(b"wills are not supported"));
}

#[tokio::test(start_paused = true)]
async fn anything_before_connect_closes_silently() {
    for bytes in [&[0xC0, 0][..], b"GET / HTTP/1.1\r\n\r\n", &[0x20, 2, 0, 0], &publish(4, 0, "send", 0, &[], b"x")] {
        let world = World::start(BrokerSettings::default()).await;
        let mut client = world.dial();
        client.send(bytes).await;
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_lane_authenticates_and_connack_has_the_limits() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    // Session expiry 60 s, receive maximum 5, maximum packet size 1000.
    let properties = [0x11, 0, 0, 0, 60, 0x21, 0, 5, 0x27, 0, 0, 3, 0xE8];
    client.send(&connect(5, &properties)).await;
    let (number, up::Frame::Connect(asked)) = world.lane.next().await else { panic!("expected a connect") };
    assert_eq!((asked.user.as_str(), asked.device.as_str(), &asked.password[..]), ("alice", "phone", &b"secret"[..]));
    assert_eq!((asked.clean_start, asked.session_expiry_s, asked.receive_maximum, asked.protocol), (true, 60, 5, 5));
    assert!(asked.packet_bytes_max == Some(1_000) && asked.resume.is_none());
    world.lane.send(number, Connected { session_present: true, ..Connected::default() }).await;
    let connack = client.packet().await;
    let offer = [0x21, 0, 128, 0x25, 0, 0x27, 0, 2, 0, 0, 0x22, 0, 16, 0x29, 0, 0x2A, 0];
    assert_eq!(connack, [&[0x20, 20, 1, 0, 17][..], &offer].concat());

    let mut client = world.dial();
    client.send(&connect(4, &[])).await;
    let (number, up::Frame::Connect(asked)) = world.lane.next().await else { panic!("expected a connect") };
    assert_eq!(
        (asked.session_expiry_s, asked.receive_maximum, asked.protocol),
        (0, 60_000, 4),
        "as many as can be in flight"
    );
    world.lane.send(number, Connected { reason: 0x86, ..Connected::default() }).await;
    assert_eq!(client.packet().await, [0x20, 2, 0, 4]);
    client.closed().await;
    drop(client);
    world.lane.quiet().await;
    assert_eq!(world.edge.context.counters.connections.get(), 1);
}

/// As far as there is room (MQTT-3.2.2-20).
#[tokio::test(start_paused = true)]
async fn connack_names_the_server_and_its_epoch() {
    let mut world = World::start(BrokerSettings::default()).await;
    let told = [string("server"), string("00000000000000ab"), string("epoch"), string("00000000000000cd")];
    let told = [&[0x26][..], &told[0], &told[1], &[0x26], &told[2], &told[3]].concat();
    let mut clients = Vec::new();
    // Without them CONNACK has 22 bytes.
    for (takes, expected) in [(None, true), (Some(22 + told.len() as u8), true), (Some(21 + told.len() as u8), false)] {
        let mut client = world.dial();
        let properties = takes.map(|bytes| vec![0x27, 0, 0, 0, bytes]).unwrap_or_default();
        client.send(&connect(5, &properties)).await;
        let (number, _) = world.lane.next().await;
        world.lane.send(number, Connected { server: 0xAB, store_epoch: 0xCD, ..Connected::default() }).await;
        let connack = client.packet().await;
        assert_eq!(connack.windows(told.len()).any(|part| part == told), expected, "{takes:?}: {connack:x?}");
        assert!(expected || connack.len() == 22);
        clients.push(client);
    }
}

#[tokio::test(start_paused = true)]
async fn packets_behind_connect_wait_for_connack() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&[connect(4, &[]), publish(4, 2, "send", 1, &[], b"x"), vec![0xC0, 0]].concat()).await;
    let (number, _) = world.lane.next().await;
    world.lane.quiet().await;
    world.lane.send(number, Connected::default()).await;
    assert_eq!(client.packet().await, [0x20, 2, 0, 0]);
    assert_eq!(world.lane.next_publish().await.1.number, 1);
    assert_eq!(client.packet().await, [0xD0, 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_bridge_a_client_waits_for_its_deadline() {
    let world = World::without_bridge(BrokerSettings::default()).await;
    let started = Instant::now();
    let (mut silent, mut v4, mut v5) = (world.dial(), world.dial(), world.dial());
    v4.send(&connect(4, &[])).await;
    v5.send(&connect(5, &[])).await;
    assert_eq!(v4.packet().await, [0x20, 2, 0, 3]);
    assert_eq!(reason(&v5.packet().await, 0x20, 3), 0x88);
    for client in [&mut v4, &mut v5, &mut silent] {
        client.closed().await;
    }
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(11), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_login_waits_for_the_bridge() {
    let mut world = World::without_bridge(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&connect(4, &[])).await;
    sleep(Duration::from_secs(2)).await;
    world.lane.hello().await;
    let (number, up::Frame::Connect(asked)) = world.lane.next().await else { panic!("expected a connect") };
    assert_eq!(&asked.password[..], b"secret");
    world.lane.send(number, Connected::default()).await;
    assert_eq!(client.packet().await, [0x20, 2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn disconnects_are_told_to_the_lane() {
    let mut world = World::start(BrokerSettings::default()).await;
    let clean = |clean| Disconnect { clean, session_expiry_s: None };
    let (mut client, _) = world.connected(4).await;
    client.send(&[0xE0, 0]).await;
    assert_eq!(world.lane.next_disconnect().await, clean(true));
    client.closed().await;

    // With a publish in doubt, it is not clean.
    let (mut client, _) = world.connected(4).await;
    client.send(&[publish(4, 2, "send", 1, &[], b"x"), vec![0xE0, 0]].concat()).await;
    world.lane.next_publish().await;
    assert_eq!(world.lane.next_disconnect().await, clean(false));

    // "With will" and a vanished socket are no goodbye.
    let (mut client, _) = world.connected(5).await;
    client.send(&[0xE0, 1, 4]).await;
    assert_eq!(world.lane.next_disconnect().await, clean(false));
    let (client, _) = world.connected(5).await;
    drop(client);
    assert_eq!(world.lane.next_disconnect().await, clean(false));

    // A session that ends with its connection cannot be kept after all.
    let (mut client, _) = world.connected(5).await;
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]).await;
    assert_eq!(client.goodbye().await, 0x82);
    assert_eq!(world.lane.next_disconnect().await, clean(false));
}

#[tokio::test(start_paused = true)]
async fn a_changed_session_expiry_is_told_to_the_lane() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&connect(5, &[0x11, 0, 0, 0, 60])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]).await;
    assert_eq!(world.lane.next_disconnect().await, Disconnect { clean: true, session_expiry_s: Some(9) });
}

#[tokio::test(start_paused = true)]
async fn the_lane_closes_a_connection_that_is_taken_over() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut v5, number) = world.connected(5).await;
    world.lane.send(number, Close { reason: 0x8E }).await;
    assert_eq!(v5.goodbye().await, 0x8E);
    v5.closed().await;
    world.lane.next_disconnect().await;
    let (mut v4, number) = world.connected(4).await;
    world.lane.send(number, Close { reason: 0x8E }).await;
    v4.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_after_its_keep_alive() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, _) = world.connected(5).await;
    for _ in 0..3 {
        world.lane.beside(sleep(Duration::from_secs(14))).await;
        client.send(&[0xC0, 0]).await;
        assert_eq!(client.packet().await, [0xD0, 0]);
    }
    let started = Instant::now();
    assert_eq!(world.lane.beside(client.goodbye()).await, 0x8D);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(14_500) && waited <= Duration::from_millis(15_750), "{waited:?}");
    assert!(!world.lane.next_disconnect().await.clean);
}

/// The deadline of CONNECT, ten seconds, does not apply to a connected client.
#[tokio::test(start_paused = true)]
async fn keep_alive_counts_from_connack_on() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut connect = connect(5, &[]);
    connect[11] = 2;
    let mut client = world.dial();
    client.send(&connect).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    let started = Instant::now();
    assert_eq!(world.lane.beside(client.goodbye()).await, 0x8D);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(2_750) && waited <= Duration::from_millis(3_500), "{waited:?}");
}

/// Everything that came before a goodbye is answered, although all of it came at once.
#[tokio::test(start_paused = true)]
async fn publishes_before_a_disconnect_are_answered() {
    for level in [4, 5] {
        let mut world = World::start(BrokerSettings::default()).await;
        let mut client = world.dial();
        client.send(&[&connect(level, &[])[..], &[0xE0, 0]].concat()).await;
        let (number, _) = world.lane.next().await;
        world.lane.send(number, Connected::default()).await;
        assert_eq!(client.packet().await[0], 0x20);
        assert!(world.lane.next_disconnect().await.clean);
        client.closed().await;

        let (mut client, number) = world.connected(level).await;
        let publish = publish(level, 2, "send", 1, &[], b"x");
        client.send(&[&publish[..], &subscribe(level, 2, &[("inbox", 1)]), &[0xC0, 0, 0xE0, 0]].concat()).await;
        assert_eq!(client.packet().await, [0xD0, 0]);
        world.lane.next_publish().await;
        let (_, up::Frame::Subscribe(asked)) = world.lane.next().await else { panic!("expected a subscribe") };
        world.lane.stored(number, 1).await;
        assert_eq!(client.packet().await, [0x40, 2, 0, 1]);
        world.lane.send(number, Subscribed { token: asked.token }).await;
        assert_eq!(client.packet().await[0], 0x90);
        assert!(!world.lane.next_disconnect().await.clean, "the publish was in doubt when the client left");
        client.closed().await;

        // Who hangs up is not waited for.
        let (mut client, _) = world.connected(level).await;
        client.send(&[&publish[..], &[0xE0, 0]].concat()).await;
        drop(client);
        let begun = Instant::now();
        world.lane.next_publish().await;
        world.lane.next_disconnect().await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}

/// A client that takes too little to be told what it must know.
#[tokio::test(start_paused = true)]
async fn a_connack_too_large_for_the_client_is_a_refusal() {
    let mut world = World::start(BrokerSettings::default()).await;
    for (bytes_max, connack) in [(22, 22), (21, 5), (4, 0)] {
        let mut client = world.dial();
        client.send(&connect(5, &[0x27, 0, 0, 0, bytes_max])).await;
        let (number, _) = world.lane.next().await;
        world.lane.send(number, Connected::default()).await;
        if connack == 22 {
            assert_eq!(client.packet().await.len(), connack);
            drop(client);
            world.lane.next_disconnect().await;
            continue;
        }
        assert!(!world.lane.next_disconnect().await.clean);
        if connack > 0 {
            assert_eq!(client.packet().await, [0x20, 3, 0, 0x95, 0]);
        }
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_keep_alive_a_silent_client_stays() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    let mut connect = connect(4, &[]);
    connect[11] = 0;
    client.send(&connect).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    sleep(Duration::from_secs(100_000)).await;
    client.send(&[0xC0, 0]).await;
    assert_eq!(client.packet().await, [0xD0, 0]);
}

/// A CONNECT that the lane is asked about, and refuses.
async fn fail(world: &mut World) {
    let mut client = world.dial();
    client.send(&connect(5, &[])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected { reason: 0x86, ..Connected::default() }).await;
    assert_eq!(client.packet().await[3], 0x86);
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn after_too_many_wrong_passwords_a_login_is_delayed() {
    let connection_limits = NetworkLimits { failed_logins: 2, ..NetworkLimits::UNLIMITED };
    let mut world = World::start(BrokerSettings { connection_limits, ..BrokerSettings::default() }).await;
    world.from = Some([192, 0, 2, 1].into());
    let begun = Instant::now();
    fail(&mut world).await;
    fail(&mut world).await;
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    // Longer, and the edge would miss this lane's heartbeats.
    for wait in [500, 1_000] {
        let begun = Instant::now();
        fail(&mut world).await;
        let waited = begun.elapsed().as_millis();
        assert!((wait..=wait + 600).contains(&waited), "{waited} ms, expected {wait}");
    }
    // Who comes from elsewhere does not wait.
    world.from = Some([192, 0, 2, 2].into());
    let begun = Instant::now();
    world.connected(5).await;
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    // Logins from the same network are delayed as well, and accepted.
    world.from = Some([192, 0, 2, 1].into());
    let begun = Instant::now();
    world.connected(5).await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_delayed_login_that_hangs_up_frees_its_slot() {
    let connection_limits =
        NetworkLimits { failed_logins: 1, unauthenticated_per_address: 1, ..NetworkLimits::UNLIMITED };
    let mut world = World::start(BrokerSettings { connection_limits, ..BrokerSettings::default() }).await;
    world.from = Some([192, 0, 2, 1].into());
    fail(&mut world).await;
    sleep(Duration::from_millis(100)).await;
    let mut client = world.dial();
    client.send(&connect(5, &[])).await;
    sleep(Duration::from_millis(100)).await;
    assert!(world.edge.accept(world.from, Transport::Tcp).is_none(), "its place is taken");
    drop(client);
    sleep(Duration::from_secs(30)).await;
    drop(world.edge.accept(world.from, Transport::Tcp).expect("its place is free"));
}

#[tokio::test(start_paused = true)]
async fn a_client_over_its_rate_is_held_back_without_loss() {
    let settings = BrokerSettings { packets_per_s: 4, unanswered_publishes_max: 1_000, ..BrokerSettings::default() };
    let mut world = World::start(settings).await;
    let (mut client, number) = world.connected(5).await;
    let begun = Instant::now();
    for id in 1..=60 {
        client.send(&publish(5, 2, "send", id, &[], b"x")).await;
    }
    for id in 1..=60 {
        assert_eq!(world.lane.next_publish().await.1.packet_id, id);
        world.lane.stored(number, id.into()).await;
    }
    // 20 at once, and 40 at four a second. Its keep-alive of 10 s is not held against it meanwhile.
    let took = begun.elapsed().as_millis();
    assert!((9_000..=12_000).contains(&took), "{took} ms");
    for _ in 1..=60 {
        assert_eq!(client.packet().await[0], 0x40);
    }
}

/// The lane takes it as alice's phone; CONNACK tells a client its identifier if that is ours. Then it leaves.
async fn comes_and_goes(world: &mut World, client: &mut Client, number: u64, named_by_us: bool) {
    world.lane.send(number, Connected::default()).await;
    let connack = client.packet().await;
    assert_eq!(connack[3], 0);
    let assigned = [&[0x12, 0, 5][..], b"phone"].concat();
    assert_eq!(connack.windows(8).any(|bytes| bytes == assigned), named_by_us, "{connack:?}");
    client.send(&[0xE0, 0]).await;
    world.lane.next_disconnect().await;
}

/// CONNECT with a token that names alice's phone, signed by nobody; without the user name if `user` is `None`.
fn connect_by_token(level: u8, clean: bool, device: &str, user: Option<&str>) -> Vec<u8> {
    // {"sub":"alice","device":"phone"}
    let token = "e30.eyJzdWIiOiJhbGljZSIsImRldmljZSI6InBob25lIn0.x";
    let flags = 0x40 | u8::from(user.is_some()) << 7 | u8::from(clean) << 1;
    let head = [&string("MQTT")[..], &[level, flags, 0, 10]].concat();
    let user = user.map(string).unwrap_or_default();
    packet(0x10, &[&head, &props(level, &[]), &string(device), &user, &string(token)])
}

#[tokio::test(start_paused = true)]
async fn a_token_names_the_user_and_the_device() {
    let tokens = Some(crate::token::TokenClaims { user: "sub".to_owned(), device: "device".to_owned() });
    let mut world = World::start(BrokerSettings { tokens, ..BrokerSettings::default() }).await;
    for (bytes, named_by_us) in [
        (connect_by_token(5, false, "", None), true),
        (connect_by_token(5, true, "phone", Some("")), false),
        (connect_by_token(5, true, "", Some("alice")), true),
        (connect_by_token(4, true, "", Some("")), false),
        (connect_by_token(4, false, "phone", Some("")), false),
    ] {
        let mut client = world.dial();
        client.send(&bytes).await;
        let (number, frame) = world.lane.next().await;
        let up::Frame::Connect(asked) = frame else { panic!("{frame:?}") };
        assert_eq!((asked.user.as_str(), asked.device.as_str(), asked.verified), ("alice", "phone", false));
        assert!(asked.password.starts_with(b"e30."), "the lane is to verify it");
        comes_and_goes(&mut world, &mut client, number, named_by_us).await;
    }
    for (bytes, reason) in [
        (connect_as(5, &[], "phone", "", "no token"), 0x86),
        (connect_as(5, &[], "", "alice", "no token"), 0x85),
        (connect_by_token(4, false, "", Some("")), 2),
    ] {
        let mut client = world.dial();
        client.send(&bytes).await;
        assert_eq!(client.packet().await[3], reason);
        world.lane.quiet().await;
    }
    // Where there are no tokens, everybody names itself.
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&connect_by_token(5, true, "phone", None)).await;
    assert_eq!(client.packet().await[3], 0x86);
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_certificate_replaces_the_password() {
    let mut world = World::start(BrokerSettings::default()).await;
    let dial = |world: &World| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let mut accepted = world.edge.accept(None, Transport::Tcp).unwrap();
        let (user, device) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
        accepted.identity = Some(Box::new(crate::tls::CertificateIdentity { user, device }));
        tokio::spawn(ConnectionDriver::new(far, world.edge.clone(), accepted));
        Client(near)
    };
    // CONNECT without a user name and a password.
    let bare = |level: u8, clean: bool, device: &str| {
        let head = [&string("MQTT")[..], &[level, u8::from(clean) << 1, 0, 10]].concat();
        packet(0x10, &[&head, &props(level, &[]), &string(device)])
    };
    for (bytes, named_by_us) in [
        (bare(5, true, ""), true),
        (bare(5, false, "phone"), false),
        (bare(4, true, ""), false),
        (bare(4, false, "phone"), false),
        (connect(5, &[]), false),
    ] {
        let mut client = dial(&world);
        client.send(&bytes).await;
        let (number, frame) = world.lane.next().await;
        let up::Frame::Connect(asked) = frame else { panic!("{frame:?}") };
        assert!(asked.verified && asked.password.is_empty());
        assert_eq!((asked.user.as_str(), asked.device.as_str()), ("alice", "phone"));
        comes_and_goes(&mut world, &mut client, number, named_by_us).await;
    }
    for (bytes, reason) in [
        (connect_as(5, &[], "phone", "bob", "secret"), 0x86),
        (connect_as(5, &[], "laptop", "alice", "secret"), 0x85),
        (bare(4, false, ""), 2),
    ] {
        let mut client = dial(&world);
        client.send(&bytes).await;
        assert_eq!(client.packet().await[3], reason);
        world.lane.quiet().await;
    }
}
