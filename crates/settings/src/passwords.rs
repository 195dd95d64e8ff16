//! The first password of new objects, as it is written.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::place::child;
use crate::syncs::Reader;
use crate::tree::Node;

/// How many characters a password has where nothing is said.
const DEFAULT_LENGTH: u32 = 20;

/// The first password of new objects: made when one is created, written to the target once, and kept nowhere. It is
/// never read, compared or changed afterwards.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "Password", deny_unknown_fields)]
pub(crate) struct PasswordForm {
    /// The target attribute that it is written to. No mapping or match may use it.
    #[schemars(length(min = 1))]
    attribute: String,
    /// How many characters it has: 12 to 72, 20 by default.
    #[schemars(range(min = 12, max = 72))]
    length: Option<u32>,
    /// Whether it has symbols, besides small and capital letters and digits. True by default.
    symbols: Option<bool>,
    /// What is written of it: the password itself (`"none"`, by default, for systems that hash it themselves), or its
    /// `"bcrypt"` or `"argon2id"` hash, for applications that keep hashes in their tables.
    hash: Option<PasswordHash>,
    /// Who gets to know it. Without it nobody does: people use the application's "forgotten password", or sign in
    /// otherwise.
    receiver: Option<ReceiverForm>,
}

/// What is written of a password.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PasswordHash {
    /// The password itself.
    #[default]
    None,
    /// Its bcrypt hash.
    Bcrypt,
    /// Its Argon2id hash.
    Argon2id,
}

/// Who gets to know new passwords: `file` or `command`. Either gets a line of JSON for each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "PasswordReceiver", deny_unknown_fields)]
struct ReceiverForm {
    /// A file that lines are added to. It is made if there is none, and only its owner may read it.
    #[schemars(length(min = 1))]
    file: Option<String>,
    /// A program and its arguments, which reads the lines on its standard input, such as
    /// `["/usr/local/bin/send-password", "--once"]`.
    #[schemars(length(min = 1))]
    command: Option<Vec<String>>,
}

/// Who gets to know new passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordReceiver {
    /// A file, which only its owner may read.
    File(PathBuf),
    /// A program with its arguments.
    Command(Vec<String>),
}

/// The first password of new objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordSettings {
    /// The target attribute.
    pub attribute: String,
    /// How many characters it has.
    pub length: u32,
    /// Whether it has symbols.
    pub symbols: bool,
    /// What is written of it.
    pub hash: PasswordHash,
    /// Who gets to know it.
    pub receiver: Option<PasswordReceiver>,
}

impl PasswordSettings {
    /// Relative files start in the configuration's folder.
    pub(crate) fn start_in(&mut self, folder: &Path) {
        if let Some(PasswordReceiver::File(file)) = &mut self.receiver {
            *file = folder.join(&file);
        }
    }
}

impl Reader<'_> {
    pub(crate) fn password(&mut self) -> Option<PasswordSettings> {
        let outer = self.table;
        let node: &Node = outer.get("password")?;
        let path = child(&self.path, "password");
        let form: PasswordForm = self.parse(node, &path)?;
        let receiver = form.receiver.and_then(|form| match (form.file, form.command) {
            (Some(file), None) => Some(PasswordReceiver::File(PathBuf::from(file))),
            (None, Some(command)) => Some(PasswordReceiver::Command(command)),
            (file, _) => {
                let problem = match file {
                    Some(_) => "a file and a program are named, and only one of them can have the passwords",
                    None => "neither a file nor a program is named",
                };
                let fix = "write { file = \"PATH\" } or { command = [\"PROGRAM\"] }";
                self.add(&node.place, &child(&path, "receiver"), problem, fix);
                None
            }
        });
        Some(PasswordSettings {
            attribute: form.attribute,
            length: form.length.unwrap_or(DEFAULT_LENGTH),
            symbols: form.symbols.unwrap_or(true),
            hash: form.hash.unwrap_or_default(),
            receiver,
        })
    }
}
