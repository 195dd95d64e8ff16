//! `muster connector`: what authors of connectors need.

mod new;
mod subject;
mod test;

use std::path::Path;

use crate::cli::{ConnectorAction, ConnectorArguments, OutputChoice};
use crate::exit::Failure;

/// `config`: the configuration file, where one was named on the command line.
pub(crate) async fn run(
    config: Option<&Path>,
    form: OutputChoice,
    arguments: &ConnectorArguments,
) -> Result<(), Failure> {
    match &arguments.action {
        ConnectorAction::New(arguments) => new::run(arguments),
        ConnectorAction::Test(arguments) => test::run(config, form, arguments).await,
    }
}
