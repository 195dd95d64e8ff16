//! The program: commands, one file each, and the one list of connectors.

/// Batches of rows come and go; the usual allocator keeps half as much memory again for them. Its settings are in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod cli;
mod commands;
mod connectors;
mod exit;
mod output;
mod progress;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    muster_tls::install_provider();
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::unexpected(format!("cannot start: {error}")).print(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) if output::was_lost() => Failure::unexpected("the result cannot be written to standard output").print(),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { config, output, command } = cli;
    match command {
        Command::Demo(arguments) => commands::demo::run(&arguments).await,
        Command::Check(arguments) => commands::check::run(&config, output, &arguments).await,
        Command::Schema(arguments) => commands::schema::run(&config, output, &arguments).await,
        Command::Plan(arguments) => commands::plan::run(&config, output, &arguments).await,
        Command::Sync(arguments) => commands::sync::run(&config, output, &arguments).await,
        Command::Status => commands::status::run(&config, output).await,
        Command::Sandbox(arguments) => commands::sandbox::run(output, &arguments).await,
    }
}

/// Logs go to standard error; what they hold follows `MUSTER_LOG`, such as `info` or `muster_engine=debug`.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MUSTER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
