//! How commands end when they do not succeed: a text for people, a code for scripts (sysexits.h where one fits).

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Wrong usage or settings.
pub(crate) const USAGE: u8 = 64;
/// Input that is not what it should be.
pub(crate) const DATA: u8 = 65;
/// The server cannot be reached.
pub(crate) const UNREACHABLE: u8 = 69;
/// Another bridge leads the cluster.
pub(crate) const SUCCEEDED: u8 = 75;
/// What answers does not speak the protocol, or is not trusted.
pub(crate) const PROTOCOL: u8 = 76;
/// The server does not let somebody in.
pub(crate) const NOT_ADMITTED: u8 = 77;
/// Everything else.
pub(crate) const FAILED: u8 = 1;

/// Ends the process without another word to anybody but the operator.
pub(crate) fn at_once(code: u8, text: impl Display) -> ! {
    // Nobody may be there to read it.
    _ = writeln!(io::stderr(), "godwit: {text}");
    std::process::exit(code.into())
}

/// A command did not succeed.
#[derive(Debug)]
pub(crate) struct CommandFailure {
    code: u8,
    text: String,
}

impl CommandFailure {
    /// Ends with `code` after saying `text`.
    pub(crate) fn new(code: u8, text: impl Display) -> Self {
        Self { code, text: text.to_string() }
    }

    /// Says it on stderr and gives the code to end with.
    pub(crate) fn report(self) -> ExitCode {
        // Nobody may be there to read it.
        _ = writeln!(io::stderr(), "godwit: {}", self.text);
        ExitCode::from(self.code)
    }
}

impl From<anyhow::Error> for CommandFailure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FAILED, format!("{error:#}"))
    }
}

impl From<crate::settings::SettingsRefused> for CommandFailure {
    fn from(refused: crate::settings::SettingsRefused) -> Self {
        Self::new(USAGE, refused)
    }
}
