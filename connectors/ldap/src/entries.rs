//! Object types over a directory's entries: what settings and schema make of each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_connector::Error;
use muster_model::{
    Anchor, AssignedBy, Attribute, CaseRule, Enabling, Inverse, Multiplicity, ObjectType, Once, SourceCapabilities,
    TargetCapabilities, ValueType, nearest,
};

use crate::config::{LdapSettings, TypeSettings, wrong};
use crate::directory::form::Form;
use crate::directory::root::{Root, Vendor};
use crate::directory::subschema::{AttributeType, Subschema};
use crate::enabling::Switch;
use crate::protocol::dn::Dn;
use crate::protocol::filter::Filter;
use crate::protocol::request::{Depth, Search};

/// The whole name of an entry, which is read only: it follows from the naming attribute and the container.
pub(crate) const DN: &str = "dn";
/// The entry that an entry is below.
pub(crate) const CONTAINER: &str = "container";
/// Whether an entry is enabled.
pub(crate) const ENABLED: &str = "enabled";

/// The most operations in one batch.
const MAX_BATCH: u32 = 500;

/// Members and the like: several values, whatever else the schema allows to have several.
const SEVERAL: [&str; 6] =
    ["member", "uniquemember", "roleoccupant", "memberuid", "proxyaddresses", "serviceprincipalname"];

/// What Active Directory fills by itself, though its schema calls it mandatory.
const FILLED_BY_WINDOWS: [&str; 10] = [
    "samaccountname",
    "objectclass",
    "instancetype",
    "ntsecuritydescriptor",
    "objectcategory",
    "objectsid",
    "grouptype",
    "samaccounttype",
    "cn",
    "objectguid",
];

/// An object type, and how its values stand in entries.
#[derive(Debug, Clone)]
pub(crate) struct EntryType {
    pub(crate) object_type: ObjectType,
    pub(crate) fields: HashMap<String, Field>,
    /// The classes of new entries.
    pub(crate) classes: Vec<String>,
    pub(crate) base: String,
    /// Which entries are the type's.
    pub(crate) filter: Filter,
    /// The naming attribute.
    pub(crate) rdn: String,
    /// Where new entries go.
    pub(crate) container: Dn,
    pub(crate) create_containers: bool,
    pub(crate) delete_subtree: bool,
    pub(crate) anchor: String,
    pub(crate) switch: Option<Switch>,
    /// A mandatory attribute of members, and who stands in it while there are none.
    pub(crate) placeholder: Option<Placeholder>,
}

#[derive(Debug, Clone)]
pub(crate) struct Placeholder {
    pub(crate) attribute: String,
    /// The group itself where none is named.
    pub(crate) member: Option<String>,
}

/// How an attribute stands in entries.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// What it is called there, options included.
    pub(crate) wire: String,
    pub(crate) form: Form,
    pub(crate) refers: Refers,
}

/// How an attribute's values name other entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refers {
    No,
    /// By distinguished name.
    ByName,
    /// By the value of this attribute of theirs.
    By(String),
}

impl EntryType {
    /// A search for all entries of the type.
    pub(crate) fn search(&self, attributes: Vec<String>) -> Search {
        Search { base: self.base.clone(), depth: Depth::Subtree, filter: self.filter.clone(), attributes, limit: 0 }
    }

    pub(crate) fn field(&self, name: &str) -> Result<&Field, Error> {
        self.fields.get(name).ok_or_else(|| Error::Configuration {
            setting: None,
            problem: format!("type {} has no attribute {name:?}", self.object_type.name),
            fix: "compare with `muster schema`".to_owned(),
        })
    }

    pub(crate) fn anchor_field(&self) -> Result<&Field, Error> {
        self.field(&self.anchor)
    }

    pub(crate) fn is_many(&self, name: &str) -> bool {
        self.object_type.attribute(name).is_some_and(|attribute| attribute.multiplicity != Multiplicity::Single)
    }
}

/// What types there are.
pub(crate) fn types(settings: &LdapSettings, root: &Root, schema: &Subschema) -> Result<Vec<EntryType>, Error> {
    let configured = match settings.types.is_empty() {
        true => ["user", "group"].map(|name| (name.to_owned(), TypeSettings::default())).into(),
        false => settings.types.clone(),
    };
    let base = base(settings, root)?;
    let mut all = configured
        .iter()
        .map(|(name, one)| Making { name, one, root, schema, base: &base, all: &configured }.make())
        .collect::<Result<Vec<_>, _>>()?;
    let mut inverse = Vec::new();
    for found in &mut all {
        for attribute in found.object_type.attributes.iter_mut().filter(|one| one.is_reference()) {
            let is_membership = attribute.multiplicity == Multiplicity::Set
                && ["member", "uniquemember", "memberuid"].contains(&attribute.name.to_ascii_lowercase().as_str());
            if is_membership {
                let called_by = found.rdn.clone();
                attribute.inverse = Some(Inverse { attribute: "memberOf".to_owned(), called_by });
                inverse.extend(attribute.references.clone());
            }
        }
    }
    // What the directory shows of memberships is how they look from the other side.
    for found in all.iter_mut().filter(|found| inverse.contains(&found.object_type.name)) {
        found.object_type.attributes.retain(|attribute| !attribute.name.eq_ignore_ascii_case("memberOf"));
    }
    Ok(all)
}

fn base(settings: &LdapSettings, root: &Root) -> Result<String, Error> {
    if let Some(base) = &settings.base {
        Dn::parse(base)
            .map_err(|problem| wrong("base", format!("{base:?} is no name: {problem}"), "write dc=example,dc=org"))?;
        return Ok(base.clone());
    }
    root.contexts.first().cloned().ok_or_else(|| {
        wrong("base", "the server names no entry to begin at", "set `base`, such as \"dc=example,dc=org\"")
    })
}

/// A type being made.
struct Making<'a> {
    name: &'a str,
    one: &'a TypeSettings,
    root: &'a Root,
    schema: &'a Subschema,
    base: &'a str,
    all: &'a BTreeMap<String, TypeSettings>,
}

impl Making<'_> {
    fn setting(&self, what: &str) -> String {
        format!("types.{}.{what}", self.name)
    }

    fn make(&self) -> Result<EntryType, Error> {
        let classes = self.classes()?;
        let base = self.one.base.as_deref().unwrap_or(self.base);
        let base_dn = self.dn("base", base)?;
        let container = match &self.one.container {
            Some(text) => self.dn("container", text)?,
            None => base_dn.clone(),
        };
        if !container.is_within(&base_dn) {
            let problem = format!("new entries in {container} would not be found below {base}");
            return Err(wrong(
                &self.setting("container"),
                problem,
                "put it below `base`, or set `base` to an entry above both",
            ));
        }
        let filter = self.filter(&classes)?;
        let rdn = self.rdn(&classes)?;
        let anchor = self.anchor()?;
        let switch = Switch::choose(self.name, self.one, &classes, self.root, self.schema)?;
        let allowed = self.schema.allowed(&classes);
        let mut attributes = vec![
            read_only(Attribute { case: CaseRule::Insensitive, unique: true, ..Attribute::new(DN, ValueType::Text) }),
            Attribute { case: CaseRule::Insensitive, ..Attribute::new(CONTAINER, ValueType::Text) },
        ];
        let own = |form| Field { wire: String::new(), form, refers: Refers::No };
        let mut fields: HashMap<String, Field> =
            [(DN.to_owned(), own(Form::Dn)), (CONTAINER.to_owned(), own(Form::Dn))].into();
        if switch.is_some() {
            attributes.push(Attribute::new(ENABLED, ValueType::Boolean));
            fields.insert(ENABLED.to_owned(), own(Form::Boolean));
        }
        let more = ["createTimestamp", "modifyTimestamp"].into_iter().chain([anchor.as_str()]);
        let named: BTreeSet<String> = more
            .map(str::to_owned)
            .chain(self.one.attributes.iter().cloned())
            .chain(self.one.multi.iter().cloned())
            .chain(allowed.must.iter().chain(&allowed.may).cloned())
            .collect();
        let mut placeholder = None;
        for name in &named {
            let Some(found) = self.schema.attribute(name) else {
                if self.one.attributes.contains(name) || self.one.multi.contains(name) {
                    let problem = format!("the directory knows no attribute {name:?}");
                    return Err(wrong(&self.setting("attributes"), problem, "compare with the directory's schema"));
                }
                continue;
            };
            let is_required = allowed.must.contains(&found.name.to_ascii_lowercase());
            let (attribute, field) = self.attribute(name, found, is_required, &rdn, &anchor)?;
            let is_hidden = attribute.name.eq_ignore_ascii_case("objectClass")
                || fields.contains_key(&attribute.name)
                || switch.as_ref().is_some_and(|switch| switch.attribute().eq_ignore_ascii_case(&attribute.name));
            if is_hidden {
                continue;
            }
            let mut attribute = attribute;
            if attribute.required && attribute.multiplicity != Multiplicity::Single {
                let member = self.one.placeholder_member.clone();
                member.as_deref().map(|member| self.dn("placeholder_member", member)).transpose()?;
                placeholder = Some(Placeholder { attribute: field.wire.clone(), member });
                attribute.required = false;
            }
            fields.insert(attribute.name.clone(), field);
            attributes.push(attribute);
        }
        self.known_attributes(&fields)?;
        let anchor = canonical(&attributes, &anchor);
        let rdn = canonical(&attributes, &rdn);
        let is_system = self.one.anchor.is_none() || attributes.iter().any(|one| one.name == anchor && !one.creatable);
        let object_type = ObjectType {
            name: self.name.to_owned(),
            anchor: Anchor {
                attributes: vec![anchor.clone()],
                assigned_by: if is_system { AssignedBy::System } else { AssignedBy::Creator },
            },
            // Two entries of one place have different names.
            alternate_keys: vec![vec![rdn.clone(), CONTAINER.to_owned()]],
            attributes,
            enabling: switch.as_ref().map(|_| Enabling { attribute: ENABLED.to_owned() }),
            source: Some(SourceCapabilities { changes: None, recycle_bin: false }),
            target: Some(TargetCapabilities {
                once: Once::Natural,
                readable: true,
                can_delete: true,
                can_rename: !is_system,
                writes_secrets: true,
                ordered: false,
                max_batch: MAX_BATCH,
                max_in_flight: 2,
            }),
        };
        Ok(EntryType {
            object_type,
            fields,
            classes,
            base: base.to_owned(),
            filter,
            rdn,
            container,
            create_containers: self.one.create_containers,
            delete_subtree: self.one.delete_subtree,
            anchor,
            switch,
            placeholder,
        })
    }

    fn dn(&self, setting: &str, text: &str) -> Result<Dn, Error> {
        Dn::parse(text).map_err(|problem| {
            let fix = "write it like ou=people,dc=example,dc=org";
            wrong(&self.setting(setting), format!("{text:?} is no name of an entry: {problem}"), fix)
        })
    }

    fn classes(&self) -> Result<Vec<String>, Error> {
        let usual = match (self.name, self.root.is_windows()) {
            ("user", true) => "user",
            ("group", true) => "group",
            ("user", false) => "inetOrgPerson",
            ("group", false) => "groupOfNames",
            _ if self.one.classes.is_empty() => {
                let fix = "name the object classes of its entries, such as [\"inetOrgPerson\"]";
                return Err(wrong(&self.setting("classes"), "there are none", fix));
            }
            _ => "",
        };
        let named = match self.one.classes.as_slice() {
            [] => std::slice::from_ref(&usual).iter().map(|&name| name.to_owned()).collect(),
            named => named.to_vec(),
        };
        for name in &named {
            if self.schema.class(name).is_none() {
                let fix = match nearest(name, self.schema.class_names()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "load the schema that defines it into the directory, or name another class".to_owned(),
                };
                return Err(wrong(
                    &self.setting("classes"),
                    format!("the directory knows no object class {name:?}"),
                    fix,
                ));
            }
        }
        Ok(named)
    }

    fn filter(&self, classes: &[String]) -> Result<Filter, Error> {
        let own = match &self.one.filter {
            None => None,
            Some(text) => Some(Filter::parse(text).map_err(|problem| {
                wrong(&self.setting("filter"), format!("{text:?}: {problem}"), "write it like (employeeType=staff)")
            })?),
        };
        let first = classes.first().map(String::as_str).unwrap_or_default();
        let mut all = vec![Filter::equals("objectClass", first.as_bytes())];
        if self.root.is_windows() && first.eq_ignore_ascii_case("user") {
            // Computers are users as well there.
            all.push(Filter::equals("objectCategory", b"person"));
        }
        all.extend(own);
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::And(all) })
    }

    fn rdn(&self, classes: &[String]) -> Result<String, Error> {
        let allowed = self.schema.allowed(classes);
        let is_allowed = |name: &str| {
            let name = self.schema.attribute(name).map(|found| found.name.to_ascii_lowercase());
            name.is_some_and(|name| allowed.must.contains(&name) || allowed.may.contains(&name))
        };
        match &self.one.rdn {
            Some(name) if is_allowed(name) => Ok(name.clone()),
            Some(name) => {
                let problem = format!("entries of {} have no attribute {name:?}", classes.join(", "));
                Err(wrong(&self.setting("rdn"), problem, "name one that they have, such as \"cn\""))
            }
            None if !self.root.is_windows() && is_allowed("uid") && !is_allowed("member") => Ok("uid".to_owned()),
            None => Ok("cn".to_owned()),
        }
    }

    fn anchor(&self) -> Result<String, Error> {
        let name = self.one.anchor.as_deref().unwrap_or_else(|| self.root.anchor());
        if self.schema.attribute(name).is_some() {
            return Ok(name.to_owned());
        }
        let problem = format!("the directory knows no attribute {name:?}");
        Err(wrong(&self.setting("anchor"), problem, "name an attribute that identifies an entry and never changes"))
    }

    /// What settings say of attributes must be about attributes that are there.
    fn known_attributes(&self, fields: &HashMap<String, Field>) -> Result<(), Error> {
        let names = |list: Vec<&String>, setting: &str| {
            for name in list {
                if !fields.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                    let fix = match nearest(name, fields.keys().map(String::as_str)) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => "compare with `muster schema`".to_owned(),
                    };
                    let problem = format!("the type has no attribute {name:?}");
                    return Err(wrong(&self.setting(setting), problem, fix));
                }
            }
            Ok(())
        };
        names(self.one.multi.iter().collect(), "multi")?;
        names(self.one.references.keys().collect(), "references")?;
        names(self.one.references_by.keys().collect(), "references_by")?;
        for (name, types) in &self.one.references {
            if let Some(unknown) = types.iter().find(|one| !self.all.contains_key(*one)) {
                let known: Vec<&str> = self.all.keys().map(String::as_str).collect();
                let problem =
                    format!("there is no type {unknown:?} in the connection; there are: {}", known.join(", "));
                return Err(wrong(&self.setting(&format!("references.{name}")), problem, "name one of them"));
            }
        }
        Ok(())
    }

    fn attribute(
        &self,
        asked: &str,
        found: &AttributeType,
        is_required: bool,
        rdn: &str,
        anchor: &str,
    ) -> Result<(Attribute, Field), Error> {
        // As the schema spells it, unless somebody asked for it with options.
        let name = if asked.contains(';') { asked } else { found.name.as_str() };
        let lower = name.to_ascii_lowercase();
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        let form = Form::of(name, self.schema.syntax(found), self.root.is_windows());
        let by = self.one.references_by.iter().find(|(other, _)| is(other)).map(|(_, by)| by.clone());
        let by = by.or_else(|| (lower == "memberuid").then(|| "uid".to_owned()));
        let chosen = self.one.references.iter().find(|(other, _)| is(other)).map(|(_, types)| types.clone());
        let is_reference = (form == Form::Dn || by.is_some()) && chosen.as_ref().is_none_or(|types| !types.is_empty());
        let refers = match (is_reference, by) {
            (false, _) => Refers::No,
            (true, Some(by)) => Refers::By(by),
            (true, None) => Refers::ByName,
        };
        let is_many = !found.single
            && (self.one.multi.iter().any(|other| is(other)) || SEVERAL.contains(&lower.as_str()))
            && !is(rdn);
        let is_password = ["userpassword", "unicodepwd"].contains(&lower.as_str());
        let is_anchor = is(anchor);
        let is_own_anchor = is_anchor && self.one.anchor.is_none();
        let is_written = !found.read_only && !is_own_anchor;
        let is_written = is_written
            && !["memberof", "createtimestamp", "modifytimestamp", "objectguid", "objectsid"].contains(&lower.as_str());
        let value_type = if is_reference { ValueType::Reference } else { form.value_type() };
        let is_unique = is_anchor
            || (self.root.vendor == Vendor::ActiveDirectory
                && ["samaccountname", "userprincipalname"].contains(&lower.as_str()));
        let is_required = match self.root.is_windows() {
            true => is_required && !FILLED_BY_WINDOWS.contains(&lower.as_str()),
            false => is_required,
        };
        let attribute = Attribute {
            multiplicity: if is_many { Multiplicity::Set } else { Multiplicity::Single },
            required: is(rdn) || (is_required && is_written),
            creatable: is_written,
            updatable: is_written && !is_password && !is_anchor,
            readable: !is_password,
            unique: is_unique,
            case: match form {
                Form::Text if self.root.is_windows() || self.schema.ignores_case(found) => CaseRule::Insensitive,
                Form::Dn => CaseRule::Insensitive,
                _ => CaseRule::Sensitive,
            },
            references: match (is_reference, chosen) {
                (false, _) => Vec::new(),
                (true, Some(types)) => types,
                // Superiors are people; anybody and anything may be a member.
                (true, None) => {
                    let is_person = ["manager", "secretary"].contains(&lower.as_str());
                    let named = |name: &&String| !is_person || self.all.len() == 1 || *name != "group";
                    self.all.keys().filter(named).cloned().collect()
                }
            },
            native_type: native_type(form, found.single),
            ..Attribute::new(name, value_type)
        };
        let wire = if form == Form::Certificate { format!("{name};binary") } else { name.to_owned() };
        Ok((attribute, Field { wire, form, refers }))
    }
}

fn native_type(form: Form, single: bool) -> String {
    let form = match form {
        Form::Text => "text",
        Form::Integer => "integer",
        Form::Boolean => "boolean",
        Form::GeneralizedTime => "generalized time",
        Form::FileTime => "file time",
        Form::Dn => "distinguished name",
        Form::Uuid => "UUID",
        Form::UniqueId => "unique id",
        Form::Guid => "GUID",
        Form::Sid => "SID",
        Form::Binary => "octets",
        Form::Certificate => "certificate",
    };
    if single { format!("{form}, one value") } else { form.to_owned() }
}

fn read_only(attribute: Attribute) -> Attribute {
    Attribute { creatable: false, updatable: false, ..attribute }
}

/// The spelling of the schema.
fn canonical(attributes: &[Attribute], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name));
    found.map_or(name, |attribute| attribute.name.as_str()).to_owned()
}
