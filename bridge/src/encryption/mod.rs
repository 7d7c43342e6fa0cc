//! End-to-end encryption, as far as the server has a part in it: it keeps what devices encrypt to each other with, and gives the
//! commits of conversations' groups their places in the order. It reads nothing of what is sealed.
//!
//! `lane/encryption` does that for users, `godwit_core::decide` for conversations; what devices hand in is checked here.

use std::sync::Arc;

pub use self::validator::{
    Certified, HandedIn, Invalid, LeafOf, MlsGroupId, NextGroup, PublicGroup, Validator, WelcomeTo,
};

pub(crate) mod checker;
pub mod played;
mod validator;

/// How conversations can be encrypted. Whether they must be, and how large groups are, decisions have to know: it is in `Rules`.
#[derive(Debug, Clone)]
pub struct EncryptionSettings {
    /// Checks what devices hand in.
    pub validator: Arc<dyn Validator>,
    /// Checks that are done at once, each by a thread of the runtime's; 0: one after the other, by the task that takes them, as a
    /// simulation wants it.
    pub checks_at_once: usize,
    /// Key packages for one use that are kept of a device.
    pub key_packages_max: u32,
    /// Of how many users a user may claim key packages in a day.
    pub claims_per_day: u32,
    /// Rows of a user's vault.
    pub vault_rows_max: u32,
}
