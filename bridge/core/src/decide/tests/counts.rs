//! P3 by counts: a send that was accepted takes no effect again, whatever has changed since, and its sender is told so.

use super::*;
use crate::usage::Fullness;

/// What a send was answered with: reason, place, and whether it was known, up to which number.
fn answered(outcome: &Outcome) -> (Reason, u64, Option<u64>) {
    let answer = outcome.effects.iter().find_map(|effect| match effect.kind {
        EffectKind::Published { reason, sequence, repeated, .. } => {
            Some((reason, sequence.map_or(0, Seq::get), repeated))
        }
        _ => None,
    });
    answer.expect("a send is answered")
}

impl Scene {
    fn counted(&mut self, origin: CommandOrigin, to: &To, draft: Draft) -> (Reason, u64, Option<u64>) {
        // Who counts needs nothing else to be kept.
        let origin = CommandOrigin { publish_record: None, ..origin };
        let outcome = self.run(Command::Post { origin, to: to.clone(), draft });
        let answer = answered(&outcome);
        let nothing = outcome.entries.is_empty() && outcome.changes.is_empty();
        assert_eq!(nothing, answer.2.is_some() || !answer.0.is_success(), "{answer:?}");
        answer
    }

    fn last_told(&mut self, from: &str, conversation: ConversationId, counter: u64) -> u64 {
        let call = Call::Describe(client::Describe { conversation: conversation.get(), counter });
        self.call(from, call).0.last_client_sequence
    }
}

fn number(number: u64) -> Draft {
    Draft { body: Bytes::from_static(b"x"), client_sequence: numbered(number), ..Draft::default() }
}

/// The number is one of this count.
fn of(count: CountName, number: u64) -> Draft {
    let client_sequence = numbered(number).map(|it| ClientSequence { count, ..it });
    Draft { client_sequence, ..self::number(number) }
}

/// Over HTTP, with a token that names no device.
fn without_device(user: &str) -> CommandOrigin {
    CommandOrigin { device: None, ..origin(user) }
}

const fn new(place: u64) -> (Reason, u64, Option<u64>) {
    (Reason::SUCCESS, place, None)
}

const fn again(place: u64, last: u64) -> (Reason, u64, Option<u64>) {
    (Reason::SUCCESS, place, Some(last))
}

#[test]
fn a_number_takes_effect_once_for_each_device_and_count() {
    let mut scene = Scene::new();
    let to = To::Conversation(scene.group(&["bob"]));
    let tablet = || CommandOrigin { device: Some(DeviceId::new(9)), ..origin("alice") };
    assert_eq!(scene.counted(origin("alice"), &to, number(1)), new(2));
    assert_eq!(scene.counted(origin("alice"), &to, number(1)), again(2, 1));
    assert_eq!(scene.counted(tablet(), &to, number(1)), new(3));
    assert_eq!(scene.counted(origin("alice"), &to, number(3)), new(4));
    assert_eq!(scene.counted(origin("alice"), &to, number(2)), again(0, 3), "only of the last one the place is known");
    let fresh = of(CountName::Sender(77), 1);
    assert_eq!(scene.counted(origin("alice"), &to, fresh.clone()), new(5), "it has lost its store");
    assert_eq!(scene.counted(origin("alice"), &to, fresh), again(5, 1));
    assert_eq!(scene.counted(origin("alice"), &to, number(3)), again(4, 3), "what its earlier store sent is known");
}

/// Alice's number 100 silenced everybody's below that.
#[test]
fn users_without_a_device_do_not_count_together() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob"]);
    let to = To::Conversation(group);
    assert_eq!(scene.counted(without_device("alice"), &to, number(100)), new(2));
    assert_eq!(scene.counted(without_device("bob"), &to, number(1)), new(3));
    assert_eq!(scene.counted(without_device("bob"), &to, number(1)), again(3, 1));
    assert_eq!(scene.counted(without_device("alice"), &to, number(7)), again(0, 100));
    let keyed = of(CountName::Key(5), 1);
    assert_eq!(scene.counted(without_device("alice"), &to, keyed.clone()), new(4));
    assert_eq!(scene.counted(without_device("alice"), &to, keyed), again(4, 1));
    assert_eq!(scene.counted(origin("alice"), &to, number(1)), new(5), "nor with a device of theirs");
}

/// Else its keys would have the device's own counts forgotten.
#[test]
fn a_key_is_the_users_whichever_device_is_named_beside_it() {
    let mut scene = Scene::new();
    let to = To::Conversation(scene.group(&["bob"]));
    assert_eq!(scene.counted(origin("alice"), &to, number(1)), new(2));
    let keyed = |name| of(CountName::Key(name), 1);
    for key in 1..=15 {
        assert_eq!(scene.counted(origin("alice"), &to, keyed(key)), new(key + 2));
    }
    assert_eq!(scene.counted(without_device("alice"), &to, keyed(1)), again(3, 1));
    assert_eq!(scene.counted(origin("alice"), &to, number(1)), again(2, 1));
}

#[test]
fn who_leaves_and_comes_back_goes_on_with_its_counts() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob", "carol"]);
    let to = To::Conversation(group);
    assert_eq!(scene.counted(origin("bob"), &to, number(4)), new(2));
    assert_eq!(scene.counted(without_device("bob"), &to, number(9)), new(3));
    let remove = client::RemoveMember { conversation: group.get(), user: "bob".into() };
    assert_eq!(scene.call("alice", Call::RemoveMember(remove)).0.reason, 0);
    assert_eq!(scene.counted(origin("bob"), &to, number(4)), again(2, 4), "it was stored, whatever has become of bob");
    assert_eq!(scene.counted(origin("bob"), &to, number(5)).0, Reason::NOT_AUTHORIZED);
    let add = client::AddMember { conversation: group.get(), user: "bob".into() };
    assert_eq!(scene.call("alice", Call::AddMember(add)).0.reason, 0);
    assert_eq!(scene.counted(origin("bob"), &to, number(4)), again(2, 4));
    assert_eq!(scene.counted(without_device("bob"), &to, number(9)), again(3, 9));
    assert_eq!(scene.counted(origin("bob"), &to, number(5)), new(6));
}

#[test]
fn a_retry_is_answered_like_its_first_attempt_whatever_changed() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob"]);
    let to = To::Conversation(group);
    assert_eq!(scene.counted(origin("bob"), &to, number(1)), new(2));
    let settings = client::GroupSettings { may_send: client::Role::Admin.into(), ..Default::default() };
    let change = client::ChangeSettings { conversation: group.get(), settings: Some(settings) };
    assert_eq!(scene.call("alice", Call::ChangeSettings(change)).0.reason, 0);
    [1, 9].into_iter().for_each(|device| scene.cache.set_fullness(DeviceId::new(device), Fullness::Full));
    scene.rules.body_bytes_max = 0;
    let media = vec![client::Media { id: "0".repeat(32), ..Default::default() }];
    let retry = Draft { media, ..number(1) };
    assert_eq!(scene.counted(origin("bob"), &to, retry), again(2, 1));
    assert_eq!(scene.counted(origin("bob"), &to, number(2)).0, Reason::QUOTA_EXCEEDED);
}

#[test]
fn a_mistaken_number_is_refused_and_silences_nobody() {
    let mut scene = Scene::new();
    for to in [To::User(user("bob")), To::Conversation(scene.group(&["bob"]))] {
        for mistake in [u64::MAX, 1 << 63, (1 << 62) + (1 << 33)] {
            let (reason, ..) = scene.counted(origin("alice"), &to, number(mistake));
            assert_eq!(reason, Reason::IMPLEMENTATION_SPECIFIC, "{mistake:x}");
        }
        assert_eq!(scene.counted(origin("alice"), &to, number(1)), new(2));
        let high = 1 << 62;
        assert_eq!(scene.counted(origin("alice"), &to, number(high)), new(3), "a clock may have such numbers");
        assert_eq!(scene.counted(origin("alice"), &to, number(2)), again(0, high));
        assert_eq!(scene.counted(origin("alice"), &to, number(high + 1)), new(4), "and there is room above them");
    }
}

#[test]
fn describing_tells_how_far_the_device_has_counted() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob"]);
    let to = To::Conversation(group);
    scene.counted(origin("bob"), &to, number(6));
    scene.counted(origin("bob"), &to, of(CountName::Sender(5), 8));
    assert_eq!([0, 5, 6].map(|counter| scene.last_told("bob", group, counter)), [6, 8, 0]);
    assert_eq!(scene.last_told("alice", group, 0), 0, "of its own counts");
}

#[test]
fn only_the_last_few_counts_of_removed_devices_are_kept() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob"]);
    let mut send = |device: u64| {
        let origin = CommandOrigin { device: Some(DeviceId::new(device)), ..origin("alice") };
        let (_, place, _) = scene.counted(origin, &To::Conversation(group), number(1));
        (place, scene.cache.conversation(group).unwrap().to_state().accepted.len())
    };
    // Only 9 and 1 are Alice's, and the group's beginning was the first in order.
    assert_eq!([11, 12, 13, 14, 15].map(&mut send), [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5)]);
    assert_eq!(send(9), (7, 5), "the oldest is forgotten");
    assert_eq!(send(12), (3, 5), "a retry that was on its way");
    assert_eq!(send(1), (8, 6));
}

#[test]
fn what_is_handed_over_needs_nothing_of_its_sender() {
    let mut scene = Scene::new();
    let handed_over = || CommandOrigin { device: Some(DeviceId::new(50)), handed_over: true, ..origin("alice") };
    scene.rules.conversations_per_user = 1;
    scene.crowds.insert(user("alice"), MembershipCount { conversations: 1, ..MembershipCount::default() });
    let to = To::User(user("bob"));
    assert_eq!(scene.counted(origin("alice"), &to, number(1)).0, Reason::QUOTA_EXCEEDED);
    assert_eq!(scene.counted(handed_over(), &to, number(1)), new(2), "nor one conversation less");
    let conversation = scene.cache.direct(&StateCache::pair(&user("alice"), &user("bob"))).unwrap();
    let edit = client::Edit { conversation: conversation.get(), sequence: 2, body: "y".into(), mls_epoch: 0 };
    let call = ConversationCall::Edit(edit);
    let (correlation, secret) = (Bytes::from_static(b"c"), [0; 16]);
    let edited = scene.run(Command::Call { origin: handed_over(), id: 5, call, correlation, secret });
    assert_eq!(edited.entries.len(), 3, "what was edited, too");
    scene.cache.set_fullness(Scene::device("bob"), Fullness::Full);
    assert_eq!(scene.counted(handed_over(), &to, number(2)).0, Reason::QUOTA_EXCEEDED);
}

#[test]
fn a_full_inbox_of_the_senders_own_refuses_nothing() {
    let mut scene = Scene::new();
    let to = To::Conversation(scene.group(&["bob"]));
    let mut text = |full: &[u64]| {
        for device in [9, 2] {
            let fullness = if full.contains(&device) { Fullness::Full } else { Fullness::default() };
            scene.cache.set_fullness(DeviceId::new(device), fullness);
        }
        let outcome = scene.run(Command::Post { origin: origin("alice"), to: to.clone(), draft: Draft::default() });
        let text = outcome.effects.iter().find_map(|effect| match effect.kind {
            EffectKind::Published { text, .. } => Some(text),
            _ => None,
        });
        text.unwrap()
    };
    assert_eq!([text(&[]), text(&[9])], [""; 2]);
    assert_eq!([text(&[2]), text(&[2, 9])], ["the inbox of a recipient is full"; 2]);
}

#[test]
fn an_invite_is_kept_for_a_repetition_of_its_making() {
    let mut scene = Scene::new();
    let group = scene.group(&["bob"]);
    let create = client::CreateInvite { conversation: group.get(), expires_in_s: 60 };
    let (response, outcome) = scene.call("alice", Call::CreateInvite(create));
    let kept = outcome.changes.iter().find_map(|change| match change {
        StoreChange::PublishRecord(_, publish_record) => publish_record.invite.clone(),
        _ => None,
    });
    let invite = crate::group::GroupInvite::from_record(&kept.unwrap()).unwrap();
    assert_eq!(response.invites, [invite.to_message(group, NOW_S)]);
}
