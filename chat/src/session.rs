//! What a person does with the client, in either mode: whom is being talked to, and commands carried out.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt as _};
use godwit_client::ids::{ConversationId, Seq, UserId};
use godwit_client::{
    Client, Conversation, Draft, Error, FileDraft, FileFailure, FileHandle, Message, Purpose, Recipient, Saving,
    SendHandle,
};

use crate::command::{ChatCommand, HELP, Muted};
use crate::encryption;
use crate::files::{self, FileReport, FileReports};
use crate::shown::{Shown, shown};
use crate::words;

/// How far back a message is looked for that `/edit` and others mean.
const LOOKED_AT: usize = 200;
/// Contacts that are listed, in pages of the server's.
const CONTACT_PAGES_MAX: usize = 50;

/// A client with the conversation that is open.
pub(crate) struct ChatSession {
    pub(crate) client: Client,
    /// Whom is being talked to.
    to: RefCell<Option<Recipient>>,
    /// Where files were, or are being, saved.
    places: RefCell<HashSet<PathBuf>>,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum CommandOutcome {
    /// It says this, if anything.
    Said(Shown),
    /// It was not carried out, for this reason.
    Failed(Shown),
    /// A message is on its way.
    Sent(Recipient, SendHandle),
    /// Files are on their way, with their names.
    Going(Vec<(Shown, FileHandle)>),
    /// Files are being saved, or are not.
    Coming(Vec<Result<(PathBuf, Saving), Shown>>),
    /// The end.
    Quit,
}

impl CommandOutcome {
    /// Lines about files, as they come.
    pub(crate) fn about_files(self) -> Vec<FileReports<'static>> {
        match self {
            Self::Going(going) => going.into_iter().map(|(name, handle)| files::going(&handle, name)).collect(),
            Self::Coming(coming) => {
                let lines = coming.into_iter().map(|it| match it {
                    Ok((path, saving)) => files::coming(saving, &path),
                    Err(why) => {
                        let told = FileReport { line: shown!["* not saved: ", why], failed: true, event: None };
                        stream::once(async { told }).boxed_local()
                    }
                });
                lines.collect()
            }
            Self::Said(_) | Self::Failed(_) | Self::Sent(..) | Self::Quit => Vec::new(),
        }
    }
}

fn said(words: Shown) -> Result<CommandOutcome, Error> {
    Ok(CommandOutcome::Said(words))
}

fn failed(words: &'static str) -> Result<CommandOutcome, Error> {
    Ok(CommandOutcome::Failed(shown![words]))
}

impl ChatSession {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, to: RefCell::default(), places: RefCell::default() }
    }

    /// Whom is being talked to.
    pub(crate) fn to(&self) -> Option<Recipient> {
        self.to.borrow().clone()
    }

    /// From now on to this one.
    pub(crate) fn talk(&self, to: Recipient) {
        *self.to.borrow_mut() = Some(to);
    }

    /// Tells whom is being talked to that this user types.
    pub(crate) fn typing(&self) {
        if let Some(Recipient::Conversation(id)) = self.to() {
            self.client.typing(id);
        }
    }

    /// Carries a line out. What goes wrong is said too.
    pub(crate) async fn carry_out(&self, line: &str) -> CommandOutcome {
        match ChatCommand::parse(line) {
            Ok(None) => CommandOutcome::Said(Shown::default()),
            Ok(Some(command)) => match self.run(command).await {
                Ok(done) => done,
                Err(error) if error.retry_helps() => {
                    CommandOutcome::Failed(shown![Shown::error(error), "; try again later"])
                }
                Err(error) => CommandOutcome::Failed(Shown::error(error)),
            },
            Err(wrong) => CommandOutcome::Failed(Shown::error(wrong)),
        }
    }

    async fn run(&self, command: ChatCommand) -> Result<CommandOutcome, Error> {
        let client = &self.client;
        match command {
            ChatCommand::Say(words) => match self.to() {
                Some(to) => return self.say(to, Draft::new(words)).await,
                None => return failed("to whom? begin with @user"),
            },
            ChatCommand::Talk(to, words) => return self.talk_to(to, words).await,
            ChatCommand::TalkIn(title, words) => match self.titled(&title).await? {
                Ok(id) => return self.talk_to(id.into(), words).await,
                Err(why) => return Ok(CommandOutcome::Failed(why)),
            },
            ChatCommand::Group { title, users } => {
                let id = client.create_group(&title, &users).await?;
                self.talk(id.into());
            }
            ChatCommand::Send(path, caption) => match self.to() {
                Some(to) => return self.send(to, &path, caption).await,
                None => return failed("to whom? begin with @user"),
            },
            ChatCommand::Pause(pause) => return self.pause(pause).await,
            ChatCommand::Cancel => {
                for (_, file) in self.going().await? {
                    file.cancel().await?;
                }
            }
            ChatCommand::Quit => return Ok(CommandOutcome::Quit),
            ChatCommand::Help => return said(shown![HELP]),
            ChatCommand::Network => client.network_changed(),
            ChatCommand::Saver(saver) => client.set_saver(saver),
            ChatCommand::Block(user, true) => client.block(&user).await?,
            ChatCommand::Block(user, false) => client.unblock(&user).await?,
            ChatCommand::Contact(user, label) => client.add_contact(&user, &label).await?,
            ChatCommand::NoContact(user) => client.remove_contact(&user).await?,
            ChatCommand::Verify(user, None) => return said(encryption::number(client, &user).await?),
            ChatCommand::Verify(user, Some(same)) => {
                client.verify(&user, None, same).await?;
                return said(shown![user, if same { " is verified" } else { " is not verified" }]);
            }
            ChatCommand::Link => return said(encryption::offer(client).await?),
            ChatCommand::LinkOther(code, sure) => return said(encryption::accept(client, &code, sure).await?),
            ChatCommand::Recovery(None) => match client.recovery_code().await? {
                Some(code) => return said(shown![Shown::line(code), "\nwrite it down, and show it to nobody"]),
                None => return failed("this device does not have it"),
            },
            ChatCommand::Recovery(Some(code)) => {
                client.recover(&code).await?;
                return said(shown!["this device has your keys now"]);
            }
            ChatCommand::Contacts => return said(self.contacts().await?),
            ChatCommand::Traffic => return said(self.traffic()),
            ChatCommand::List => {
                let conversations = client.conversations().await?;
                let lines = conversations.iter().map(|it| {
                    let lock = if it.encrypted { " (encrypted)" } else { "" };
                    shown!["#", it.id, " ", words::title(it, client.user()), lock]
                });
                return said(Shown::join(lines, "\n"));
            }
            command => return self.run_in_conversation(command).await,
        }
        said(Shown::default())
    }

    async fn run_in_conversation(&self, command: ChatCommand) -> Result<CommandOutcome, Error> {
        let id = match self.to() {
            Some(Recipient::Conversation(id)) => Some(id),
            Some(Recipient::User(user)) => self.client.direct(&user).await?,
            Some(Recipient::Phone(_)) | None => None,
        };
        let Some(id) = id else { return failed("in which conversation? see /list") };
        match command {
            ChatCommand::Add(user) => self.client.add_member(id, &user).await?,
            ChatCommand::Remove(user) => self.client.remove_member(id, &user).await?,
            ChatCommand::Rename(title) => self.client.rename(id, &title).await?,
            ChatCommand::Leave => self.client.leave(id).await?,
            ChatCommand::Encrypt => self.client.encrypt(id).await?,
            ChatCommand::Mute(Some(Muted { lasts, mentions_only })) => {
                self.client.mute(id, lasts, mentions_only).await?;
                return said(shown!["muted"]);
            }
            ChatCommand::Mute(None) => {
                self.client.unmute(id).await?;
                return said(shown!["muted no more"]);
            }
            ChatCommand::Save(at, path) => return self.save(id, at, &path).await,
            ChatCommand::Reply(words) => match self.last(id, false).await? {
                Some(to) => return self.say(id.into(), Draft::new(words).reply_to(to)).await,
                None => return failed("nobody has said anything"),
            },
            ChatCommand::React(reaction) => match self.last(id, false).await? {
                Some(to) => {
                    self.client.react(id, to, &reaction).await?;
                    return said(shown!["reacted to message ", to]);
                }
                None => return failed("nobody has said anything"),
            },
            ChatCommand::Edit(words) => match self.last(id, true).await? {
                Some(at) => {
                    self.client.edit(id, at, words).await?;
                    return said(shown!["message ", at, " is changed"]);
                }
                None => return failed("you have said nothing"),
            },
            ChatCommand::Undo => match self.last(id, true).await? {
                Some(at) => {
                    self.client.recall(id, at).await?;
                    return said(shown!["message ", at, " is taken back"]);
                }
                None => return failed("you have said nothing"),
            },
            _ => return said(self.who(id).await?),
        }
        said(Shown::default())
    }

    async fn talk_to(&self, to: Recipient, words: String) -> Result<CommandOutcome, Error> {
        let to = self.known(to).await?;
        self.talk(to.clone());
        if words.is_empty() { said(Shown::default()) } else { self.say(to, Draft::new(words)).await }
    }

    /// The group of this title. Anybody may give a group a title that looks like another's: one that is not the only one is
    /// none.
    async fn titled(&self, title: &str) -> Result<Result<ConversationId, Shown>, Error> {
        let looks = |title: &str| Shown::name(title).as_str().to_lowercase();
        let conversations = self.client.conversations().await?;
        let found: Vec<_> =
            conversations.iter().filter(|it| it.group && looks(&it.title) == looks(title)).map(|it| it.id).collect();
        Ok(match found[..] {
            [id] => Ok(id),
            [] => Err(shown!["there is no group of that title: see /list"]),
            _ => {
                let numbers = found.iter().map(|id| shown!["#", *id]);
                Err(shown!["several groups have that title: ", Shown::join(numbers, ", ")])
            }
        })
    }

    /// The last message of this user, or of somebody else.
    async fn last(&self, id: ConversationId, mine: bool) -> Result<Option<Seq>, Error> {
        let messages = self.client.messages(id, None, LOOKED_AT).await?;
        let last = messages.iter().rev().find(|(message, _)| message.mine == mine && !message.recalled);
        Ok(last.map(|(message, _)| message.sequence))
    }

    async fn say(&self, to: Recipient, draft: Draft) -> Result<CommandOutcome, Error> {
        let handle = self.client.send_draft(to.clone(), draft).await?;
        self.try_again();
        Ok(CommandOutcome::Sent(to, handle))
    }

    /// Somebody is there and writes: that is the moment, if there is no connection.
    fn try_again(&self) {
        if self.client.status().borrow().is_offline() {
            self.client.network_changed();
        }
    }

    async fn send(&self, to: Recipient, path: &Path, caption: String) -> Result<CommandOutcome, Error> {
        let handle = match self.client.send_file(to, FileDraft::new(path).caption(caption)).await {
            Err(Error::File(FileFailure::Gone)) => {
                return Ok(CommandOutcome::Failed(shown!["there is no file ", files::path_in_words(path)]));
            }
            sent => sent?,
        };
        self.try_again();
        let files = self.client.files().await?;
        let name = files.iter().find(|it| it.id == handle.id()).map(|it| files::name(&it.name));
        Ok(CommandOutcome::Going(vec![(name.unwrap_or_default(), handle)]))
    }

    /// Files that are being sent, with their names.
    async fn going(&self) -> Result<Vec<(Shown, FileHandle)>, Error> {
        let mut going = Vec::new();
        for file in self.client.files().await? {
            let handle = self.client.follow_file(file.id).await?;
            going.extend(handle.map(|handle| (files::name(&file.name), handle)));
        }
        Ok(going)
    }

    async fn pause(&self, pause: bool) -> Result<CommandOutcome, Error> {
        let going = self.going().await?;
        for (_, file) in &going {
            // What is over meanwhile says so itself.
            _ = if pause { file.pause().await? } else { file.resume().await? };
        }
        if pause { said(Shown::default()) } else { Ok(CommandOutcome::Going(going)) }
    }

    /// The files of a message, or of the last one of somebody else that has some: into a folder all, otherwise the first.
    async fn save(&self, id: ConversationId, at: Option<Seq>, path: &Path) -> Result<CommandOutcome, Error> {
        let messages = self.client.messages(id, None, LOOKED_AT).await?;
        let wanted = |it: &Message| match at {
            Some(at) => it.sequence == at,
            None => !it.mine,
        };
        let found = messages.iter().rev().map(|(it, _)| it).find(|it| !it.media.is_empty() && wanted(it));
        let Some(message) = found else { return failed("there is no file") };
        let all = if path.is_dir() { message.media.len() } else { 1 };
        let files = message.media.iter().take(all).map(|media| {
            let path = files::place(path, media, &mut self.places.borrow_mut())?;
            Ok((path.clone(), self.client.save_file(message.conversation, media, path)))
        });
        Ok(CommandOutcome::Coming(files.collect()))
    }

    /// A direct conversation goes by its number as soon as it has one.
    pub(crate) async fn known(&self, to: Recipient) -> Result<Recipient, Error> {
        Ok(match to {
            Recipient::User(user) => match self.client.direct(&user).await? {
                Some(id) => id.into(),
                None => user.into(),
            },
            to => to,
        })
    }

    async fn who(&self, id: ConversationId) -> Result<Shown, Error> {
        let Some(conversation) = self.client.conversation(id).await? else { return Ok(shown!["not known yet"]) };
        let lines = conversation.members.iter().filter(|member| member.present).map(|member| {
            let (delivered, read) = (member.delivered_up_to, member.read_up_to);
            let role = words::role(member.role);
            shown![member.user, " (", role, "): received up to ", delivered, ", read up to ", read]
        });
        Ok(Shown::join(lines, "\n"))
    }

    async fn contacts(&self) -> Result<Shown, Error> {
        let (mut lines, mut after): (_, Option<UserId>) = (Vec::new(), None);
        for _ in 0..CONTACT_PAGES_MAX {
            let page = self.client.contacts(after.as_ref()).await?;
            lines.extend(page.items.iter().map(|it| match [&it.label, &it.name].map(String::is_empty) {
                [true, true] => shown![it.user],
                [false, _] => shown![it.user, ": ", Shown::name(&it.label)],
                [true, false] => shown![it.user, ", who says it is ", Shown::quoted(&it.name)],
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(if lines.is_empty() { shown!["nobody yet: /contact NAME"] } else { Shown::join(lines, "\n") })
    }

    fn traffic(&self) -> Shown {
        let lines = Purpose::ALL.iter().map(|purpose| {
            let bytes = self.client.traffic().of(*purpose);
            let name = Shown::name(format!("{purpose:?}"));
            shown![name, ": ", bytes.sent, " bytes sent, ", bytes.received, " received"]
        });
        Shown::join(lines, "\n")
    }

    /// What a recipient is called among other words.
    pub(crate) async fn place(&self, to: &Recipient) -> Shown {
        match to {
            Recipient::Conversation(id) => match self.client.conversation(*id).await {
                Ok(Some(conversation)) => self.place_of(&conversation),
                _ => shown!["#", *id],
            },
            Recipient::User(user) => shown![user.clone()],
            Recipient::Phone(number) => Shown::name(number.to_string()),
        }
    }

    /// The same of a conversation.
    pub(crate) fn place_of(&self, conversation: &Conversation) -> Shown {
        words::place(conversation, self.client.user())
    }
}
