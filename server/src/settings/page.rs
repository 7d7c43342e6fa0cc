//! The section `[web]`: where browsers find the page.

use std::net::SocketAddr;

use super::layers::Layers;
use super::listeners::optional;
use super::{number, refuse_plaintext};

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageSettings {
    /// `None`: there is no page.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) tls_listen: Option<SocketAddr>,
    pub(crate) connections_max: usize,
}

pub(super) fn parse(from: &mut Layers) -> PageSettings {
    const KEY: &str = "web.listen";
    const PLAINTEXT: &str = "web.allow_plaintext";
    let listen = from.take(KEY, |text: String| optional(&text));
    let plaintext = from.take(PLAINTEXT, Ok::<bool, String>);
    let tls_listen = from.take("web.tls_listen", |text: String| optional(&text));
    match (listen, tls_listen) {
        (Some(listen), _) => refuse_plaintext(from, KEY, listen, PLAINTEXT, plaintext),
        (None, Some(_)) => from.refuse("web.tls_listen", format!("needs {KEY}, which may be 127.0.0.1:0")),
        (None, None) => {}
    }
    PageSettings { listen, tls_listen, connections_max: number(from, "web.connections_max", 1..=65_536) }
}
