//! What holds the source together: who may depend on whom, how long a file may be, where SQL text may be made.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use serde_json::Value;

    const CRATES_FOR_TESTS: [&str; 3] = ["muster-testkit", "muster-conformance", "muster-sandbox"];

    /// What each crate may use of ours; for those not listed see [`allowed`].
    const ARROWS: [(&str, &[&str]); 10] = [
        ("muster-model", &[]),
        ("muster-connector", &["muster-model"]),
        ("muster-expression", &["muster-model"]),
        ("muster-store", &["muster-model"]),
        ("muster-engine", &["muster-model", "muster-connector", "muster-expression", "muster-store"]),
        ("muster-settings", &["muster-model", "muster-expression"]),
        ("muster-sandbox", &["muster-model", "muster-tls"]),
        ("muster-tls", &[]),
        ("muster-testkit", &[]),
        ("muster-conformance", &["muster-model", "muster-connector"]),
    ];

    const CONNECTOR_ARROWS: &[&str] = &["muster-connector", "muster-model", "muster-tls"];

    /// A file that grows beyond this has more than one subject.
    const MOST_LINES: usize = 600;

    /// Longer files, each with its reason.
    const LONGER_FILES: [(&str, &str); 0] = [];

    struct Package {
        name: String,
        manifest: PathBuf,
        description: String,
        /// Name and kind: `normal`, `build` or `dev`.
        dependencies: Vec<(String, String)>,
        /// The root source files of all targets.
        roots: Vec<PathBuf>,
    }

    impl Package {
        fn is_connector(&self) -> bool {
            self.name.starts_with("muster-connector-") || self.is_starter()
        }

        /// What `muster connector new` writes is no part of the project: it stands for itself.
        fn is_starter(&self) -> bool {
            self.manifest.components().any(|part| part.as_os_str() == "starters")
        }

        fn uses(&self, kind: &str) -> impl Iterator<Item = &str> {
            self.dependencies.iter().filter(move |(_, found)| found == kind).map(|(name, _)| name.as_str())
        }

        /// Dependencies of the finished program.
        fn ships(&self) -> impl Iterator<Item = &str> {
            self.uses("normal").chain(self.uses("build"))
        }
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
    }

    fn cargo(arguments: &[&str]) -> String {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo).args(arguments).arg("--offline").current_dir(root()).output().unwrap();
        assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn packages() -> Vec<Package> {
        let metadata: Value =
            serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        list(&metadata["packages"])
            .iter()
            .map(|package| Package {
                name: text(&package["name"]),
                manifest: text(&package["manifest_path"]).into(),
                description: text(&package["description"]),
                dependencies: list(&package["dependencies"])
                    .iter()
                    .map(|one| (text(&one["name"]), one["kind"].as_str().unwrap_or("normal").to_owned()))
                    .collect(),
                roots: list(&package["targets"]).iter().map(|target| text(&target["src_path"]).into()).collect(),
            })
            .collect()
    }

    /// All Rust files of the project with their paths relative to its root.
    fn sources() -> BTreeMap<String, String> {
        fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                if path.is_dir() {
                    if !name.starts_with('.') && name != "target" && name != "node_modules" {
                        walk(&path, root, found);
                    }
                } else if name.ends_with(".rs")
                    // Somebody may be renaming it just now.
                    && let Ok(text) = fs::read_to_string(&path)
                {
                    let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                    found.insert(relative, text);
                }
            }
        }
        let root = root();
        let mut found = BTreeMap::new();
        walk(&root, &root, &mut found);
        assert!(found.contains_key("tests/tidy.rs"), "the sources were not found: {:?}", found.keys());
        found
    }

    fn refuse(broken: &[String]) {
        assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
    }

    /// `None`: anything of ours.
    fn allowed(package: &Package) -> Option<&'static [&'static str]> {
        if package.is_connector() {
            return Some(CONNECTOR_ARROWS);
        }
        ARROWS.iter().find(|(name, _)| *name == package.name).map(|(_, allowed)| *allowed)
    }

    #[test]
    fn crates_depend_along_the_arrows_only() {
        let packages = packages();
        let is_ours = |name: &str| packages.iter().any(|package| package.name == name);
        let mut broken = Vec::new();
        for package in &packages {
            let is_program = matches!(package.name.as_str(), "muster" | "xtask" | "muster-tests");
            if !is_program && allowed(package).is_none() {
                broken.push(format!("{} has no arrows yet: add it to ARROWS in tests/tidy.rs", package.name));
            }
            for used in package.ships().filter(|used| is_ours(used)) {
                if allowed(package).is_some_and(|allowed| !allowed.contains(&used)) {
                    broken.push(format!("{} must not depend on {used}", package.name));
                }
                if used.starts_with("muster-connector-") && !is_program {
                    broken.push(format!("{}: only muster lists connectors, not {used}", package.name));
                }
                if used == "muster-testkit" && package.name != "xtask" {
                    broken.push(format!("{} ships {used}, which is for tests", package.name));
                }
            }
            for used in package.uses("dev").filter(|used| is_ours(used)) {
                let ships_it = package.ships().any(|shipped| shipped == used);
                let may = allowed(package).is_none_or(|allowed| allowed.contains(&used));
                if !ships_it && !may && !CRATES_FOR_TESTS.contains(&used) {
                    broken.push(format!("the tests of {} must not depend on {used}", package.name));
                }
            }
        }
        refuse(&broken);
    }

    #[test]
    fn drivers_stay_where_they_belong() {
        let mut broken = Vec::new();
        for package in packages() {
            for used in package.ships() {
                let belongs = match used {
                    "rustls" | "rustls-native-certs" => package.name == "muster-tls",
                    // A measurement loads rows as raw as can be.
                    "sqlx" | "tiberius" if package.name == "xtask" => true,
                    "tiberius" => package.name == "muster-connector-sql",
                    "sqlx" | "sqlx-core" => matches!(package.name.as_str(), "muster-store" | "muster-connector-sql"),
                    _ => true,
                };
                if !belongs {
                    broken.push(format!("{} must not name {used}", package.name));
                }
            }
        }
        refuse(&broken);
    }

    #[test]
    fn there_is_one_tls_stack_and_one_crypto_provider() {
        let tree = cargo(&["tree", "--workspace", "-e", "normal,build", "--prefix", "none", "--target", "all"]);
        assert!(tree.lines().any(|line| line.starts_with("rustls v")), "the tree does not look like one:\n{tree}");
        let banned = ["openssl", "openssl-sys", "native-tls", "ring", "rusqlite"];
        let found: Vec<String> = tree
            .lines()
            .filter(|line| line.split(' ').next().is_some_and(|name| banned.contains(&name)))
            .map(|line| format!("{line} must not be in the tree: see deny.toml"))
            .collect();
        refuse(&found);
    }

    #[test]
    fn versions_stand_in_one_place_and_every_crate_says_what_it_is() {
        let mut broken = Vec::new();
        for package in packages().into_iter().filter(|package| !package.is_starter()) {
            if package.description.trim().is_empty() || package.description.contains('\n') {
                broken.push(format!("{}: write one line of description in Cargo.toml", package.name));
            }
            for root in &package.roots {
                let head = fs::read_to_string(root).unwrap_or_default();
                // A single line is the place of something to come.
                if !head.starts_with("//!") && head.lines().count() > 1 {
                    broken.push(format!("{}: begin with a `//!` header", root.display()));
                }
            }
            let manifest = fs::read_to_string(&package.manifest).unwrap();
            let mut in_dependencies = false;
            for line in manifest.lines() {
                if line.starts_with('[') {
                    in_dependencies = line.ends_with("dependencies]");
                } else if in_dependencies && line.contains('=') && !line.contains("workspace = true") {
                    broken.push(format!("{}: {line:?} belongs to the workspace's Cargo.toml", package.name));
                }
            }
            if !manifest.contains("[lints]\nworkspace = true") {
                broken.push(format!("{}: take the workspace's lints", package.name));
            }
        }
        refuse(&broken);
    }

    #[test]
    fn files_stay_short() {
        let mut broken = Vec::new();
        for (path, text) in sources() {
            let lines = text.lines().count();
            if lines > MOST_LINES && !LONGER_FILES.iter().any(|(known, _)| *known == path) {
                broken.push(format!("{path} has {lines} lines, more than {MOST_LINES}: split it by subject"));
            }
        }
        refuse(&broken);
    }

    #[test]
    fn sql_text_is_made_in_few_places() {
        let mut broken = Vec::new();
        for (path, text) in sources() {
            // A measurement loads rows as raw as can be, and its table's text is its own.
            let may = path == "connectors/sql/src/statement.rs"
                || path.starts_with("xtask/src/bench/")
                || path.starts_with("crates/store/src/sqlite/")
                || path.starts_with("tests/")
                || path.contains("/tests/");
            if !may && text.contains("AssertSqlSafe") {
                broken.push(format!("{path} calls SQL text safe; only connectors/sql/src/statement.rs may"));
            }
        }
        refuse(&broken);
    }
}
