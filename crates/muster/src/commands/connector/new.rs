//! `muster connector new`: a small, whole connector to start from.

use std::path::{Component, Path, PathBuf};

use crate::cli::{ConnectorNewArguments, Language};
use crate::exit::Failure;
use crate::output;

/// What the files of the starters call the connector.
const NAME: &str = "my-connector";
/// The longest name.
const LONGEST: usize = 50;

/// A file of a starter: where it goes, and what it holds.
type File = (&'static str, &'static str);

macro_rules! starter {
    ($folder:literal: $($to:literal from $from:literal),+ $(,)?) => {
        &[$(($to, include_str!(concat!("../../../starters/", $folder, "/", $from)))),+]
    };
}

const PYTHON: &[File] = starter!("python":
    "README.md" from "README.md",
    "connector.py" from "connector.py",
    "wire.py" from "wire.py",
    "service.py" from "service.py",
    "test_connector.py" from "test_connector.py",
    "muster.toml" from "muster.toml",
    ".github/workflows/ci.yml" from "ci.yml",
    ".gitignore" from "gitignore",
);

const NODE: &[File] = starter!("node":
    "README.md" from "README.md",
    "connector.mjs" from "connector.mjs",
    "wire.mjs" from "wire.mjs",
    "service.mjs" from "service.mjs",
    "connector.test.mjs" from "connector.test.mjs",
    "muster.toml" from "muster.toml",
    ".github/workflows/ci.yml" from "ci.yml",
    ".gitignore" from "gitignore",
);

const RUST: &[File] = starter!("rust":
    "README.md" from "README.md",
    "Cargo.toml" from "Cargo.toml",
    "src/lib.rs" from "src/lib.rs",
    "src/main.rs" from "src/main.rs",
    "src/schema.rs" from "src/schema.rs",
    "src/service.rs" from "src/service.rs",
    "src/source.rs" from "src/source.rs",
    "src/target.rs" from "src/target.rs",
    "tests/contract.rs" from "tests/contract.rs",
    "tests/service/mod.rs" from "tests/service/mod.rs",
    "muster.toml" from "muster.toml",
    ".github/workflows/ci.yml" from "ci.yml",
    ".gitignore" from "gitignore",
);

pub(crate) fn run(arguments: &ConnectorNewArguments) -> Result<(), Failure> {
    let name = arguments.name.as_str();
    named_well(name, arguments.lang)?;
    let folder = arguments.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.exists() {
        let problem = format!("{} exists already; give another name, or another folder with --dir", folder.display());
        return Err(Failure::configuration(problem));
    }
    let sources = match arguments.lang {
        Language::Rust => Some(sources(arguments.sources.as_deref())?),
        _ => None,
    };
    let files = match arguments.lang {
        Language::Python => PYTHON,
        Language::Node => NODE,
        Language::Rust => RUST,
    };
    let failed = |path: &Path, error: &std::io::Error| {
        Failure::unexpected(format!("{} cannot be written: {}", path.display(), error.kind()))
    };
    std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    let found = std::fs::canonicalize(&folder).map_err(|error| failed(&folder, &error))?;
    for (path, text) in files {
        let mut text = text.replace(NAME, name).replace(&crate_name(NAME), &crate_name(name));
        if let Some(sources) = sources.as_deref().filter(|_| *path == "Cargo.toml") {
            let crates = relative(&found, &sources.join("crates"));
            // Quotes and backslashes have no business in a path that TOML is to read.
            let crates = crates.to_string_lossy().replace('\\', "/").replace('"', "\\\"");
            text = text.replace("\"../../../", &format!("\"{crates}/"));
            // It belongs to no workspace around it.
            text.push_str("\n[workspace]\n");
        }
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        }
        std::fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    }
    let test = match arguments.lang {
        Language::Python => "MUSTER=PROGRAM python3 -m unittest",
        Language::Node => "MUSTER=PROGRAM node --test",
        Language::Rust => "cargo test",
    };
    let test = match std::env::current_exe() {
        Ok(program) => test.replace("PROGRAM", &quoted(&program.to_string_lossy())),
        Err(_) => test.replace("MUSTER=PROGRAM ", ""),
    };
    let place = folder.to_string_lossy();
    output::line(format!("{place}: {} files; README.md says what each is for", files.len()));
    output::line(format!("It works as it stands. Try it: cd {} && {test}", quoted(&place)));
    Ok(())
}

/// The name as Rust writes it in a path.
fn crate_name(name: &str) -> String {
    name.replace('-', "_")
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./:".contains(letter);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn named_well(name: &str, lang: Language) -> Result<(), Failure> {
    let is_word = name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
        && !name.ends_with('-')
        && !name.contains("--");
    if !is_word || name.len() > LONGEST {
        return Err(Failure::configuration(format!(
            "{name:?} cannot be a connector's name; write at most {LONGEST} lower-case letters, digits and single hyphens, \
             with a letter first, such as crm-people"
        )));
    }
    let taken = [
        "abstract",
        "as",
        "async",
        "async-trait",
        "await",
        "axum",
        "become",
        "box",
        "break",
        "const",
        "continue",
        "crate",
        "do",
        "dyn",
        "else",
        "enum",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "muster-connector",
        "muster-conformance",
        "muster-model",
        "mut",
        "override",
        "priv",
        "pub",
        "ref",
        "reqwest",
        "return",
        "schemars",
        "self",
        "serde",
        "serde-json",
        "static",
        "std",
        "core",
        "struct",
        "super",
        "test",
        "tokio",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
    ];
    if lang == Language::Rust && taken.contains(&name) {
        return Err(Failure::configuration(format!(
            "a crate cannot be called {name:?}; try {:?}",
            format!("{name}-connector")
        )));
    }
    Ok(())
}

/// The folder of Muster's sources, which are on no registry of crates.
fn sources(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(given) = given else {
        return Err(Failure::configuration(
            "a connector in Rust is built with Muster's sources; name their folder, such as --sources ../muster",
        ));
    };
    let is_there = given.join("crates/connector/Cargo.toml").is_file();
    match std::fs::canonicalize(given) {
        Ok(found) if is_there => Ok(found),
        _ => Err(Failure::configuration(format!(
            "{} does not hold Muster's sources: there is no crates/connector/Cargo.toml",
            given.display()
        ))),
    }
}

/// The way from one folder to another, both absolute; the other itself where there is none.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) = (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    // Nothing in common but the root, or another drive: the absolute path says it better.
    if shared <= 1 {
        return to.iter().collect();
    }
    let up = from.iter().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.into_iter().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_folders_is_short() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to)).to_string_lossy().into_owned();
        assert_eq!(way("/src/crm", "/src/muster/crates"), "../muster/crates");
        assert_eq!(way("/src/muster", "/src/muster/crates"), "crates");
        assert_eq!(way("/home/a/crm", "/opt/muster/crates"), "/opt/muster/crates");
    }

    #[test]
    fn names_that_files_or_crates_cannot_have_are_refused() {
        for name in ["", "Crm", "crm_people", "7", "crm-", "a--b", "../crm", &"a".repeat(51)] {
            assert!(named_well(name, Language::Python).is_err(), "{name}");
        }
        assert!(named_well("type", Language::Python).is_ok() && named_well("type", Language::Rust).is_err());
        assert!(named_well("crm-2", Language::Rust).is_ok());
    }
}
