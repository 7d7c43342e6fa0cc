//! Events posted to an operator's endpoint. On a thread of its own, since it waits for a stranger: one POST at a time.
//! Meanwhile events gather in the queue.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

use super::{EventJson, EventQueue};
use crate::webhook::{Poster, WebhookEndpoint};

/// A batch that is not taken for so long is dropped.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3_600);

/// Begins to post. What is returned resolves when the bridge has ended and the rest was posted, or refused once.
///
/// # Errors
/// The system gives no thread.
pub fn start(queue: EventQueue, endpoint: WebhookEndpoint) -> io::Result<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel();
    let poster = Poster::new(endpoint);
    thread::Builder::new().name("godwit-webhook".to_owned()).spawn(move || {
        run(&poster, queue);
        // Nobody may wait for it.
        _ = end.send(());
    })?;
    Ok(ended)
}

fn run(poster: &Poster, mut queue: EventQueue) {
    let mut number = 0_u64;
    while let Some(told) = queue.blocking_next() {
        number += 1;
        let id = format!("{}-{number}", queue.epoch);
        let taken = poster.deliver(&id, &body(&told), GIVE_UP_AFTER, || queue.is_closed());
        queue.settle(told.len(), taken);
        if !taken {
            warn!(id, events = told.len(), "webhook: events were dropped, the endpoint does not take them");
        }
    }
}

fn body(told: &[EventJson]) -> String {
    let events: Vec<_> = told.iter().map(|it| it.json.as_str()).collect();
    format!("{{\"type\":\"events\",\"data\":[{}]}}", events.join(","))
}
