//! SQL databases as targets: the tables an application already has, discovered and filled set by set.
//!
//! Start reading at [`connector::SqlKind`]. Every statement is built in [`statement`] from quoted names; values
//! travel through a staging table and never become SQL text (but for what the configuration says of a table's rows, in
//! [`belonging`]). What differs between engines stands behind
//! [`database::Database`]: one file for each engine.

pub mod config;
pub mod connector;
pub mod script;

mod apply;
mod belonging;
mod catalog;
mod connecting;
mod create;
mod database;
mod direct;
mod enabling;
mod error;
mod find;
mod follow;
mod identity;
mod ledger;
mod list;
mod marks;
mod mysql;
mod own;
mod own_writing;
mod paging;
mod postgres;
mod preview;
mod reading;
mod rehearse;
mod relations;
mod schema;
mod source;
mod source_check;
mod sqlite;
mod sqlserver;
mod staging;
mod statement;
mod target;
mod text;
mod values;

pub use connector::SqlKind;
