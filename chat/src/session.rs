//! What a person does with the client, in either mode: whom is being talked to, and commands carried out.

use std::cell::RefCell;

use godwit_client::ids::{ConversationId, Seq};
use godwit_client::{Client, Conversation, Draft, Error, Purpose, Recipient, SendHandle, Status};

use crate::command::{Command, HELP};
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
    /// The end.
    Quit,
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
            None => None,
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
        if *self.client.status().borrow() == Status::Offline {
            // Somebody is there and writes: that is the moment to try again.
            self.client.network_changed();
        }
        Ok(Done::Sent(to, handle))
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
