//! The line being typed, with a cursor.

use unicode_width::UnicodeWidthStr as _;

/// See the module.
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

    /// Columns before the cursor.
    pub(crate) fn column(&self) -> usize {
        self.text[..self.cursor].width()
    }

    pub(crate) fn insert(&mut self, text: &str) {
        let text: String = text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).collect();
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editing() {
        let mut input = Input::default();
        input.backspace();
        input.insert("naïve 日本");
        assert_eq!(input.column(), 10);
        input.left();
        input.backspace();
        assert_eq!((input.text(), input.column()), ("naïve 本", 6));
        input.delete();
        input.insert("x\ty\x1b\n");
        input.end();
        input.delete_word();
        assert_eq!(input.text(), "naïve x ");
        input.home();
        input.right();
        input.right();
        input.right();
        input.backspace();
        assert_eq!(input.take(), "nave x ");
        assert_eq!((input.text(), input.column()), ("", 0));
    }
}
