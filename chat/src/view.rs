//! What the screen shows, taken from the store: the list of conversations, the one that is open, and what was said last
//! by the program itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use godwit_client::ids::{ConversationId, Seq, UserId};
use godwit_client::{Error, Recipient, SendState, Signal, Status, TYPING as TYPED};
use tokio::time::Instant;

use crate::files;
use crate::input::Input;
use crate::session::Session;
use crate::text::{one_line, shown};

/// Messages of the open conversation that are kept for scrolling.
const MESSAGES: usize = 500;

/// How long somebody is shown as typing who does not say so again.
const TYPING: Duration = Duration::from_secs(5);

/// A conversation in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) to: Recipient,
    pub(crate) name: String,
    /// Others have written what this user has not read.
    pub(crate) unread: bool,
    pub(crate) at: SystemTime,
}

/// A message of the open conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// `None`: this user.
    pub(crate) from: Option<String>,
    pub(crate) text: String,
    pub(crate) at: SystemTime,
    /// Of what this device sent.
    pub(crate) state: Option<SendState>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct View {
    /// `user/device`.
    pub(crate) who: String,
    pub(crate) status: Status,
    pub(crate) rows: Vec<Row>,
    /// The open one, in `rows`.
    pub(crate) open: Option<usize>,
    pub(crate) lines: Vec<Line>,
    /// Who types where, and until when that is shown.
    pub(crate) typing: Vec<(Recipient, String, Instant)>,
    /// Contacts that are online.
    pub(crate) online: Vec<UserId>,
    /// Screen lines that are scrolled back.
    pub(crate) back: usize,
    pub(crate) notice: String,
    pub(crate) input: Input,
}

impl View {
    pub(crate) fn new(who: String) -> Self {
        let input = Input::default();
        let (rows, lines, typing) = (Vec::new(), Vec::new(), Vec::new());
        let notice = "/help says what may be typed".to_owned();
        Self {
            who,
            status: Status::Connecting,
            rows,
            open: None,
            lines,
            typing,
            online: Vec::new(),
            back: 0,
            notice,
            input,
        }
    }

    /// Takes everything from the store anew, and tells the server that what is shown was read.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn load(&mut self, session: &Session) -> Result<(), Error> {
        let client = &session.client;
        let now = Instant::now();
        self.typing.retain(|(.., until)| *until > now);
        self.status = client.status().borrow().clone();
        if self.status != Status::Online {
            self.online.clear();
        }
        let mut rows = Vec::new();
        for it in client.conversations().await? {
            let unread = it.last_message > it.read_up_to && self.has_unread(session, it.id, it.read_up_to).await?;
            rows.push(Row { to: it.id.into(), name: session.name(&it), unread, at: it.active_at });
        }
        if let Some(to) = session.to() {
            let to = session.known(to).await?;
            session.talk(to.clone());
            if !rows.iter().any(|row| row.to == to) {
                rows.insert(0, Row { name: to.to_string(), to, unread: false, at: SystemTime::now() });
            }
        } else if let Some(first) = rows.first() {
            session.talk(first.to.clone());
        }
        let to = session.to();
        self.open = to.as_ref().and_then(|to| rows.iter().position(|row| row.to == *to));
        self.rows = rows;
        self.lines = Vec::new();
        if let Some(to) = to {
            self.load_lines(session, &to).await?;
        }
        Ok(())
    }

    /// Own messages on other devices are no news either.
    async fn has_unread(&self, session: &Session, id: ConversationId, read: Seq) -> Result<bool, Error> {
        let messages = session.client.messages(id, None, 20).await?;
        Ok(messages.iter().any(|(message, _)| message.sequence > read && !message.mine))
    }

    async fn load_lines(&mut self, session: &Session, to: &Recipient) -> Result<(), Error> {
        if let Recipient::Conversation(id) = to {
            let messages = session.client.messages(*id, None, MESSAGES).await?;
            let newest = messages.iter().rev().find(|(message, _)| !message.mine);
            if let Some((newest, _)) = newest.filter(|_| self.back == 0) {
                session.client.mark_read(*id, newest.sequence).await?;
                if let Some(row) = self.open.and_then(|open| self.rows.get_mut(open)) {
                    row.unread = false;
                }
            }
            self.lines.extend(messages.into_iter().map(|(message, state)| {
                let from = message.user.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
                let from = (!message.mine).then_some(from);
                let words = match message {
                    _ if message.recalled => "(taken back)".to_owned(),
                    _ if message.edited => format!("{} (edited)", shown(&message.body)),
                    _ => shown(&message.body),
                };
                let text = with_files(files::shown(&message.media, message.sequence), words);
                Line { from, text, at: message.at, state }
            }));
        }
        let pending = session.client.pending(to.clone()).await?;
        self.lines.extend(pending.into_iter().map(|it| {
            let files = it.media.iter().map(|media| format!("[{}]", one_line(media.name.as_bytes())));
            let text = with_files(files.collect::<Vec<_>>().join(" "), shown(&it.body));
            Line { from: None, text, at: it.queued_at, state: Some(it.state) }
        }));
        for file in session.client.files().await? {
            if session.known(file.to.clone()).await? == *to {
                let shown_file = files::shown_going(&file.name, file.size, &file.state);
                let (text, at) = (with_files(shown_file, shown(&file.caption)), file.queued_at);
                self.lines.push(Line { from: None, text, at, state: Some(SendState::Queued) });
            }
        }
        Ok(())
    }

    /// Opens the next conversation of the list, or the one before.
    pub(crate) fn step(&mut self, session: &Session, forward: bool) {
        let count = self.rows.len();
        if count == 0 {
            return;
        }
        let next = match (self.open, forward) {
            (Some(open), true) => (open + 1) % count,
            (Some(open), false) => (open + count - 1) % count,
            (None, _) => 0,
        };
        session.talk(self.rows[next].to.clone());
        self.back = 0;
    }

    /// Somebody does something right now.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn hear(&mut self, session: &Session, signal: &Signal) -> Result<(), Error> {
        let (id, ordinal) = match signal {
            Signal::Said { conversation, member, body } if body == TYPED => (*conversation, *member),
            Signal::Said { .. } => return Ok(()),
            Signal::Presence(presence) => {
                self.online.retain(|user| *user != presence.user);
                self.online.extend(presence.online.then(|| presence.user.clone()));
                return Ok(());
            }
        };
        let known = session.client.conversation(id).await?;
        if let Some(member) = known.as_ref().and_then(|it| it.member(ordinal)) {
            let (to, name) = (Recipient::Conversation(id), member.user.to_string());
            self.typing.retain(|(of, who, _)| (of, who) != (&to, &name));
            self.typing.push((to, name, Instant::now() + TYPING));
        }
        Ok(())
    }

    /// This user types, and no command.
    pub(crate) fn types_words(&self) -> bool {
        let text = self.input.text();
        !text.is_empty() && !text.starts_with(['/', '@', '#'])
    }

    /// The other side of the open conversation is online.
    pub(crate) fn is_online(&self) -> bool {
        let open = self.open.and_then(|open| self.rows.get(open));
        open.is_some_and(|row| self.online.iter().any(|user| row.name == user.as_str()))
    }

    /// Who types in the open conversation.
    pub(crate) fn typing(&self) -> Vec<&str> {
        let open = self.open.and_then(|open| self.rows.get(open));
        let here = self.typing.iter().filter(|(to, ..)| open.is_some_and(|row| row.to == *to));
        here.map(|(_, name, _)| name.as_str()).collect()
    }

    /// When somebody is not shown as typing any more.
    pub(crate) fn typing_ends(&self) -> Option<Instant> {
        self.typing.iter().map(|(.., until)| *until).min()
    }

    /// What the program says.
    pub(crate) fn say(&mut self, notice: &str) {
        self.notice = notice.to_owned();
    }

    /// In a word.
    pub(crate) fn connection(&self) -> String {
        match &self.status {
            Status::Online => "online".to_owned(),
            Status::Connecting => "connecting".to_owned(),
            Status::Offline => "offline: what you write waits".to_owned(),
            Status::Refused(reason) => format!("refused ({:#04x}): see user, device and password", reason.get()),
            Status::Closed => "closed".to_owned(),
        }
    }
}

/// Files above the words that go with them.
fn with_files(files: String, words: String) -> String {
    match (files.is_empty(), words.is_empty()) {
        (true, _) => words,
        (false, true) => files,
        (false, false) => format!("{files}\n{words}"),
    }
}

/// A row's name as it is shown.
pub(crate) fn row_name(row: &Row) -> String {
    one_line(row.name.as_bytes())
}

/// An age is shown for what has a time at all.
pub(crate) fn has_time(at: SystemTime) -> bool {
    at > UNIX_EPOCH
}
