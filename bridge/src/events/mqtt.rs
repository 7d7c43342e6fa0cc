//! Events on the bus: any MQTT client on the private service listener may subscribe to `events/<kind>`, `events/+` or
//! `events/#`. A payload is one event or more of one kind, a JSON object a line.

use godwit_schemas::bus::{Bus, EVENTS, LinkClosed, Tx};
use tracing::warn;

use super::{EventJson, EventKind, EventQueue};

/// Publishes until the bridge has ended, or the bus is gone for good. What is published while there is no link is lost.
pub async fn publish<B: Bus>(mut queue: EventQueue, bus: B) {
    loop {
        // Both halves are the link.
        let (mut tx, _rx) = match bus.open("events", &[]).await {
            Ok(link) => link,
            Err(closed) => return warn!(%closed, "events: the bus is gone"),
        };
        loop {
            let Some(told) = queue.next().await else { return };
            let published = publish_all(&mut tx, &told).await;
            queue.settle(told.len(), published.is_ok());
            if let Err(closed) = published {
                warn!(%closed, "events: bus link broken, opening a new one");
                break;
            }
        }
    }
}

async fn publish_all(tx: &mut impl Tx, told: &[EventJson]) -> Result<(), LinkClosed> {
    for kind in EventKind::ALL {
        let lines: Vec<_> = told.iter().filter(|it| it.kind == kind).map(|it| it.json.as_str()).collect();
        if !lines.is_empty() {
            tx.publish(&format!("{EVENTS}/{}", kind.name()), lines.join("\n").into()).await?;
        }
    }
    Ok(())
}
