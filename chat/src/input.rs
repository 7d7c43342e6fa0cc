//! What is being typed, with a cursor. Pasted text keeps its lines; on the screen it is one.

use godwit_client::text::is_hidden;
use unicode_width::UnicodeWidthChar as _;

use crate::shown::Shown;

/// The line that is being typed, with its cursor.
#[derive(Debug, Default)]
pub(crate) struct Input {
    text: String,
    /// A byte position, between characters.
    cursor: usize,
}

impl Input {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// As much as has room in so many columns around the cursor, and the column of that.
    pub(crate) fn visible(&self, room: usize) -> (Shown, usize) {
        let column: usize = self.text[..self.cursor].chars().map(|c| columns(visible(c))).sum();
        let hidden = column.saturating_sub(room);
        let (mut skipped, mut line) = (0, String::new());
        for c in self.text.chars().map(visible) {
            if skipped >= hidden {
                line.push(c);
            } else {
                skipped += columns(c);
            }
        }
        (Shown::text(line.as_bytes()), column.saturating_sub(skipped))
    }

    pub(crate) fn insert(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', " ");
        let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        self.text.insert_str(self.cursor, &text);
        self.cursor += text.len();
    }

    /// Takes the line; it is empty afterwards.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    pub(crate) fn left(&mut self) {
        self.cursor -= self.before().map_or(0, char::len_utf8);
    }

    pub(crate) fn right(&mut self) {
        self.cursor += self.text[self.cursor..].chars().next().map_or(0, char::len_utf8);
    }

    pub(crate) fn home(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(crate) fn backspace(&mut self) {
        if self.before().is_some() {
            self.left();
            self.delete();
        }
    }

    pub(crate) fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    /// Removes the word before the cursor.
    pub(crate) fn delete_word(&mut self) {
        while self.before().is_some_and(|c| c == ' ') {
            self.backspace();
        }
        while self.before().is_some_and(|c| c != ' ') {
            self.backspace();
        }
    }

    fn before(&self) -> Option<char> {
        self.text[..self.cursor].chars().next_back()
    }
}

/// A character as it is seen: each by itself, so that the cursor is where it seems to be.
fn visible(c: char) -> char {
    match c {
        '\n' => '\u{23CE}',
        c if is_hidden(c) => '\u{25A1}',
        c => c,
    }
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(input: &Input) -> usize {
        input.visible(999).1
    }

    #[test]
    fn editing() {
        let mut input = Input::default();
        input.backspace();
        input.insert("naïve 日本");
        assert_eq!(column(&input), 10);
        input.left();
        input.backspace();
        assert_eq!((input.text(), column(&input)), ("naïve 本", 6));
        input.delete();
        input.insert("x\ty\x1b ");
        input.end();
        input.delete_word();
        assert_eq!(input.text(), "naïve x ");
        input.home();
        input.right();
        input.right();
        input.right();
        input.backspace();
        assert_eq!(input.take(), "nave x ");
        assert_eq!((input.text(), column(&input)), ("", 0));
    }

    #[test]
    fn pasted_lines_are_kept_and_what_is_not_seen_is() {
        let mut input = Input::default();
        input.insert("one\r\ntwo\u{202e}\x1b[2J");
        assert_eq!(input.text(), "one\ntwo\u{202e}[2J");
        let (shown, column) = input.visible(40);
        assert_eq!((shown.as_str(), column), ("one\u{23CE}two\u{25A1}[2J", 11));
        let (shown, column) = input.visible(5);
        assert_eq!((shown.as_str(), column), ("o\u{25A1}[2J", 5), "the end, where the cursor is");
    }
}
