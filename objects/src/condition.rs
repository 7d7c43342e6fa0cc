//! What must be in an object's place for another to be put there: `If-Match` and `If-None-Match` (RFC 9110, section 13.1).
//! `If-None-Match: *` has an object created and never replaced. As with S3, `If-Match` where no object is finds none.

use headers::{ETag, HeaderMapExt as _, IfMatch, IfNoneMatch};
use hyper::HeaderMap;

use crate::folder::{HASH_BYTES, PutRefusal};
use crate::protocol::{hash_digits, tag};

/// See the module. The default: whatever is there is replaced.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
}

impl Condition {
    /// `None`: it cannot be read, and must not be taken for none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let (if_match, if_none_match) = (headers.typed_try_get().ok()?, headers.typed_try_get().ok()?);
        Some(Self { if_match, if_none_match })
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_some(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }

    /// Whether it holds for what is there, by its SHA-256.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn judge(&self, there: Option<&[u8; HASH_BYTES as usize]>) -> Result<(), PutRefusal> {
        // What is made of hexadecimal digits is a tag.
        let there = there.and_then(|hash| tag(hash_digits(hash)).parse::<ETag>().ok());
        let holds = match (&there, &self.if_match) {
            (None, Some(_)) => return Err(PutRefusal::Absent),
            (Some(there), Some(condition)) => condition.precondition_passes(there),
            (_, None) => true,
        };
        let none = |condition: &IfNoneMatch| there.as_ref().is_none_or(|there| condition.precondition_passes(there));
        if holds && self.if_none_match.as_ref().is_none_or(none) { Ok(()) } else { Err(PutRefusal::Another) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(headers: &[(&'static str, &str)], there: Option<u8>) -> &'static str {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        let Some(condition) = Condition::of(&map) else { return "unreadable" };
        match condition.judge(there.map(|byte| [byte; 32]).as_ref()) {
            Ok(()) => "holds",
            Err(PutRefusal::Another) => "another",
            Err(PutRefusal::Absent) => "absent",
            Err(_) => "something else",
        }
    }

    #[test]
    fn a_condition_is_judged_by_what_is_there() {
        let [one, other] = ["01", "02"].map(|digits| format!("\"{}\"", digits.repeat(32)));
        let both = format!("{other}, {one}");
        for (headers, with_one, with_none) in [
            (&[][..], "holds", "holds"),
            (&[("if-none-match", "*")], "another", "holds"),
            (&[("if-none-match", &*one)], "another", "holds"),
            (&[("if-none-match", &*other)], "holds", "holds"),
            (&[("if-match", "*")], "holds", "absent"),
            (&[("if-match", &*one)], "holds", "absent"),
            (&[("if-match", &*both)], "holds", "absent"),
            (&[("if-match", &*other)], "another", "absent"),
            (&[("if-match", &*one), ("if-none-match", "*")], "another", "absent"),
        ] {
            assert_eq!((judged(headers, Some(1)), judged(headers, None)), (with_one, with_none), "{headers:?}");
        }
    }
}
