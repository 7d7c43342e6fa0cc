//! Which commits there may be: members add, remove and update; a device joins from outside, in place of its own older leaf.

use mls_rs::group::{GroupContext, Roster};
use mls_rs::mls_rules::{CommitDirection, CommitOptions, CommitSource, EncryptionOptions, ProposalBundle};
use mls_rs_core::error::IntoAnyError;

/// Devices that a commit adds at the most: their key packages stand in it, and it has to fit into a packet.
pub const ADDS_PER_COMMIT_MAX: usize = 32;

/// Why a commit is refused that MLS allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("the commit has a proposal of a kind that has no use here")]
    Kind,
    #[error("the commit names a proposal that was sent before it")]
    ByReference,
    #[error("the commit adds more than {ADDS_PER_COMMIT_MAX} devices")]
    Adds,
}

impl IntoAnyError for RuleError {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(self.into())
    }
}

/// What mls-rs is given as the rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The founding commit, which nobody else processes, may add any number.
    pub(crate) adds_max: usize,
}

impl Rules {
    pub(crate) const LATER: Self = Self { adds_max: ADDS_PER_COMMIT_MAX };
    #[cfg(feature = "client")]
    pub(crate) const FOUNDING: Self = Self { adds_max: usize::MAX };
}

impl mls_rs::MlsRules for Rules {
    type Error = RuleError;

    fn filter_proposals(
        &self,
        _: CommitDirection,
        _: CommitSource,
        _: &Roster<'_>,
        _: &GroupContext,
        proposals: ProposalBundle,
    ) -> Result<ProposalBundle, RuleError> {
        for proposal in proposals.iter_proposals() {
            if !proposal.is_by_value() {
                return Err(RuleError::ByReference);
            }
        }
        // What an external commit may hold besides, MLS says (RFC 9420, section 12.2), and mls-rs checks.
        let usual = proposals.add_proposals().len()
            + proposals.remove_proposals().len()
            + proposals.external_init_proposals().len();
        if usual != proposals.length() {
            return Err(RuleError::Kind);
        }
        if proposals.add_proposals().len() > self.adds_max {
            return Err(RuleError::Adds);
        }
        Ok(proposals)
    }

    /// The tree travels apart, since it does not fit into a packet; every joining device has a Welcome of its own; the
    /// GroupInfo lets devices of members join by themselves.
    fn commit_options(&self, _: &Roster<'_>, _: &GroupContext, _: &ProposalBundle) -> Result<CommitOptions, RuleError> {
        Ok(CommitOptions::new()
            .with_path_required(true)
            .with_ratchet_tree_extension(false)
            .with_single_welcome_message(false)
            .with_allow_external_commit(true)
            .with_always_out_of_band_ratchet_tree(true))
    }

    /// Handshakes are readable to the server, which checks them.
    fn encryption_options(&self, _: &Roster<'_>, _: &GroupContext) -> Result<EncryptionOptions, RuleError> {
        Ok(EncryptionOptions::default())
    }
}
