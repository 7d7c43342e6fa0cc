//! What the members of a group may do, and who else may come in. Keeps P5.

use godwit_schemas::client::{self, Role};
use godwit_schemas::ids::{ConversationId, Ordinal};

use crate::stored::InviteRecord;

/// The secret of an invite.
pub type InviteSecret = [u8; 16];

/// What each role may do: everything from a role on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSettings {
    /// Send messages.
    pub may_send: Role,
    /// Add members, and deal in invites.
    pub may_add: Role,
    /// Change the title.
    pub may_rename: Role,
    /// New members see the history of before they joined.
    pub history_for_new: bool,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self { may_send: Role::Member, may_add: Role::Admin, may_rename: Role::Admin, history_for_new: false }
    }
}

impl GroupSettings {
    /// From a call or the store. `None`: a role that does not exist.
    pub fn parse(settings: &client::GroupSettings) -> Option<Self> {
        let role = |number| Role::try_from(number).ok();
        Some(Self {
            may_send: role(settings.may_send)?,
            may_add: role(settings.may_add)?,
            may_rename: role(settings.may_rename)?,
            history_for_new: settings.history_for_new,
        })
    }

    /// For an event or the store.
    pub fn to_message(self) -> client::GroupSettings {
        client::GroupSettings {
            may_send: self.may_send.into(),
            may_add: self.may_add.into(),
            may_rename: self.may_rename.into(),
            history_for_new: self.history_for_new,
        }
    }
}

/// Whether `role` is at least `least`.
pub fn reaches(role: Role, least: Role) -> bool {
    i32::from(role) >= i32::from(least)
}

/// Lets whoever knows it join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInvite {
    /// What has to be known.
    pub secret: InviteSecret,
    /// Who made it.
    pub by: Ordinal,
    /// Second since 1970; `u32::MAX`: never.
    pub expires_at_s: u32,
}

impl GroupInvite {
    /// From the store. `None`: damaged.
    pub fn from_record(record: &InviteRecord) -> Option<Self> {
        let secret = record.secret.as_slice().try_into().ok()?;
        Some(Self { secret, by: Ordinal::new(record.by), expires_at_s: record.expires_at_s })
    }

    /// For the store.
    pub fn to_record(&self) -> InviteRecord {
        InviteRecord { secret: self.secret.to_vec(), by: self.by.get(), expires_at_s: self.expires_at_s }
    }

    /// For those who may see it.
    pub fn to_message(&self, id: ConversationId, now_s: u32) -> client::Invite {
        let left_s = u64::from(self.expires_at_s.saturating_sub(now_s));
        client::Invite {
            invite: format!("{id}-{:032x}", u128::from_be_bytes(self.secret)),
            by: self.by.get(),
            expires_in_s: (self.expires_at_s != u32::MAX).then_some(left_s),
        }
    }
}

/// Reads an invite as it was handed around: `<conversation>-<32 hexadecimal digits>`.
pub fn parse_invite(text: &str) -> Option<(ConversationId, InviteSecret)> {
    let (id, secret) = text.split_once('-')?;
    let plain = id.bytes().all(|b| b.is_ascii_digit()) && secret.bytes().all(|b| b.is_ascii_hexdigit());
    if !plain || secret.len() != 32 {
        return None;
    }
    let secret = u128::from_str_radix(secret, 16).ok()?;
    Some((ConversationId::new(id.parse().ok()?), secret.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invites_read_back() {
        let invite = GroupInvite { secret: [7; 16], by: Ordinal::new(3), expires_at_s: 100 };
        let shown = invite.to_message(ConversationId::new(99), 40);
        assert_eq!(parse_invite(&shown.invite), Some((ConversationId::new(99), [7; 16])));
        assert_eq!((shown.by, shown.expires_in_s), (3, Some(60)));
        assert_eq!(GroupInvite::from_record(&invite.to_record()), Some(invite));
        let digits = "0".repeat(32);
        for bad in ["", "-", "99", "99-", "99-07", &format!("+9-{digits}"), &format!("99-+{}", &digits[1..])] {
            assert_eq!(parse_invite(bad), None, "{bad}");
        }
        assert!(parse_invite(&format!("99-{digits}")).is_some());
    }

    #[test]
    fn a_role_reaches_itself_and_what_is_below() {
        assert!(reaches(Role::Owner, Role::Admin) && reaches(Role::Admin, Role::Admin));
        assert!(!reaches(Role::Member, Role::Admin));
    }
}
