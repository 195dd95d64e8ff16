use crate::cli::ConnectorNewArguments;
use crate::exit::Failure;
pub(crate) fn run(_arguments: &ConnectorNewArguments) -> Result<(), Failure> {
    Ok(())
}
