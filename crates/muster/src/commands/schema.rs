//! `muster schema`: what a connection holds.

use std::path::Path;

use muster_model::{AssignedBy, Attribute, Multiplicity, ObjectType};

use crate::cli::{OutputForm, SchemaArguments};
use crate::exit::Failure;
use crate::{output, world};

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &SchemaArguments) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    let connection = world::find_connection(&settings, &arguments.connection)?;
    let connector = world::connect(&settings, connection)?;
    let schema = connector.schema().await;
    let mut schema = schema.map_err(|error| world::connector_failure(&settings, &connection.name, &error))?;
    if let Some(name) = &arguments.object_type {
        if schema.object_type(name).is_none() {
            let known: Vec<&str> = schema.types.iter().map(|object_type| object_type.name.as_str()).collect();
            let near = muster_model::nearest(name, known.iter().copied());
            let hint =
                near.map_or_else(|| format!("it has: {}", known.join(", ")), |near| format!("did you mean {near:?}?"));
            let message = format!("connection {:?} has no object type {name:?}; {hint}", connection.name);
            return Err(Failure::configuration(message));
        }
        schema.types.retain(|object_type| object_type.name == *name);
    }
    if form == OutputForm::Json {
        return output::json(&schema);
    }
    output::line(format!("{}: {}", connection.name, schema.identity));
    for object_type in &schema.types {
        print(object_type);
    }
    if !schema.setup.is_empty() {
        output::line("");
        output::line("what the settings need in the system, once:");
        for statement in &schema.setup {
            output::line(format!("  {statement}"));
        }
    }
    Ok(())
}

fn print(object_type: &ObjectType) {
    output::line("");
    let assigned = match object_type.anchor.assigned_by {
        AssignedBy::System => "assigned by the system",
        AssignedBy::Creator => "given on create",
    };
    output::line(format!("{}: anchor {} ({assigned})", object_type.name, object_type.anchor.attributes.join(", ")));
    match &object_type.enabling {
        Some(enabling) => output::line(format!("  enabled and disabled by {}", enabling.attribute)),
        None => output::line("  cannot be disabled"),
    }
    let rows = object_type.attributes.iter().map(|attribute| {
        vec![attribute.name.clone(), kind(attribute), attribute.native_type.clone(), traits(object_type, attribute)]
    });
    output::table(&["attribute", "type", "in the system", "notes"], rows.collect());
}

fn kind(attribute: &Attribute) -> String {
    let length = attribute.max_length.map(|length| format!("({length})")).unwrap_or_default();
    match attribute.multiplicity {
        Multiplicity::Single => format!("{}{length}", attribute.value_type),
        Multiplicity::Set => format!("set of {}{length}", attribute.value_type),
        Multiplicity::List => format!("list of {}{length}", attribute.value_type),
    }
}

fn traits(object_type: &ObjectType, attribute: &Attribute) -> String {
    let mut notes = Vec::new();
    if attribute.required {
        notes.push("required".to_owned());
    }
    if attribute.unique {
        notes.push("unique".to_owned());
    }
    if object_type.target.is_some() && !attribute.creatable && !attribute.updatable {
        notes.push("read-only".to_owned());
    }
    if !attribute.references.is_empty() {
        notes.push(format!("refers to {}", attribute.references.join(", ")));
    }
    notes.extend(attribute.unsupported.iter().map(|reason| format!("not usable: {reason}")));
    notes.join(", ")
}
