use super::*;

fn told() -> client::Properties {
    let user = |name: &str| client::UserProperty { name: name.to_owned(), value: "v".to_owned() };
    client::Properties {
        payload_format: Some(1),
        content_type: Some("text/plain".to_owned()),
        response_topic: Some("send/65".to_owned()),
        correlation_data: Some(Bytes::from_static(b"c")),
        user_properties: vec![user("b"), user("a"), user("b")],
    }
}

fn post(scene: &mut Scene, body: &'static [u8], properties: client::Properties) -> Outcome {
    let draft = Draft { body: body.into(), properties: Some(Box::new(properties)), ..Draft::default() };
    scene.run(Command::Post { origin: origin("alice"), to: To::User(user("bob")), draft })
}

fn reason(outcome: &Outcome) -> Reason {
    let told = outcome.effects.iter().find_map(|effect| match &effect.kind {
        EffectKind::Published { reason, .. } => Some(*reason),
        _ => None,
    });
    told.expect("an answer")
}

/// What the last entry's device is told.
fn entry(outcome: &Outcome) -> Entry {
    Entry::decode(outcome.entries.last().expect("an entry").value.clone()).unwrap()
}

#[test]
fn properties_stay_with_the_message() {
    let mut scene = Scene::new();
    let small = post(&mut scene, b"hello", told());
    assert_eq!(entry(&small).properties().as_deref(), Some(&told()));
    assert_eq!(entry(&small).message(NOW_S).properties.as_deref(), Some(&told()), "events tell it, too");
    assert!(small.entries.iter().all(|it| it.reference.is_none()), "no files: a small message needs no row");
    let plain = scene.post("alice", To::User(user("bob")), b"hello");
    assert!(entry(&plain).extras.is_empty(), "whoever says nothing pays nothing");
    assert_eq!(entry(&small).content_len() as usize, entry(&small).extras.len() + 5, "they count");
}

#[test]
fn properties_of_a_message_for_many_are_kept_once() {
    let mut scene = Scene::new();
    scene.rules.body_bytes_max = 2_000;
    scene.post("alice", To::User(user("bob")), b"opens the conversation");
    let long = client::Properties { content_type: Some("x".repeat(1_200)), ..told() };
    let outcome = post(&mut scene, b"hello", long.clone());
    let rows = outcome.changes.iter().filter_map(|change| match change {
        StoreChange::Message(_, _, row) => row.clone(),
        _ => None,
    });
    let rows: Vec<_> = rows.map(|row| Entry::decode(row).unwrap()).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].properties().as_deref(), Some(&long));
    let references: Vec<_> =
        outcome.entries.iter().map(|it| it.reference.as_ref().expect("a reference").len()).collect();
    assert!(references.len() > 1 && references.iter().all(|len| *len < 40), "{references:?}");
    assert!(!outcome.changes.iter().any(|change| matches!(change, StoreChange::Shared(..))), "it refers to no file");
}

#[test]
fn properties_are_bounded_and_refused_with_their_reason() {
    let refused = |reason_wanted: Reason, properties: client::Properties, body| {
        let mut scene = Scene::new();
        scene.rules.properties_bytes_max = 100;
        scene.rules.user_properties_max = 3;
        let outcome = post(&mut scene, body, properties.clone());
        assert_eq!(reason(&outcome), reason_wanted, "{properties:?}");
        assert_eq!(outcome.entries.is_empty(), !reason_wanted.is_success());
    };
    let user = |name: &str, value: &str| client::UserProperty { name: name.to_owned(), value: value.to_owned() };
    let users = |user_properties| client::Properties { user_properties, ..Default::default() };
    let format = |format| client::Properties { payload_format: Some(format), ..Default::default() };
    let response = |topic: &str| client::Properties { response_topic: Some(topic.to_owned()), ..Default::default() };
    refused(Reason::SUCCESS, told(), b"hello");
    refused(Reason::QUOTA_EXCEEDED, users(vec![user("", ""); 4]), b"");
    refused(Reason::QUOTA_EXCEEDED, users(vec![user("name", &"x".repeat(100))]), b"");
    refused(Reason::PAYLOAD_FORMAT_INVALID, format(1), b"\xFF");
    refused(Reason::SUCCESS, format(0), b"\xFF");
    refused(Reason::IMPLEMENTATION_SPECIFIC, format(2), b"");
    for topic in ["", "a/+", "#"] {
        refused(Reason::IMPLEMENTATION_SPECIFIC, response(topic), b"");
    }
    for names in [user("from", "mallory"), user("seq", "1"), user("a\0", ""), user("a", "\0")] {
        refused(Reason::IMPLEMENTATION_SPECIFIC, users(vec![names]), b"");
    }
}

#[test]
fn properties_count_as_a_part_of_the_body() {
    let mut scene = Scene::new();
    scene.rules.body_bytes_max = 5 + told().encoded_len();
    let kept = 4; // Key and length.
    assert_eq!(reason(&post(&mut scene, b"hello", told())), Reason::QUOTA_EXCEEDED);
    scene.rules.body_bytes_max += kept;
    assert_eq!(reason(&post(&mut scene, b"hello", told())), Reason::SUCCESS);
}

#[test]
fn an_edit_keeps_what_is_said_of_the_body_true() {
    let mut scene = Scene::new();
    scene.rules.history = Policy::up_to(History::Forever);
    let sent = post(&mut scene, b"hello", told());
    let row = entry(&sent);
    scene.found = MessageCopies { row: Some(row.clone()), ..MessageCopies::default() };
    let edit = |body: &'static [u8]| {
        let (conversation, sequence) = (row.conversation.get(), row.sequence.get());
        Call::Edit(client::Edit { conversation, sequence, body: body.into(), mls_epoch: 0 })
    };
    assert_eq!(scene.call("alice", edit(b"\xFF")).0.reason, u32::from(Reason::PAYLOAD_FORMAT_INVALID));
    let (response, outcome) = scene.call("alice", edit(b"hi"));
    assert_eq!(response.reason, 0);
    let row = outcome.changes.iter().find_map(|change| match change {
        StoreChange::Message(_, _, row) => row.clone(),
        _ => None,
    });
    assert_eq!(Entry::decode(row.expect("a row")).unwrap().properties().as_deref(), Some(&told()));
}
