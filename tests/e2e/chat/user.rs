//! A user who does what there is to do over MQTT or over HTTP, and hears of it on a phone: the tests of what holds over
//! both ways run once with each.

use std::ops::{Deref, DerefMut};

use godwit_schemas::client::{Response, request::Call};

use super::phone::Phone;
use super::route::{answered, asked, sent};
use super::web::Web;
use crate::mqtt::Version;
use crate::server::{Account, Server};

/// How a user calls and sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Mqtt(Version),
    Http,
}

pub(super) const WAYS: [Way; 3] = [Way::Mqtt(Version::V4), Way::Mqtt(Version::V5), Way::Http];

impl Way {
    /// Of the phone's connection.
    pub(super) fn version(self) -> Version {
        match self {
            Self::Mqtt(version) => version,
            Self::Http => Version::V5,
        }
    }
}

pub(super) struct User {
    phone: Phone,
    web: Web,
    name: String,
    way: Way,
}

impl User {
    /// Its phone is connected and subscribed.
    pub(super) fn connect(server: &Server, account: &Account, way: Way) -> Self {
        let (phone, web) = (Phone::connect(server, account, way.version()), Web::of(server, account));
        Self { phone, web, name: account.user.clone(), way }
    }

    /// Its phone says goodbye.
    pub(super) fn leave(self) {
        self.phone.client.disconnect();
    }

    /// Calls what must succeed.
    #[track_caller]
    pub(super) fn done(&mut self, call: Call) -> Response {
        match self.way {
            Way::Mqtt(_) => self.phone.done(call),
            Way::Http => {
                let it = asked(&self.name, &call);
                answered(&call, &self.web.done(it.method, &it.path, it.body))
            }
        }
    }

    /// Calls what must be refused with this reason, or the status that stands for it.
    pub(super) fn refused(&mut self, call: Call, reason: u32) {
        match self.way {
            Way::Mqtt(_) => self.phone.refused(call, reason),
            Way::Http => {
                let it = asked(&self.name, &call);
                self.web.refused(it.method, &it.path, it.body, status(reason));
            }
        }
    }

    /// Sends a message: it is stored.
    pub(super) fn send(&mut self, topic: &str, body: &str) {
        match self.way {
            Way::Mqtt(_) => self.phone.send(topic, body),
            Way::Http => {
                let it = sent(topic, body);
                self.web.done(it.method, &it.path, it.body);
            }
        }
    }

    /// Sends a message that must be refused with this reason. (MQTT 3.1.1 has none.)
    pub(super) fn send_refused(&mut self, topic: &str, body: &str, reason: u8) {
        match self.way {
            Way::Mqtt(version) => {
                let expected = if version == Version::V5 { reason } else { 0 };
                assert_eq!(self.phone.client.publish(topic, body.as_bytes()), expected, "{version:?}");
            }
            Way::Http => {
                let it = sent(topic, body);
                self.web.refused(it.method, &it.path, it.body, status(reason.into()));
            }
        }
    }
}

/// The HTTP status that stands for a reason, as docs/users/http.md has it.
fn status(reason: u32) -> u16 {
    match reason {
        0x83 => 422,
        0x87 => 403,
        0x90 => 404,
        0x97 => 409,
        other => panic!("{other:#x} has no status in the tests yet"),
    }
}

/// What a user hears, it hears on the phone.
impl Deref for User {
    type Target = Phone;

    fn deref(&self) -> &Phone {
        &self.phone
    }
}

impl DerefMut for User {
    fn deref_mut(&mut self) -> &mut Phone {
        &mut self.phone
    }
}
