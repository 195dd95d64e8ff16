//! Files that are made from the code and committed, so that a change of the code shows what it means for users.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::{connectors, reference};

const SCHEMA: &str = "config/muster.schema.json";
const REFERENCE: &str = "docs/configuration.md";
const EXPRESSIONS: &str = "docs/expressions.md";
const WIRE: &str = "docs/connectors/wire.schema.json";
const CHECKS: &str = "docs/connectors/checks.md";

/// Writes the files that are out of date, and says which.
pub(crate) fn write(output: &mut impl Write) -> anyhow::Result<()> {
    for (name, text) in out_of_date()? {
        let path = root().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {name}"))?;
        writeln!(output, "{name} is written")?;
    }
    Ok(())
}

/// Fails if a file is out of date.
pub(crate) fn check() -> anyhow::Result<()> {
    let names: Vec<&str> = out_of_date()?.into_iter().map(|(name, _)| name).collect();
    if !names.is_empty() {
        bail!("out of date: {}; run `cargo xtask generate`", names.join(", "));
    }
    Ok(())
}

/// The files that differ from what the code makes of them now, with what they should hold.
fn out_of_date() -> anyhow::Result<Vec<(&'static str, String)>> {
    let schema = muster_settings::schema(&connectors::schemas());
    let mut schema_text = serde_json::to_string_pretty(&schema)?;
    schema_text.push('\n');
    let mut wire = muster_connector::wire::schema();
    // Another crate of the same build may have asked for the order of insertion.
    wire.sort_all_objects();
    let wire = format!("{}\n", serde_json::to_string_pretty(&wire)?);
    let put = |name: &str, mark: &str, text: &str| {
        let page = std::fs::read_to_string(root().join(name)).with_context(|| format!("cannot read {name}"))?;
        reference::put_into(&page, mark, text).with_context(|| format!("in {name}"))
    };
    let page = put(REFERENCE, "settings", &reference::tables(&schema))?;
    let functions = put(EXPRESSIONS, "functions", &muster_expression::reference::markdown())?;
    let checks = muster_conformance::markdown();
    let mut different = Vec::new();
    let files = [(SCHEMA, schema_text), (REFERENCE, page), (EXPRESSIONS, functions), (WIRE, wire), (CHECKS, checks)];
    for (name, text) in files {
        // A file that is missing or unreadable is as good as an old one.
        let now = std::fs::read_to_string(root().join(name)).unwrap_or_default();
        if now != text {
            different.push((name, text));
        }
    }
    Ok(different)
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

#[cfg(test)]
mod tests {
    use muster_settings::{Environment, Settings, load};
    use serde_json::Value;

    use super::*;

    #[test]
    fn generated_files_are_up_to_date() {
        check().unwrap();
    }

    #[test]
    fn every_setting_stands_in_the_reference() {
        let page = std::fs::read_to_string(root().join(REFERENCE)).unwrap();
        let schema = muster_settings::schema(&connectors::schemas());
        let mut names = Vec::new();
        property_names(&schema, &mut names);
        assert!(names.len() > 30);
        for name in names {
            assert!(page.contains(&format!("`{name}`")), "{REFERENCE} does not name the setting `{name}`");
        }
    }

    fn property_names<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
        match schema {
            Value::Object(keywords) => {
                let properties = keywords.get("properties").and_then(Value::as_object);
                found.extend(properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str)));
                keywords.values().for_each(|value| property_names(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| property_names(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_sample_has_no_fault_and_neither_has_what_is_switched_off_in_it() {
        let sample = root().join("config/muster.toml");
        let settings = load(&sample, &Environment::default(), &connectors::schemas());
        let settings = settings.unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(settings.syncs.len(), 1);

        // "# word" is prose, "#word" is a setting that is switched off.
        let text = std::fs::read_to_string(&sample).unwrap();
        let switched_on = text.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with([' ', ':']) => setting,
            _ => line,
        });
        assert_eq!(loaded(&switched_on.collect::<Vec<_>>().join("\n")).syncs.len(), 2);
    }

    #[test]
    fn the_examples_of_the_reference_have_no_fault() {
        let page = std::fs::read_to_string(root().join(REFERENCE)).unwrap();
        let examples: Vec<&str> = page.split("```toml muster.toml\n").skip(1).collect();
        assert!(!examples.is_empty());
        for example in examples {
            assert!(!loaded(example.split("```").next().unwrap()).syncs.is_empty());
        }
    }

    /// The settings of a text that has no fault.
    fn loaded(text: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.toml");
        std::fs::write(&path, text).unwrap();
        let settings = load(&path, &Environment::default(), &connectors::schemas());
        settings.unwrap_or_else(|problems| panic!("{problems}"))
    }
}
