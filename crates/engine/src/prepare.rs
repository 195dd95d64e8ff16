//! What a cycle needs before its first step: schemas, resolved rules, identities, and the records' ids.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use muster_connector::{Connector, Epoch, Error as ConnectorError, ReadRequest};
use muster_model::{Attribute, Multiplicity, ObjectType, Schema};
use muster_store::{
    AttributeSpec, ConnectionId, SourceType, SourceTypeId, Store, StoreFacts, SyncDefinition, SyncId, TargetTypeId,
};

use crate::alone::named;
use crate::compile::{Compiled, compile};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::Layout;
use crate::groups::needed_by_scopes;
use crate::merge::ReferenceAttribute;
use crate::references::unwritten_references;
use crate::rules::SyncRules;

/// A sync ready to run.
pub(crate) struct Prepared {
    pub(crate) sync: SyncId,
    pub(crate) compiled: Compiled,
    pub(crate) layout: Layout,
    pub(crate) source: Arc<SourceSide>,
    pub(crate) target: TargetSide,
    /// The target types whose objects mapped attributes name.
    pub(crate) referenced_types: HashMap<String, TargetTypeId>,
    pub(crate) notes: Vec<String>,
    /// The rules are others than in the last cycle.
    pub(crate) rules_changed: bool,
    /// Why a person or the engine paused it.
    pub(crate) paused: Option<String>,
    /// Before anything is sent, the target is to be looked at again.
    pub(crate) reconcile: bool,
}

/// The side that is read.
pub(crate) struct SourceSide {
    pub(crate) name: String,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) connection: ConnectionId,
    pub(crate) object_type: ObjectType,
    pub(crate) id: SourceTypeId,
    /// All attributes that any sync of this type needs.
    pub(crate) wanted: Vec<Attribute>,
    /// See [`ReadRequest::named`].
    pub(crate) named: Arc<[String]>,
    pub(crate) references: HashMap<String, ReferenceAttribute>,
}

/// The side that is written.
pub(crate) struct TargetSide {
    pub(crate) name: String,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) id: TargetTypeId,
    pub(crate) epoch: Epoch,
    pub(crate) request: ReadRequest,
}

pub(crate) fn spec(attribute: &Attribute) -> AttributeSpec {
    AttributeSpec {
        name: attribute.name.clone(),
        value_type: attribute.value_type,
        multiplicity: attribute.multiplicity,
    }
}

impl Engine {
    /// Resolves one sync against its systems and the state. `takes_lease` raises the target's epoch.
    pub(crate) async fn prepare(&self, rules: &SyncRules, takes_lease: bool) -> Result<Prepared, EngineError> {
        let (source_connector, source_schema) = self.open(&rules.source_connection).await?;
        let (target_connector, target_schema) = self.open(&rules.target_connection).await?;
        let (compiled, mut findings) = compile(rules, &source_schema, &target_schema)
            .map_err(|findings| EngineError::Rules { sync: rules.name.clone(), findings })?;
        findings.extend(unwritten_references(&compiled, &self.syncs));
        let source_connection = self.identified(&rules.source_connection, &source_schema).await?;
        let target_connection = self.identified(&rules.target_connection, &target_schema).await?;

        let own = compiled.source_attributes.clone();
        let wanted = self.wanted_of(&source_schema, rules, &compiled.source, own);
        let source_type = self.store.source_type(source_connection, &compiled.source.name).await?;
        let target_type = self.store.target_type(target_connection, &compiled.target.name).await?;
        let definition = SyncDefinition {
            name: rules.name.clone(),
            source_type: source_type.id,
            target_type: target_type.id,
            fingerprint: compiled.fingerprint(),
            refers: compiled.refers(),
        };
        let sync = self.store.sync(&definition).await?;
        // A paused sync may still be looked at.
        if let Some(reason) = sync.paused.clone().filter(|_| takes_lease) {
            return Err(EngineError::Paused { sync: rules.name.clone(), reason });
        }
        let layout = Layout {
            source: self.ids(source_connection, &compiled.source, &compiled.source_attributes).await?,
            target: self.ids(target_connection, &compiled.target, &compiled.target_attributes).await?,
        };
        let counter = if takes_lease { self.store.next_epoch(target_type.id).await? } else { target_type.epoch };
        let StoreFacts { created_at, .. } = self.store.facts().await?;
        // Also of what no rule names any more, as long as it is read: it must not be missing when it is named again.
        let references = self.reference_types(source_connection, &compiled.source.attributes).await?;
        let mut referenced_types = HashMap::new();
        for name in compiled.columns.iter().flat_map(|column| &column.attribute.references) {
            let referenced = self.store.target_type(target_connection, name).await?;
            referenced_types.insert(name.clone(), referenced.id);
        }
        Ok(Prepared {
            sync: sync.id,
            rules_changed: sync.rules_changed,
            paused: sync.paused,
            reconcile: sync.reconcile,
            source: Arc::new(SourceSide {
                name: rules.source_connection.clone(),
                connector: source_connector,
                connection: source_connection,
                object_type: compiled.source.clone(),
                id: source_type.id,
                wanted,
                named: Arc::default(),
                references,
            }),
            target: TargetSide {
                name: rules.target_connection.clone(),
                connector: target_connector,
                id: target_type.id,
                epoch: Epoch { incarnation: created_at, counter },
                request: ReadRequest {
                    object_type: compiled.target.name.as_str().into(),
                    attributes: compiled.target_attributes.clone(),
                    named: Arc::default(),
                },
            },
            notes: findings
                .into_iter()
                .map(|finding| format!("{}: {}; {}", finding.setting, finding.problem, finding.fix))
                .collect(),
            compiled,
            layout,
            referenced_types,
        })
    }

    pub(crate) async fn open(&self, name: &str) -> Result<(Arc<dyn Connector>, Schema), EngineError> {
        let connector =
            self.connections.get(name).cloned().ok_or_else(|| EngineError::NoConnection(name.to_owned()))?;
        let schema = connector.schema().await.map_err(|error| EngineError::connection(name, error))?;
        Ok((connector, schema))
    }

    /// Makes sure that the system behind a connection is the one that the links were made with.
    pub(crate) async fn identified(&self, name: &str, schema: &Schema) -> Result<ConnectionId, EngineError> {
        let known = self.store.connection(name).await?;
        match known.identity {
            Some(before) if before != schema.identity => {
                Err(EngineError::OtherSystem { connection: name.to_owned(), now: schema.identity.clone(), before })
            }
            Some(_) => Ok(known.id),
            None => {
                self.store.set_identity(known.id, &schema.identity).await?;
                Ok(known.id)
            }
        }
    }

    /// The union over all syncs that read the same type, so that one reading serves them all. The others' targets are
    /// not asked: what their rules name is wanted whether they can run just now or not.
    pub(crate) fn wanted_of(
        &self,
        schema: &Schema,
        rules: &SyncRules,
        object_type: &ObjectType,
        own: Vec<String>,
    ) -> Vec<Attribute> {
        let mut names: BTreeSet<String> = own.into_iter().collect();
        let mut syncs: Vec<&SyncRules> = self.syncs.iter().filter(|other| other.name != rules.name).collect();
        let is_read = |sync: &&SyncRules| {
            sync.source_connection == rules.source_connection && sync.source_type == object_type.name
        };
        for other in syncs.iter().copied().filter(is_read) {
            names.extend(named(other, object_type));
        }
        if is_read(&rules) {
            names.extend(rules.also_read.iter().cloned());
        }
        syncs.push(rules);
        names.extend(needed_by_scopes(&syncs, schema, &rules.source_connection, &object_type.name));
        names.iter().filter_map(|name| object_type.attribute(name).cloned()).collect()
    }

    pub(crate) async fn ids(
        &self,
        connection: ConnectionId,
        object_type: &ObjectType,
        names: &[String],
    ) -> Result<Vec<muster_model::AttributeId>, EngineError> {
        let specs: Vec<AttributeSpec> = names.iter().filter_map(|name| object_type.attribute(name)).map(spec).collect();
        Ok(self.store.attribute_ids(connection, &object_type.name, &specs).await?)
    }

    pub(crate) async fn reference_types(
        &self,
        connection: ConnectionId,
        wanted: &[Attribute],
    ) -> Result<HashMap<String, ReferenceAttribute>, EngineError> {
        let mut references = HashMap::new();
        for attribute in wanted.iter().filter(|attribute| attribute.refers()) {
            let mut types = HashMap::new();
            for name in &attribute.references {
                types.insert(name.clone(), self.store.source_type(connection, name).await?.id);
            }
            let single = attribute.multiplicity == Multiplicity::Single;
            references
                .insert(attribute.name.clone(), ReferenceAttribute { types, single, in_changes: attribute.in_changes });
        }
        Ok(references)
    }
}

impl SourceSide {
    /// What to ask of the source, with the attributes' ids: what is being read already, unless more is wanted now.
    pub(crate) async fn request(
        &self,
        store: &dyn Store,
        standing: &SourceType,
    ) -> Result<(ReadRequest, Vec<muster_model::AttributeId>, bool), EngineError> {
        let specs: Vec<AttributeSpec> = self.wanted.iter().map(spec).collect();
        let wanted = store.attribute_ids(self.connection, &self.object_type.name, &specs).await?;
        let grown = wanted.iter().any(|id| !standing.attributes.contains(id));
        let names: Vec<String>;
        let ids;
        if grown {
            names = self.wanted.iter().map(|attribute| attribute.name.clone()).collect();
            ids = wanted;
        } else {
            let specs = store.attribute_specs(&standing.attributes).await?;
            let known: Option<Vec<String>> =
                standing.attributes.iter().map(|id| specs.get(id).map(|spec| spec.name.clone())).collect();
            names = known.ok_or(muster_store::StoreError::Record { what: "attribute" })?;
            ids = standing.attributes.clone();
        }
        let request = ReadRequest {
            object_type: self.object_type.name.as_str().into(),
            attributes: names.into(),
            named: self.named.clone(),
        };
        Ok((request, ids, grown))
    }

    pub(crate) fn error(&self, source: ConnectorError) -> EngineError {
        EngineError::connection(&self.name, source)
    }
}
