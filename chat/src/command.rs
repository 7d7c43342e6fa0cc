//! What a person may type: words to be sent, or a command.

use std::path::PathBuf;
use std::time::Duration;

use godwit_client::ids::{ConversationId, Seq, UserId};
use godwit_client::{MuteFor, PhoneNumber, Recipient};

/// A line of input, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChatCommand {
    /// Send to whom is being talked to.
    Say(String),
    /// Talk to a user or a conversation, and say this, if anything.
    Talk(Recipient, String),
    /// The same of a group of this title.
    TalkIn(String, String),
    /// Make a group.
    Group { title: String, users: Vec<UserId> },
    /// Add to the group.
    Add(UserId),
    /// Remove from the group.
    Remove(UserId),
    /// Leave the group.
    Leave,
    /// Give the group another title.
    Rename(String),
    /// Answer the last message of somebody else.
    Reply(String),
    /// Say something else in this user's last message.
    Edit(String),
    /// Take this user's last message back.
    Undo,
    /// React to the last message of somebody else.
    React(String),
    /// Send a file, with these words.
    Send(PathBuf, String),
    /// Files that are being sent wait, or go on.
    Pause(bool),
    /// Files that are being sent are not.
    Cancel,
    /// Save the files of a message, or the last ones.
    Save(Option<Seq>, PathBuf),
    /// Hear nothing of a user any more, or again.
    Block(UserId, bool),
    /// Be pushed of the conversation no more, for so long and but for mentions, or again.
    Mute(Option<Muted>),
    /// Have the conversation encrypted, for ever.
    Encrypt,
    /// What is compared with this user; or, if that was done, whether it is the same.
    Verify(UserId, Option<bool>),
    /// What this device shows to be linked.
    Link,
    /// What another device shows that is to be linked, and whether it was asked and answered.
    LinkOther(String, bool),
    /// The recovery code; or, typed, that of this user.
    Recovery(Option<String>),
    /// Know a user, by this label if it has one.
    Contact(UserId, String),
    /// Know it no more.
    NoContact(UserId),
    /// Whom this user knows.
    Contacts,
    /// Who is in the conversation, and how far.
    Who,
    /// All conversations.
    List,
    /// Saver mode on or off.
    Saver(bool),
    /// The network is another one.
    Network,
    /// Bytes so far.
    Traffic,
    /// What may be typed.
    Help,
    /// The end.
    Quit,
}

/// How a conversation is muted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Muted {
    pub(crate) lasts: MuteFor,
    pub(crate) mentions_only: bool,
}

/// What may be typed.
pub(crate) const HELP: &str = "\
@bob hello            talk to bob, and say hello; @+4930123456 to whoever has that phone number
#walk hello           the same in the group of that title, in quotes if there are spaces in it; #99 by conversation
/group walk bob carol make a group of you and others; /rename TITLE, /leave
/add bob, /remove bob members of the group
/reply yes            answers the last message of another; /react +1 reacts to it
/edit hello           changes your last message; /undo takes it back
/send photo.jpg look  sends a file, with words if you like; \"a name with spaces\" in quotes
/pause, /resume       files that are being sent; /cancel calls them off
/save photo.jpg       the last file you were sent; /save 7 photo.jpg that of message 7. A folder will do
/encrypt              messages of this conversation are encrypted from end to end, for ever
/verify bob           the number that you and bob compare; /verify bob yes if it is the same, no if it is not
/link                 what another device of yours scans or types to link this one: /link CODE there, and yes
/recovery             the code that brings back your keys when all devices are lost; /recovery CODE types it
/contact bob Bobby    know bob, as Bobby if you like: whoever you know may see you online; /uncontact bob, /contacts
/block bob, /unblock bob
/mute 8h              no push of this conversation for 8 hours, or 30m, or 2d; without a time for ever
/mute mentions 8h     the same, but for messages that mention you
/unmute               push it again
/who                  members, and how far they have received and read
/list                 all conversations
/saver on, /saver off fewer, larger pieces on a bad network; /traffic what it cost so far
/network              you are on another network: connect at once
/quit                 the end; what was not sent is sent next time
//text                says /text";

impl ChatCommand {
    /// Reads a line; `None`: there is nothing in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim_end();
        if line.trim().is_empty() {
            return Ok(None);
        }
        if let Some(rest) = line.strip_prefix('@') {
            let (name, words) = split(rest);
            return Ok(Some(Self::Talk(person(name)?, words.to_owned())));
        }
        if let Some(rest) = line.strip_prefix('#') {
            let (name, words) = quoted(rest)?;
            let words = words.to_owned();
            return Ok(Some(match name.parse() {
                Ok(id) if !rest.starts_with('"') => Self::Talk(ConversationId::new(id).into(), words),
                _ if name.is_empty() => return Err("in which conversation? see /list".to_owned()),
                _ => Self::TalkIn(name.to_owned(), words),
            }));
        }
        let Some(rest) = line.strip_prefix('/') else { return Ok(Some(Self::Say(line.to_owned()))) };
        if rest.starts_with('/') {
            return Ok(Some(Self::Say(rest.to_owned())));
        }
        Self::parse_command(rest).map(Some)
    }

    fn parse_command(text: &str) -> Result<Self, String> {
        let (name, rest) = split(text);
        Ok(match (name, rest) {
            ("group", rest) if !rest.is_empty() => {
                let (title, users) = quoted(rest)?;
                let users = users.split_whitespace().map(user).collect::<Result<_, _>>()?;
                Self::Group { title: title.to_owned(), users }
            }
            ("add", rest) => Self::Add(user(rest)?),
            ("remove", rest) => Self::Remove(user(rest)?),
            ("rename", rest) => Self::Rename(rest.to_owned()),
            ("saver", "on") => Self::Saver(true),
            ("saver", "off") => Self::Saver(false),
            ("reply", rest) if !rest.is_empty() => Self::Reply(rest.to_owned()),
            ("edit", rest) if !rest.is_empty() => Self::Edit(rest.to_owned()),
            ("react", rest) => Self::React(rest.to_owned()),
            ("undo", "") => Self::Undo,
            ("send", rest) => {
                let (path, caption) = path(rest)?;
                Self::Send(path, caption.to_owned())
            }
            ("pause", "") => Self::Pause(true),
            ("resume", "") => Self::Pause(false),
            ("cancel", "") => Self::Cancel,
            ("save", rest) => match (split(rest).0.parse(), split(rest).1) {
                (Ok(at), to) if !to.is_empty() => Self::Save(Some(Seq::new(at)), path(to)?.0),
                _ => Self::Save(None, path(rest)?.0),
            },
            ("block", rest) => Self::Block(user(rest)?, true),
            ("unblock", rest) => Self::Block(user(rest)?, false),
            ("mute", rest) => Self::Mute(Some(muted(rest)?)),
            ("unmute", "") => Self::Mute(None),
            ("encrypt", "") => Self::Encrypt,
            ("verify", rest) => match split(rest) {
                (name, "") => Self::Verify(user(name)?, None),
                (name, "yes") => Self::Verify(user(name)?, Some(true)),
                (name, "no") => Self::Verify(user(name)?, Some(false)),
                _ => return Err("is it the same? yes or no".to_owned()),
            },
            ("link", "") => Self::Link,
            ("link", rest) => match split(rest) {
                (code, "") => Self::LinkOther(code.to_owned(), false),
                (code, "yes") => Self::LinkOther(code.to_owned(), true),
                _ => return Err("is it your device? then /link CODE yes".to_owned()),
            },
            ("recovery", code) => Self::Recovery((!code.is_empty()).then(|| code.to_owned())),
            ("contact", rest) => Self::Contact(user(split(rest).0)?, split(rest).1.to_owned()),
            ("uncontact", rest) => Self::NoContact(user(rest)?),
            ("contacts", "") => Self::Contacts,
            ("leave", "") => Self::Leave,
            ("who", "") => Self::Who,
            ("list", "") => Self::List,
            ("network", "") => Self::Network,
            ("traffic", "") => Self::Traffic,
            ("help", _) => Self::Help,
            ("quit" | "exit" | "q", "") => Self::Quit,
            _ => return Err(format!("/{text} is not a command: see /help, and begin with // to say it")),
        })
    }
}

/// For how long, and whether but for mentions.
fn muted(text: &str) -> Result<Muted, String> {
    let (first, rest) = split(text);
    let (mentions_only, time) = if first == "mentions" { (true, rest) } else { (false, text) };
    let time = time.trim();
    if time.is_empty() {
        return Ok(Muted { lasts: MuteFor::Ever, mentions_only });
    }
    let unit_s = match time.bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => 0,
    };
    let number = time.get(..time.len() - 1).and_then(|number| number.parse::<u32>().ok());
    match number.map(|number| u64::from(number) * unit_s) {
        Some(seconds) if seconds > 0 => Ok(Muted { lasts: MuteFor::Time(Duration::from_secs(seconds)), mentions_only }),
        _ => Err(format!("{time:?} is no time like 30m, 8h or 2d")),
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(first, rest)| (first, rest.trim_start()))
}

/// A path, in quotes if there are spaces in it, and what is behind it.
fn path(text: &str) -> Result<(PathBuf, &str), String> {
    let (path, rest) = quoted(text)?;
    if path.is_empty() { Err("which file?".to_owned()) } else { Ok((path.into(), rest)) }
}

/// The first word, or what is in quotes, and what is behind it.
fn quoted(text: &str) -> Result<(&str, &str), String> {
    let (first, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a quote is open")?,
        None => split(text),
    };
    Ok((first, rest.trim_start()))
}

/// A user, or whoever has a phone number.
fn person(name: &str) -> Result<Recipient, String> {
    if name.starts_with('+') {
        return PhoneNumber::parse(name).map(Recipient::from).map_err(|error| format!("{name:?}: {error}"));
    }
    user(name).map(Recipient::from)
}

fn user(name: &str) -> Result<UserId, String> {
    UserId::new(name.trim_end()).map_err(|error| format!("{name:?} is not a user: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let bob = UserId::new("bob").unwrap();
        let parse = |line: &str| ChatCommand::parse(line).unwrap();
        assert_eq!(parse("  "), None);
        assert_eq!(parse("hello  there "), Some(ChatCommand::Say("hello  there".to_owned())));
        assert_eq!(parse("//quit"), Some(ChatCommand::Say("/quit".to_owned())));
        assert_eq!(parse("@bob"), Some(ChatCommand::Talk(bob.clone().into(), String::new())));
        assert_eq!(parse("@bob  hi you"), Some(ChatCommand::Talk(bob.clone().into(), "hi you".to_owned())));
        let id = ConversationId::new(99);
        assert_eq!(parse("#99 hi"), Some(ChatCommand::Talk(id.into(), "hi".to_owned())));
        let talk_in = |title: &str, words: &str| Some(ChatCommand::TalkIn(title.to_owned(), words.to_owned()));
        assert_eq!(parse("#walk hi\nyou"), talk_in("walk", "hi\nyou"));
        assert_eq!(parse("#\"a long walk\" hi"), talk_in("a long walk", "hi"));
        assert_eq!(parse("#\"99\""), talk_in("99", ""), "a title that is a number");
        assert_eq!(parse("/contact bob Bob B."), Some(ChatCommand::Contact(bob.clone(), "Bob B.".to_owned())));
        assert_eq!(parse("/uncontact bob"), Some(ChatCommand::NoContact(bob.clone())));
        let group = ChatCommand::Group { title: "walk".to_owned(), users: vec![bob.clone()] };
        assert_eq!(parse("/group walk bob"), Some(group));
        assert_eq!(parse("/add bob "), Some(ChatCommand::Add(bob)));
        assert_eq!(parse("/rename a long walk"), Some(ChatCommand::Rename("a long walk".to_owned())));
        assert_eq!(parse("/edit so it is"), Some(ChatCommand::Edit("so it is".to_owned())));
        assert_eq!(parse("/undo"), Some(ChatCommand::Undo));
        let muted = |lasts, mentions_only| Some(ChatCommand::Mute(Some(Muted { lasts, mentions_only })));
        assert_eq!(parse("/mute"), muted(MuteFor::Ever, false));
        assert_eq!(parse("/mute mentions 8h"), muted(MuteFor::Time(Duration::from_secs(28_800)), true));
        assert_eq!(parse("/unmute"), Some(ChatCommand::Mute(None)));
        let bob = UserId::new("bob").unwrap();
        assert_eq!(parse("/verify bob"), Some(ChatCommand::Verify(bob.clone(), None)));
        assert_eq!(parse("/verify bob yes"), Some(ChatCommand::Verify(bob, Some(true))));
        assert_eq!(parse("/link"), Some(ChatCommand::Link));
        assert_eq!(parse("/link 0a1b"), Some(ChatCommand::LinkOther("0a1b".to_owned(), false)));
        assert_eq!(parse("/link 0a1b yes"), Some(ChatCommand::LinkOther("0a1b".to_owned(), true)));
        assert_eq!(parse("/recovery 0A 1B"), Some(ChatCommand::Recovery(Some("0A 1B".to_owned()))));
        let number = PhoneNumber::parse("+4930123456").unwrap();
        assert_eq!(parse("@+4930123456 hi"), Some(ChatCommand::Talk(number.into(), "hi".to_owned())));
        assert_eq!(parse("/send a.jpg look at"), Some(ChatCommand::Send("a.jpg".into(), "look at".to_owned())));
        assert_eq!(parse("/send \"a b.jpg\""), Some(ChatCommand::Send("a b.jpg".into(), String::new())));
        assert_eq!(parse("/save a.jpg"), Some(ChatCommand::Save(None, "a.jpg".into())));
        assert_eq!(parse("/save 7 \"a b\""), Some(ChatCommand::Save(Some(Seq::new(7)), "a b".into())));
        assert_eq!(parse("/save 7"), Some(ChatCommand::Save(None, "7".into())));
        for bad in [
            "/edit",
            "/reply",
            "/undo all",
            "/link 0a1b no",
            "/block",
            "@",
            "@b/c hi",
            "#",
            "# hi",
            "#\"walk",
            "/contact",
            "/contacts bob",
            "/nothing",
            "/add",
            "/saver",
            "/send",
            "/send \"a",
            "/save",
            "@+1",
            "/leave now",
            "/mute soon",
            "/mute 0h",
            "/mute \u{e9}",
            "/encrypt all",
            "/verify bob perhaps",
        ] {
            assert!(ChatCommand::parse(bad).is_err(), "{bad}");
        }
    }
}
