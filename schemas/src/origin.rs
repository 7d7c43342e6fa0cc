//! Origins of browsers' pages (RFC 6454), for every door that lets only some of them in.

/// The word for every origin in a list.
const ANY: &str = "*";

/// Whether pages of this origin, as a browser says it, are let in by a list.
pub fn is_listed(origins: &[String], origin: &[u8]) -> bool {
    origins.iter().any(|it| it == ANY || it.as_bytes().eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_whole_of_one() {
        let list = ["https://chat.example.org".to_owned()];
        assert!(is_listed(&list, b"https://Chat.example.org") && is_listed(&["*".to_owned()], b"null"));
        for other in
            ["https://chat.example.org.evil.org", "http://chat.example.org", "https://chat.example.org:444", "null", ""]
        {
            assert!(!is_listed(&list, other.as_bytes()) && !is_listed(&[], other.as_bytes()), "{other}");
        }
    }
}
