//! A connector to a system in memory, good unless it is a mutant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use muster_connector::{CheckReport, Connector, Error, Finding, Source, Target, UsedType};
use muster_model::{
    Anchor, AssignedBy, Attribute, Changes, Enabling, Key, Multiplicity, ObjectType, Once, Precision, Schema,
    SourceCapabilities, TargetCapabilities, ValueType,
};

use crate::mutants::Mutant;
use crate::system::{Fields, SECRET, System};

pub(crate) struct Memory {
    system: Arc<Mutex<System>>,
    pub(crate) once: Once,
    mutant: Option<Mutant>,
    pub(crate) dead: Arc<AtomicBool>,
    /// For mutants: what only this connector knows, and forgets with its end.
    pub(crate) own: Mutex<Own>,
}

#[derive(Default)]
pub(crate) struct Own {
    pub(crate) busy: bool,
    pub(crate) logins: Vec<String>,
    pub(crate) updated: Vec<Key>,
    pub(crate) created: Vec<Key>,
    pub(crate) buffered: Vec<(String, Key, Fields)>,
    pub(crate) flying: u32,
}

impl Memory {
    pub(crate) fn new(system: Arc<Mutex<System>>, once: Once, mutant: Option<Mutant>, dead: Arc<AtomicBool>) -> Self {
        Self { system, once, mutant, dead, own: Mutex::default() }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn system(&self) -> MutexGuard<'_, System> {
        self.system.lock().unwrap()
    }

    pub(crate) fn alive(&self) -> Result<(), Error> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(Error::Unreachable { problem: "the connector is dead".to_owned(), nothing_sent: true });
        }
        Ok(())
    }

    /// The type of that name.
    pub(crate) fn known(&self, name: &str) -> Result<ObjectType, Error> {
        let problem = match self.is(Mutant::SecretInError) {
            true => format!("no type {name} for {SECRET}"),
            false => format!("no type {name}"),
        };
        types(self.once).into_iter().find(|found| found.name == name).ok_or(Error::Bug(problem))
    }
}

fn types(once: Once) -> Vec<ObjectType> {
    let text = |name: &str| Attribute::new(name, ValueType::Text);
    let person = || vec!["person".to_owned()];
    let source = Some(SourceCapabilities {
        changes: Some(Changes { starts_full: false, precision: Precision::Each, deletes_visible: true, keys_every: 0 }),
        recycle_bin: false,
    });
    let target = |can_delete, can_rename, writes_secrets| {
        Some(TargetCapabilities {
            once,
            readable: true,
            can_delete,
            can_rename,
            writes_secrets,
            ordered: false,
            max_batch: 6,
            max_in_flight: 3,
        })
    };
    let creator = |names: &[&str]| Anchor {
        attributes: names.iter().map(|name| (*name).to_owned()).collect(),
        assigned_by: AssignedBy::Creator,
    };
    let many = Multiplicity::Set;
    vec![
        ObjectType {
            name: "person".to_owned(),
            anchor: Anchor { attributes: vec!["id".to_owned()], assigned_by: AssignedBy::System },
            alternate_keys: vec![vec!["login".to_owned()]],
            attributes: vec![
                Attribute { creatable: false, updatable: false, ..Attribute::new("id", ValueType::Integer) },
                Attribute { required: true, unique: true, ..text("login") },
                Attribute { required: true, max_length: Some(30), ..text("name") },
                text("note"),
                Attribute::new("count", ValueType::Integer),
                Attribute::new("amount", ValueType::Decimal),
                Attribute::new("born", ValueType::Date),
                Attribute::new("seen", ValueType::Instant),
                Attribute::new("photo", ValueType::Binary),
                Attribute::new("enabled", ValueType::Boolean),
                Attribute { readable: false, ..text("password") },
                Attribute { references: person(), ..Attribute::new("boss", ValueType::Integer) },
                Attribute { multiplicity: many, ..text("roles") },
            ],
            enabling: Some(Enabling { attribute: "enabled".to_owned() }),
            source: source.clone(),
            target: target(true, false, true),
        },
        ObjectType {
            name: "badge".to_owned(),
            anchor: creator(&["site", "number"]),
            alternate_keys: Vec::new(),
            attributes: vec![
                Attribute { required: true, ..text("site") },
                Attribute { required: true, ..text("number") },
                text("colour"),
            ],
            enabling: None,
            source,
            target: target(true, true, false),
        },
        ObjectType {
            name: "entry".to_owned(),
            anchor: creator(&["site"]),
            alternate_keys: Vec::new(),
            attributes: vec![Attribute { required: true, ..text("site") }, text("what")],
            enabling: None,
            source: None,
            target: target(false, false, false),
        },
    ]
}

#[async_trait]
impl Connector for Memory {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        self.alive()?;
        let unknown = used.iter().filter(|used| self.known(&used.object_type).is_err());
        let extra = if self.is(Mutant::SecretInFinding) { SECRET } else { "" };
        let fix = if self.is(Mutant::FindingWithoutFix) { "" } else { "correct it" };
        let mut findings: Vec<Finding> =
            unknown.map(|used| Finding::error(None, format!("no type {}{extra}", used.object_type), fix)).collect();
        if self.is(Mutant::FindingWithoutFix) && !used.is_empty() {
            findings.push(Finding::warning(None, "slow", fix));
        }
        Ok(CheckReport { findings, features: Vec::new() })
    }

    async fn schema(&self) -> Result<Schema, Error> {
        self.alive()?;
        let mut system = self.system();
        system.schemas_told += 1;
        let mut types = types(self.once);
        if self.is(Mutant::SchemaUnstable) && system.schemas_told.is_multiple_of(2) {
            types.reverse();
        }
        if self.is(Mutant::KeyOfUnknownAttribute) {
            types[0].alternate_keys.push(vec!["badge_no".to_owned()]);
        }
        if self.is(Mutant::ReferenceToUnknownType) {
            types[0].attributes[11].references.push("manager".to_owned());
        }
        if self.is(Mutant::EnabledByUnknown) {
            types[0].enabling = Some(Enabling { attribute: "active".to_owned() });
        }
        if self.is(Mutant::NoBatches) {
            types[0].target.as_mut().unwrap().max_batch = 0;
        }
        let setup =
            if self.is(Mutant::SecretInSchema) { vec![format!("GRANT TO x BY '{SECRET}'")] } else { Vec::new() };
        let identity = if self.is(Mutant::NoIdentity) { "" } else { "memory" };
        Ok(Schema { identity: identity.to_owned(), types, setup })
    }

    fn source(&self) -> Option<&dyn Source> {
        (!self.is(Mutant::NoSourceSide)).then_some(self as &dyn Source)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}
