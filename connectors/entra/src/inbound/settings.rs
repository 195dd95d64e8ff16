//! The settings of the inbound side. The comments on the fields are the user's reference.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_connector::{Error, Span};
use schemars::JsonSchema;
use serde::Deserialize;

use super::attributes::{CORE_USER, ENTERPRISE_USER};
use crate::config::ExtensionType;
use crate::error::setting;

/// API-driven inbound provisioning, which makes the connection a target as well.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InboundSettings {
    /// The object id of the enterprise application *API-driven provisioning to Microsoft Entra ID*: the part after
    /// `/servicePrincipals/` in its *Provisioning API Endpoint*.
    pub service_principal: String,
    /// The id of its provisioning job, such as `API2AAD.…`: the part after `/jobs/` in the same address.
    pub job: String,
    /// The tenant's licence, on which the number of uploads in 24 hours depends; `"p1"` by default.
    #[serde(default)]
    pub licence: Licence,
    /// How long the provisioning log may be silent about a person before that is reported; a day by
    /// default.
    #[serde(default = "confirm_within")]
    pub confirm_within: Span,
    /// How long to wait before the provisioning log is asked what became of an upload, and between two looks;
    /// five minutes by default.
    #[serde(default = "look_again")]
    pub look_again: Span,
    /// A value that is gone is sent as null, instead of being left out. It clears nothing by itself: *Flow null
    /// values* must be switched on for the attribute and for its mapping as well.
    #[serde(default)]
    pub clear_with_null: bool,
    /// Attributes of extension schemas by their URN path, such as
    /// `"urn:ietf:params:scim:schemas:extension:contoso:1.0:User:HireDate"`, each with its type.
    #[serde(default)]
    pub extensions: BTreeMap<String, ExtensionType>,
    /// The file in which the uploads of the last 24 hours are counted, so that the quota holds over restarts. Beside
    /// the configuration file and named after the connection by default (`CONNECTION.calls.json`).
    pub calls_file: Option<String>,
}

/// What the tenant pays for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Licence {
    /// Entra ID P1: 2,000 uploads in 24 hours.
    #[default]
    P1,
    /// Entra ID P2: 2,000 uploads in 24 hours.
    P2,
    /// Entra ID Governance: 6,000 uploads in 24 hours.
    Governance,
}

impl Licence {
    /// Uploads in 24 hours, per tenant.
    pub(crate) fn calls_per_day(self) -> u32 {
        match self {
            Self::P1 | Self::P2 => 2_000,
            Self::Governance => 6_000,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P1 => "Entra ID P1",
            Self::P2 => "Entra ID P2",
            Self::Governance => "Entra ID Governance",
        }
    }
}

fn confirm_within() -> Span {
    Span(Duration::from_secs(86_400))
}

fn look_again() -> Span {
    Span(Duration::from_secs(300))
}

impl InboundSettings {
    /// Refuses what could not be part of an address, or would end up in another schema.
    pub(crate) fn check(&self) -> Result<(), Error> {
        const FIX: &str = "take it from the Provisioning API Endpoint: in the Entra admin center, Enterprise applications > \
                           API-driven provisioning to Microsoft Entra ID > Provisioning > Overview > View technical information";
        if uuid::Uuid::parse_str(self.service_principal.trim()).is_err() {
            let problem = format!("{:?} is not the object id of an enterprise application", self.service_principal);
            return Err(setting("inbound.service_principal", problem, FIX));
        }
        let job = self.job.trim();
        if job.is_empty() || !job.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
            return Err(setting("inbound.job", format!("{:?} is not the id of a provisioning job", self.job), FIX));
        }
        for path in self.extensions.keys() {
            let parts = path.rsplit_once(':').filter(|(urn, name)| urn.starts_with("urn:") && !name.is_empty());
            let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
            let own = parts.is_some_and(|(urn, _)| ![CORE_USER, ENTERPRISE_USER].contains(&urn));
            if !plain || !own {
                return Err(setting(
                    &format!("inbound.extensions.{path}"),
                    format!("{path:?} is not the URN path of an attribute of an extension schema"),
                    "write it as in the application's attribute list, such as \
                     urn:ietf:params:scim:schemas:extension:contoso:1.0:User:HireDate; attributes of the core and enterprise \
                     schemas have names of their own",
                ));
            }
        }
        Ok(())
    }
}
