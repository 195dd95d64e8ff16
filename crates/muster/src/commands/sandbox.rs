//! `muster sandbox`: an Entra ID tenant on this machine.

use muster_sandbox::{Churn, FaultPlan, InboundOptions, Sandbox, SandboxOptions, TlsOptions};

use crate::cli::{OutputForm, SandboxArguments};
use crate::exit::Failure;
use crate::output;

pub(crate) async fn run(form: OutputForm, arguments: &SandboxArguments) -> Result<(), Failure> {
    let options = SandboxOptions {
        seed: arguments.seed,
        users: arguments.users,
        groups: arguments.groups,
        port: arguments.port,
        tls: arguments.tls_dir.clone().map(|ca_folder| TlsOptions { ca_folder }),
        churn: arguments.churn.map(|changes_per_second| Churn { changes_per_second }),
        faults: FaultPlan::from(arguments.fault.clone()),
        // Somebody sits in front of it: what takes Entra minutes takes seconds here.
        inbound: InboundOptions { processing_seconds: 2, log_seconds: 3, ..InboundOptions::default() },
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await?;
    let facts = sandbox.facts();
    match form {
        OutputForm::Json => output::json(&facts)?,
        OutputForm::Table => {
            output::line(format!("an Entra ID tenant with {} users and {} groups", arguments.users, arguments.groups));
            output::line(format!("  graph_url     = {:?}", facts.graph_url));
            output::line(format!("  authority     = {:?}", facts.authority));
            output::line(format!("  tenant        = {:?}", facts.tenant));
            output::line(format!("  client_id     = {:?}", facts.client_id));
            output::line(format!("  client_secret = {:?}   (for this sandbox only)", facts.client_secret));
            output::line("for people who are uploaded (the section `inbound` of the connection):");
            output::line(format!("  service_principal = {:?}", facts.service_principal));
            output::line(format!("  job               = {:?}", facts.job));
            if let Some(ca_file) = &facts.ca_file {
                output::line(format!("  ca_file       = {ca_file:?}"));
            }
            output::line("Ctrl-C ends it.");
        }
    }
    let ended = tokio::signal::ctrl_c().await;
    sandbox.stop().await;
    ended.map_err(|error| Failure::unexpected(format!("cannot wait for Ctrl-C: {error}")))
}
