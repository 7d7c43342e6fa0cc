//! What a person does with the client, in either mode: whom is being talked to, and commands carried out.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use futures::stream::{self, LocalBoxStream, StreamExt as _};
use godwit_client::ids::{ConversationId, Seq};
use godwit_client::{
    Client, Conversation, Draft, Error, FileDraft, FileHandle, Message, Purpose, Recipient, Saving, SendHandle, Status,
};

use crate::command::{Command, HELP};
use crate::files;
use crate::text::one_line;

/// How far back a message is looked for that `/edit` and others mean.
const LOOKED_AT: usize = 200;

/// See the module.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// Whom is being talked to.
    to: RefCell<Option<Recipient>>,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Done {
    /// It says this, if anything.
    Said(String),
    /// A message is on its way.
    Sent(Recipient, SendHandle),
    /// Files are on their way, with their names.
    Going(Vec<(String, FileHandle)>),
    /// Files are being saved, or are not.
    Coming(Vec<Result<(PathBuf, Saving), String>>),
    /// The end.
    Quit,
}

impl Done {
    /// Lines about files, as they come.
    pub(crate) fn about_files(self) -> Vec<LocalBoxStream<'static, String>> {
        let line = |line: String| stream::once(async { line }).boxed_local();
        match self {
            Self::Going(going) => going.into_iter().map(|(name, handle)| files::going(&handle, name)).collect(),
            Self::Coming(coming) => {
                let lines = coming.into_iter().map(|it| match it {
                    Ok((path, saving)) => files::coming(saving, path),
                    Err(why) => line(format!("* not saved: {why}")),
                });
                lines.collect()
            }
            Self::Said(_) | Self::Sent(..) | Self::Quit => Vec::new(),
        }
    }
}

impl Session {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, to: RefCell::new(None) }
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
    pub(crate) async fn carry_out(&self, line: &str) -> Done {
        match Command::parse(line) {
            Ok(None) => Done::Said(String::new()),
            Ok(Some(command)) => match self.run(command).await {
                Ok(done) => done,
                Err(error) if error.retry_helps() => Done::Said(format!("{error}; try again later")),
                Err(error) => Done::Said(error.to_string()),
            },
            Err(wrong) => Done::Said(wrong),
        }
    }

    async fn run(&self, command: Command) -> Result<Done, Error> {
        let client = &self.client;
        match command {
            Command::Say(words) => match self.to() {
                Some(to) => return self.say(to, Draft::new(words)).await,
                None => return Ok(Done::Said("to whom? begin with @user".to_owned())),
            },
            Command::Talk(to, words) => {
                let to = self.known(to).await?;
                self.talk(to.clone());
                if !words.is_empty() {
                    return self.say(to, Draft::new(words)).await;
                }
            }
            Command::Group { title, users } => {
                let id = client.create_group(&title, &users).await?;
                self.talk(id.into());
            }
            Command::Send(path, caption) => match self.to() {
                Some(to) => return self.send(to, FileDraft::new(path).caption(caption)).await,
                None => return Ok(Done::Said("to whom? begin with @user".to_owned())),
            },
            Command::Pause(pause) => return self.pause(pause).await,
            Command::Cancel => {
                for (_, file) in self.going().await? {
                    file.cancel().await?;
                }
            }
            Command::Quit => return Ok(Done::Quit),
            Command::Help => return Ok(Done::Said(HELP.to_owned())),
            Command::Network => client.network_changed(),
            Command::Saver(saver) => client.set_saver(saver),
            Command::Block(user, true) => client.block(&user).await?,
            Command::Block(user, false) => client.unblock(&user).await?,
            Command::Traffic => return Ok(Done::Said(self.traffic())),
            Command::List => {
                let conversations = client.conversations().await?;
                let lines = conversations.iter().map(|it| format!("#{} {}", it.id, self.name(it)));
                return Ok(Done::Said(lines.collect::<Vec<_>>().join("\n")));
            }
            command => return self.run_in_conversation(command).await,
        }
        Ok(Done::Said(String::new()))
    }

    async fn run_in_conversation(&self, command: Command) -> Result<Done, Error> {
        let id = match self.to() {
            Some(Recipient::Conversation(id)) => Some(id),
            Some(Recipient::User(user)) => self.client.direct(&user).await?,
            Some(Recipient::Phone(_)) | None => None,
        };
        let Some(id) = id else { return Ok(Done::Said("in which conversation? see /list".to_owned())) };
        match command {
            Command::Add(user) => self.client.add_member(id, &user).await?,
            Command::Remove(user) => self.client.remove_member(id, &user).await?,
            Command::Rename(title) => self.client.rename(id, &title).await?,
            Command::Leave => self.client.leave(id).await?,
            Command::Reply(words) => match self.last(id, false).await? {
                Some(to) => return self.say(id.into(), Draft::new(words).reply_to(to)).await,
                None => return Ok(Done::Said("nobody has said anything".to_owned())),
            },
            Command::React(reaction) => match self.last(id, false).await? {
                Some(to) => self.client.react(id, to, &reaction).await?,
                None => return Ok(Done::Said("nobody has said anything".to_owned())),
            },
            Command::Edit(words) => match self.last(id, true).await? {
                Some(at) => self.client.edit(id, at, words).await?,
                None => return Ok(Done::Said("you have said nothing".to_owned())),
            },
            Command::Save(at, path) => {
                let messages = self.client.messages(id, None, LOOKED_AT).await?;
                let wanted = |it: &Message| match at {
                    Some(at) => it.sequence == at,
                    None => !it.mine,
                };
                let found = messages.iter().rev().map(|(it, _)| it).find(|it| !it.media.is_empty() && wanted(it));
                return Ok(found.map_or_else(|| Done::Said("there is no file".to_owned()), |it| self.save(it, &path)));
            }
            Command::Undo => match self.last(id, true).await? {
                Some(at) => self.client.recall(id, at).await?,
                None => return Ok(Done::Said("you have said nothing".to_owned())),
            },
            _ => return Ok(Done::Said(self.who(id).await?)),
        }
        Ok(Done::Said(String::new()))
    }

    /// The last message of this user, or of somebody else.
    async fn last(&self, id: ConversationId, mine: bool) -> Result<Option<Seq>, Error> {
        let messages = self.client.messages(id, None, LOOKED_AT).await?;
        let last = messages.iter().rev().find(|(message, _)| message.mine == mine && !message.recalled);
        Ok(last.map(|(message, _)| message.sequence))
    }

    async fn say(&self, to: Recipient, draft: Draft) -> Result<Done, Error> {
        let handle = self.client.send_draft(to.clone(), draft).await?;
        self.try_again();
        Ok(Done::Sent(to, handle))
    }

    /// Somebody is there and writes: that is the moment, if there is no connection.
    fn try_again(&self) {
        if *self.client.status().borrow() == Status::Offline {
            self.client.network_changed();
        }
    }

    async fn send(&self, to: Recipient, file: FileDraft) -> Result<Done, Error> {
        let handle = self.client.send_file(to, file).await?;
        self.try_again();
        let files = self.client.files().await?;
        let name = files.iter().find(|it| it.id == handle.id()).map(|it| one_line(it.name.as_bytes()));
        Ok(Done::Going(vec![(name.unwrap_or_default(), handle)]))
    }

    /// Files that are being sent, with their names.
    async fn going(&self) -> Result<Vec<(String, FileHandle)>, Error> {
        let mut going = Vec::new();
        for file in self.client.files().await? {
            let handle = self.client.follow_file(file.id).await?;
            going.extend(handle.map(|handle| (one_line(file.name.as_bytes()), handle)));
        }
        Ok(going)
    }

    async fn pause(&self, pause: bool) -> Result<Done, Error> {
        let going = self.going().await?;
        for (_, file) in &going {
            // What is over meanwhile says so itself.
            _ = if pause { file.pause().await? } else { file.resume().await? };
        }
        Ok(if pause { Done::Said(String::new()) } else { Done::Going(going) })
    }

    /// Into a folder all files of a message, otherwise the first.
    fn save(&self, message: &Message, path: &Path) -> Done {
        let all = if path.is_dir() { message.media.len() } else { 1 };
        let files = message.media.iter().take(all).map(|media| {
            let path = files::place(path, media)?;
            Ok((path.clone(), self.client.save_file(message.conversation, media, path)))
        });
        Done::Coming(files.collect())
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

    async fn who(&self, id: ConversationId) -> Result<String, Error> {
        let Some(it) = self.client.conversation(id).await? else { return Ok("not known yet".to_owned()) };
        let lines = it.members.iter().filter(|member| member.present).map(|member| {
            let (delivered, read) = (member.delivered_up_to, member.read_up_to);
            format!("{} ({:?}): received up to {delivered}, read up to {read}", member.user, member.role)
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn traffic(&self) -> String {
        let lines = Purpose::ALL.iter().map(|purpose| {
            let bytes = self.client.traffic().of(*purpose);
            format!("{purpose:?}: {} bytes sent, {} received", bytes.sent, bytes.received)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What a conversation is called.
    pub(crate) fn name(&self, it: &Conversation) -> String {
        if it.group {
            return one_line(if it.title.is_empty() { b"(no title)" } else { it.title.as_bytes() });
        }
        match it.other(self.client.user()) {
            Some(other) => other.user.to_string(),
            None if it.members.is_empty() => format!("#{}", it.id),
            None => "me".to_owned(),
        }
    }
}
