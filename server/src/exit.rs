//! How commands end when they do not succeed: a text for people, a code for scripts (sysexits.h where one fits).

use std::fmt::Display;
use std::process::ExitCode;

/// Wrong usage or settings.
pub(crate) const USAGE: u8 = 64;
/// The server cannot be reached.
pub(crate) const UNREACHABLE: u8 = 69;
/// Everything else.
pub(crate) const FAILED: u8 = 1;

/// A command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Ends with `code` after saying `text`.
    pub(crate) fn new(code: u8, text: impl Display) -> Self {
        Self { code, text: text.to_string() }
    }

    /// Says it on stderr and gives the code to end with.
    #[expect(clippy::print_stderr, reason = "there is no log, or it has ended")]
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("godwit: {}", self.text);
        ExitCode::from(self.code)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FAILED, format!("{error:#}"))
    }
}

impl From<crate::settings::Refused> for Failure {
    fn from(refused: crate::settings::Refused) -> Self {
        Self::new(USAGE, refused)
    }
}
