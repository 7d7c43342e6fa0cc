//! The full screen: keys, events and the clock, each of which may change what is drawn. Whatever happens, the terminal is
//! given back as it was.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use crossterm::event::{Event as Input, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::execute;
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, OptionFuture};
use futures::stream::{SelectAll, StreamExt as _};
use godwit_client::ids::ConversationId;
use godwit_client::{ConversationUpdate, Event, Recipient};
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::files::{self, FileReports};
use crate::session::{ChatSession, CommandOutcome};
use crate::shown::{Shown, shown};
use crate::view::ScreenModel;
use crate::words;

/// Changes that come this close together are drawn at once.
const FRAME: Duration = Duration::from_millis(30);
/// Ages grow.
const TICK: Duration = Duration::from_secs(20);
/// How often others are told that this user types.
const TYPING: Duration = Duration::from_secs(3);
/// Screen lines of a page.
const PAGE: usize = 10;

/// Until the person ends it.
pub(crate) async fn run(session: &ChatSession, device: &str) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init().context("take the terminal over; for pipes there is --lines")?;
    // Pasted lines are text, not keys.
    _ = execute!(std::io::stdout(), crossterm::event::EnableBracketedPaste);
    let ended = chat(session, device, &mut terminal).await;
    _ = execute!(std::io::stdout(), crossterm::event::DisableBracketedPaste);
    ratatui::restore();
    ended
}

async fn chat(session: &ChatSession, device: &str, terminal: &mut ratatui::DefaultTerminal) -> anyhow::Result<()> {
    let mut view = ScreenModel::new(shown![session.client.user().clone(), "/", Shown::name(device)]);
    let mut older = Older::default();
    let mut keys = EventStream::new();
    let (mut changes, mut status) = (session.client.changes(), session.client.status());
    let (mut events, mut signals) = (session.client.events(), session.client.signals());
    let mut said_typing: Option<Instant> = None;
    let mut clock = interval(TICK);
    let mut files: SelectAll<FileReports<'static>> = SelectAll::new();
    loop {
        changes.mark_unchanged();
        view.load(session).await?;
        older.begin(session, &view);
        terminal.draw(|frame| crate::draw::draw(frame, &view, SystemTime::now())).context("draw")?;
        tokio::select! {
            key = keys.next() => match key.transpose().context("read the keyboard")? {
                None => return Ok(()),
                Some(Input::Key(key)) if key.kind != KeyEventKind::Release => {
                    match pressed(session, &mut view, key).await {
                        Some(CommandOutcome::Quit) => return Ok(()),
                        Some(CommandOutcome::Said(said) | CommandOutcome::Failed(said)) => view.say(said),
                        // How far a file is that goes up is beside it.
                        Some(done @ CommandOutcome::Coming(_)) => files.extend(done.about_files()),
                        Some(CommandOutcome::Sent(..) | CommandOutcome::Going(_)) | None => {}
                    }
                    if said_typing.is_none_or(|said| said.elapsed() > TYPING) && view.types_words() {
                        said_typing = Some(Instant::now());
                        session.typing();
                    }
                }
                Some(Input::Paste(text)) => view.input.insert(&text),
                Some(_) => {}
            },
            // What is on the screen is in the store; the events themselves say what is not.
            delivery = events.next() => {
                let delivery = delivery?;
                tell(session, &mut view, &delivery.event).await?;
                events.confirm(&delivery).await?;
            }
            Some(told) = files.next() => view.say(told.line),
            // What came is among the messages.
            Some(()) = older.next() => {}
            Some(signal) = signals.next() => view.hear(session, &signal).await?,
            () = sleep_until(view.typing_ends().unwrap_or_else(Instant::now)), if view.typing_ends().is_some() => {}
            _ = changes.changed() => sleep(FRAME).await,
            _ = status.changed() => {}
            _ = clock.tick() => {}
        }
    }
}

/// Messages from the server's history, for a conversation of which the beginning is on the screen: one page at a time.
#[derive(Default)]
struct Older {
    under_way: OptionFuture<LocalBoxFuture<'static, (ConversationId, bool)>>,
    is_under_way: bool,
    /// There is nothing before what is here, or nobody said so.
    over: HashSet<ConversationId>,
}

impl Older {
    fn begin(&mut self, session: &ChatSession, view: &ScreenModel) {
        let Some(Recipient::Conversation(id)) = session.to() else { return };
        let is_online = view.status == godwit_client::Status::Online;
        if !is_online || self.is_under_way || self.over.contains(&id) || view.back + PAGE < view.lines.len() {
            return;
        }
        let client = session.client.clone();
        let load = async move { (id, client.load_older(id).await.unwrap_or(false)) };
        (self.under_way, self.is_under_way) = (Some(load.boxed_local()).into(), true);
    }

    /// Cancel safe. `None`: nothing is under way.
    async fn next(&mut self) -> Option<()> {
        let (id, more) = (&mut self.under_way).await?;
        (self.under_way, self.is_under_way) = (None.into(), false);
        if !more {
            self.over.insert(id);
        }
        Some(())
    }
}

/// Says what a person would not see otherwise: what happens to messages is seen at them.
async fn tell(session: &ChatSession, view: &mut ScreenModel, event: &Event) -> anyhow::Result<()> {
    match event {
        Event::Changed {
            change: ConversationUpdate::Recalled(_) | ConversationUpdate::Edited(..) | ConversationUpdate::Reacted(..),
            ..
        } => {}
        Event::Changed { conversation, by, change, checked, .. } => {
            let known = session.client.conversation(*conversation).await?;
            if let Some(known) = known.filter(|known| known.group) {
                let what = words::changed(&known, *by, change, *checked);
                view.say(shown![session.place_of(&known), ": ", what]);
            }
        }
        Event::Refused { to, refusal, .. } => {
            view.say(shown!["not sent to ", session.place(to).await, ": ", Shown::error(refusal)]);
        }
        Event::Missing { conversation, first, last } => {
            let place = session.place(&(*conversation).into()).await;
            view.say(shown![place, ": messages ", *first, " to ", *last, " did not come"]);
        }
        Event::FileFailed { to, name, failure, .. } => {
            let (file, to) = (files::name(name), session.place(to).await);
            view.say(shown![file, " not sent to ", to, ": ", Shown::error(failure)]);
        }
        Event::ServerRestored { lost } => view.say(words::restored(lost.len())),
        Event::Undecryptable { conversation, sequence, why } => {
            let place = session.place(&(*conversation).into()).await;
            view.say(shown![place, ": message ", *sequence, " cannot be read: ", Shown::error(why)]);
        }
        Event::Plaintext { conversation, body, .. } => {
            let place = session.place(&(*conversation).into()).await;
            view.say(shown![place, ": ", words::plaintext(body)]);
        }
        Event::GroupReset { conversation, user, .. } => {
            let place = session.place(&(*conversation).into()).await;
            view.say(shown![place, ": ", words::group_reset(user.as_ref())]);
        }
        Event::IdentityChanged { user } => view.say(words::identity_changed(user)),
        Event::Message(message) => {
            if let Some(user) = &message.user {
                view.types_no_more(message.conversation, user);
            }
        }
        Event::Receipt { .. } => {}
    }
    Ok(())
}

/// A key, and what came of it.
async fn pressed(session: &ChatSession, view: &mut ScreenModel, key: KeyEvent) -> Option<CommandOutcome> {
    view.say(Shown::default());
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match (key.code, control) {
        (KeyCode::Char('c' | 'd' | 'q'), true) => return Some(CommandOutcome::Quit),
        (KeyCode::Char('w'), true) => view.input.delete_word(),
        (KeyCode::Char('u'), true) => drop(view.input.take()),
        (KeyCode::Char('a'), true) | (KeyCode::Home, _) => view.input.home(),
        (KeyCode::Char('e'), true) | (KeyCode::End, _) => view.input.end(),
        (KeyCode::Char('n'), true) | (KeyCode::Tab | KeyCode::Down, _) => view.step(session, true),
        (KeyCode::Char('p'), true) | (KeyCode::BackTab | KeyCode::Up, _) => view.step(session, false),
        (KeyCode::PageUp, _) => view.back += PAGE,
        (KeyCode::PageDown, _) => view.back = view.back.saturating_sub(PAGE),
        (KeyCode::Left, _) => view.input.left(),
        (KeyCode::Right, _) => view.input.right(),
        (KeyCode::Backspace, _) => view.input.backspace(),
        (KeyCode::Delete, _) => view.input.delete(),
        (KeyCode::Esc, _) => view.back = 0,
        (KeyCode::Char(c), false) => view.input.insert(c.encode_utf8(&mut [0; 4])),
        (KeyCode::Enter, _) => {
            let line = view.input.take();
            view.back = 0;
            return Some(session.carry_out(&line).await);
        }
        _ => {}
    }
    None
}
