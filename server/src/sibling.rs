//! Programs that are installed in the same folder as this one, and run as commands of it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use crate::exit::{CommandFailure, FAILED};

/// Arguments of a command that another program parses, `--help` included.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct PassedArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    args: Vec<OsString>,
}

/// Replaces this process by the program `godwit-COMMAND` of its folder.
///
/// # Errors
/// Returns only if the program is not there or cannot be run.
pub(crate) fn exec(command: &str, passed: PassedArgs) -> Result<(), CommandFailure> {
    let own = env::current_exe().context("find the folder of this program")?;
    let name = format!("godwit-{command}");
    let program = own.with_file_name(&name);
    let error = Command::new(&program).args(passed.args).exec();
    let text = if error.kind() == io::ErrorKind::NotFound {
        format!("{command} is the program {name}, which is not installed beside {}", own.display())
    } else {
        format!("run {}: {error}", program.display())
    };
    Err(CommandFailure::new(FAILED, text))
}
