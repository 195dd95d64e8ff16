//! my-connector: a connector between Muster and a REST service of people.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_connector::serve(my_connector::PeopleKind)
}
