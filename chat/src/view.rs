//! What the screen shows, taken from the store: the list of conversations, the one that is open, and what was said last
//! by the program itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use godwit_client::ids::{ConversationId, Seq, UserId};
use godwit_client::{Conversation, Error, Message, Recipient, SendState, Signal, Status, TYPING as TYPED};
use tokio::time::Instant;

use crate::files;
use crate::input::Input;
use crate::session::ChatSession;
use crate::shown::{Shown, shown};
use crate::words;

/// Messages of the open conversation that are kept for scrolling.
const MESSAGES: usize = 500;

/// How long somebody is shown as typing who does not say so again.
const TYPING: Duration = Duration::from_secs(5);

/// A conversation in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConversationRow {
    pub(crate) to: Recipient,
    pub(crate) name: Shown,
    /// The other side of a direct conversation.
    pub(crate) other: Option<UserId>,
    /// Messages of others that this user has not read.
    pub(crate) unread: u64,
    pub(crate) at: SystemTime,
}

/// A message of the open conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageLine {
    /// `None`: this user.
    pub(crate) from: Option<Shown>,
    /// What it answers, in short.
    pub(crate) answers: Option<Shown>,
    pub(crate) text: Shown,
    /// Who reacts how.
    pub(crate) reactions: Shown,
    pub(crate) at: SystemTime,
    /// Of what this device sent.
    pub(crate) state: Option<SendState>,
}

/// What the screen shows, apart from the terminal.
#[derive(Debug)]
pub(crate) struct ScreenModel {
    /// Who chats, as `user/device`.
    pub(crate) who: Shown,
    pub(crate) status: Status,
    pub(crate) rows: Vec<ConversationRow>,
    /// The open one, in `rows`.
    pub(crate) open: Option<usize>,
    pub(crate) lines: Vec<MessageLine>,
    /// Who types where, and until when that is shown.
    pub(crate) typing: Vec<(ConversationId, UserId, Instant)>,
    /// Contacts that are online.
    pub(crate) online: Vec<UserId>,
    /// Screen lines that are scrolled back.
    pub(crate) back: usize,
    pub(crate) notice: Shown,
    pub(crate) input: Input,
}

impl ScreenModel {
    pub(crate) fn new(who: Shown) -> Self {
        let input = Input::default();
        let (rows, lines, typing) = (Vec::new(), Vec::new(), Vec::new());
        let notice = shown!["/help says what may be typed"];
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
    pub(crate) async fn load(&mut self, session: &ChatSession) -> Result<(), Error> {
        let client = &session.client;
        let now = Instant::now();
        self.typing.retain(|(.., until)| *until > now);
        self.status = client.status().borrow().clone();
        if self.status != Status::Online {
            self.online.clear();
        }
        let mut rows: Vec<_> = client.conversations().await?.into_iter().map(|it| row(it, client.user())).collect();
        if let Some(to) = session.to() {
            let to = session.known(to).await?;
            session.talk(to.clone());
            if !rows.iter().any(|row| row.to == to) {
                let name = session.place(&to).await;
                let other = if let Recipient::User(user) = &to { Some(user.clone()) } else { None };
                rows.insert(0, ConversationRow { to, name, other, unread: 0, at: SystemTime::now() });
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

    async fn load_lines(&mut self, session: &ChatSession, to: &Recipient) -> Result<(), Error> {
        if let Recipient::Conversation(id) = to {
            let messages = session.client.messages(*id, None, MESSAGES).await?;
            let newest = messages.iter().rev().find(|(message, _)| !message.mine);
            if let Some((newest, _)) = newest.filter(|_| self.back == 0) {
                session.client.mark_read(*id, newest.sequence).await?;
                if let Some(row) = self.open.and_then(|open| self.rows.get_mut(open)) {
                    row.unread = 0;
                }
            }
            self.lines.extend(messages.iter().map(|(message, state)| line(message, state.clone(), &messages)));
        }
        let (answers, reactions) = (None, Shown::default());
        let pending =
            MessageLine { from: None, answers, text: Shown::default(), reactions, at: UNIX_EPOCH, state: None };
        for send in session.client.pending(to.clone()).await? {
            let files = send.media.iter().map(|media| shown!["[", files::name(&media.name), "]"]);
            let text = with_files(Shown::join(files, " "), Shown::text(&send.body));
            self.lines.push(MessageLine { text, at: send.queued_at, state: Some(send.state), ..pending.clone() });
        }
        for file in session.client.files().await? {
            if session.known(file.to.clone()).await? == *to {
                let shown_file = files::shown_going(&file.name, file.size, &file.state);
                let (text, at) = (with_files(shown_file, Shown::text(&file.caption)), file.queued_at);
                self.lines.push(MessageLine { text, at, state: Some(SendState::Queued), ..pending.clone() });
            }
        }
        Ok(())
    }

    /// Opens the next conversation of the list, or the one before.
    pub(crate) fn step(&mut self, session: &ChatSession, forward: bool) {
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
    pub(crate) async fn hear(&mut self, session: &ChatSession, signal: &Signal) -> Result<(), Error> {
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
            self.types_no_more(id, &member.user);
            self.typing.push((id, member.user.clone(), Instant::now() + TYPING));
        }
        Ok(())
    }

    /// Somebody has said it, or says again that it types.
    pub(crate) fn types_no_more(&mut self, id: ConversationId, user: &UserId) {
        self.typing.retain(|(of, who, _)| (*of, who) != (id, user));
    }

    /// This user types, and no command.
    pub(crate) fn types_words(&self) -> bool {
        let text = self.input.text();
        !text.is_empty() && !text.starts_with(['/', '@', '#'])
    }

    /// The other side of the open conversation is online.
    pub(crate) fn is_online(&self) -> bool {
        let open = self.open.and_then(|open| self.rows.get(open));
        open.and_then(|row| row.other.as_ref()).is_some_and(|other| self.online.contains(other))
    }

    /// Who types in the open conversation.
    pub(crate) fn typing(&self) -> Vec<&UserId> {
        let open = self.open.and_then(|open| self.rows.get(open));
        let here = self.typing.iter().filter(|(id, ..)| open.is_some_and(|row| row.to == Recipient::Conversation(*id)));
        here.map(|(_, user, _)| user).collect()
    }

    /// When somebody is not shown as typing any more.
    pub(crate) fn typing_ends(&self) -> Option<Instant> {
        self.typing.iter().map(|(.., until)| *until).min()
    }

    /// What the program says.
    pub(crate) fn say(&mut self, notice: Shown) {
        self.notice = notice;
    }
}

fn row(conversation: Conversation, me: &UserId) -> ConversationRow {
    let other = conversation.other(me).map(|member| member.user.clone());
    ConversationRow {
        to: conversation.id.into(),
        name: words::title(&conversation, me),
        other,
        unread: conversation.unread,
        at: conversation.active_at,
    }
}

/// A message, beside those that are shown with it.
fn line(message: &Message, state: Option<SendState>, shown: &[(Message, Option<SendState>)]) -> MessageLine {
    let words = match message {
        _ if message.recalled => shown!["(taken back)"],
        _ if message.edited => shown![Shown::text(&message.body), " (edited)"],
        _ => Shown::text(&message.body),
    };
    let answered = |to: Seq| shown.iter().map(|(it, _)| it).find(|it| it.sequence == to);
    let reactions = message.reactions.iter().map(|it| {
        let who = it.user.as_ref().map_or_else(|| shown!["somebody"], |user| shown![user.clone()]);
        shown![Shown::name(&it.reaction), " ", who]
    });
    MessageLine {
        from: (!message.mine).then(|| sender(message)),
        answers: message.reply_to.map(|to| match answered(to) {
            Some(it) => shown![sender(it), ": ", short(it)],
            None => shown!["message ", to],
        }),
        text: with_files(files::shown(&message.media, message.sequence), words),
        reactions: Shown::join(reactions, ", "),
        at: message.at,
        state,
    }
}

fn sender(message: &Message) -> Shown {
    message.user.as_ref().map_or_else(|| shown!["?"], |user| shown![user.clone()])
}

/// A message in one short line.
fn short(message: &Message) -> Shown {
    match message.media.first() {
        _ if message.recalled => shown!["(taken back)"],
        Some(media) if message.body.is_empty() => shown!["[", files::name(&media.name), "]"],
        _ => Shown::name(&message.body),
    }
}

/// Files above the words that go with them.
fn with_files(files: Shown, words: Shown) -> Shown {
    match (files.is_empty(), words.is_empty()) {
        (true, _) => words,
        (false, true) => files,
        (false, false) => shown![files, "\n", words],
    }
}

/// An age is shown for what has a time at all.
pub(crate) fn has_time(at: SystemTime) -> bool {
    at > UNIX_EPOCH
}
