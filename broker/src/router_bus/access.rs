//! Access to the private service listener: a bridge reaches its own topics of the bus, a reader of events reaches nothing but
//! events.

use godwit_schemas::bus::{EDGES, EVENTS};
use subtle::ConstantTimeEq as _;

/// User and password.
pub type ServiceLogin = (String, String);

/// The logins that the service listener accepts.
#[derive(Debug, Clone, Default)]
pub struct ServiceAccess {
    /// The login of a bridge. `None`: any client that is not a reader is a bridge.
    pub bridge: Option<ServiceLogin>,
    /// The login of readers of events. `None`: there are no readers.
    pub reader: Option<ServiceLogin>,
    /// There is no bridge in another process: every client is a reader.
    pub events_only: bool,
}

/// What a client of the service listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceRole {
    Bridge,
    Reader,
}

impl ServiceAccess {
    /// The role of a client with this login. `None`: the login is wrong.
    pub(super) fn role(&self, user: &str, password: &str) -> Option<ServiceRole> {
        let brings = |login: &Option<ServiceLogin>| login.as_ref().is_some_and(|login| matches(login, user, password));
        let role = match () {
            () if brings(&self.reader) => ServiceRole::Reader,
            () if self.bridge.is_none() || brings(&self.bridge) => ServiceRole::Bridge,
            () => return None,
        };
        Some(if self.events_only { ServiceRole::Reader } else { role })
    }
}

fn matches(login: &ServiceLogin, user: &str, password: &str) -> bool {
    let same = |a: &str, b: &str| a.as_bytes().ct_eq(b.as_bytes());
    (same(&login.0, user) & same(&login.1, password)).into()
}

impl ServiceRole {
    /// Whether it may subscribe to this filter: a bridge to what edges send to its lanes, both roles to events.
    pub(super) fn may_read(self, filter: &str) -> bool {
        is_event(filter, true) || (self == Self::Bridge && number_after("up/", filter))
    }

    /// Whether it may publish to this topic: a bridge to edges, and events.
    pub(super) fn may_publish(self, topic: &str) -> bool {
        self == Self::Bridge && (topic == EDGES || number_after("down/", topic) || is_event(topic, false))
    }
}

fn number_after(prefix: &str, topic: &str) -> bool {
    let number = topic.strip_prefix(prefix).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `events/<kind>`; as a filter also `events/+` and `events/#`.
fn is_event(topic: &str, filter: bool) -> bool {
    let kind = topic.strip_prefix(EVENTS).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    let named = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_lowercase());
    named || (filter && matches!(kind, "+" | "#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_decides_which_topics_are_reached() {
        let own = [("up/0", true, false), ("down/00000000000000ff", false, true), ("edges", false, true)];
        for (topic, read, publish) in own {
            assert_eq!(
                (ServiceRole::Bridge.may_read(topic), ServiceRole::Bridge.may_publish(topic)),
                (read, publish),
                "{topic}"
            );
            assert!(!ServiceRole::Reader.may_read(topic) && !ServiceRole::Reader.may_publish(topic), "{topic}");
        }
        for topic in ["events/message", "events/+", "events/#"] {
            assert!(ServiceRole::Bridge.may_read(topic) && ServiceRole::Reader.may_read(topic), "{topic}");
            assert!(!ServiceRole::Reader.may_publish(topic), "{topic}");
        }
        assert!(ServiceRole::Bridge.may_publish("events/message") && !ServiceRole::Bridge.may_publish("events/#"));
        for topic in ["#", "+", "+/0", "up/#", "up/+", "up/", "down/+", "", "events", "events/", "events/#/x", "$SYS/#"]
        {
            assert!(!ServiceRole::Bridge.may_read(topic) && !ServiceRole::Bridge.may_publish(topic), "{topic}");
        }
    }

    #[test]
    fn a_login_decides_the_role() {
        let login = |user: &str| Some((user.to_owned(), "secret".to_owned()));
        let apart = ServiceAccess { bridge: login("bridge"), reader: login("reader"), events_only: false };
        assert_eq!(apart.role("bridge", "secret"), Some(ServiceRole::Bridge));
        assert_eq!(apart.role("reader", "secret"), Some(ServiceRole::Reader));
        for (user, password) in [("bridge", ""), ("reader", "x"), ("", ""), ("x", "secret")] {
            assert_eq!(apart.role(user, password), None);
        }
        assert_eq!(ServiceAccess::default().role("", ""), Some(ServiceRole::Bridge));
        let events_only = ServiceAccess { events_only: true, ..ServiceAccess::default() };
        assert_eq!(events_only.role("", ""), Some(ServiceRole::Reader));
        let events_only = ServiceAccess { events_only: true, ..apart };
        assert_eq!(events_only.role("bridge", "secret"), Some(ServiceRole::Reader));
        assert_eq!(events_only.role("bridge", "x"), None);
    }
}
