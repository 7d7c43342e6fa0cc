//! `godwit-chat`, which `godwit chat` runs: a client for people at a terminal.

use std::process::ExitCode;

fn main() -> ExitCode {
    godwit_server::godwit_chat()
}
