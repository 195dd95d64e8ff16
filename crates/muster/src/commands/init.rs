//! `muster init`: a configuration to start from, from a few answers and what the database holds.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use muster_connector::{ConnectorSettings, SecretString};
use muster_model::ObjectType;
use serde_json::json;

use crate::cli::InitArguments;
use crate::exit::Failure;
use crate::proposal::Proposal;
use crate::{connectors, output, world};

/// What was answered.
struct Answers {
    tenant: String,
    client_id: String,
    /// The reference to the client secret, as TOML.
    secret: String,
    /// The database's address, or the reference to it, as TOML.
    url: String,
    /// The same as the connector takes it, where it can be had now.
    address: Option<(serde_json::Value, Option<String>)>,
    table: String,
}

pub(crate) async fn run(config: &Path, arguments: &InitArguments) -> Result<(), Failure> {
    if config.exists() {
        let problem = format!("{} exists, and is not replaced; name another file with -c", config.display());
        return Err(Failure::configuration(problem));
    }
    let folder = config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let answers = answers(arguments, &folder)?;
    let discovered = discover(&answers, &folder).await;
    let proposal = match &discovered {
        Ok(table) => Proposal::from_table(table),
        Err(_) => Proposal::without_table(),
    };
    write(config, &text(&answers, &proposal))?;
    // What is wrong with it would be our mistake, and is better said here than later.
    world::settings(config)?;
    output::line(format!("{} is written", config.display()));
    match discovered {
        Ok(_) => {
            for line in proposal.summary() {
                output::line(format!("  {line}"));
            }
        }
        Err(problem) => output::line(format!(
            "  the database could not be asked ({problem}), so the mapping is an example: adapt it to your columns"
        )),
    }
    output::line("next: read it, then `muster check`, then `muster plan staff`");
    Ok(())
}

fn answers(arguments: &InitArguments, folder: &Path) -> Result<Answers, Failure> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let tenant = answer(arguments.tenant.clone(), "Entra tenant (id or domain)", "--tenant", None)?;
    let client_id = answer(arguments.client_id.clone(), "Application (client) id", "--client-id", None)?;
    let secret = match (&arguments.secret_env, &arguments.secret_file) {
        (Some(name), _) => format!("{{ env = {} }}", quoted(name)),
        (None, Some(file)) => format!("{{ file = {} }}", quoted(&text(file))),
        (None, None) => {
            let name =
                answer(None, "Environment variable with the client secret", "--secret-env", Some("ENTRA_SECRET"))?;
            format!("{{ env = {} }}", quoted(&name))
        }
    };
    let database = match (&arguments.database_url_file, &arguments.database_url) {
        (Some(file), _) => text(file),
        (None, Some(url)) => url.clone(),
        (None, None) => answer(
            None,
            "Database: a file that holds its address, or an address without password such as sqlite:app.db",
            "--database-url-file",
            Some("database.url"),
        )?,
    };
    let is_address =
        arguments.database_url_file.is_none() && (database.contains("://") || database.starts_with("sqlite:"));
    let (url, address) = if is_address {
        (quoted(&database), Some((json!(database), None)))
    } else {
        // A file that is not there yet is no fault: it may be written later.
        let held = std::fs::read_to_string(folder.join(&database)).ok().map(|held| held.trim().to_owned());
        let address = held.map(|held| (json!({ "file": database }), Some(held)));
        (format!("{{ file = {} }}", quoted(&database)), address)
    };
    let table = answer(arguments.table.clone(), "Table of the users", "--table", Some("app_user"))?;
    Ok(Answers { tenant, client_id, secret, url, address, table })
}

/// What was given, or else answered.
fn answer(given: Option<String>, question: &str, flag: &str, default: Option<&str>) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    let hint = default.map(|default| format!(" [{default}]")).unwrap_or_default();
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "{question}{hint}: ").and_then(|()| terminal.flush()).ok();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::unexpected(format!("the answer cannot be read: {error}")))?;
    match (line.trim(), default) {
        ("", Some(default)) => Ok(default.to_owned()),
        ("", None) => Err(Failure::configuration(format!("an answer is needed here; {flag} gives it without asking"))),
        (answer, _) => Ok(answer.to_owned()),
    }
}

async fn discover(answers: &Answers, folder: &Path) -> Result<ObjectType, String> {
    let Some((url, held)) = &answers.address else { return Err("there is no such file yet".to_owned()) };
    let kinds = connectors::all();
    let kind = kinds.iter().find(|kind| kind.describe().kind == "sql").ok_or("there is no SQL connector")?;
    let mut secrets = BTreeMap::new();
    if let Some(held) = held {
        secrets.insert("url".to_owned(), SecretString::from(held.clone()));
    }
    let given = ConnectorSettings {
        connection: "app".to_owned(),
        values: json!({ "url": url, "types": { "user": { "table": answers.table } } }),
        secrets,
        base_folder: folder.to_owned(),
    };
    let connector = kind.connect(given).map_err(|error| error.to_string())?;
    let schema = connector.schema().await.map_err(|error| error.to_string())?;
    schema.object_type("user").cloned().ok_or_else(|| format!("it has no table {:?}", answers.table))
}

fn write(config: &Path, text: &str) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::unexpected(format!("{} cannot be written: {error}", config.display()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(config).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// A TOML string, whatever it holds: JSON's escapes are among TOML's.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}

fn text(answers: &Answers, proposal: &Proposal) -> String {
    let Answers { tenant, client_id, secret, url, table, .. } = answers;
    let enabled = match &proposal.enabled {
        Some(column) => format!("# False for people who may not sign in.\nenabled = {}\n", quoted(column)),
        None => "# The column that is false for people who may not sign in.\n#enabled = \"is_active\"\n".to_owned(),
    };
    let removal = if proposal.enabled.is_some() {
        "# Who leaves is disabled, and deleted 30 days after being gone for good.\n#[syncs.staff.removal]\n#grace = \"30d\"\n"
    } else {
        "# The table has no column known to disable people, so who leaves stays as is. Choose \"delete\" where rows may go.\n\
         [syncs.staff.removal]\nsoft = \"keep\"\nhard = \"keep\"\ndisabled = \"keep\"\n"
    };
    let mut text = format!(
        "# Written by `muster init`. `muster check` says what is wrong, with file and line; docs/configuration.md explains\n\
         # every setting.\n\n\
         [connections.entra]\nconnector = \"entra\"\ntenant = {}\nclient_id = {}\n\
         # Where the secret is found; it never stands here.\nclient_secret = {secret}\n\n\
         [connections.app]\nconnector = \"sql\"\nurl = {url}\n\n\
         [connections.app.types.user]\ntable = {}\n{enabled}\n\
         [syncs.staff]\nfrom = \"entra:user\"\nto = \"app:user\"\n\
         # How often `muster run` runs it.\nevery = \"5m\"\n",
        quoted(tenant),
        quoted(client_id),
        quoted(table)
    );
    text.push_str("# Rows that are there already are recognised by this, and taken over instead of made twice.\n");
    match &proposal.matching {
        Some((attribute, column)) => {
            text.push_str(&format!("match = [{{ source = \"[{attribute}]\", target = {} }}]\n", quoted(column)));
        }
        None => text.push_str("#match = [{ source = \"[employeeId]\", target = \"employee_no\" }]\n"),
    }
    text.push_str("\n[syncs.staff.map]\n");
    for line in proposal.lines() {
        text.push_str(&line);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(removal);
    text
}

/// A TOML key.
pub(crate) fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
    if is_bare { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_answered_becomes_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("muster.toml");
        let odd = "a\"b\\c\u{7f}\u{1}é";
        let answers = Answers {
            tenant: odd.to_owned(),
            client_id: odd.to_owned(),
            secret: format!("{{ env = {} }}", quoted("SECRET")),
            url: quoted("sqlite:app.db"),
            address: None,
            table: odd.to_owned(),
        };
        write(&config, &text(&answers, &Proposal::without_table())).unwrap();
        let settings = world::settings_of_files(&config).map_err(Failure::into_message).unwrap();
        assert_eq!(settings.connections["entra"].section["tenant"], odd);
        assert_eq!(settings.connections["app"].section["types"]["user"]["table"], odd);
        assert_eq!(key("a b"), "\"a b\"");
        assert!(write(&config, "").is_err());
    }
}
