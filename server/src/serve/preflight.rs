//! Everything that the settings name and that must be readable: opened before any port is, and by `check-config`. An operator
//! sees all that is wrong at once, each with its key.

use std::fs;
use std::path::Path;

use godwit_broker::router_bus::ServiceAccess;
use godwit_broker::tls;

use super::cluster::PreparedCluster;
use super::events::PreparedEvents;
use super::identity::PreparedIdentity;
use super::parts;
use super::push::PreparedPush;
use super::role::ProcessRole;
use crate::admin_tokens;
use crate::exit::{CommandFailure, USAGE};
use crate::settings::{MqttSettings, ServerSettings};

/// Nobody guesses a token of so many.
const ADMIN_TOKEN_BYTES_MIN: usize = 32;

/// What was read. Nothing is made by it, on disk or otherwise.
pub(crate) struct Preflight {
    pub(super) access: ServiceAccess,
    pub(super) events: PreparedEvents,
    pub(super) identity: PreparedIdentity,
    pub(super) push: PreparedPush,
    pub(super) cluster: Option<PreparedCluster>,
    /// As the operator has chosen it.
    pub(super) admin_token: Option<String>,
}

impl Preflight {
    /// Reads what this role needs.
    ///
    /// # Errors
    /// Every problem there is, one a line.
    pub(crate) fn read(role: ProcessRole, settings: &ServerSettings) -> Result<Self, CommandFailure> {
        let mut problems = Vec::new();
        // In a cluster NATS takes the place of the service listener.
        let has_service = settings.cluster.is_none() && (role != ProcessRole::Serve || settings.events.mqtt);
        let access = if has_service { parts::read_access(settings, &mut problems) } else { ServiceAccess::default() };
        let (events, identity) = match role {
            ProcessRole::Broker => Default::default(),
            ProcessRole::Serve | ProcessRole::Bridge => {
                (PreparedEvents::read(&settings.events, &mut problems), PreparedIdentity::read(settings, &mut problems))
            }
        };
        let push = settings.push.as_ref().filter(|_| role != ProcessRole::Broker);
        let push = PreparedPush::read(push, &mut problems);
        let cluster = settings.cluster.as_ref().and_then(|cluster| PreparedCluster::read(role, cluster, &mut problems));
        let token_file = settings.admin_token_file.as_deref().filter(|_| role != ProcessRole::Broker);
        let admin_token = token_file.and_then(|file| read_admin_token(file, &mut problems));
        if role != ProcessRole::Broker
            && let Err(error) = admin_tokens::read(&settings.admin_tokens_file)
        {
            problems.push(format!("http.admin_tokens_file: {error:#}"));
        }
        check_certificates(role, &settings.listeners, &mut problems);
        match &problems[..] {
            [] => Ok(Self { access, events, identity, push, cluster, admin_token }),
            problems => {
                let lines = problems.iter().map(|problem| format!("\n  {problem}"));
                Err(CommandFailure::new(
                    USAGE,
                    format!("the settings name what cannot be used:{}", lines.collect::<String>()),
                ))
            }
        }
    }
}

fn read_admin_token(file: &Path, problems: &mut Vec<String>) -> Option<String> {
    let token = match fs::read_to_string(file) {
        Ok(text) => text.trim_end().to_owned(),
        Err(error) => {
            problems.push(format!("http.admin_token_file: read {}: {error}", file.display()));
            return None;
        }
    };
    if token.len() < ADMIN_TOKEN_BYTES_MIN || !token.chars().all(|char| char.is_ascii_graphic()) {
        let text = format!("is not at least {ADMIN_TOKEN_BYTES_MIN} characters of ASCII without spaces");
        problems.push(format!("http.admin_token_file: {} {text}", file.display()));
        return None;
    }
    Some(token)
}

/// What the doors are going to show.
fn check_certificates(role: ProcessRole, doors: &MqttSettings, problems: &mut Vec<String>) {
    let of_mqtt = doors.tls.clone().filter(|_| role != ProcessRole::Bridge);
    let of_web = doors.web_certificate.clone().filter(|_| role != ProcessRole::Broker);
    // Both show the same certificate.
    let tls = of_mqtt.or(of_web.map(|files| tls::TlsSettings { files, clients: None }));
    let Some(tls) = tls else { return };
    if let Err(error) = tls.check() {
        let clients = tls.clients.as_ref();
        let key = match error.file() {
            file if file == tls.files.key => "tls.key",
            file if clients.is_some_and(|clients| file == clients.roots) => "tls.client_ca",
            _ => "tls.certificates",
        };
        problems.push(format!("{key}: {error}"));
    }
}
