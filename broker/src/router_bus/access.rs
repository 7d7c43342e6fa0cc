//! Who is at the private service listener, and what it reaches: a bridge its own topics of the bus, a reader of events
//! nothing but those.

use godwit_schemas::bus::{EDGES, EVENTS};
use subtle::ConstantTimeEq as _;

/// User and password.
pub type Login = (String, String);

/// Whom the service listener lets in, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What a bridge brings; `None`: whoever comes and is no reader is taken for a bridge.
    pub bridge: Option<Login>,
    /// What a reader of events brings; `None`: there are none.
    pub reader: Option<Login>,
    /// There is no bridge elsewhere: whoever comes is a reader.
    pub events_only: bool,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Bridge,
    Reader,
}

impl Access {
    /// Who this is; `None`: nobody.
    pub(super) fn role(&self, user: &str, password: &str) -> Option<Role> {
        let brings = |login: &Option<Login>| login.as_ref().is_some_and(|login| matches(login, user, password));
        let role = match () {
            () if brings(&self.reader) => Role::Reader,
            () if self.bridge.is_none() || brings(&self.bridge) => Role::Bridge,
            () => return None,
        };
        Some(if self.events_only { Role::Reader } else { role })
    }
}

fn matches(login: &Login, user: &str, password: &str) -> bool {
    let same = |a: &str, b: &str| a.as_bytes().ct_eq(b.as_bytes());
    (same(&login.0, user) & same(&login.1, password)).into()
}

impl Role {
    /// A bridge reads what edges send to its lanes.
    pub(super) fn may_read(self, filter: &str) -> bool {
        is_event(filter, true) || (self == Self::Bridge && number_after("up/", filter))
    }

    /// A bridge answers edges, tells them that it is there, and tells events.
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
    fn a_reader_reaches_events_and_a_bridge_its_own_topics_besides() {
        let own = [("up/0", true, false), ("down/00000000000000ff", false, true), ("edges", false, true)];
        for (topic, read, publish) in own {
            assert_eq!((Role::Bridge.may_read(topic), Role::Bridge.may_publish(topic)), (read, publish), "{topic}");
            assert!(!Role::Reader.may_read(topic) && !Role::Reader.may_publish(topic), "{topic}");
        }
        for topic in ["events/message", "events/+", "events/#"] {
            assert!(Role::Bridge.may_read(topic) && Role::Reader.may_read(topic), "{topic}");
            assert!(!Role::Reader.may_publish(topic), "{topic}");
        }
        assert!(Role::Bridge.may_publish("events/message") && !Role::Bridge.may_publish("events/#"));
        for topic in ["#", "+", "+/0", "up/#", "up/+", "up/", "down/+", "", "events", "events/", "events/#/x", "$SYS/#"]
        {
            assert!(!Role::Bridge.may_read(topic) && !Role::Bridge.may_publish(topic), "{topic}");
        }
    }

    #[test]
    fn a_login_says_who_it_is() {
        let login = |user: &str| Some((user.to_owned(), "secret".to_owned()));
        let apart = Access { bridge: login("bridge"), reader: login("reader"), events_only: false };
        assert_eq!(apart.role("bridge", "secret"), Some(Role::Bridge));
        assert_eq!(apart.role("reader", "secret"), Some(Role::Reader));
        for (user, password) in [("bridge", ""), ("reader", "x"), ("", ""), ("x", "secret")] {
            assert_eq!(apart.role(user, password), None);
        }
        assert_eq!(Access::default().role("", ""), Some(Role::Bridge));
        let events_only = Access { events_only: true, ..Access::default() };
        assert_eq!(events_only.role("", ""), Some(Role::Reader));
        let events_only = Access { events_only: true, ..apart };
        assert_eq!(events_only.role("bridge", "secret"), Some(Role::Reader));
        assert_eq!(events_only.role("bridge", "x"), None);
    }
}
