//! The section `[e2ee]`: whether conversations can be encrypted from end to end, or must be.

use super::layers::Layers;
use super::number;

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EncryptionKeys {
    pub(crate) required: bool,
    pub(crate) leaves_max: usize,
    pub(crate) key_packages_max: u32,
    pub(crate) claims_per_day: u32,
    pub(crate) commits_per_minute: u32,
    pub(crate) vault_rows_max: u32,
}

/// `None`: they cannot.
pub(super) fn parse(from: &mut Layers) -> Option<EncryptionKeys> {
    let required = from.take("e2ee.mode", |mode: String| match mode.as_str() {
        "off" => Ok(None),
        "allowed" => Ok(Some(false)),
        "required" => Ok(Some(true)),
        other => Err(format!("{other:?} is neither \"off\" nor \"allowed\" nor \"required\"")),
    });
    let keys = EncryptionKeys {
        required: required == Some(true),
        leaves_max: number(from, "e2ee.leaves_max", 2..=2_048),
        key_packages_max: number(from, "e2ee.key_packages_max", 1..=100),
        claims_per_day: number(from, "e2ee.claims_per_day", 1..=1_000_000),
        commits_per_minute: number(from, "e2ee.commits_per_minute", 1..=1_000),
        vault_rows_max: number(from, "e2ee.vault_rows_max", 100..=100_000_000),
    };
    required.map(|_| keys)
}
