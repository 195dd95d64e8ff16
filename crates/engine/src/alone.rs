//! The import alone: while a sync is paused, or its target cannot be asked, its source is read all the same.
//!
//! Changes of the source are kept for a limited time only, so that reading must not wait for a target.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_connector::Connector;
use muster_model::{Attribute, Schema};
use muster_store::{ConnectionId, StoreError};

use crate::cycle::Engine;
use crate::error::EngineError;
use crate::prepare::SourceSide;
use crate::rules::SyncRules;

impl Engine {
    /// Reads a sync's source into the state and touches no target. Which attributes are wanted is what was wanted
    /// last, so a source that was never read is left for the first whole cycle. Returns how many entries came.
    ///
    /// # Errors
    /// As for a cycle.
    pub async fn import(&self, rules: &SyncRules) -> Result<u64, EngineError> {
        let (connector, schema) = self.open(&rules.source_connection).await?;
        let connection = self.identified(&rules.source_connection, &schema).await?;
        match self.as_read_last(rules, connector, connection, &schema).await? {
            Some(side) => self.importer(&Arc::new(side), None).run(false).await,
            None => Ok(0),
        }
    }

    async fn as_read_last(
        &self,
        rules: &SyncRules,
        connector: Arc<dyn Connector>,
        connection: ConnectionId,
        schema: &Schema,
    ) -> Result<Option<SourceSide>, EngineError> {
        let Some(object_type) = schema.object_type(&rules.source_type) else { return Ok(None) };
        let standing = self.store.source_type(connection, &object_type.name).await?;
        if standing.attributes.is_empty() {
            return Ok(None);
        }
        let specs = self.store.attribute_specs(&standing.attributes).await?;
        let mut wanted: Vec<Attribute> = Vec::with_capacity(standing.attributes.len());
        for id in &standing.attributes {
            let spec = specs.get(id).ok_or(StoreError::Record { what: "attribute" })?;
            wanted.extend(object_type.attribute(&spec.name).cloned());
        }
        let references = self.reference_types(connection, &object_type.attributes).await?;
        Ok(Some(SourceSide {
            name: rules.source_connection.clone(),
            connector,
            connection,
            object_type: object_type.clone(),
            id: standing.id,
            wanted,
            named: Arc::default(),
            references,
        }))
    }

    /// After a failure: reads the source if the target alone is to blame. Its own failure is not the one that counts.
    pub(crate) async fn import_in_spite_of(&self, rules: &SyncRules, error: &EngineError) {
        let is_targets = match error {
            EngineError::Paused { .. } => true,
            EngineError::Connection { connection, .. } | EngineError::OtherSystem { connection, .. } => {
                *connection == rules.target_connection && *connection != rules.source_connection
            }
            _ => false,
        };
        if is_targets && let Err(error) = self.import(rules).await {
            tracing::warn!(sync = rules.name, error = error.summary(), "the source cannot be read either");
        }
    }
}

/// The source attributes that a sync's rules name, and whether its objects are enabled.
pub(crate) fn named(rules: &SyncRules, source: &muster_model::ObjectType) -> BTreeSet<String> {
    let values = rules.mappings.iter().map(|mapping| &mapping.value);
    let values = values.chain(rules.matching.iter().flat_map(|rule| &rule.all).map(|part| &part.source));
    let dates = rules.lifecycle.iter().flat_map(|rules| [&rules.starts, &rules.ends]).flatten();
    let names = values.chain(dates).flat_map(muster_expression::Expression::attributes);
    let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
    names.extend(rules.scope.iter().flat_map(muster_expression::Condition::attributes).map(str::to_owned));
    names.extend(rules.also_read.iter().cloned());
    names.extend(source.enabling.iter().map(|enabling| enabling.attribute.clone()));
    names
}
