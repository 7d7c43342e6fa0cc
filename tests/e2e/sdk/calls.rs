//! What an app asks of the server, and what it says that nobody keeps.

use std::time::Duration;

use godwit_client::ids::{ConversationId, DeviceName, Seq};
use godwit_client::{
    Audience, Client, ConversationUpdate, Draft, Error, Event, Events, GroupSettings, PageRange, Past, ProfileUpdate,
    Role, Signal, TYPING,
};

use super::{message, next, open, soon, text, user};
use crate::server::Server;

async fn change(events: &mut Events) -> ConversationUpdate {
    loop {
        if let Event::Changed { change, .. } = next(events).await {
            return change;
        }
    }
}

/// Alice and Bob, and their conversation, of which each has seen the opening.
async fn two(server: &Server) -> (Client, Client, ConversationId) {
    let [alice, bob] = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(server, &alice).await, open(server, &bob).await);
    let id = alice.open_direct(&user("bob")).await.expect("opened");
    (alice, bob, id)
}

fn refused(result: Result<(), Error>, reason: u8) {
    match result {
        Err(Error::Refused(refusal)) => assert_eq!(refusal.reason.get(), reason, "{}", refusal.text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_an_edit_a_reaction_a_recall_and_what_history_makes_of_them() {
    let server = Server::with(&[("retention.history", "forever")]);
    let (alice, bob, id) = two(&server).await;
    let mut events = bob.events();
    soon("sent", alice.send(id, "hello").await.expect("queued").sent()).await.expect("taken");
    let hello = message(&mut events).await;
    let answer = Draft::new("hi").reply_to(hello.sequence);
    soon("sent", bob.send_draft(id, answer).await.expect("queued").sent()).await.expect("taken");
    let hi = message(&mut alice.events()).await;
    assert_eq!((text(&hi).as_str(), hi.reply_to), ("hi", Some(hello.sequence)));
    soon("sent", alice.send(id, "oops").await.expect("queued").sent()).await.expect("taken");
    let oops = message(&mut events).await;

    alice.edit(id, hello.sequence, "hello there").await.expect("edited");
    assert_eq!(change(&mut events).await, ConversationUpdate::Edited(hello.sequence, "hello there".into()));
    bob.react(id, hello.sequence, "+1").await.expect("reacted");
    alice.recall(id, oops.sequence).await.expect("taken back");
    assert_eq!(change(&mut events).await, ConversationUpdate::Reacted(hello.sequence, "+1".to_owned()));
    assert_eq!(change(&mut events).await, ConversationUpdate::Recalled(oops.sequence));
    refused(bob.edit(id, hello.sequence, "mine").await, 0x87);

    let all = bob.history(id, PageRange { oldest_first: true, limit: 4, ..PageRange::default() }).await.expect("kept");
    let messages = all.items.iter().filter_map(|past| match past {
        Past::Message(it) => Some((it.body.clone(), it.edited, it.recalled, it.reply_to.is_some(), it.reactions.len())),
        Past::Changed { .. } => None,
    });
    let expected = [
        ("hello there".into(), true, false, false, 1),
        ("hi".into(), false, false, true, 0),
        ("".into(), false, true, false, 0),
    ];
    assert_eq!(messages.collect::<Vec<_>>(), expected);
    assert_eq!(all.next, Some(oops.sequence));
    let rest = PageRange { after: oops.sequence, oldest_first: true, ..PageRange::default() };
    let rest = bob.history(id, rest).await.expect("kept");
    assert_eq!((rest.items.len(), rest.next), (3, None));

    let summary = bob.all_conversations(None).await.expect("listed").items.remove(0);
    assert_eq!((summary.id, summary.members.len(), summary.unread), (id, 2, 1));
    bob.delete_conversation(id).await.expect("deleted");
    assert_eq!(bob.all_conversations(None).await.expect("listed").items, []);
    alice.set_retention(id, Some(7), Some(Duration::from_secs(60))).await.expect("set");
    assert!(matches!(change(&mut events).await, ConversationUpdate::Retention(it) if it.expires_in_s == 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_seen_by_who_is_there_and_not_in_saver_mode() {
    let server = Server::start();
    let (alice, bob, id) = two(&server).await;
    let (mut bobs, mut alices) = (bob.signals(), alice.signals());
    // A subscription may be on its way yet.
    let typing = async {
        loop {
            alice.typing(id);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let signal = tokio::select! {
        signal = soon("typing", bobs.next()) => signal.expect("open"),
        () = typing => unreachable!(),
    };
    let Signal::Said { conversation, member, body } = signal else { panic!("{signal:?}") };
    assert_eq!((conversation, &body[..]), (id, TYPING));
    assert_eq!(
        alice.conversation(id).await.expect("kept").expect("known").member(member).map(|it| &it.user),
        Some(&user("alice"))
    );
    bob.set_saver(true);
    // What is sent after this was answered finds him without a subscription.
    soon("quiet", async {
        let seen = bob.traffic().of(godwit_client::Purpose::Connection).received;
        while bob.traffic().of(godwit_client::Purpose::Connection).received == seen {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    while bobs.try_next().is_some() {}
    alice.signal(id, "waving");
    bob.typing(id);
    soon("sent", alice.send(id, "later").await.expect("queued").delivered()).await.expect("taken");
    assert_eq!(bobs.try_next(), None);
    assert_eq!(alices.try_next(), None, "who saves does not say it either");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_settings_and_invites() {
    let server = Server::start();
    let (alice, bob, _) = two(&server).await;
    let carol = open(&server, &server.add_user("carol", "phone")).await;
    let group = alice.create_group("trip", &[user("bob")]).await.expect("made");
    let settings = GroupSettings { may_send: Role::Admin.into(), ..GroupSettings::default() };
    alice.change_settings(group, settings).await.expect("changed");
    refused(soon("answered", bob.send(group, "may I?").await.expect("queued").sent()).await, 0x87);
    alice.set_role(group, &user("bob"), Role::Admin).await.expect("given");
    soon("taken", bob.send(group, "I may").await.expect("queued").sent()).await.expect("taken");
    let invite = bob.create_invite(group, Some(Duration::from_secs(60))).await.expect("made");
    assert!(invite.expires_at.is_some());
    assert_eq!(carol.join(&invite.invite).await.expect("joined"), group);
    let listed = alice.invites(group).await.expect("listed");
    assert_eq!((listed.len(), &listed[0].invite, listed[0].by), (1, &invite.invite, invite.by));
    alice.revoke_invite(&invite.invite).await.expect("revoked");
    carol.leave(group).await.expect("left");
    refused(carol.join(&invite.invite).await.map(drop), 0x90);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_blocked_users_and_phone_numbers() {
    let server = Server::start();
    let (alice, bob, id) = two(&server).await;
    let tablet = open(&server, &server.add_device("bob", "tablet")).await;
    let (phone, lost) = (DeviceName::new("phone").expect("a name"), DeviceName::new("tablet").expect("a name"));
    bob.label_device(&phone, "Bob's phone").await.expect("labelled");
    let devices = bob.devices().await.expect("listed");
    assert_eq!((devices[0].label.as_str(), devices[0].connected, devices.len()), ("Bob's phone", true, 2));
    let mut status = tablet.status();
    bob.remove_device(&lost).await.expect("removed");
    soon("cut off", status.wait_for(|it| matches!(it, godwit_client::Status::Refused(_)))).await.expect("told");

    bob.block(&user("alice")).await.expect("blocked");
    assert_eq!(bob.blocked().await.expect("listed"), [user("alice")]);
    soon("sent", alice.send(id, "nobody hears").await.expect("queued").sent()).await.expect("taken");
    bob.unblock(&user("alice")).await.expect("unblocked");
    soon("sent", alice.send(id, "hello").await.expect("queued").sent()).await.expect("taken");
    assert_eq!(text(&message(&mut bob.events()).await), "hello");

    assert_eq!(server.run(&["user", "phone", "bob", "+4930123456"]).code, Some(0));
    // printf +4930123456 | sha256sum
    let hash = "a909469fabf3f43d0b7b6c42a85a6e7e8ceb36c7a2f0f1b9c15b80dc16384cb7";
    let hash: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).expect("hex")).collect();
    let found = alice.look_up_phones(&[hash.try_into().expect("32 bytes"), [0; 32]]).await.expect("looked up");
    assert_eq!((found.len(), &found[0].user, found[0].waiting), (1, &user("bob"), false));
    refused(alice.recall(id, Seq::new(99)).await, 0x90);
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_contacts_and_who_is_online() {
    let server = Server::with(&[("limits.offline_after_s", "1")]);
    let (alice, bob, _) = two(&server).await;
    let change = ProfileUpdate { name: Some("Bob".to_owned()), about: Some("walks".to_owned()), ..Default::default() };
    bob.set_profile(change).await.expect("set");
    let profile = alice.profile(Some(&user("bob"))).await.expect("shown");
    assert_eq!((profile.name.as_str(), profile.about.as_str()), ("Bob", "walks"));
    let mut signals = alice.signals();
    alice.add_contact(&user("bob"), "my friend").await.expect("added");
    bob.add_contact(&user("alice"), "").await.expect("added");
    let contacts = alice.contacts(None).await.expect("listed");
    let contact = &contacts.items[0];
    assert_eq!((&contact.user, contact.label.as_str(), contact.name.as_str()), (&user("bob"), "my friend", "Bob"));
    assert_eq!(contacts.next, None);
    let presence = async |signals: &mut godwit_client::Signals| loop {
        match soon("presence", signals.next()).await.expect("open") {
            Signal::Presence(presence) => return presence,
            Signal::Said { .. } => {}
        }
    };
    assert!(presence(&mut signals).await.online, "he lets his contacts see it");
    assert!(alice.presence(&[user("bob")]).await.expect("asked")[0].online);
    bob.close().await.expect("closed");
    // That he is online may have been told for each of the two contacts.
    let gone = loop {
        let told = presence(&mut signals).await;
        if !told.online {
            break told;
        }
    };
    assert!(gone.last_seen.is_some(), "{gone:?}");
    let hidden = ProfileUpdate { presence_to: Some(Audience::Nobody), ..Default::default() };
    alice.set_profile(hidden).await.expect("set");
    assert_eq!(alice.profile(None).await.expect("shown").presence_to, Audience::Nobody);
    alice.remove_contact(&user("bob")).await.expect("removed");
    assert_eq!(alice.contacts(None).await.expect("listed").items, []);
}
