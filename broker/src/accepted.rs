//! A connection between being accepted and its first MQTT packet.

use crate::connection_limits::ConnectionSlot;
use crate::counters::Transport;
use crate::timer::Ticks;
use crate::tls::CertificateIdentity;

/// What is known of a connection before MQTT begins on it.
#[derive(Debug)]
pub(crate) struct AcceptedConnection {
    /// When it was accepted: the deadline for CONNECT counts from here.
    pub(crate) at: Ticks,
    /// What it comes over.
    pub(crate) transport: Transport,
    /// Its place within the connection limits, held until the connection is over.
    pub(crate) slot: ConnectionSlot,
    /// The device that its TLS certificate names.
    pub(crate) identity: Option<Box<CertificateIdentity>>,
}
