//! `godwit-bench`, which `godwit bench` runs: the load generator.

use std::process::ExitCode;

fn main() -> ExitCode {
    godwit_server::godwit_bench()
}
