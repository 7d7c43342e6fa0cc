//! How many requests there may be by one link at a time. Whoever has a link may hand it to anybody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Uri;
use percent_encoding::percent_decode_str;

/// Enough for a download in pieces.
const BY_ONE_LINK_MAX: usize = 8;
/// Where a link has its signature.
const SIGNATURE: &[u8] = b"X-Amz-Signature";
/// Longest signature that is told apart, in bytes. A good one has 64.
const SIGNATURE_BYTES_MAX: usize = 128;

/// Requests by their link's signature.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashMap<Vec<u8>, usize>>);

/// A request by a link. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    links: Arc<Links>,
    signature: Vec<u8>,
}

/// The signature of a link, whichever of its characters are percent-encoded.
pub(crate) fn signature(link: &Uri) -> Option<Vec<u8>> {
    let (_, mut signature) = pairs(link).find(|(name, _)| name == SIGNATURE)?;
    signature.truncate(SIGNATURE_BYTES_MAX);
    Some(signature)
}

/// Names and values of a query, without percent-encoding. A name alone has an empty value.
pub(crate) fn pairs(link: &Uri) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let pairs = link.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decoded(name), decoded(value)))
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

impl Links {
    /// A request by a link with this signature. `None`: there are enough.
    pub(crate) fn claim(self: &Arc<Self>, signature: Vec<u8>) -> Option<Claim> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(signature.clone()).or_default();
        if *count >= BY_ONE_LINK_MAX {
            return None;
        }
        *count += 1;
        Some(Claim { links: self.clone(), signature })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut counts = self.links.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.signature) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.signature);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_so_many_requests_at_a_time() {
        let links = Arc::new(Links::default());
        let mut claims: Vec<_> = (0..BY_ONE_LINK_MAX).map(|_| links.claim(b"a".to_vec()).expect("room")).collect();
        assert!(links.claim(b"a".to_vec()).is_none() && links.claim(b"b".to_vec()).is_some());
        claims.pop();
        claims.push(links.claim(b"a".to_vec()).expect("room again"));
        drop(claims);
        assert!(links.0.lock().expect("a table").is_empty(), "nothing is left");
    }

    #[test]
    fn a_link_is_told_by_its_signature() {
        let of = |link: &str| signature(&link.parse().expect("a link")).map(|it| String::from_utf8(it).expect("text"));
        assert_eq!(of("/b/o?X-Amz-Date=1&X-Amz-Signature=ab12&x=y"), Some("ab12".to_owned()));
        assert_eq!(of("/b/o?X%2dAmz-%53ignature=a%621%32"), Some("ab12".to_owned()), "another spelling");
        assert_eq!(of("/b/o?x=%26X-Amz-Signature%3Dx&X-Amz-Signature=%zz%4"), Some("%zz%4".to_owned()));
        assert_eq!(of("/b/o?X-Amz-Date=1"), None);
        assert_eq!(of("/b/o"), None);
        assert_eq!(of(&format!("/b/o?X-Amz-Signature={}", "a".repeat(500))), Some("a".repeat(128)));
    }
}
