//! Who may connect: by password, by certificate, by token, or as before.

use godwit_core::credential::{CredentialStanding, Fingerprint, standing};
use godwit_core::stored::DeviceRecord;
use godwit_schemas::bus::{self, Bus};
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::reason::Reason;

use crate::audit::AuditEntry;
use crate::lane::Lane;
use crate::lane::context::Context;
use crate::lane::state::State;
use crate::password::{self, PasswordMatch};
use crate::token;
use godwit_store::{Store, StoreError};

/// Why a user does not get in that an operator has shut out, for the audit.
pub(in crate::lane) const SUSPENDED: &str = "suspended";

/// Who somebody is that gets in, and with what.
pub(in crate::lane) struct Admitted {
    pub(in crate::lane) user: UserId,
    pub(in crate::lane) device: DeviceId,
    pub(in crate::lane) fingerprint: Fingerprint,
    /// Second since 1970 at which the connection ends with its token; `None`: it came with none.
    pub(in crate::lane) ends_at_s: Option<u32>,
}

impl Admitted {
    /// One of the user's devices.
    pub(in crate::lane) fn new(user: UserId, device: &DeviceRecord, ends_at_s: Option<u32>) -> Self {
        Self { user, device: DeviceId::new(device.id), fingerprint: Fingerprint::of(device), ends_at_s }
    }
}

impl State {
    /// Whether a connection that was accepted before may go on: what it was accepted with must be good still.
    pub(in crate::lane) async fn authenticate_again<S: Store>(
        &mut self,
        context: &Context<S>,
        connect: &bus::Connect,
        resume: &bus::Resume,
    ) -> Result<LoginVerdict, StoreError> {
        if resume.device == 0 {
            // An edge of an older version. A client takes this for a reason to come again.
            return Ok(Err((Reason::SERVER_BUSY, "no proof")));
        }
        if resume.store_epoch != context.origin.epoch {
            // What it was given, and what it was told of others, is of a history that is no more.
            return Ok(Err((Reason::SERVER_BUSY, "restored")));
        }
        let Ok(user) = UserId::new(&connect.user) else {
            return Ok(Err((Reason::NOT_AUTHORIZED, "credentials")));
        };
        let (device, fingerprint) = (DeviceId::new(resume.device), Fingerprint::new(resume.fingerprint));
        let ends_at_s = resume.ends_at_s;
        let tokens = context.settings.tokens.as_ref();
        let has_ended = ends_at_s.is_some_and(|end_s| tokens.is_none_or(|tokens| end_s <= tokens.now_s()));
        let record = self.user_record(context, &user).await?.unwrap_or_default();
        if record.is_suspended() {
            return Ok(Err((Reason::ADMINISTRATIVE_ACTION, SUSPENDED)));
        }
        let mut devices = record.devices;
        // A store brought back from a copy may give a number again, and a device without a password has no other.
        devices.retain(|known| known.name == connect.device);
        Ok(match standing(&devices, device, fingerprint) {
            CredentialStanding::Gone => Err((Reason::ADMINISTRATIVE_ACTION, "no such device")),
            CredentialStanding::Renewed => Err((Reason::NOT_AUTHORIZED, "credentials")),
            CredentialStanding::Good if has_ended => Err((Reason::NOT_AUTHORIZED, "token")),
            CredentialStanding::Good => Ok(Admitted { user, device, fingerprint, ends_at_s }),
        })
    }
}

impl<S: Store> Context<S> {
    /// For the audit. A connection that is attached again logs in no more.
    pub(in crate::lane) fn note_login(&self, connect: &bus::Connect, refused: Option<&'static str>) {
        if connect.resume.is_some() {
            return;
        }
        self.settings.audit.note(|| AuditEntry {
            event: if refused.is_some() { "login_refused" } else { "login" },
            user: Some(connect.user.clone()),
            device: Some(connect.device.clone()),
            address: Some(connect.address.clone()).filter(|address| !address.is_empty()),
            with: Some(match connect.verified {
                true => "certificate",
                false if self.settings.tokens.is_some() && token::looks_like_one(&connect.password) => "token",
                false => "password",
            }),
            reason: refused,
            ..AuditEntry::default()
        });
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Who this is, or why it may not connect. Whose certificate the edge has verified needs no password.
    pub(in crate::lane) async fn authenticate(&mut self, connect: &bus::Connect) -> Result<LoginVerdict, StoreError> {
        // The client is told the same of all of them.
        let refused = |why| Ok(Err((Reason::BAD_USER_NAME_OR_PASSWORD, why)));
        let (Ok(user), Ok(name)) = (UserId::new(&connect.user), DeviceName::new(&connect.device)) else {
            return refused("no name");
        };
        if !connect.verified
            && let Some(tokens) = self.context.settings.tokens.clone()
            && token::looks_like_one(&connect.password)
        {
            return self.admit_by_token(&tokens, connect, (user, name)).await;
        }
        let record = self.state.user_record(&self.context, &user).await?;
        let is_user = record.is_some();
        let record = record.unwrap_or_default();
        let device = record.devices.iter().find(|device| device.name == name.as_str());
        let known = match connect.verified {
            true => Some(PasswordMatch::Current),
            false => password::known(device, &user, &name, &connect.password),
        };
        let (Some(device), Some(known)) = (device, known) else {
            return refused(password::why_not(is_user, device.is_some()));
        };
        // Only who knows the password is told so.
        if record.is_suspended() {
            return Ok(Err((Reason::BANNED, SUSPENDED)));
        }
        let admitted = Admitted::new(user, device, None);
        if known == PasswordMatch::Next {
            // It comes again when that is known, and then it is the current one.
            self.next_password_is_used(&admitted.user, record, admitted.device);
        }
        Ok(Ok(admitted))
    }
}

/// Whether somebody gets in; or why not, for the client and for the audit.
pub(in crate::lane) type LoginVerdict = Result<Admitted, (Reason, &'static str)>;
