//! The header `Godwit-Epoch`: the epoch of the server that the caller knows (`Send.epoch` over MQTT). A server that was set back
//! has another epoch, and refuses to count with it.

use axum::http::{HeaderMap, StatusCode};

use super::problem::Problem;

const NAME: &str = "godwit-epoch";

/// The epoch in the header; 0 if the header is absent.
///
/// # Errors
/// 400: the header is not one epoch.
pub(super) fn believed_epoch(headers: &HeaderMap) -> Result<u64, Problem> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(0) };
    let digits = value.to_str().ok().filter(|it| it.len() == 16 && it.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let epoch = digits.and_then(|it| u64::from_str_radix(it, 16).ok()).filter(|epoch| *epoch > 0);
    let bad = || Problem::new(StatusCode::BAD_REQUEST, "Godwit-Epoch: one, of 16 hexadecimal digits");
    epoch.filter(|_| values.next().is_none()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_epoch_is_16_digits() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|value| _ = headers.append(NAME, HeaderValue::from_static(value)));
            believed_epoch(&headers).ok()
        };
        assert_eq!(read(&[]), Some(0));
        assert_eq!(read(&["00000000000000ff"]), Some(0xFF));
        for bad in [&[""][..], &["ff"], &["0000000000000000"], &["+0000000000000ff"], &["00000000000000ff"; 2]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
