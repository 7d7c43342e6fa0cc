//! Text that a terminal may be given. Whatever comes from elsewhere (what people write, names, titles, labels, file names,
//! what a server says) becomes [`Shown`] before it is printed or drawn, and nothing else is: so it commands no terminal, forges
//! no line of this program, and does not look like what it is not. Writing from right to left, emoji and combining marks stay.

use std::fmt::Display;

use godwit_client::ids::{ConversationId, Seq, UserId};
use godwit_client::text::is_hidden;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Stands for what is not shown. One is enough for several in a row.
const REPLACED: char = '\u{FFFD}';
/// Marks on one letter; more of them would lie over the lines around it.
const MARKS_MAX: usize = 5;
/// Columns of a name among other words.
const NAME_COLUMNS: usize = 60;
/// Columns of what a server says, which may be a proxy's whole page.
const REASON_COLUMNS: usize = 300;
/// Where the first letter of what is between these does not decide how the rest of the line is ordered.
const ISOLATED: (char, char) = ('\u{2068}', '\u{2069}');

/// Text that is safe to print: nothing of it can steer the terminal or disguise what is beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Shown(String);

/// A part of what is shown: the program's own words, numbers, and what is shown already.
pub(crate) trait ShownPart {
    /// Appends it.
    fn add_to(&self, text: &mut String);
}

/// Parts, one behind the other.
macro_rules! shown {
    ($($part:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "there may be no parts")]
        let mut text = $crate::shown::Shown::default();
        $(text.push(&$part);)*
        text
    }};
}
pub(crate) use shown;

impl Shown {
    /// What somebody wrote, with its lines.
    pub(crate) fn text(bytes: &[u8]) -> Self {
        Self(clean(&String::from_utf8_lossy(bytes)))
    }

    /// The same in one line.
    pub(crate) fn line(bytes: impl AsRef<[u8]>) -> Self {
        let line = Self::text(bytes.as_ref()).0.replace('\n', "\u{23CE} ");
        if line.chars().any(is_from_right) { Self(format!("{}{line}{}", ISOLATED.0, ISOLATED.1)) } else { Self(line) }
    }

    /// A name among other words: one line, and not long.
    pub(crate) fn name(bytes: impl AsRef<[u8]>) -> Self {
        Self::line(cut(&Self::text(bytes.as_ref()).0, NAME_COLUMNS))
    }

    /// A name in quotes, which has none itself: it ends where it seems to.
    pub(crate) fn quoted(bytes: impl AsRef<[u8]>) -> Self {
        let name = Self::name(bytes);
        Self(format!("\"{}\"", name.0.replace('"', "'")))
    }

    /// An error, also one with words of a server's.
    pub(crate) fn error(error: impl Display) -> Self {
        Self::line(cut(&clean(&error.to_string()), REASON_COLUMNS))
    }

    pub(crate) fn push(&mut self, part: &impl ShownPart) {
        part.add_to(&mut self.0);
    }

    /// All of them, with this between.
    pub(crate) fn join(parts: impl IntoIterator<Item = Self>, between: &'static str) -> Self {
        let parts: Vec<_> = parts.into_iter().map(|part| part.0).collect();
        Self(parts.join(between))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn columns(&self) -> usize {
        self.0.width()
    }

    /// Its lines, each by itself.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Self> {
        self.0.lines().map(|line| Self(line.to_owned()))
    }

    /// Lines of at most this many columns, cut at spaces where there are any.
    pub(crate) fn wrap(&self, columns: usize) -> Vec<Self> {
        let columns = columns.max(2);
        let mut lines = Vec::new();
        for paragraph in self.0.split('\n') {
            let (mut line, mut width, mut space) = (String::new(), 0, None);
            for c in paragraph.chars() {
                let wide = c.width().unwrap_or(0);
                if width + wide > columns {
                    let rest = match space.take() {
                        Some(at) => line.split_off(at),
                        None => String::new(),
                    };
                    lines.push(Self(std::mem::replace(&mut line, rest.trim_start().to_owned())));
                    width = line.chars().filter_map(|c| c.width()).sum();
                }
                if c == ' ' {
                    space = Some(line.len());
                }
                line.push(c);
                width += wide;
            }
            lines.push(Self(line));
        }
        lines
    }
}

impl ShownPart for &'static str {
    fn add_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl ShownPart for Shown {
    fn add_to(&self, text: &mut String) {
        text.push_str(&self.0);
    }
}

impl ShownPart for &Shown {
    fn add_to(&self, text: &mut String) {
        text.push_str(&self.0);
    }
}

/// Made of plain characters only: see `ids`.
impl ShownPart for UserId {
    fn add_to(&self, text: &mut String) {
        text.push_str(self.as_str());
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl ShownPart for $number {
            fn add_to(&self, text: &mut String) {
                text.push_str(&self.to_string());
            }
        })*
    };
}
numbers!(u16, u32, u64, usize, Seq, ConversationId);

/// Replaces what is not to be shown. Line ends stay.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let (mut last, mut marks): (Option<char>, usize) = (None, 0);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        let shown = match c {
            '\r' if next == Some('\n') => continue,
            '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            '\t' => ' ',
            c if is_hidden(c) && !has_meaning(last, c, next) => REPLACED,
            c if c.width().unwrap_or(0) == 0 && marks == MARKS_MAX => REPLACED,
            c => c,
        };
        if shown == REPLACED && last == Some(REPLACED) {
            continue;
        }
        let is_mark = shown != '\n' && shown.width().unwrap_or(0) == 0;
        if is_mark && last.is_none_or(|last| last == '\n') {
            // It would be one on a letter of this program's.
            clean.push('\u{25CC}');
        }
        // Behind what was replaced further marks are too.
        marks = match (is_mark, shown) {
            (true, _) => marks + 1,
            (false, REPLACED) => marks,
            (false, _) => 0,
        };
        clean.push(shown);
        last = Some(shown);
    }
    clean
}

/// What is not seen itself but makes one sign of those around it: joiners in scripts that have them and between emoji, and a
/// selector of a sign's form. Not among letters that look the same with and without.
fn has_meaning(last: Option<char>, c: char, next: Option<char>) -> bool {
    // Behind these are the scripts with joined letters, and emoji.
    let joins = |c: char| c >= '\u{590}' && (!is_hidden(c) || c == '\u{FE0F}');
    let Some(last) = last else { return false };
    match c {
        '\u{200C}' | '\u{200D}' => joins(last) && next.is_some_and(|next| joins(next) && next != '\u{FE0F}'),
        '\u{FE00}'..='\u{FE0F}' => !last.is_ascii_alphabetic() && !last.is_whitespace() && !is_hidden(last),
        '\u{180B}'..='\u{180D}' | '\u{180F}' => ('\u{1820}'..='\u{18AA}').contains(&last),
        '\u{E0100}'..='\u{E01EF}' => ('\u{2E80}'..='\u{3FFFF}').contains(&last) && !is_hidden(last),
        _ => false,
    }
}

/// Of a script that is written from right to left.
fn is_from_right(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
}

/// As much as has room in so many columns.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut width = 1;
    let kept = text.chars().take_while(|c| {
        width += c.width().unwrap_or(0);
        width <= columns
    });
    kept.chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        Shown::line(text).0
    }

    #[test]
    fn nobody_commands_the_terminal() {
        assert_eq!(Shown::text(b"a\x1b[2Jb\r\nc\x07").0, "a\u{FFFD}[2Jb\nc\u{FFFD}");
        assert_eq!(Shown::text(b"\xff").0, "\u{FFFD}");
        assert_eq!(line("\u{9b}2J\x1b]0;x\x07\x7f"), "\u{FFFD}2J\u{FFFD}]0;x\u{FFFD}");
        let all: String = (0..=0x10_FFFF).filter_map(char::from_u32).collect();
        for shown in [Shown::line(&all).0, Shown::name(&all).0, Shown::quoted(&all).0, Shown::error(&all).0] {
            let commands = shown.chars().filter(|c| c.is_control()).count();
            assert_eq!(commands, 0, "{:?}", shown.escape_unicode().to_string().get(..200));
        }
        assert!(Shown::text(all.as_bytes()).0.chars().all(|c| !c.is_control() || c == '\n'));
    }

    #[test]
    fn nobody_begins_a_line() {
        let forged = "hi\n* sent to bob";
        for end in ["\n", "\r\n", "\u{85}", "\u{2028}", "\u{2029}"] {
            assert_eq!(line(&forged.replace('\n', end)), "hi\u{23CE} * sent to bob", "{end:?}");
        }
        assert_eq!(line("hi\r* sent"), "hi\u{FFFD}* sent", "nor writes over one");
        assert_eq!(Shown::quoted("walk\" (#7): \"").0, "\"walk' (#7): '\"", "nor ends a name");
    }

    #[test]
    fn nothing_looks_like_what_it_is_not() {
        assert_eq!(line("photo\u{202e}gpj.exe"), "photo\u{FFFD}gpj.exe");
        assert_eq!(line("a\u{2066}b\u{2069}\u{200e}\u{61c}c"), "a\u{FFFD}b\u{FFFD}c", "one for several");
        for hidden in ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{e0062}', '\u{fe0f}'] {
            assert_eq!(line(&format!("bo{hidden}b")), "bo\u{FFFD}b", "{hidden:?}");
        }
    }

    #[test]
    fn what_people_write_stays() {
        let family = "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}";
        let same = [
            "naïve 日本語 Ω я",
            "e\u{301} a\u{30A}\u{323}",
            "\u{2764}\u{FE0F} 1\u{FE0F}\u{20E3} \u{1F3F3}\u{FE0F}\u{200D}\u{1F308} \u{1F44D}\u{1F3FD}",
            family,
            "\u{0915}\u{094D}\u{200D}\u{0937} ไม้",
            "葛\u{E0100}",
        ];
        assert_eq!(same.map(line), same);
        for right in ["שלום", "سلام", "می\u{200C}خواهم"] {
            assert_eq!(line(right), format!("\u{2068}{right}\u{2069}"), "it orders nothing but itself");
            assert_eq!(Shown::text(right.as_bytes()).0, right);
        }
    }

    #[test]
    fn marks_are_few_and_have_a_letter_of_their_own() {
        let piled = Shown::line(format!("a{}b", "\u{301}".repeat(400))).0;
        assert_eq!(piled, format!("a{}\u{FFFD}b", "\u{301}".repeat(MARKS_MAX)));
        assert_eq!(line("\u{301}x"), "\u{25CC}\u{301}x");
        assert_eq!(Shown::text("x\n\u{301}".as_bytes()).0, "x\n\u{25CC}\u{301}");
        let tricky = format!("a{}", "\u{301}\u{200b}".repeat(400));
        assert!(line(&tricky).chars().filter(|c| *c == '\u{301}').count() <= MARKS_MAX, "{}", line(&tricky).len());
    }

    #[test]
    fn names_and_errors_have_an_end() {
        assert_eq!(Shown::name("x".repeat(500)).columns(), NAME_COLUMNS);
        assert_eq!(Shown::name("日".repeat(500)).columns(), NAME_COLUMNS - 1);
        assert!(Shown::name("\u{301}".repeat(500)).0.chars().count() < 20);
        assert_eq!(Shown::error("<html>".repeat(500)).columns(), REASON_COLUMNS);
        assert_eq!(shown!["* ", Shown::name("a"), " ", 7_u64].0, "* a 7");
    }

    #[test]
    fn lines_end_at_spaces_and_wide_letters_count_twice() {
        let wrap = |text: &str, columns| -> Vec<String> {
            Shown::text(text.as_bytes()).wrap(columns).into_iter().map(|line| line.0).collect()
        };
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
