//! Client of the running server's HTTP API, for operators' commands and the benchmark. It finds the server through the
//! data folder: [`crate::runtime_files::AdminNotice`]. Blocking.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use godwit_schemas::ids::{DeviceName, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::exit::{CommandFailure, FAILED, UNREACHABLE, USAGE};
use crate::runtime_files::AdminNotice;

/// Longer than the server takes to say that something was not done in time.
const REQUEST_DEADLINE: Duration = Duration::from_secs(40);

/// What a new device connects with, as the HTTP API answers it to operators' commands. The server's side of that answer is
/// [`godwit_bridge::admin::DeviceCredentials`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeviceCredentials {
    /// MQTT user name.
    pub(crate) user: String,
    /// MQTT client id.
    pub(crate) device: String,
    /// MQTT password.
    pub(crate) password: String,
}

/// A user with its devices.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListedUser {
    /// The user's name.
    pub(crate) user: String,
    /// Its devices' names.
    pub(crate) devices: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ListedUsers {
    users: Vec<ListedUser>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct ExportedLine {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct ProblemBody {
    detail: String,
}

/// A connection to the server. Threads may share it.
pub(crate) struct AdminClient {
    agent: Agent,
    notice: AdminNotice,
}

impl AdminClient {
    /// The server that `notice` tells of; `connections_max` threads may use it at once.
    pub(crate) fn new(notice: AdminNotice, connections_max: usize) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_DEADLINE))
            .max_idle_connections_per_host(connections_max)
            .max_idle_connections(connections_max)
            .proxy(None)
            .build();
        Self { agent: config.into(), notice }
    }

    /// Adds a user with its first device. Without a name it needs a phone number.
    pub(crate) fn add_user(
        &self,
        user: Option<&UserId>,
        device: &DeviceName,
        phone: Option<&str>,
    ) -> Result<DeviceCredentials, CommandFailure> {
        let user = user.map(UserId::as_str);
        let body = serde_json::json!({ "user": user, "device": device.as_str(), "phone": phone });
        self.post("/v1/admin/users", &body)
    }

    /// Adds a device to a user.
    pub(crate) fn add_device(&self, user: &UserId, device: &DeviceName) -> Result<DeviceCredentials, CommandFailure> {
        self.post(&format!("{}/devices", path(user)), &serde_json::json!({ "device": device.as_str() }))
    }

    /// Gives a device a new password.
    pub(crate) fn renew_password(
        &self,
        user: &UserId,
        device: &DeviceName,
    ) -> Result<DeviceCredentials, CommandFailure> {
        self.post(&format!("/v1/users/{user}/devices/{device}/password"), &serde_json::json!({}))
    }

    /// One user.
    pub(crate) fn user(&self, user: &UserId) -> Result<ListedUser, CommandFailure> {
        self.get(&path(user))
    }

    /// Some users after `after`, by name, and after whom the next call goes on, if there may be more.
    pub(crate) fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<(Vec<ListedUser>, Option<String>), CommandFailure> {
        let after = after.map(|name| format!("&after={name}")).unwrap_or_default();
        let page: ListedUsers = self.get(&format!("/v1/admin/users?limit={limit}{after}"))?;
        Ok((page.users, page.next))
    }

    /// Sets a user's phone number, or takes it away.
    pub(crate) fn set_phone(&self, user: &UserId, phone: Option<&str>) -> Result<(), CommandFailure> {
        let path = format!("{}/phone", path(user));
        let Some(phone) = phone else { return self.delete(&path) };
        let request = self.agent.put(self.url(&path)).header("authorization", self.authorization());
        self.accepted(request.send_json(serde_json::json!({ "phone": phone }))).map(drop)
    }

    /// Shuts a user out, or lets it in again.
    pub(crate) fn set_suspended(&self, user: &UserId, suspended: bool) -> Result<(), CommandFailure> {
        let path = format!("{}/suspension", path(user));
        if !suspended {
            return self.delete(&path);
        }
        let request = self.agent.put(self.url(&path)).header("authorization", self.authorization());
        self.accepted(request.send_empty()).map(drop)
    }

    /// A page of connected devices: what the API answers.
    pub(crate) fn clients(&self, after: Option<&str>) -> Result<Value, CommandFailure> {
        let after = after.map(|name| format!("?after={name}")).unwrap_or_default();
        self.get(&format!("/v1/admin/clients{after}"))
    }

    /// How a device is.
    pub(crate) fn device(&self, user: &UserId, device: &DeviceName) -> Result<Value, CommandFailure> {
        self.get(&format!("{}/devices/{device}", path(user)))
    }

    /// Ends a device's connection.
    pub(crate) fn kick(&self, user: &UserId, device: &DeviceName) -> Result<(), CommandFailure> {
        self.delete(&format!("{}/devices/{device}/connection", path(user)))
    }

    /// A page of an inbox, behind this order: what the API answers.
    pub(crate) fn inbox(&self, user: &UserId, device: &DeviceName, after: u64) -> Result<Value, CommandFailure> {
        self.get(&format!("{}/devices/{device}/inbox?after={after}", path(user)))
    }

    /// Has the server read its settings again: which keys have changed.
    pub(crate) fn reload_settings(&self) -> Result<Value, CommandFailure> {
        self.post("/v1/admin/settings/reload", &serde_json::json!({}))
    }

    /// Has the server make a checkpoint of its store: where.
    pub(crate) fn make_checkpoint(&self) -> Result<PathBuf, CommandFailure> {
        let made: Value = self.post("/v1/admin/checkpoint", &serde_json::json!({}))?;
        Ok(PathBuf::from(made["path"].as_str().unwrap_or_default()))
    }

    /// Has the server remove it.
    pub(crate) fn remove_checkpoint(&self) -> Result<(), CommandFailure> {
        self.delete("/v1/admin/checkpoint")
    }

    /// Who is in a conversation.
    pub(crate) fn conversation(&self, conversation: u64) -> Result<Value, CommandFailure> {
        self.get(&format!("/v1/admin/conversations/{conversation}"))
    }

    /// Hands every line of a user's export to `each`, as it comes.
    pub(crate) fn export_user(
        &self,
        user: &UserId,
        mut each: impl FnMut(&str) -> Result<(), CommandFailure>,
    ) -> Result<(), CommandFailure> {
        let url = self.url(&format!("/v1/users/{user}/export"));
        // However long it takes.
        let request = self.agent.get(url).config().timeout_global(None).build();
        let answer = self.accepted(request.header("authorization", self.authorization()).call())?;
        let mut last = String::new();
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            last = line.map_err(|error| self.unreachable(&error.into()))?;
            each(&last)?;
        }
        // Only the last line says that nothing is missing.
        match serde_json::from_str(&last) {
            Ok(ExportedLine { kind }) if kind == "end" => Ok(()),
            _ => Err(CommandFailure::new(UNREACHABLE, format!("the export from {} broke off", self.notice.url))),
        }
    }

    /// The server's time beside the wall clock.
    pub(crate) fn clock(&self) -> Result<serde_json::Value, CommandFailure> {
        self.get("/v1/admin/clock")
    }

    /// Has the server's time follow the wall clock.
    pub(crate) fn follow_clock(&self) -> Result<serde_json::Value, CommandFailure> {
        self.post("/v1/admin/clock/follow", &serde_json::json!({}))
    }

    /// Removes a user.
    pub(crate) fn remove_user(&self, user: &UserId) -> Result<(), CommandFailure> {
        self.delete(&path(user))
    }

    /// Removes a device.
    pub(crate) fn remove_device(&self, user: &UserId, device: &DeviceName) -> Result<(), CommandFailure> {
        self.delete(&format!("{}/devices/{device}", path(user)))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandFailure> {
        let request = self.agent.get(self.url(path)).header("authorization", self.authorization());
        self.content(self.accepted(request.call())?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, CommandFailure> {
        let request = self.agent.post(self.url(path)).header("authorization", self.authorization());
        self.content(self.accepted(request.send_json(body))?)
    }

    fn delete(&self, path: &str) -> Result<(), CommandFailure> {
        let request = self.agent.delete(self.url(path)).header("authorization", self.authorization());
        self.accepted(request.call()).map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.notice.url)
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.notice.token)
    }

    fn accepted(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, CommandFailure> {
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let problem = answer.body_mut().read_json().map(|ProblemBody { detail }| detail);
        Err(CommandFailure::new(
            FAILED,
            problem.unwrap_or_else(|_| format!("the server at {} says {status}", self.notice.url)),
        ))
    }

    fn content<T: DeserializeOwned>(&self, mut answer: Response<Body>) -> Result<T, CommandFailure> {
        answer.body_mut().read_json().map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> CommandFailure {
        CommandFailure::new(UNREACHABLE, format!("cannot reach the server at {}: {error}", self.notice.url))
    }
}

fn path(user: &UserId) -> String {
    format!("/v1/admin/users/{user}")
}

/// A user's name from the command line.
pub(crate) fn user_name(name: &str) -> Result<UserId, CommandFailure> {
    UserId::new(name).map_err(|bad| CommandFailure::new(USAGE, format!("user name {name:?}: {bad}")))
}

/// A device's name from the command line.
pub(crate) fn device_name(name: &str) -> Result<DeviceName, CommandFailure> {
    DeviceName::new(name).map_err(|bad| CommandFailure::new(USAGE, format!("device name {name:?}: {bad}")))
}
