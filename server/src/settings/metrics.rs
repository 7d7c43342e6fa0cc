//! The section `[metrics]`: where Prometheus finds them.

use std::net::SocketAddr;

use super::layers::Layers;
use super::listeners::optional;
use super::refuse_plaintext;

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricSettings {
    /// Of a bridge, or of a whole server. `None`: nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// Of a broker that is a process of its own.
    pub(crate) broker_listen: Option<SocketAddr>,
}

pub(super) fn parse(from: &mut Layers) -> MetricSettings {
    const PLAINTEXT: &str = "metrics.allow_plaintext";
    let keys = ["metrics.listen", "metrics.broker_listen"];
    let [listen, broker_listen] = keys.map(|key| from.take(key, |text: String| optional(&text)));
    let plaintext = from.take(PLAINTEXT, Ok::<bool, String>);
    for (key, listen) in keys.into_iter().zip([listen, broker_listen]) {
        if let Some(listen) = listen {
            refuse_plaintext(from, key, listen, PLAINTEXT, plaintext);
        }
    }
    MetricSettings { listen, broker_listen }
}
