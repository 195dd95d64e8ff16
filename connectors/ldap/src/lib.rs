//! The LDAP connector: entries of a directory as source and target objects.
//!
//! `protocol` is LDAP on the wire, `session` carries it to servers, `directory` is what a server says of itself.
//! `config` holds the settings, of which and of the directory's schema `entries` makes the object types; `rows` turns
//! entries into rows, `find` looks them up, `source` reads them all
//! and `changes` what changed; `apply` writes batches (`create`, `change`), `enabling` knows how each
//! directory disables, `refusal` what its refusals mean, `ldif` shows what would be written, `check` examines all
//! that.

mod apply;
mod change;
mod changes;
mod check;
mod config;
mod connector;
mod create;
mod directory;
mod enabling;
mod entries;
mod find;
mod ldif;
mod list;
mod protocol;
mod refusal;
mod rows;
#[cfg(test)]
mod scripted;
mod session;
mod source;
mod target;

pub use config::LdapSettings;
pub use connector::LdapKind;
