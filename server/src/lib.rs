//! The three programs. `godwit` is the server, its two halves and operators' commands. `godwit chat` and `godwit bench` run
//! `godwit-chat` and `godwit-bench`, so that the program of production links neither the terminal chat nor the load generator.

// The compiler looks at the whole of a server's futures at once: the drivers of Cassandra and NATS are deep.
#![recursion_limit = "256"]

/// Of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

mod admin;
mod admin_tokens;
mod backup;
mod bench;
mod chat;
mod cli;
mod cluster_status;
mod commands;
mod exit;
mod log;
mod memory;
mod metrics;
mod private;
mod runtime_files;
mod serve;
mod settings;
mod sibling;
mod stop;
mod top;
mod window;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, CliCommand, ClusterCommand, SettingsCommand};
use exit::{CommandFailure, USAGE};

/// The program `godwit`.
#[must_use]
pub fn godwit() -> ExitCode {
    run(|cli: Cli| match cli.command {
        CliCommand::Serve(place) => serve::run(serve::ProcessRole::Serve, &place),
        CliCommand::Broker(place) => serve::run(serve::ProcessRole::Broker, &place),
        CliCommand::Bridge(place) => serve::run(serve::ProcessRole::Bridge, &place),
        CliCommand::User(command) => commands::user(command),
        CliCommand::Device(command) => commands::device(command),
        CliCommand::Clients(command) => window::clients(command),
        CliCommand::Inbox(command) => window::inbox(command),
        CliCommand::Conversation(command) => window::conversation(command),
        CliCommand::Top(args) => top::run(args),
        CliCommand::AdminToken(command) => admin_tokens::run(command),
        CliCommand::Clock(command) => commands::clock(command),
        CliCommand::Cluster(ClusterCommand::Status { json, place }) => cluster_status::status(json, &place),
        CliCommand::Backup(args) => backup::backup(args),
        CliCommand::Restore(args) => backup::restore(args),
        CliCommand::Restored(place) => commands::restored(&place),
        CliCommand::Settings(SettingsCommand::Reload(place)) => commands::reload_settings(&place),
        CliCommand::CheckConfig(place) => commands::check_config(&place),
        CliCommand::Chat(passed) => sibling::exec("chat", passed),
        CliCommand::Bench(passed) => sibling::exec("bench", passed),
    })
}

/// The program `godwit-chat`.
#[must_use]
pub fn godwit_chat() -> ExitCode {
    run(chat::run)
}

/// The program `godwit-bench`.
#[must_use]
pub fn godwit_bench() -> ExitCode {
    run(bench::run)
}

/// Parses the command line and runs what it says.
fn run<A: Parser>(command: impl FnOnce(A) -> Result<(), CommandFailure>) -> ExitCode {
    match A::try_parse() {
        Ok(args) => command(args).map_or_else(CommandFailure::report, |()| ExitCode::SUCCESS),
        Err(error) => {
            // Nothing is left to do if nobody listens.
            _ = error.print();
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
    }
}
