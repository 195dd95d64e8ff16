//! Entra ID as a target: people by API-driven inbound provisioning (`/bulkUpload`), confirmed from the provisioning log.
//!
//! `settings` and `attributes` say what can be written, `payload` makes the request, `upload` sends it within what
//! `limiter` allows and `calls` remembers over restarts (in a file, `disk`). What then became of each person is
//! `confirm`'s: it reads the log (`reader`, `entry`) and compares it with each `ticket`. `preview` says for a
//! person what would be uploaded, `examine` what `check` says of it.
//!
//! Sources: <https://learn.microsoft.com/graph/api/synchronization-synchronizationjob-post-bulkupload>,
//! <https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-concepts>,
//! <https://learn.microsoft.com/graph/api/provisioningobjectsummary-list>.

pub(crate) mod attributes;
mod calls;
mod confirm;
mod disk;
mod entry;
pub(crate) mod examine;
mod limiter;
mod payload;
mod preview;
mod reader;
pub(crate) mod settings;
mod ticket;
mod upload;

use std::collections::BTreeMap;
use std::time::Duration;

use muster_connector::{ConnectorSettings, Error};

use crate::config::ExtensionType;
use calls::Calls;
use reader::LogReader;
use settings::{InboundSettings, Licence};

/// One job that takes uploads.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) service_principal: String,
    pub(crate) job: String,
    pub(crate) licence: Licence,
    /// Attributes of extension schemas by their URN path.
    pub(crate) extensions: BTreeMap<String, ExtensionType>,
    clear_with_null: bool,
    look_again: Duration,
    confirm_within: Duration,
    calls: Calls,
    log: LogReader,
}

impl Inbound {
    pub(crate) fn new(connection: &ConnectorSettings, settings: &InboundSettings) -> Result<Self, Error> {
        settings.check()?;
        let file = match &settings.calls_file {
            Some(file) => connection.path(file),
            None => connection.path(&format!("{}.calls.json", connection.connection)),
        };
        Ok(Self {
            service_principal: settings.service_principal.trim().to_ascii_lowercase(),
            job: settings.job.trim().to_owned(),
            licence: settings.licence,
            extensions: settings.extensions.clone(),
            clear_with_null: settings.clear_with_null,
            look_again: settings.look_again.0,
            confirm_within: settings.confirm_within.0,
            calls: Calls::new(file, settings.licence.calls_per_day()),
            log: LogReader::default(),
        })
    }

    /// The job's path below the Graph URL.
    fn job_path(&self) -> String {
        format!("servicePrincipals/{}/synchronization/jobs/{}", self.service_principal, self.job)
    }
}
