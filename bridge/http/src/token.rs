//! Operators' tokens: the administrator's, which may do everything, and others with a name, a scope and an end. Only their hashes are
//! kept here, and compared in constant time: neither a token's content nor its length shows in how long a refusal takes, nor which of
//! several it is.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use godwit_bridge::audit::TokenName;
use godwit_store::time;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::hex::hex;
use super::problem::Problem;

/// What a token allows. Each allows what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminScope {
    /// To look at what the server knows of accounts and connections, and never at what users write.
    Read,
    /// To help users: what is cut, suspended or resumed can be undone.
    Support,
    /// Everything, in users' names too.
    Admin,
}

impl AdminScope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Support, Self::Admin];

    /// As it stands in files of tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Support => "support",
            Self::Admin => "admin",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// What a token of this scope gets where more is needed.
    pub(super) fn refuse(self, needed: Self) -> Problem {
        let text = format!("this needs a token of the scope {}, and this one has {}", needed.name(), self.name());
        Problem::new(StatusCode::FORBIDDEN, text).because("scope")
    }

    /// Lets a request through whose token allows this. Without a token it is for others to judge.
    pub(super) async fn require(self, request: Request, next: Next) -> Response {
        match request.extensions().get() {
            Some(TokenHolder::Operator { scope, .. }) if *scope < self => scope.refuse(self).into_response(),
            _ => next.run(request).await,
        }
    }
}

/// Who has sent a request with an operator's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenHolder {
    /// With the administrator's, which has no name and no end.
    Administrator,
    /// With one of the others.
    Operator { name: TokenName, scope: AdminScope },
}

/// The administrator's token. Cheap to clone.
#[derive(Clone)]
pub struct AdminToken {
    hash: [u8; 32],
}

impl AdminToken {
    /// The lock that `token` opens.
    pub fn new(token: &str) -> Self {
        Self { hash: Sha256::digest(token).into() }
    }

    /// A new random token of 256 bits, and the lock it opens.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> io::Result<(String, Self)> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let token = hex(&bytes);
        let lock = Self::new(&token);
        Ok((token, lock))
    }

    /// What is kept of the token: its SHA-256, in hexadecimal.
    pub fn hash(&self) -> String {
        hex(&self.hash)
    }
}

/// A token with a name.
#[derive(Clone)]
pub struct ListedToken {
    /// Tells in the audit who did something.
    pub name: TokenName,
    /// What it allows.
    pub scope: AdminScope,
    /// Second since 1970 at which it ends; `None`: never.
    pub ends_at_s: Option<u64>,
    /// Its SHA-256.
    pub hash: [u8; 32],
}

/// All operators' tokens. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct AdminTokens {
    administrator: AdminToken,
    listed: Arc<RwLock<Arc<[ListedToken]>>>,
}

impl AdminTokens {
    /// The administrator's, and none besides.
    pub fn new(administrator: AdminToken) -> Self {
        Self { administrator, listed: Arc::new(RwLock::new(Arc::from([]))) }
    }

    /// From now on these are good besides the administrator's, and no others.
    pub fn list(&self, tokens: Vec<ListedToken>) {
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
    }

    /// Whose token an `Authorization` header carries (RFC 6750, section 2.1).
    pub(super) fn identify(&self, authorization: Option<&HeaderValue>) -> Option<TokenHolder> {
        let (scheme, token) = authorization.and_then(|value| value.as_bytes().split_at_checked(b"Bearer ".len()))?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let mut holder = bool::from(hash.ct_eq(&self.administrator.hash)).then_some(TokenHolder::Administrator);
        let (listed, now_s) =
            (self.listed.read().unwrap_or_else(PoisonError::into_inner).clone(), time::wall().as_secs());
        for ListedToken { name, scope, ends_at_s, hash: of_listed } in listed.iter() {
            let is_this = bool::from(hash.ct_eq(of_listed));
            if is_this & ends_at_s.is_none_or(|end_s| now_s < end_s) {
                holder = holder.or(Some(TokenHolder::Operator { name: *name, scope: *scope }));
            }
        }
        holder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).expect("a header")
    }

    #[test]
    fn only_the_token_opens() {
        let (token, lock) = AdminToken::generate().expect("randomness");
        let tokens = AdminTokens::new(lock);
        let opens = |text: &str| tokens.identify(Some(&header(text))) == Some(TokenHolder::Administrator);
        assert_eq!(token.len(), 64);
        assert!(opens(&format!("Bearer {token}")));
        assert!(opens(&format!("bearer {token}")));
        assert!(!opens(&token));
        assert!(!opens(&format!("Basic {token}")));
        assert!(!opens(&format!("Bearer {}", &token[1..])));
        assert!(!opens(&format!("Bearer {token}0")));
        assert!(!opens("Bearer "));
        assert!(!opens(""));
        assert_eq!(tokens.identify(None), None);
    }

    #[test]
    fn a_listed_token_opens_until_it_ends_or_is_taken_away() {
        let tokens = AdminTokens::new(AdminToken::new("everything"));
        let name = TokenName::new("on-call").expect("a name");
        let listed = |token: &str, ends_at_s| {
            let hash = AdminToken::new(token).hash;
            ListedToken { name, scope: AdminScope::Support, ends_at_s, hash }
        };
        let now_s = time::wall().as_secs();
        tokens.list(vec![listed("old", Some(now_s)), listed("new", Some(now_s + 60)), listed("lasting", None)]);
        let holder = |token: &str| tokens.identify(Some(&header(&format!("Bearer {token}"))));
        let on_call = Some(TokenHolder::Operator { name, scope: AdminScope::Support });
        assert_eq!([holder("old"), holder("new"), holder("lasting"), holder("no")], [None, on_call, on_call, None]);
        assert_eq!(holder("everything"), Some(TokenHolder::Administrator));
        tokens.list(Vec::new());
        assert_eq!([holder("new"), holder("lasting")], [None, None]);
    }

    #[test]
    fn scopes_include_those_before_them() {
        assert!(AdminScope::Read < AdminScope::Support && AdminScope::Support < AdminScope::Admin);
        assert_eq!(AdminScope::ALL.map(|scope| AdminScope::named(scope.name())), AdminScope::ALL.map(Some));
        assert_eq!(AdminScope::named("root"), None);
    }
}
