//! A connector between Muster and a REST service of people: `service` asks it, `schema` says what it holds, `source` and
//! `target` are the two sides of the contract.

mod schema;
mod service;
mod source;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use muster_connector::{
    CheckReport, Connector, ConnectorKind, ConnectorSettings, Description, Error, Secret, Source, Target, UsedType,
};
use muster_model::Schema;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::service::Service;

/// What an administrator says of a connection. The comments on the fields are what Muster shows of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The service's address, such as `http://crm.example:8080`.
    url: String,
    /// The service's access token.
    #[expect(dead_code, reason = "the host resolves it")]
    token: Option<Secret>,
}

/// Connectors to a REST service of people.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeopleKind;

impl ConnectorKind for PeopleKind {
    fn describe(&self) -> Description {
        Description {
            kind: "my-connector".to_owned(),
            summary: "people of a REST service".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: schemars::schema_for!(Settings).to_value(),
        }
    }

    fn connect(&self, given: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
        let settings: Settings = given.parse()?;
        Ok(Arc::new(People { service: Service::new(&settings.url, given.secret("token").cloned())? }))
    }
}

/// One connection.
struct People {
    service: Service,
}

#[async_trait]
impl Connector for People {
    async fn check(&self, _used: &[UsedType]) -> Result<CheckReport, Error> {
        self.service.people("limit=1").await?;
        Ok(CheckReport::default())
    }

    async fn schema(&self) -> Result<Schema, Error> {
        Ok(Schema { identity: self.service.url().to_owned(), types: vec![schema::person()], setup: Vec::new() })
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}
