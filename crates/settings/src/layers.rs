//! The files of the configuration, one over the other.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document;
use crate::place::{Place, Problem};
use crate::tree::Table;

/// The largest file that is taken for a configuration.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The folder beside the configuration file whose files are put over it.
const FOLDER: &str = "conf.d";

/// The merged files.
pub(crate) struct Layers {
    pub(crate) root: Table,
    /// All files, in the order in which they were merged.
    pub(crate) files: Vec<Arc<Path>>,
}

/// Reads `path`, then `conf.d/*.toml` beside it in the order of their names.
pub(crate) fn read(path: &Path, problems: &mut Vec<Problem>) -> Layers {
    let mut paths = vec![path.to_owned()];
    match further_files(path) {
        Ok(further) => paths.extend(further),
        Err(problem) => problems.push(problem),
    }
    let files: Vec<Arc<Path>> = paths.into_iter().map(Arc::from).collect();
    let mut root = Table::default();
    for file in &files {
        match read_file(file).and_then(|text| document::parse(file, &text)) {
            Ok(layer) => root.merge(layer),
            Err(problem) => problems.push(problem),
        }
    }
    Layers { root, files }
}

fn further_files(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let folder = path.parent().unwrap_or(Path::new("")).join(FOLDER);
    let unreadable = |error: &std::io::Error| {
        let problem = format!("the folder cannot be read ({})", error.kind());
        Problem::new(&Place::File(Arc::from(folder.as_path())), "", problem, "let the user that runs muster read it")
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&error))?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(file: &Arc<Path>) -> Result<String, Problem> {
    let fail = |problem: String, fix: &str| Problem::new(&Place::File(Arc::clone(file)), "", problem, fix);
    let cannot = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => fail(
            "there is no such file".to_owned(),
            "`muster init` writes one; one that stands elsewhere is named with -c FILE",
        ),
        kind => fail(format!("the file cannot be read ({kind})"), "give the path of a readable file"),
    };
    let opened = std::fs::File::open(file).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(fail("the file is larger than 4 MiB".to_owned(), "give the path of a configuration file"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
        let column = String::from_utf8_lossy(valid.get(start..).unwrap_or_default()).chars().count() + 1;
        let place = Place::Line { file: Arc::clone(file), line, column };
        Problem::new(&place, "", "the file is not UTF-8 text", "save it as UTF-8")
    })
}
