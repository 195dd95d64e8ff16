//! Rules resolved against the schemas of both systems: what `check` finds, and what evaluation works with.

use std::sync::Arc;

use muster_connector::Severity;
use muster_expression::{Expression, Program};
use muster_model::{AssignedBy, Attribute, Multiplicity, ObjectType, Once, Schema, Slot, TargetCapabilities, nearest};

use crate::convert::{convertible, fit_computed};
use crate::dates::Lifecycle;
use crate::groups::ScopeGroups;
use crate::lifecycle;
use crate::nulls::Nulls;
use crate::rules::{SyncRules, When};
use crate::scope::Scope;
use crate::values::ManyColumn;

/// Something about a sync's rules that a person should know or change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFinding {
    /// Whether the sync can run in spite of it.
    pub severity: Severity,
    /// The setting's path, such as `syncs.staff.map.employee_no`.
    pub setting: String,
    /// What is wrong.
    pub problem: String,
    /// What to change.
    pub fix: String,
}

/// A sync's rules, resolved.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The rules as configured.
    pub rules: SyncRules,
    /// The source's object type.
    pub source: ObjectType,
    /// The target's object type.
    pub target: ObjectType,
    /// The source attributes that evaluation reads; its rows have this order.
    pub source_attributes: Vec<String>,
    /// The target attributes; rows written and found have this order.
    pub target_attributes: Arc<[String]>,
    /// What flows into each target attribute.
    pub columns: Vec<Column>,
    /// Those of several values, which are written one by one.
    pub many: Vec<ManyColumn>,
    /// Positions of those for whose new objects `SelectUniqueValue` chooses.
    pub unique_choices: Vec<usize>,
    /// Position of the target's enabling attribute.
    pub enabling: Option<usize>,
    /// Position of the source's enabling attribute.
    pub source_enabling: Option<usize>,
    /// Which source objects belong to the sync.
    pub scope: Scope,
    /// From when until when a person has access.
    pub lifecycle: Option<Lifecycle>,
    /// The match rules, in the order in which they are tried.
    pub matching: Vec<Matching>,
    /// Positions of the anchor's attributes, where the creator assigns it.
    pub anchor: Option<Vec<usize>>,
    /// What the target can do.
    pub capabilities: TargetCapabilities,
}

/// One target attribute and what flows into it.
#[derive(Debug, Clone)]
pub struct Column {
    /// The target attribute.
    pub attribute: Attribute,
    /// What flows.
    pub input: Input,
    /// When it flows.
    pub when: When,
    /// What a null does.
    pub nulls: Nulls,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A source attribute, by position.
    Source(usize),
    /// The same for all.
    Constant(Slot),
    /// What is computed of source attributes.
    Expression(Arc<Program>),
    /// Whether the object should be enabled.
    Enabled,
    /// The target objects that a reference attribute of the source, by position, leads to.
    Reference(usize),
    /// Nothing: the attribute is only read, for matching, or its values are written one by one.
    None,
}

impl Input {
    /// Whether its values must not be shown where people look at changes.
    pub(crate) fn is_redacted(&self) -> bool {
        matches!(self, Self::Expression(program) if program.is_redacted())
    }
}

/// A match rule, resolved.
#[derive(Debug, Clone)]
pub struct Matching {
    /// What must be equal; never empty.
    pub all: Vec<Compared>,
    /// Something in the target keeps the values unique.
    pub is_unique: bool,
    /// A create writes all of the attributes.
    pub is_written: bool,
}

/// One comparison of a match rule.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The source's value.
    pub input: Input,
    /// The position of the target attribute.
    pub target: usize,
}

/// Resolves rules against the schemas.
///
/// # Errors
/// All findings, when one of them keeps the sync from running.
pub fn compile(
    rules: &SyncRules,
    source: &Schema,
    target: &Schema,
) -> Result<(Compiled, Vec<RuleFinding>), Vec<RuleFinding>> {
    let mut findings = Findings { sync: rules.name.clone(), list: Vec::new() };
    let source_schema = source;
    let source_type = find_type(&mut findings, "from", &rules.source_connection, source, &rules.source_type);
    let target_type = find_type(&mut findings, "to", &rules.target_connection, target, &rules.target_type);
    let (Some(source), Some(target)) = (source_type, target_type) else { return Err(findings.list) };
    if source.source.is_none() {
        let problem = format!("connection {:?} cannot be read", rules.source_connection);
        findings.error("from", &problem, "choose a connection that has a source side");
    }
    let Some(capabilities) = target.target.clone() else {
        let problem = format!("connection {:?} cannot be written", rules.target_connection);
        findings.error("to", &problem, "choose a connection that has a target side");
        return Err(findings.list);
    };
    let (source_attributes, columns, many) = (Vec::new(), Vec::new(), Vec::new());
    let (schema, groups) = (source_schema, None);
    let mut compiler = Compiler { rules, schema, source, target, findings, source_attributes, columns, many, groups };
    compiler.mappings();
    let enabling = if rules.creates { compiler.enabling() } else { None };
    let matching = compiler.matching();
    let anchor = compiler.anchor(&capabilities);
    compiler.recognition(&capabilities, &matching);
    compiler.unguarded();
    compiler.protection();
    let scope = compiler.scope();
    let lifecycle = compiler.lifecycle(&capabilities);
    compiler.password(&capabilities);
    compiler.required();
    compiler.unreadable(&capabilities);
    compiler.removal(&capabilities);
    let source_enabling = source.enabling.as_ref().map(|enabling| compiler.source_position(&enabling.attribute));
    let Compiler { findings, source_attributes, columns, many, .. } = compiler;
    if findings.has_errors() {
        return Err(findings.list);
    }
    let compiled = Compiled {
        rules: rules.clone(),
        source: source.clone(),
        target: target.clone(),
        source_attributes,
        target_attributes: columns.iter().map(|column| column.attribute.name.clone()).collect(),
        unique_choices: columns
            .iter()
            .enumerate()
            .filter(|(_, column)| rules.chooses(&column.attribute.name))
            .map(|(position, _)| position)
            .collect(),
        columns,
        many,
        enabling,
        source_enabling,
        scope,
        lifecycle,
        matching,
        anchor,
        capabilities,
    };
    Ok((compiled, findings.list))
}

impl Compiled {
    /// A hash of every rule that an evaluation depends on; limits of the guard are not among them.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| (&column.attribute.name, column.attribute.value_type, &column.input, column.when))
            .collect();
        let matching = self.matching_described();
        let described = format!(
            "1 {columns:?} {matching} {:?}{} {:?}{}{}{}{}{}",
            self.source_attributes,
            // Without such attributes as before there were any.
            if self.many.is_empty() { String::new() } else { format!(" {:?}", self.many) },
            self.rules.removal,
            self.rules.scope.iter().map(|condition| format!(" | {condition}")).collect::<String>(),
            // Without protection as before there was any.
            if self.rules.protect.is_empty() { String::new() } else { format!(" {:?}", self.rules.protect) },
            self.rules.lifecycle.as_ref().map(lifecycle::described).unwrap_or_default(),
            self.nulls_described(),
            if self.rules.creates { "" } else { " creates nothing" }
        );
        let hash = blake3::hash(described.as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        short
    }
}

pub(crate) struct Findings {
    sync: String,
    list: Vec<RuleFinding>,
}

impl Findings {
    fn add(&mut self, severity: Severity, setting: &str, problem: &str, fix: &str) {
        let setting = format!("syncs.{}.{setting}", self.sync);
        self.list.push(RuleFinding { severity, setting, problem: problem.to_owned(), fix: fix.to_owned() });
    }

    pub(crate) fn error(&mut self, setting: &str, problem: &str, fix: &str) {
        self.add(Severity::Error, setting, problem, fix);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    pub(crate) fn warning(&mut self, setting: &str, problem: &str, fix: &str) {
        self.add(Severity::Warning, setting, problem, fix);
    }
}

pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(name, known).map_or_else(|| otherwise.to_owned(), |near| format!("did you mean {near:?}?"))
}

fn find_type<'a>(
    findings: &mut Findings,
    setting: &str,
    connection: &str,
    schema: &'a Schema,
    name: &str,
) -> Option<&'a ObjectType> {
    let found = schema.object_type(name);
    if found.is_none() {
        let names: Vec<&str> = schema.types.iter().map(|object_type| object_type.name.as_str()).collect();
        let problem = format!("connection {connection:?} has no object type {name:?}");
        let fix = did_you_mean(name, names.iter().copied(), &format!("it has: {}", names.join(", ")));
        findings.error(setting, &problem, &fix);
    }
    found
}

pub(crate) struct Compiler<'a> {
    pub(crate) rules: &'a SyncRules,
    pub(crate) source: &'a ObjectType,
    pub(crate) target: &'a ObjectType,
    pub(crate) findings: Findings,
    pub(crate) source_attributes: Vec<String>,
    pub(crate) columns: Vec<Column>,
    pub(crate) many: Vec<ManyColumn>,
    pub(crate) schema: &'a Schema,
    /// The groups that the scope names.
    pub(crate) groups: Option<ScopeGroups>,
}

impl Compiler<'_> {
    pub(crate) fn source_position(&mut self, name: &str) -> usize {
        if let Some(position) = self.source_attributes.iter().position(|known| known == name) {
            return position;
        }
        self.source_attributes.push(name.to_owned());
        self.source_attributes.len() - 1
    }

    fn mappings(&mut self) {
        for mapping in &self.rules.mappings {
            let setting = format!("map.{}", mapping.target);
            let Some(attribute) = self.target_attribute(&setting, &mapping.target) else { continue };
            if !attribute.creatable && !attribute.updatable {
                let problem = format!("{:?} cannot be written ({})", attribute.name, attribute.native_type);
                self.findings.error(&setting, &problem, "remove the mapping");
                continue;
            }
            let when = if attribute.updatable { mapping.when } else { When::Create };
            let input = match self.reference_in(&mapping.value, &attribute) {
                Some(from) => self.reference(&setting, &from, &attribute),
                None => self.input(&setting, &mapping.value, &attribute, Some(when)),
            };
            let Some(input) = input else { continue };
            if attribute.multiplicity == Multiplicity::Single {
                let nulls = self.nulls(&setting, mapping, &attribute, &input);
                self.columns.push(Column { attribute, input, when, nulls });
                continue;
            }
            if when == When::Create {
                let problem = format!("{:?} holds several values, which are compared one by one", attribute.name);
                self.findings.error(&setting, &problem, "remove `when`");
            }
            self.no_nulls(&setting, mapping, &attribute);
            self.many.push(ManyColumn { position: self.columns.len(), input });
            self.columns.push(Column { attribute, input: Input::None, when, nulls: Nulls::default() });
        }
    }

    pub(crate) fn target_attribute(&mut self, setting: &str, name: &str) -> Option<Attribute> {
        let Some(attribute) = self.target.attribute(name) else {
            let problem = format!("{}:{} has no attribute {name:?}", self.rules.target_connection, self.target.name);
            let known = format!("`muster schema {}` lists what it has", self.rules.target_connection);
            let fix = did_you_mean(name, self.target.attribute_names(), &known);
            self.findings.error(setting, &problem, &fix);
            return None;
        };
        if let Some(reason) = &attribute.unsupported {
            let problem = format!("{name:?} cannot hold a mapped value: {reason}");
            self.findings.error(setting, &problem, "map another attribute, or change its type in the target");
            return None;
        }
        Some(attribute.clone())
    }

    /// Resolves what flows into `to`, or says why it cannot. Without `when` it is what the match compares.
    pub(crate) fn input(
        &mut self,
        setting: &str,
        value: &Expression,
        to: &Attribute,
        when: Option<When>,
    ) -> Option<Input> {
        if let Some(constant) = value.constant() {
            return match fit_computed(Slot::One(constant.clone()), to) {
                Ok(slot) => Some(Input::Constant(slot)),
                Err(misfit) => {
                    let problem = format!("the constant does not fit {:?}: {}", to.name, misfit.message);
                    self.findings.error(setting, &problem, "change the constant");
                    None
                }
            };
        }
        let Some(name) = value.direct() else { return self.computed(setting, value, to, when) };
        let attribute = self.source_attribute(setting, name)?;
        if attribute.multiplicity != Multiplicity::Single && to.multiplicity == Multiplicity::Single {
            let problem = format!("[{name}] has several values, and {:?} holds one", to.name);
            let fix = format!("map one of them, such as Item([{name}], 1), or all in one text: Join(\";\", [{name}])");
            self.findings.error(setting, &problem, &fix);
            return None;
        }
        if !convertible(attribute.value_type, to.value_type) {
            let problem = format!(
                "{:?} is {} ({}) and cannot hold [{name}], which is {}",
                to.name, to.value_type, to.native_type, attribute.value_type
            );
            let fix =
                format!("change it to a type for {} in the target, or map another attribute", attribute.value_type);
            self.findings.error(setting, &problem, &fix);
            return None;
        }
        Some(Input::Source(self.source_position(name)))
    }

    /// An attribute of the source that a rule may read, or the finding why it may not.
    pub(crate) fn source_attribute(&mut self, setting: &str, name: &str) -> Option<Attribute> {
        let Some(attribute) = self.source.attribute(name) else {
            let problem = format!("{}:{} has no attribute {name:?}", self.rules.source_connection, self.source.name);
            let known = format!("`muster schema {}` lists what it has", self.rules.source_connection);
            let fix = match name {
                // Entra's own provisioning has it, and nearly everybody maps it.
                "IsSoftDeleted" => "remove the mapping: Muster enables and disables by itself, by the column that `enabled` of the target's type names".to_owned(),
                _ => did_you_mean(name, self.source.attribute_names(), &known),
            };
            self.findings.error(setting, &problem, &fix);
            return None;
        };
        if let Some(reason) = &attribute.unsupported {
            let problem = format!("[{name}] cannot be read: {reason}");
            self.findings.error(setting, &problem, "map another attribute");
            return None;
        }
        if attribute.is_reference() {
            let problem = format!("[{name}] refers to other objects, and is no value that could be computed with");
            let fix = "map it by itself, to an attribute that refers to objects as well";
            self.findings.error(setting, &problem, fix);
            return None;
        }
        Some(attribute.clone())
    }

    fn enabling(&mut self) -> Option<usize> {
        let enabling = self.target.enabling.as_ref()?;
        if let Some(position) = self.columns.iter().position(|column| column.attribute.name == enabling.attribute) {
            return Some(position);
        }
        let attribute = self.target.attribute(&enabling.attribute)?.clone();
        let (input, when) = (Input::Enabled, When::Always);
        self.columns.push(Column { attribute, input, when, nulls: Nulls::default() });
        Some(self.columns.len() - 1)
    }

    fn anchor(&mut self, capabilities: &TargetCapabilities) -> Option<Vec<usize>> {
        let anchor = &self.target.anchor;
        match anchor.assigned_by {
            AssignedBy::System => {
                if self.rules.matching.is_empty() && capabilities.once != Once::Ledger {
                    let problem = format!(
                        "{} is assigned by the target, so a create whose answer is lost could not be recognised again",
                        anchor.attributes.join(", ")
                    );
                    let fix = "add match = [{ source = \"[…]\", target = \"…\" }] with an attribute that is unique in the target";
                    self.findings.error("match", &problem, fix);
                }
                None
            }
            AssignedBy::Creator => {
                let mut positions = Vec::new();
                for name in &anchor.attributes {
                    match self.columns.iter().position(|column| column.attribute.name == *name) {
                        Some(position) => positions.push(position),
                        None => {
                            let problem = format!("{name:?} is the target's key, and no mapping fills it");
                            self.findings.error(
                                &format!("map.{name}"),
                                &problem,
                                "map a source attribute that never changes",
                            );
                        }
                    }
                }
                Some(positions)
            }
        }
    }
}
