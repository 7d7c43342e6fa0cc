//! The full screen: keys, events and the clock, each of which may change what is drawn. Whatever happens, the terminal is
//! given back as it was.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use crossterm::event::{Event as Input, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::execute;
use futures::stream::{LocalBoxStream, SelectAll, StreamExt as _};
use godwit_client::Event;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::lines::changed;
use crate::session::{Done, Session};
use crate::view::View;

/// Changes that come this close together are drawn at once.
const FRAME: Duration = Duration::from_millis(30);
/// Ages grow.
const TICK: Duration = Duration::from_secs(20);
/// How often others are told that this user types.
const TYPING: Duration = Duration::from_secs(3);
/// Screen lines of a page.
const PAGE: usize = 10;

/// Until the person ends it.
pub(crate) async fn run(session: &Session, device: &str) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init().context("take the terminal over; for pipes there is --lines")?;
    // Pasted lines are text, not keys.
    _ = execute!(std::io::stdout(), crossterm::event::EnableBracketedPaste);
    let ended = chat(session, device, &mut terminal).await;
    _ = execute!(std::io::stdout(), crossterm::event::DisableBracketedPaste);
    ratatui::restore();
    ended
}

async fn chat(session: &Session, device: &str, terminal: &mut ratatui::DefaultTerminal) -> anyhow::Result<()> {
    let mut view = View::new(format!("{}/{device}", session.client.user()));
    let mut keys = EventStream::new();
    let (mut changes, mut status) = (session.client.changes(), session.client.status());
    let (mut events, mut signals) = (session.client.events(), session.client.signals());
    let mut said_typing: Option<Instant> = None;
    let mut clock = interval(TICK);
    let mut files: SelectAll<LocalBoxStream<'static, String>> = SelectAll::new();
    loop {
        changes.mark_unchanged();
        view.load(session).await?;
        terminal.draw(|frame| crate::draw::draw(frame, &view, SystemTime::now())).context("draw")?;
        tokio::select! {
            key = keys.next() => match key.transpose().context("read the keyboard")? {
                None => return Ok(()),
                Some(Input::Key(key)) if key.kind != KeyEventKind::Release => {
                    match pressed(session, &mut view, key).await {
                        Some(Done::Quit) => return Ok(()),
                        Some(Done::Said(said)) => view.say(&said),
                        // How far a file is that goes up is beside it.
                        Some(done @ Done::Coming(_)) => files.extend(done.about_files()),
                        Some(Done::Sent(..) | Done::Going(_)) | None => {}
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
            Some(line) = files.next() => view.say(line.trim_start_matches("* ")),
            Some(signal) = signals.next() => view.hear(session, &signal).await?,
            () = sleep_until(view.typing_ends().unwrap_or_else(Instant::now)), if view.typing_ends().is_some() => {}
            _ = changes.changed() => sleep(FRAME).await,
            _ = status.changed() => {}
            _ = clock.tick() => {}
        }
    }
}

/// Says what a person would not see otherwise.
async fn tell(session: &Session, view: &mut View, event: &Event) -> anyhow::Result<()> {
    match event {
        Event::Changed { conversation, change, .. } => {
            let known = session.client.conversation(*conversation).await?;
            if let Some(known) = known.filter(|known| known.group) {
                view.say(&format!("{}: {}", session.name(&known), changed(change)));
            }
        }
        Event::Refused { to, refusal, .. } => view.say(&format!("not sent to {to}: {refusal}")),
        Event::Missing { first, last, .. } => view.say(&format!("messages {first} to {last} did not come")),
        Event::FileFailed { to, name, failure, .. } => view.say(&format!("{name} not sent to {to}: {failure}")),
        Event::Message(_) | Event::Receipt { .. } => {}
    }
    Ok(())
}

/// A key, and what came of it.
async fn pressed(session: &Session, view: &mut View, key: KeyEvent) -> Option<Done> {
    view.say("");
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match (key.code, control) {
        (KeyCode::Char('c' | 'd' | 'q'), true) => return Some(Done::Quit),
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
