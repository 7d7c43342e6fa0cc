//! A user is in so many conversations and no more.

use godwit_schemas::client::{AddMember, CreateGroup, CreateInvite, Join, Leave, OpenDirect, request::Call};

use super::user::{User, WAYS, Way};
use crate::mqtt::Version;
use crate::server::Server;

const LIMIT: &str = "limits.conversations_per_user";

fn open(user: &str) -> Call {
    Call::OpenDirect(OpenDirect { user: user.to_owned() })
}

fn create(user: &str) -> Call {
    Call::CreateGroup(CreateGroup { title: "walkers".to_owned(), users: vec![user.to_owned()] })
}

#[test]
fn who_is_in_as_many_conversations_as_allowed_opens_and_joins_no_more_and_is_not_added() {
    for way in WAYS {
        let server = Server::with(&[(LIMIT, "2")]);
        let accounts = ["alice", "carol", "dave"].map(|user| server.add_user(user, "phone"));
        server.add_user("bob", "phone");
        let [mut alice, mut carol, mut dave] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        let group = alice.done(create("bob")).conversation;
        alice.send("to/carol", "as many as there may be");
        for call in [open("dave"), create("dave")] {
            alice.refused(call, 0x97);
        }
        alice.send_refused("to/dave", "one more", 0x97);
        dave.refused(open("alice"), 0x97);
        dave.send_refused("to/alice", "one more", 0x97);

        let conversation = carol.done(create("dave")).conversation;
        carol.refused(Call::AddMember(AddMember { conversation, user: "alice".to_owned() }), 0x97);
        let invited = carol.done(Call::CreateInvite(CreateInvite { conversation, expires_in_s: 0 }));
        let join = || Call::Join(Join { invite: invited.invites[0].invite.clone() });
        alice.refused(join(), 0x97);
        alice.done(Call::Leave(Leave { conversation: group }));
        alice.done(join());
        alice.refused(open("bob"), 0x97);
    }
}

#[test]
fn who_is_in_more_than_a_lowered_limit_allows_keeps_what_there_is() {
    let mut server = Server::start();
    let [alice, _, _] = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
    let way = Way::Mqtt(Version::V5);
    let mut user = User::connect(&server, &alice, way);
    let group = user.done(create("bob")).conversation;
    user.send("to/bob", "hello");
    user.leave();
    server.set(LIMIT, "1");
    server.kill_and_start();
    let mut user = User::connect(&server, &alice, way);
    user.send("to/bob", "hello");
    user.send(&format!("send/{group}"), "hello");
    user.done(open("bob"));
    user.send_refused("to/carol", "hello", 0x97);
}
