//! The line mode, for pipes and scripts: commands from standard input, events on standard output, a line each. What is
//! printed is confirmed, so the next start goes on behind it. Lines that begin with a star are about something; no other
//! line begins with one, since those of messages begin with the name of a user.

use std::collections::HashSet;
use std::io::{BufRead as _, Write as _};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::stream::{SelectAll, StreamExt as _, once};
use godwit_client::ids::{ConversationId, Ordinal};
use godwit_client::{ConversationUpdate, Error, Event, Message, OfflineCause, Recipient, SendHandle, Status};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::end::ChatFailure;
use crate::files::{self, EventAbout, FileReport, FileReports};
use crate::session::{ChatSession, CommandOutcome};
use crate::shown::{Shown, shown};
use crate::words;

/// How long the end waits for the events of what has failed. They are in the store when the failure is told.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

/// Until the input ends and everything is sent, or, with `follow`, until it is interrupted. `wait`: how long what was
/// written may wait for a connection when the input has ended.
pub(crate) async fn run(session: &ChatSession, follow: bool, wait: Duration) -> Result<(), ChatFailure> {
    let mut typed = typed();
    let mut events = session.client.events();
    let mut run = Run::new(session, wait);
    let mut ended = false;
    let mut confirmed_by: Option<Instant> = None;
    // One for the whole loop: another would not hear of a Ctrl-C that came while something else was done.
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    if (&mut interrupted).now_or_never().is_some() {
        return run.finish();
    }
    loop {
        tokio::select! {
            line = typed.recv(), if !ended => match line {
                None => ended = true,
                Some(line) => if run.take(line).await? {
                    return run.finish();
                },
            },
            delivery = events.next() => {
                let delivery = delivery?;
                run.tell(&delivery.event).await?;
                if let Event::Message(message) = &delivery.event {
                    session.client.mark_read(message.conversation, message.sequence).await?;
                }
                events.confirm(&delivery).await?;
            }
            // Nothing may come of one that has ended, which is news all the same.
            told = run.under_way.next(), if !run.under_way.is_empty() => {
                if let Some(told) = told {
                    run.print(&told)?;
                }
            }
            changed = run.status.changed() => {
                changed.map_err(|_| Error::Closed)?;
                // What has been typed would be lost with it: it is kept for the next time.
                while run.gets_none() && let Ok(line) = typed.try_recv() {
                    run.take(line).await?;
                }
                run.connection_changed()?;
            }
            () = sleep_until(run.gives_up), if ended && !follow && !run.is_online => return Err(run.unreachable()),
            () = sleep_until(confirmed_by.unwrap_or_else(Instant::now)), if confirmed_by.is_some() => return run.finish(),
            _ = &mut interrupted => return run.finish(),
        }
        if ended && !follow && run.under_way.is_empty() {
            if run.unconfirmed.is_empty() {
                return run.finish();
            }
            confirmed_by.get_or_insert_with(|| Instant::now() + CONFIRMED_WITHIN);
        }
    }
}

/// What is going on, and what has gone wrong so far.
struct Run<'a> {
    session: &'a ChatSession,
    under_way: SelectAll<FileReports<'a>>,
    status: watch::Receiver<Status>,
    is_online: bool,
    /// Why it is not, as it was told last.
    cause: Option<OfflineCause>,
    wait: Duration,
    /// When nobody waits for a connection any more.
    gives_up: Instant,
    /// What this run sends says itself what becomes of it.
    own: HashSet<EventAbout>,
    /// Those of them that were told to have failed, and whose event is still to be confirmed.
    unconfirmed: HashSet<EventAbout>,
    failed: bool,
    not_text: bool,
}

impl<'a> Run<'a> {
    fn new(session: &'a ChatSession, wait: Duration) -> Self {
        let mut status = session.client.status();
        // What it is now is news here.
        status.mark_changed();
        Self {
            session,
            under_way: SelectAll::new(),
            status,
            is_online: false,
            cause: None,
            wait,
            gives_up: Instant::now() + wait,
            own: HashSet::new(),
            unconfirmed: HashSet::new(),
            failed: false,
            not_text: false,
        }
    }

    /// A line was typed. True: it was the end.
    async fn take(&mut self, line: Vec<u8>) -> Result<bool, ChatFailure> {
        let Ok(line) = String::from_utf8(line) else {
            self.not_text = true;
            print(&shown!["* not done: a line that is not UTF-8"])?;
            return Ok(false);
        };
        match self.session.carry_out(&line).await {
            CommandOutcome::Quit => return Ok(true),
            CommandOutcome::Said(said) => said.lines().try_for_each(|line| print(&shown!["* ", line]))?,
            CommandOutcome::Failed(why) => {
                self.failed = true;
                why.lines().try_for_each(|line| print(&shown!["* ", line]))?;
            }
            CommandOutcome::Sent(to, handle) => {
                self.own.insert(EventAbout::Send(handle.id()));
                self.under_way.push(once(outcome(self.session, to, handle)).boxed_local());
            }
            other => {
                if let CommandOutcome::Going(going) = &other {
                    self.own.extend(going.iter().map(|(_, handle)| EventAbout::File(handle.id())));
                }
                self.under_way.extend(other.about_files());
            }
        }
        Ok(false)
    }

    fn print(&mut self, told: &FileReport) -> Result<(), ChatFailure> {
        self.failed |= told.failed;
        // Unless the event came first.
        self.unconfirmed.extend(told.event.filter(|about| self.own.contains(about)));
        print(&told.line)
    }

    async fn tell(&mut self, event: &Event) -> Result<(), ChatFailure> {
        let about = match event {
            Event::Refused { send, .. } => Some(EventAbout::Send(*send)),
            Event::FileFailed { file, .. } => Some(EventAbout::File(*file)),
            _ => None,
        };
        if let Some(about) = about {
            self.unconfirmed.remove(&about);
            if self.own.remove(&about) {
                return Ok(());
            }
            self.failed = true;
        }
        match told(self.session, event).await? {
            Some(line) => print(&line),
            None => Ok(()),
        }
    }

    /// Whether there is no connection, and waiting does not help.
    fn gets_none(&self) -> bool {
        match &*self.status.borrow() {
            Status::Refused(_) => true,
            Status::Offline(cause) => !cause.retry_helps(),
            _ => false,
        }
    }

    /// Says once why there is no connection, and ends where waiting does not help.
    fn connection_changed(&mut self) -> Result<(), ChatFailure> {
        let status = self.status.borrow_and_update().clone();
        let was_online = std::mem::replace(&mut self.is_online, status == Status::Online);
        if was_online && !self.is_online {
            self.gives_up = Instant::now() + self.wait;
        }
        match status {
            Status::Online if self.cause.take().is_some() => print(&shown!["* online"]),
            Status::Offline(cause) => {
                let is_news = self.cause.as_ref() != Some(&cause);
                self.cause = Some(cause.clone());
                if !cause.retry_helps() {
                    return Err(ChatFailure::Protocol(self.kept(&Shown::error(&cause))));
                }
                if is_news { print(&shown!["* ", words::offline(&cause)]) } else { Ok(()) }
            }
            Status::Refused(_) => Err(self.refused(&status)),
            _ => Ok(()),
        }
    }

    fn refused(&self, status: &Status) -> ChatFailure {
        ChatFailure::NotAdmitted(self.kept(&words::connection(status)))
    }

    fn unreachable(&self) -> ChatFailure {
        let cause = self.cause.as_ref().map_or_else(|| shown!["no answer from the server"], Shown::error);
        ChatFailure::Unreachable(self.kept(&cause))
    }

    /// A reason to end, and what becomes of what was written.
    fn kept(&self, why: &Shown) -> String {
        let kept = if self.under_way.is_empty() { "" } else { "; what was not sent is kept, and sent next time" };
        shown![why, kept].as_str().to_owned()
    }

    fn finish(&self) -> Result<(), ChatFailure> {
        let status = self.status.borrow();
        match &*status {
            Status::Refused(_) if self.failed || !self.under_way.is_empty() => Err(self.refused(&status)),
            Status::Offline(cause) if self.failed && !cause.retry_helps() => {
                Err(ChatFailure::Protocol(self.kept(&Shown::error(cause))))
            }
            _ if self.failed && !self.is_online && self.cause.is_some() => Err(self.unreachable()),
            _ if self.failed => Err(ChatFailure::NotDone),
            _ if self.not_text => Err(ChatFailure::NotText),
            _ => Ok(()),
        }
    }
}

/// The lines of standard input, from a thread of their own: reading it blocks.
fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (sender, typed) = mpsc::channel(16);
    thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    typed
}

async fn outcome(session: &ChatSession, to: Recipient, handle: SendHandle) -> FileReport {
    let sent = handle.sent().await;
    let place = session.place(&to).await;
    match sent {
        Ok(()) => FileReport { line: shown!["* sent to ", place], failed: false, event: None },
        Err(error) => {
            let event = matches!(error, Error::Refused(_)).then_some(EventAbout::Send(handle.id()));
            FileReport { line: shown!["* not sent to ", place, ": ", Shown::error(error)], failed: true, event }
        }
    }
}

async fn told(session: &ChatSession, event: &Event) -> Result<Option<Shown>, Error> {
    let client = &session.client;
    let place = async |id: ConversationId| session.place(&id.into()).await;
    Ok(match event {
        Event::Message(said) => Some(message(session, said).await?),
        Event::Changed { conversation, by, change, checked, .. } => {
            let known = client.conversation(*conversation).await?;
            // A direct conversation has no members to speak of.
            let amends = matches!(
                change,
                ConversationUpdate::Recalled(_)
                    | ConversationUpdate::Edited(..)
                    | ConversationUpdate::Reacted(..)
                    | ConversationUpdate::Encrypted
            );
            known.filter(|known| known.group || amends).map(|known| {
                let what = words::changed(&known, *by, change, *checked);
                shown!["* ", session.place_of(&known), " (#", *conversation, "): ", what]
            })
        }
        Event::Receipt { conversation, user: Some(user), read_up_to, delivered_up_to, .. } if user != client.user() => {
            let (received, read) = (*delivered_up_to, *read_up_to);
            let place = place(*conversation).await;
            Some(shown!["* ", user.clone(), " in ", place, ": received up to ", received, ", read up to ", read])
        }
        Event::Receipt { .. } => None,
        Event::Missing { conversation, first, last } => {
            Some(shown!["* ", place(*conversation).await, ": ", *first, " to ", *last, " did not come"])
        }
        Event::Refused { to, refusal, .. } => {
            Some(shown!["* not sent to ", session.place(to).await, ": ", Shown::error(refusal)])
        }
        Event::ServerRestored { lost } => Some(shown!["* ", words::restored(lost.len())]),
        Event::Undecryptable { conversation, sequence, why } => Some(shown![
            "* ",
            place(*conversation).await,
            ": message ",
            *sequence,
            " cannot be read: ",
            Shown::error(why)
        ]),
        Event::Plaintext { conversation, body, .. } => {
            Some(shown!["* ", place(*conversation).await, ": ", words::plaintext(body)])
        }
        Event::GroupReset { conversation, user, .. } => {
            Some(shown!["* ", place(*conversation).await, ": ", words::group_reset(user.as_ref())])
        }
        Event::IdentityChanged { user } => Some(shown!["* ", words::identity_changed(user)]),
        Event::FileFailed { to, name, failure, .. } => {
            let (file, to) = (files::name(name), session.place(to).await);
            Some(shown!["* ", file, " not sent to ", to, ": ", Shown::error(failure)])
        }
    })
}

/// Who says what, and where, if that is not between the two.
async fn message(session: &ChatSession, message: &Message) -> Result<Shown, Error> {
    let conversation = session.client.conversation(message.conversation).await?;
    let unknown = |sender: Ordinal| shown!["member ", sender.get()];
    let mut line = message.user.as_ref().map_or_else(|| unknown(message.sender), |user| shown![user.clone()]);
    if let Some(known) = conversation.filter(|known| known.group || message.mine) {
        line = shown![line, " in ", session.place_of(&known)];
    }
    if let Some(to) = message.reply_to {
        line = shown![line, " to message ", to];
    }
    let words = if message.recalled { shown!["(taken back)"] } else { Shown::line(&message.body) };
    let said = [files::shown(&message.media, message.sequence), words].into_iter().filter(|part| !part.is_empty());
    Ok(shown![line, ": ", Shown::join(said, " ")])
}

/// The only way to standard output.
fn print(line: &Shown) -> Result<(), ChatFailure> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", line.as_str()).and_then(|()| out.flush());
    Ok(written.context("write to standard output")?)
}
