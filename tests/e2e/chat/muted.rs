//! Conversations that a user has muted.

use godwit_schemas::client::{self, Mute, request::Call};

use super::user::{User, WAYS};
use crate::server::Server;

fn mute(conversation: u64, for_s: u32, mentions_only: bool) -> Call {
    Call::SetMute(client::SetMute { conversation, for_s, mentions_only })
}

fn list(after: u64) -> Call {
    Call::ListMutes(client::ListMutes { after })
}

#[test]
fn a_conversation_is_muted_by_its_members_until_they_leave() {
    for way in WAYS {
        let server = Server::start();
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        let create = client::CreateGroup { title: "hikers".into(), users: vec!["bob".into()] };
        let id = alice.done(Call::CreateGroup(create)).conversation;
        carol.refused(mute(id, 60, false), 0x87);
        bob.done(mute(id, u32::MAX, true));
        assert_eq!(bob.done(list(0)).mutes, [Mute { conversation: id, for_s: u32::MAX, mentions_only: true }]);
        assert_eq!(bob.done(list(id)).mutes, []);
        assert_eq!(alice.done(list(0)).mutes, [], "each for itself");
        bob.done(mute(id, 0, false));
        assert_eq!(bob.done(list(0)).mutes, []);
        bob.done(mute(id, 60, false));
        let muted = bob.done(list(0)).mutes;
        assert!(muted.len() == 1 && (1..=60).contains(&muted[0].for_s), "{muted:?}");
        bob.done(Call::Leave(client::Leave { conversation: id }));
        assert_eq!(bob.done(list(0)).mutes, [], "it ends with the membership");
    }
}
