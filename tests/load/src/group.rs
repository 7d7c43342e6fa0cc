//! Makes groups: the one thing that a load generator asks of Godwit by `rpc`. Called by `fanout` and `fill`.

use anyhow::{Context as _, Result, bail};
use godwit_schemas::client::{CreateGroup, Request, Response, request::Call};
use prost::Message as _;

use crate::packet;
use crate::target::Account;

/// Topic of requests and responses.
pub(crate) const TOPIC: &str = "rpc";

/// Appends the request for a group of the caller and `members`.
pub(crate) fn create(out: &mut Vec<u8>, id: u64, members: &[Account]) {
    let users = members.iter().map(|account| account.user.clone()).collect();
    let request = Request { id, call: Some(Call::CreateGroup(CreateGroup { title: "bench".into(), users })) };
    let payload = request.encode_to_vec();
    packet::publish_head(out, TOPIC, 1, payload.len());
    out.extend(payload);
}

/// Number of the group, if this is the response to that request.
///
/// # Errors
/// No response, or the group is refused.
pub(crate) fn created(payload: &[u8], id: u64) -> Result<Option<u64>> {
    let response = Response::decode(payload).context("decode a response")?;
    match response {
        Response { id: of, .. } if of != id => Ok(None),
        Response { reason: 0, conversation, .. } => Ok(Some(conversation)),
        Response { reason, text, .. } => bail!("the group is refused with {reason:#04x}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let answer = |response: &Response| created(&response.encode_to_vec(), 7);
        let done = Response { id: 7, conversation: 65, ..Response::default() };
        assert_eq!(answer(&done).unwrap(), Some(65));
        let refused = Response { reason: 0x97, text: "group full".into(), ..done.clone() };
        assert_eq!(answer(&refused).unwrap_err().to_string(), "the group is refused with 0x97: group full");
        assert_eq!(answer(&Response { id: 8, ..done }).unwrap(), None, "another request's");
        assert!(created(&[0xFF], 7).is_err());
    }
}
