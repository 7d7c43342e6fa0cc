//! Asks for a password without showing it.

use std::io::{self, Write as _};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Asks on standard error. `None`: the person would rather not say.
///
/// # Errors
/// There is no terminal.
pub fn ask(question: &str) -> io::Result<Option<String>> {
    let mut terminal = io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    enable_raw_mode()?;
    let answer = typed();
    disable_raw_mode()?;
    writeln!(terminal)?;
    answer
}

fn typed() -> io::Result<Option<String>> {
    let mut answer = String::new();
    loop {
        match read()? {
            Event::Paste(text) => answer.push_str(text.trim_end()),
            Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
                KeyCode::Enter => return Ok(Some(answer)),
                KeyCode::Esc => return Ok(None),
                KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(None),
                KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => answer.clear(),
                KeyCode::Backspace => drop(answer.pop()),
                KeyCode::Char(c) => answer.push(c),
                _ => {}
            },
            _ => {}
        }
    }
}
