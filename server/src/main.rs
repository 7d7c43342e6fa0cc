//! The program `godwit`: the server, its two halves, operators' commands, the benchmark and the chat.

mod admin;
mod bench;
mod chat;
mod cli;
mod commands;
mod exit;
mod log;
mod memory;
mod notice;
mod serve;
mod settings;
mod stop;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use exit::{Failure, USAGE};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
            // Nothing is left to do if nobody listens.
            _ = error.print();
            return code;
        }
    };
    run(cli.command).map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(place) => serve::run(serve::Role::Serve, &place),
        Command::Broker(place) => serve::run(serve::Role::Broker, &place),
        Command::Bridge(place) => serve::run(serve::Role::Bridge, &place),
        Command::User(command) => commands::user(command),
        Command::Device(command) => commands::device(command),
        Command::CheckConfig(place) => commands::check_config(&place),
        Command::Chat(args) => chat::run(args),
        Command::Bench(args) => bench::run(args),
    }
}
