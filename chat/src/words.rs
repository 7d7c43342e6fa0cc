//! What happened, in words: who did what. Of a message only what this device has checked is told as a fact.

use godwit_client::ids::{Ordinal, Seq, UserId};
use godwit_client::{Conversation, ConversationUpdate, OfflineCause, Role, Status};

use crate::shown::{Shown, shown};

/// A member, by name where it is known.
pub(crate) fn member(conversation: &Conversation, ordinal: Ordinal) -> Shown {
    conversation.member(ordinal).map_or_else(|| shown!["member ", ordinal.get()], |member| shown![member.user])
}

/// A change of a conversation, by this member. `checked`: see `Event::Changed`.
pub(crate) fn changed(conversation: &Conversation, by: Ordinal, change: &ConversationUpdate, checked: bool) -> Shown {
    let who = member(conversation, by);
    match change {
        ConversationUpdate::Opened { members, .. } => {
            let names = members.iter().map(|member| shown![member.user]);
            shown!["you are in a group of ", Shown::join(names, ", ")]
        }
        ConversationUpdate::Added(added) if added.ordinal == by => shown![who, " joined"],
        ConversationUpdate::Added(added) => shown![who, " added ", added.user],
        ConversationUpdate::Removed(removed) if *removed == by => shown![who, " left"],
        ConversationUpdate::Removed(removed) => shown![who, " removed ", member(conversation, *removed)],
        ConversationUpdate::Renamed(title) => shown![who, " calls it ", Shown::quoted(title)],
        ConversationUpdate::Role(member) => shown![who, " made ", member.user, " ", role(member.role)],
        ConversationUpdate::Settings(_) => shown![who, " changed what members may do"],
        ConversationUpdate::Retention(_) => shown![who, " changed how long messages are kept"],
        ConversationUpdate::Encrypted => shown![who, " has messages encrypted from end to end from now on"],
        ConversationUpdate::Recalled(at) if checked => shown![who, " took message ", *at, " back"],
        ConversationUpdate::Edited(at, body) if checked => {
            shown![who, " changed message ", *at, ": ", Shown::line(body)]
        }
        ConversationUpdate::Recalled(at) | ConversationUpdate::Edited(at, _) => not_here(who, *at),
        ConversationUpdate::Reacted(at, reaction) if reaction.is_empty() => {
            shown![who, " does not react to message ", *at, " any more"]
        }
        ConversationUpdate::Reacted(at, reaction) => {
            shown![who, " reacts to message ", *at, " with ", Shown::quoted(reaction)]
        }
    }
}

/// Nobody knows whether it was the sender.
fn not_here(who: Shown, at: Seq) -> Shown {
    shown![who, " wants to change message ", at, ", which is not on this device"]
}

/// What a member is.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

/// What a conversation is called, as it is.
pub(crate) fn title(conversation: &Conversation, me: &UserId) -> Shown {
    match conversation.other(me) {
        _ if conversation.group && conversation.title.is_empty() => shown!["(no title)"],
        _ if conversation.group => Shown::name(&conversation.title),
        Some(other) => shown![other.user],
        None if conversation.members.is_empty() => shown!["#", conversation.id],
        None => shown!["me"],
    }
}

/// The same among other words: a title, which anybody may have chosen, in quotes.
pub(crate) fn place(conversation: &Conversation, me: &UserId) -> Shown {
    if conversation.group { Shown::quoted(&conversation.title) } else { title(conversation, me) }
}

/// Whether there is a connection, and why not.
pub(crate) fn connection(status: &Status) -> Shown {
    match status {
        Status::Online => shown!["online"],
        Status::Connecting => shown!["connecting"],
        Status::Offline(cause) => offline(cause),
        Status::Refused(reason) => {
            let text = format!("refused ({:#04x}): see user, device and password", reason.get());
            Shown::error(text)
        }
        Status::Closed => shown!["closed"],
    }
}

/// The server has forgotten something, and so many conversations as a whole.
pub(crate) fn restored(lost: usize) -> Shown {
    let what = "the server was restored from a backup and has forgotten what came after it";
    match lost {
        0 => shown![what],
        lost => Shown::text(format!("{what}; conversations that are gone: {lost}").as_bytes()),
    }
}

/// A message that was not sealed, where all are.
pub(crate) fn plaintext(body: &[u8]) -> Shown {
    shown!["not encrypted, so nobody knows who wrote it: ", Shown::line(body)]
}

/// The keys of an encrypted conversation were made anew.
pub(crate) fn group_reset(user: Option<&UserId>) -> Shown {
    match user {
        Some(user) => shown![user.clone(), " has made new keys for this conversation: it goes on encrypted"],
        None => shown!["this conversation has new keys: it goes on encrypted"],
    }
}

/// A user has another identity key.
pub(crate) fn identity_changed(user: &UserId) -> Shown {
    shown![user.clone(), " has other keys than before: compare safety numbers before you trust what is written"]
}

/// Why there is no connection.
pub(crate) fn offline(cause: &OfflineCause) -> Shown {
    shown!["offline: ", Shown::error(cause)]
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::SystemTime;

    use godwit_client::ids::ConversationId;
    use godwit_client::{Bytes, Member};

    use super::*;

    pub(crate) fn group(title: &str, users: &[&str]) -> Conversation {
        let members = users.iter().enumerate().map(|(at, user)| Member {
            ordinal: Ordinal::new(at as u32),
            user: UserId::new(user).unwrap(),
            role: Role::Member,
            present: true,
            delivered_up_to: Seq::default(),
            read_up_to: Seq::default(),
        });
        Conversation {
            id: ConversationId::new(99),
            encrypted: false,
            group: true,
            title: title.to_owned(),
            members: members.collect(),
            read_up_to: Seq::default(),
            unread: 0,
            last_message: Seq::default(),
            last: None,
            active_at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn who_did_it_is_named_and_only_what_is_checked_is_a_fact() {
        let it = group("walk", &["alice", "bob"]);
        let told = |by, change: &ConversationUpdate, checked| {
            changed(&it, Ordinal::new(by), change, checked).as_str().to_owned()
        };
        let edited = ConversationUpdate::Edited(Seq::new(2), Bytes::from_static(b"a\n* sent to bob\x1b[2J"));
        assert_eq!(told(1, &edited, true), "bob changed message 2: a\u{23CE} * sent to bob\u{FFFD}[2J");
        assert_eq!(told(1, &edited, false), "bob wants to change message 2, which is not on this device");
        assert_eq!(told(1, &ConversationUpdate::Recalled(Seq::new(2)), true), "bob took message 2 back");
        assert!(!told(1, &ConversationUpdate::Recalled(Seq::new(2)), false).contains("took"));
        assert_eq!(told(0, &ConversationUpdate::Removed(Ordinal::new(1)), true), "alice removed bob");
        assert_eq!(told(1, &ConversationUpdate::Removed(Ordinal::new(1)), true), "bob left");
        assert_eq!(told(7, &ConversationUpdate::Removed(Ordinal::new(7)), true), "member 7 left");
        assert_eq!(
            told(1, &ConversationUpdate::Renamed("x\": \u{202e}".into()), true),
            "bob calls it \"x': \u{FFFD}\""
        );
        let reacted = ConversationUpdate::Reacted(Seq::new(2), "+1".into());
        assert_eq!(told(1, &reacted, true), "bob reacts to message 2 with \"+1\"");
    }
}
