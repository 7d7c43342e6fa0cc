//! A user's account as a whole: all of its data as one stream of JSON lines, and its end.
//!
//! An export asks the user's lane page by page, as far as its reader has read: it never has more than a page in memory.
//! Each line is an object with a `type`; the last one has the type `end`, and only whoever sees it has all.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use godwit_bridge::chat::ShuttingDown;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::Order;
use godwit_store::time;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::acting_user::{ActingUser, answered};
use super::problem::Problem;
use super::{encryption, people, push, view};

/// Media type of JSON lines.
pub(super) const JSON_LINES: &str = "application/x-ndjson";
/// Messages asked for at once.
const PAGE: u32 = 50;
/// After which time a page is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Pages that wait for the reader.
const QUEUE: usize = 1;

pub(super) async fn erase(actor: ActingUser) -> Result<StatusCode, Problem> {
    actor.call(Call::EraseAccount(client::EraseAccount {})).await.map(|_| StatusCode::NO_CONTENT)
}

pub(super) async fn export(actor: ActingUser) -> Result<Response, Problem> {
    // Whoever may not is told before anything is sent.
    let devices = actor.call(Call::ListDevices(client::ListDevices {})).await?.devices;
    let (pages, mut queue) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(ExportError::Refused) = (Export { actor, pages: &pages }).run(&devices).await {
            // The reader sees that its connection breaks off.
            _ = pages.send(Err(io::Error::other("the export cannot go on"))).await;
        }
    });
    let body = Body::from_stream(stream::poll_fn(move |context| queue.poll_recv(context)));
    Ok(([(header::CONTENT_TYPE, JSON_LINES), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// Why an export ended before its end.
enum ExportError {
    /// Nobody reads it any more.
    HungUp,
    /// The server is stopping, or the user is no more.
    Refused,
}

impl From<Problem> for ExportError {
    fn from(_: Problem) -> Self {
        Self::Refused
    }
}

struct Export<'a> {
    actor: ActingUser,
    pages: &'a mpsc::Sender<io::Result<Bytes>>,
}

impl Export<'_> {
    async fn run(&self, devices: &[client::Device]) -> Result<(), ExportError> {
        self.write([line("export", json!({ "user": self.actor.user.as_str(), "time_s": time::wall().as_secs() }))])
            .await?;
        self.write(devices.iter().map(|it| line("device", view::device(it)))).await?;
        let profile = self.call(Call::GetProfile(client::GetProfile::default())).await?;
        self.write([line("profile", people::profile(profile, true))]).await?;
        self.contacts().await?;
        let blocked = self.call(Call::ListBlocked(client::ListBlocked {})).await?.users;
        self.write(blocked.iter().map(|user| line("blocked", json!({ "user": user })))).await?;
        self.pushes(devices).await?;
        self.mutes().await?;
        let server = self.call(Call::GetServer(client::GetServer {})).await?.server.unwrap_or_default();
        let encrypts = server.encryption() != client::Encryption::Off;
        if encrypts {
            self.identity().await?;
        }
        self.conversations(encrypts).await?;
        for device in devices {
            self.waiting(&device.device).await?;
        }
        self.write([line("end", json!({}))]).await
    }

    /// Where devices are pushed, without the addresses: these are secrets of the devices.
    async fn pushes(&self, devices: &[client::Device]) -> Result<(), ExportError> {
        for client::Device { device, .. } in devices {
            let call = Call::GetPush(client::GetPush { device: device.clone() });
            let set = self.call(call).await?.push.filter(|push| !push.provider.is_empty());
            let shown = set.map(|set| {
                let mut shown = line("push", push::shown(&set));
                shown["device"] = device.as_str().into();
                shown
            });
            self.write(shown).await?;
        }
        Ok(())
    }

    async fn mutes(&self) -> Result<(), ExportError> {
        let mut after = 0;
        loop {
            let page = self.call(Call::ListMutes(client::ListMutes { after })).await?;
            self.write(page.mutes.iter().map(|it| line("mute", push::muted(it)))).await?;
            after = page.next;
            if after == 0 {
                return Ok(());
            }
        }
    }

    async fn contacts(&self) -> Result<(), ExportError> {
        let mut after = String::new();
        loop {
            let call = client::ListContacts { after: after.clone(), limit: PAGE };
            let page = self.call(Call::ListContacts(call)).await?;
            self.write(page.contacts.iter().map(|it| line("contact", people::contact(it)))).await?;
            after = page.next_contact;
            if after.is_empty() {
                return Ok(());
            }
        }
    }

    /// Identity keys, and certificates of devices.
    async fn identity(&self) -> Result<(), ExportError> {
        let mut after = 0;
        loop {
            let call = client::GetIdentity { user: self.actor.user.to_string(), after };
            let page = self.call(Call::GetIdentity(call)).await?;
            after = page.next;
            if page.identity.as_deref().is_some_and(|it| *it != client::Identity::default()) {
                self.write([line("identity", encryption::shown_identity(&page))]).await?;
            }
            if after == 0 {
                return Ok(());
            }
        }
    }

    /// Sealed keys of a conversation's epochs.
    async fn vault(&self, conversation: u64) -> Result<(), ExportError> {
        let mut after = 0;
        loop {
            let page = self.call(Call::GetVault(client::GetVault { conversation, after })).await?;
            let row = |it: &client::VaultRow| {
                let mut shown = line("vault", encryption::shown_row(it));
                shown["conversation"] = conversation.into();
                shown
            };
            self.write(page.vault.iter().map(row)).await?;
            after = page.next;
            if after == 0 {
                return Ok(());
            }
        }
    }

    /// Each conversation, followed by its history.
    async fn conversations(&self, encrypts: bool) -> Result<(), ExportError> {
        let mut after = 0;
        loop {
            let call = client::ListConversations { after, limit: PAGE };
            let page = self.call(Call::ListConversations(call)).await?;
            for summary in &page.conversations {
                self.write([line("conversation", view::summary(&client::Summary { last: None, ..summary.clone() }))])
                    .await?;
                if encrypts {
                    self.vault(summary.conversation).await?;
                }
                self.history(summary.conversation).await?;
            }
            after = page.next;
            if after == 0 {
                return Ok(());
            }
        }
    }

    async fn history(&self, conversation: u64) -> Result<(), ExportError> {
        let mut after = 0;
        loop {
            let call = client::GetHistory { conversation, before: 0, after, oldest_first: true, limit: PAGE };
            let page = self.call(Call::GetHistory(call)).await?;
            self.write(page.history.iter().filter_map(|it| event(it, conversation, None))).await?;
            after = page.next;
            if after == 0 {
                return Ok(());
            }
        }
    }

    /// What a device has still to fetch, and history does not keep.
    async fn waiting(&self, device: &str) -> Result<(), ExportError> {
        let ActingUser { user, context, credentials, .. } = &self.actor;
        let mut after = 0;
        loop {
            let ask = || context.chat.waiting(user.clone(), credentials.who(), device.to_owned(), Order::new(after));
            let page = when_it_is_its_turn(ask).await?;
            self.write(page.history.iter().filter_map(|it| event(it, 0, Some(device)))).await?;
            after = page.next;
            if after == 0 {
                return Ok(());
            }
        }
    }

    async fn call(&self, call: Call) -> Result<client::Response, Problem> {
        let ActingUser { user, context, credentials, .. } = &self.actor;
        when_it_is_its_turn(|| context.chat.call(user.clone(), credentials.who(), call.clone())).await
    }

    /// Waits until the reader has room.
    fn write(&self, lines: impl IntoIterator<Item = Value>) -> impl Future<Output = Result<(), ExportError>> + Send {
        let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
        async move {
            if text.is_empty() {
                return Ok(());
            }
            self.pages.send(Ok(text.into())).await.map_err(|_| ExportError::HungUp)
        }
    }
}

/// Asks again for as long as too many other requests of the user wait: what has begun to be sent cannot be refused any more.
async fn when_it_is_its_turn<A: Future<Output = Result<client::Response, ShuttingDown>>>(
    ask: impl Fn() -> A,
) -> Result<client::Response, Problem> {
    loop {
        match answered(ask().await) {
            Err(problem) if problem.is_for_now() => tokio::time::sleep(ASK_AGAIN).await,
            answer => return answer,
        }
    }
}

fn line(of: &str, mut value: Value) -> Value {
    value["type"] = of.into();
    value
}

/// A message or change. What waits in an inbox says itself where it belongs.
fn event(event: &client::Event, conversation: u64, waits_for: Option<&str>) -> Option<Value> {
    use client::event::Event;
    let (of, own) = match event.event.as_ref()? {
        Event::Message(message) => ("message", message.conversation),
        Event::Change(change) => ("change", change.conversation),
        Event::Receipt(_) | Event::Refusal(_) => return None,
    };
    let mut value = line(of, view::event(event)?);
    value["conversation"] = (if waits_for.is_some() { own } else { conversation }).into();
    if let Some(age_s) = value.as_object_mut().and_then(|shown| shown.remove("age_s")?.as_u64()) {
        value["time_s"] = time::wall().as_secs().saturating_sub(age_s).into();
    }
    if let Some(device) = waits_for {
        value["waits_for"] = device.into();
    }
    Some(value)
}
