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

use self::courier::{Courier, Sms};
use self::registrar::Ask;
use crate::admin::{Admin, AdminError, Credentials};
use crate::audit::{Audit, By, Entry};

mod code;
pub mod courier;
mod limits;
pub(crate) mod registrar;
#[cfg(test)]
mod tests;

pub use self::limits::Limits;

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
    pub limits: Limits,
}

/// Why somebody does not get what they want.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
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

/// Handle to the registrar. Cheap to clone.
#[derive(Clone)]
pub struct Registration {
    asks: mpsc::Sender<Ask>,
    admin: Admin,
    audit: Audit,
}

impl Registration {
    pub(crate) fn new(asks: mpsc::Sender<Ask>, admin: Admin, audit: Audit) -> Self {
        Self { asks, admin, audit }
    }

    /// Has a code sent to a number. Returns when its hash is on disk and it is on its way; the code before is void.
    ///
    /// # Errors
    /// [`Refused::TooOften`], [`Refused::Busy`], [`Refused::NoRandomness`].
    pub async fn send_code(&self, number: PhoneNumber, from: Option<IpAddr>) -> Result<(), Refused> {
        let sent = self.ask(number, from, None).await;
        self.note("code_sent", "code_not_sent", from, sent.as_ref().err());
        sent
    }

    /// Takes the code of a number, and gives its user a device: a new one, or, if the user has one of that name, that one
    /// with a new password. A number that nobody has gets a user. Durable when it returns. What follows a right code goes
    /// on when the caller stops waiting.
    ///
    /// # Errors
    /// Any of [`Refused`]. The code is used up with [`Refused::Account`] too.
    pub async fn register(
        &self,
        number: PhoneNumber,
        code: String,
        device: DeviceName,
        from: Option<IpAddr>,
    ) -> Result<Credentials, Refused> {
        let right = self.ask(number, from, Some(code)).await;
        self.note("code_right", "code_refused", from, right.as_ref().err());
        right?;
        Ok(self.admin.enrol(number, device).await?)
    }

    /// For the audit, which has no numbers: what became of it stands there as `device_added` or `password_renewed`.
    fn note(&self, good: &'static str, bad: &'static str, from: Option<IpAddr>, refused: Option<&Refused>) {
        let reason = refused.map(|refused| match refused {
            Refused::TooOften { .. } => "too often",
            Refused::WrongCode => "credentials",
            Refused::Busy | Refused::NoRandomness(_) | Refused::Account(_) => "not now",
        });
        let event = if refused.is_some() { bad } else { good };
        self.audit.note(|| Entry { reason, by: Some(By::Registration), ..Entry::from(event, from) });
    }

    async fn ask(&self, number: PhoneNumber, from: Option<IpAddr>, code: Option<String>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask { number, from, code, reply }).map_err(|_| Refused::Busy)?;
        answer.await.unwrap_or(Err(Refused::Account(AdminError::ShuttingDown)))
    }
}
