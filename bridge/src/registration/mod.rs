//! Registration: whoever proves to have a phone number, by a code that was sent there, gets a device of the user who has
//! the number, or becomes that user. Called by the HTTP API; no one needs to know who asks.
//!
//! - `registrar`: the one task that owns all codes. `code`: a code, kept hashed and judged. `limits`: how often.
//! - [`courier`]: how a code gets to its phone.
//!
//! Whether a number is registered does not show before its code was said: sending a code looks at nothing but counts, and
//! judging one does the same for every number.

use std::net::IpAddr;
use std::sync::Arc;

use godwit_schemas::ids::DeviceName;
use godwit_schemas::phone::PhoneNumber;
use tokio::sync::{mpsc, oneshot};

use self::courier::Courier;
use crate::admin::{Admin, AdminError, DeviceCredentials};
use crate::audit::{Actor, Audit, AuditEntry};

mod code;
pub mod courier;
mod limits;
pub(crate) mod registrar;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::code::CodeRecord;
pub use self::limits::RegistrationLimits;

/// Requests that may wait; further ones are refused.
pub(crate) const QUEUE: usize = 256;

/// How people register.
#[derive(Debug, Clone)]
pub struct RegistrationSettings {
    /// Takes codes to phones.
    pub courier: Arc<dyn Courier>,
    /// Digits of a code, 4 to 10.
    pub code_digits: u32,
    /// How long a code is good.
    pub code_ttl_s: u32,
    /// Guesses that a code bears.
    pub tries: u32,
    /// How often.
    pub limits: RegistrationLimits,
}

/// Why somebody does not get what they want.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationRefusal {
    /// Beyond a limit.
    #[error("too many requests: try again in {wait_s} seconds")]
    TooOften {
        /// When it may be worth another try.
        wait_s: u32,
    },
    /// No code is out for the number, or not this one, or it was used, or guessed at too often.
    #[error("the code is wrong, or not good any more: ask for a new one")]
    WrongCode,
    /// Too many requests wait already.
    #[error("too many requests wait: try again later")]
    Busy,
    /// The system gave no random bits for a code.
    #[error("no randomness for a code: {0}")]
    NoRandomness(String),
    /// The code was right, and used; but the account could not be made.
    #[error(transparent)]
    Account(#[from] AdminError),
}

/// What somebody wants, and from where.
pub(crate) struct RegistrationAsk {
    number: PhoneNumber,
    from: Option<IpAddr>,
    /// A code that is to be right; without one, a new code is to be sent.
    code: Option<String>,
    reply: oneshot::Sender<Result<(), RegistrationRefusal>>,
}

/// Handle to the registrar. Cheap to clone.
#[derive(Clone)]
pub struct Registration {
    asks: mpsc::Sender<RegistrationAsk>,
    admin: Admin,
    audit: Audit,
}

impl Registration {
    pub(crate) fn new(asks: mpsc::Sender<RegistrationAsk>, admin: Admin, audit: Audit) -> Self {
        Self { asks, admin, audit }
    }

    /// Has a code sent to a number. Returns when its hash is on disk and it is on its way; the code before is void.
    ///
    /// # Errors
    /// [`RegistrationRefusal::TooOften`], [`RegistrationRefusal::Busy`], [`RegistrationRefusal::NoRandomness`].
    pub async fn send_code(&self, number: PhoneNumber, from: Option<IpAddr>) -> Result<(), RegistrationRefusal> {
        let sent = self.ask(number, from, None).await;
        self.note("code_sent", "code_not_sent", from, sent.as_ref().err());
        sent
    }

    /// Takes the code of a number, and gives its user a device: a new one, or, if the user has one of that name, that one
    /// with a new password. A number that nobody has gets a user. Durable when it returns. What follows a right code goes
    /// on when the caller stops waiting.
    ///
    /// # Errors
    /// Any [`RegistrationRefusal`]. The code is used up with [`RegistrationRefusal::Account`] too.
    pub async fn register(
        &self,
        number: PhoneNumber,
        code: String,
        device: DeviceName,
        from: Option<IpAddr>,
    ) -> Result<DeviceCredentials, RegistrationRefusal> {
        let right = self.ask(number, from, Some(code)).await;
        self.note("code_right", "code_refused", from, right.as_ref().err());
        right?;
        Ok(self.admin.enrol(number, device).await?)
    }

    /// For the audit, which has no numbers: what became of it stands there as `device_added` or `password_renewed`.
    fn note(&self, good: &'static str, bad: &'static str, from: Option<IpAddr>, refused: Option<&RegistrationRefusal>) {
        let reason = refused.map(|refused| match refused {
            RegistrationRefusal::TooOften { .. } => "too often",
            RegistrationRefusal::WrongCode => "credentials",
            RegistrationRefusal::Busy | RegistrationRefusal::NoRandomness(_) | RegistrationRefusal::Account(_) => {
                "not now"
            }
        });
        let event = if refused.is_some() { bad } else { good };
        self.audit.note(|| AuditEntry { reason, by: Some(Actor::Registration), ..AuditEntry::from(event, from) });
    }

    async fn ask(
        &self,
        number: PhoneNumber,
        from: Option<IpAddr>,
        code: Option<String>,
    ) -> Result<(), RegistrationRefusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(RegistrationAsk { number, from, code, reply }).map_err(|_| RegistrationRefusal::Busy)?;
        answer.await.unwrap_or(Err(RegistrationRefusal::Account(AdminError::ShuttingDown)))
    }
}
