//! `godwit`: the server and operators' commands. This is the program that runs in production.

use std::process::ExitCode;

fn main() -> ExitCode {
    godwit_server::godwit()
}
