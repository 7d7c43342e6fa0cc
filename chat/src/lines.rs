//! The line mode, for pipes and scripts: commands from standard input, events on standard output, a line each. What is
//! printed is confirmed, so the next start goes on behind it. Lines that begin with a star are about something.

use std::io::Write as _;
use std::thread;

use anyhow::Context as _;
use futures::stream::{LocalBoxStream, SelectAll, StreamExt as _, once};
use godwit_client::{Change, Error, Event, Recipient, SendHandle};
use tokio::sync::mpsc;

use crate::files;
use crate::session::{Done, Session};
use crate::text::one_line;

/// Until the input ends and everything is sent, or, with `follow`, until it is interrupted.
pub(crate) async fn run(session: &Session, follow: bool) -> anyhow::Result<()> {
    let mut typed = typed();
    let mut events = session.client.events();
    let mut on_their_way: SelectAll<LocalBoxStream<'_, String>> = SelectAll::new();
    let mut ended = false;
    loop {
        tokio::select! {
            line = typed.recv(), if !ended => match line {
                None => ended = true,
                Some(line) => match session.carry_out(&line).await {
                    Done::Quit => return Ok(()),
                    Done::Said(said) => said.lines().try_for_each(|line| print(&format!("* {line}")))?,
                    Done::Sent(to, handle) => on_their_way.push(once(outcome(session, to, handle)).boxed_local()),
                    other => on_their_way.extend(other.about_files()),
                },
            },
            delivery = events.next() => {
                let delivery = delivery?;
                if let Some(line) = told(session, &delivery.event).await? {
                    print(&line)?;
                }
                if let Event::Message(message) = &delivery.event {
                    session.client.mark_read(message.conversation, message.sequence).await?;
                }
                events.confirm(&delivery).await?;
            }
            // Nothing may come of one that has ended, which is news all the same.
            outcome = on_their_way.next(), if !on_their_way.is_empty() => {
                outcome.map_or(Ok(()), |outcome| print(&outcome))?;
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        if ended && !follow && on_their_way.is_empty() {
            return Ok(());
        }
    }
}

/// The lines of standard input, from a thread of their own: reading it blocks.
fn typed() -> mpsc::Receiver<String> {
    let (sender, typed) = mpsc::channel(16);
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    typed
}

async fn outcome(session: &Session, to: Recipient, handle: SendHandle) -> String {
    let name = name(session, &to).await;
    match handle.sent().await {
        Ok(()) => format!("* sent to {name}"),
        Err(error) => format!("* not sent to {name}: {error}"),
    }
}

async fn name(session: &Session, to: &Recipient) -> String {
    if let Recipient::Conversation(id) = to
        && let Ok(Some(it)) = session.client.conversation(*id).await
    {
        return session.name(&it);
    }
    to.to_string()
}

async fn told(session: &Session, event: &Event) -> Result<Option<String>, Error> {
    let client = &session.client;
    Ok(match event {
        Event::Message(it) => {
            let conversation = client.conversation(it.conversation).await?;
            let from = it.user.as_ref().map_or_else(|| format!("member {}", it.sender.get()), ToString::to_string);
            let place = match conversation.filter(|known| known.group || it.mine) {
                Some(known) => format!("{from} in {}", session.name(&known)),
                None => from,
            };
            let words = if it.recalled { "(taken back)".to_owned() } else { one_line(&it.body) };
            let files = files::shown(&it.media, it.sequence);
            Some(format!("{place}: {}", [files, words].join(" ").trim()))
        }
        Event::Changed { conversation, change, .. } => {
            let known = client.conversation(*conversation).await?;
            // A direct conversation has no members to speak of.
            let amends = matches!(change, Change::Recalled(_) | Change::Edited(..) | Change::Reacted(..));
            known
                .filter(|it| it.group || amends)
                .map(|it| format!("* {} (#{conversation}): {}", session.name(&it), changed(change)))
        }
        Event::Receipt { conversation, user: Some(user), read_up_to, delivered_up_to, .. } if user != client.user() => {
            let place = name(session, &(*conversation).into()).await;
            Some(format!("* {user} in {place}: received up to {delivered_up_to}, read up to {read_up_to}"))
        }
        Event::Receipt { .. } => None,
        Event::Missing { conversation, first, last } => {
            let place = name(session, &(*conversation).into()).await;
            Some(format!("* {place}: {first} to {last} did not come"))
        }
        Event::Refused { to, refusal, .. } => Some(format!("* not sent to {}: {refusal}", name(session, to).await)),
        Event::FileFailed { to, name: file, failure, .. } => {
            let (file, to) = (one_line(file.as_bytes()), name(session, to).await);
            Some(format!("* {file} not sent to {to}: {failure}"))
        }
    })
}

/// A change of a group, in words.
pub(crate) fn changed(change: &Change) -> String {
    match change {
        Change::Opened { members, .. } => {
            let names: Vec<_> = members.iter().map(|member| member.user.as_str()).collect();
            format!("you are in a group of {}", names.join(", "))
        }
        Change::Added(member) => format!("{} joined", member.user),
        Change::Removed(ordinal) => format!("member {} left", ordinal.get()),
        Change::Renamed(title) => format!("is now called {}", one_line(title.as_bytes())),
        Change::Role(member) => format!("{} is {} now", member.user, member.role.as_str_name().to_lowercase()),
        Change::Settings(_) => "what members may do has changed".to_owned(),
        Change::Recalled(sequence) => format!("message {sequence} was taken back"),
        Change::Edited(sequence, body) => format!("message {sequence} says now: {}", one_line(body)),
        Change::Reacted(sequence, reaction) => format!("{} to message {sequence}", one_line(reaction.as_bytes())),
        Change::Retention(_) => "how long messages are kept has changed".to_owned(),
    }
}

fn print(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("write to standard output")
}
