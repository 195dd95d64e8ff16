//! The program: commands, one file each, and the one list of connectors. A program of one's own with further connectors
//! is this library and a list: see [`run`].

mod cli;
mod commands;
mod connectors;
mod exit;
mod log;
mod operator;
mod output;
mod passwords;
mod progress;
mod proposal;
mod service;
mod world;
mod zone;

use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};
use muster_connector::ConnectorKind;
use muster_settings::Settings;

use crate::cli::{Cli, Command, OutputChoice, OutputForm};
use crate::exit::Failure;

/// Runs the program with these connectors beside its own: all that a `main` of one's own has to do.
///
/// ```no_run
/// # struct CrmKind;
/// # impl muster_connector::ConnectorKind for CrmKind {
/// #     fn describe(&self) -> muster_connector::Description { unimplemented!() }
/// #     fn connect(
/// #         &self, _: muster_connector::ConnectorSettings,
/// #     ) -> Result<std::sync::Arc<dyn muster_connector::Connector>, muster_connector::Error> { unimplemented!() }
/// # }
/// fn main() -> std::process::ExitCode {
///     muster_host::run(vec![Box::new(CrmKind)])
/// }
/// ```
#[must_use]
pub fn run(further: Vec<Box<dyn ConnectorKind>>) -> ExitCode {
    if let Err(problem) = connectors::add(further) {
        return Failure::unexpected(problem).print();
    }
    let matches = Cli::command().get_matches();
    let config_named = matches.value_source("config") == Some(ValueSource::CommandLine);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if cli.output == OutputChoice::Junit && !matches!(cli.command, Command::Connector(_)) {
        return Failure::configuration("--output junit is for `muster connector test` alone").print();
    }
    muster_tls::install_provider();
    let settings = match &cli.command {
        // The service's log follows its configuration, so that this is read first.
        Command::Run => match world::settings(&cli.config) {
            Ok(settings) => Some(settings),
            Err(failure) => return failure.print(),
        },
        _ => None,
    };
    log::start(settings.as_ref().map(|settings| settings.log));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::unexpected(format!("cannot start: {error}")).print(),
    };
    let ended = runtime.block_on(perform(cli, config_named, settings));
    // What still waits for a name to be resolved must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match ended {
        Ok(()) if output::was_lost() => Failure::unexpected("the result cannot be written to standard output").print(),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

async fn perform(cli: Cli, config_named: bool, settings: Option<Settings>) -> Result<(), Failure> {
    let Cli { config, output: choice, command } = cli;
    let output = if choice == OutputChoice::Json { OutputForm::Json } else { OutputForm::Table };
    match command {
        Command::Demo(arguments) => commands::demo::run(&arguments).await,
        Command::Check(arguments) => commands::check::run(&config, output, &arguments).await,
        Command::Schema(arguments) => commands::schema::run(&config, output, &arguments).await,
        Command::Plan(arguments) => commands::plan::run(&config, output, &arguments).await,
        Command::Sync(arguments) => commands::sync::run(&config, output, &arguments).await,
        Command::Run => match settings {
            Some(settings) => service::run(&config, settings).await,
            None => Ok(()),
        },
        Command::Pause(arguments) => commands::pause::pause(&config, &arguments).await,
        Command::Resume(arguments) => commands::pause::resume(&config, &arguments).await,
        Command::State(arguments) => commands::state::run(&config, &arguments).await,
        Command::Init(arguments) => commands::init::run(&config, &arguments).await,
        Command::Status => commands::status::run(&config, output).await,
        Command::Held(arguments) => commands::held::run(&config, output, &arguments).await,
        Command::Approve(arguments) => commands::approve::run(&config, output, &arguments).await,
        Command::Parked(arguments) => commands::parked::run(&config, output, &arguments).await,
        Command::Retry(arguments) => commands::retry::run(&config, output, &arguments).await,
        Command::Ignore(arguments) => commands::ignore::run(&config, output, &arguments).await,
        Command::Unignore(arguments) => commands::ignore::take_back(&config, output, &arguments).await,
        Command::Link(arguments) => commands::link::run(&config, output, &arguments).await,
        Command::Unlink(arguments) => commands::unlink::run(&config, output, &arguments).await,
        Command::Explain(arguments) => commands::explain::run(&config, output, &arguments).await,
        Command::Expression(arguments) => commands::expression::run(output, &arguments),
        Command::Connector(arguments) => {
            commands::connector::run(config_named.then_some(config.as_path()), choice, &arguments).await
        }
        Command::Sandbox(arguments) => commands::sandbox::run(output, &arguments).await,
    }
}
