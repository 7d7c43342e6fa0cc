//! The `Host` of a request (RFC 9112, section 3.2), for every door that speaks HTTP.

/// Whether the `Host` headers of a request are what they must be: one, of HTTP/1.1; one or none, of HTTP/1.0; with a host
/// and a port, and nothing else in it. What is not is answered with 400.
pub fn is_good<'a>(is_required: bool, hosts: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut hosts = hosts.into_iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => !is_required,
        (Some(host), None) => is_host(host),
        (Some(_), Some(_)) => false,
    }
}

/// A name, an IPv4 address or an IPv6 address in brackets, and a port or none (RFC 3986, section 3.2). May be empty.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|byte| *byte == b':') {
        Some(at) if !text.ends_with(b"]") => (&text[..at], &text[at + 1..]),
        _ => (text, &[][..]),
    };
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    let is_good = match host.strip_prefix(b"[") {
        Some(rest) => rest.strip_suffix(b"]").is_some_and(|addr| addr.iter().all(|it| of_name(it) || *it == b':')),
        None => host.iter().all(of_name),
    };
    is_good && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_host() {
        let check = |is_required, hosts: &[&str]| is_good(is_required, hosts.iter().map(|host| host.as_bytes()));
        for good in
            ["", "a", "chat.example.org", "chat.example.org:8080", "127.0.0.1:1", "[::1]", "[::1]:80", "a:", "%C3%A4"]
        {
            assert!(check(true, &[good]), "{good}");
        }
        for bad in ["a b", "a/b", "user@a", "a:b", "::1", "[::1", "[a/b]", "a,b:c", "\u{e4}", "http://a"] {
            assert!(!check(true, &[bad]), "{bad}");
        }
        assert!(!check(true, &[]) && !check(true, &["a", "a"]) && !check(false, &["a", "a"]));
        assert!(check(false, &[]) && check(false, &["a"]));
    }
}
