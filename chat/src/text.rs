//! Text from elsewhere, made fit for a terminal.

use std::time::{Duration, SystemTime};

use unicode_width::UnicodeWidthChar as _;

/// A body as one text: what is not UTF-8 and what would command the terminal is replaced, line ends stay.
pub(crate) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }).collect()
}

/// The same as one line.
pub(crate) fn one_line(body: &[u8]) -> String {
    shown(body).replace('\n', "\u{23CE} ")
}

/// Cuts text into lines of at most this many columns, at spaces where there are any.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let (mut line, mut width, mut space) = (String::new(), 0, None);
        for c in paragraph.chars() {
            let wide = c.width().unwrap_or(0);
            if width + wide > columns {
                let rest = match space.take() {
                    Some(at) => line.split_off(at),
                    None => String::new(),
                };
                lines.push(std::mem::replace(&mut line, rest.trim_start().to_owned()));
                width = line.chars().filter_map(|c| c.width()).sum();
            }
            if c == ' ' {
                space = Some(line.len());
            }
            line.push(c);
            width += wide;
        }
        lines.push(line);
    }
    lines
}

/// How long ago, in a word: time zones are none of a server's business, and an age needs none.
pub(crate) fn age(at: SystemTime, now: SystemTime) -> String {
    let s = now.duration_since(at).unwrap_or(Duration::ZERO).as_secs();
    match s {
        0..60 => "now".to_owned(),
        60..3_600 => format!("{}m", s / 60),
        3_600..86_400 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_commands_the_terminal() {
        assert_eq!(shown(b"a\x1b[2Jb\r\nc\x07"), "a\u{FFFD}[2Jb\u{FFFD}\nc\u{FFFD}");
        assert_eq!(one_line(b"a\nb"), "a\u{23CE} b");
        assert_eq!(shown(b"\xff"), "\u{FFFD}");
    }

    #[test]
    fn lines_end_at_spaces_and_wide_letters_count_twice() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn ages() {
        let at = SystemTime::UNIX_EPOCH;
        let after = |s| age(at, at + Duration::from_secs(s));
        assert_eq!([after(5), after(61), after(7_300), after(200_000)], ["now", "1m", "2h", "2d"]);
        assert_eq!(age(at + Duration::from_secs(9), at), "now");
    }
}
