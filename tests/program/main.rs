//! The whole program against real servers and the sandbox tenant: what is typed, what is printed, what the
//! database holds afterwards.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as expected")]

mod applications;
mod authors;
mod circle;
mod demo;
mod directories;
mod example;
mod expression;
mod files;
mod graph_target;
mod groups;
mod guard;
mod host_faults;
mod hr;
mod http_faults;
mod init;
mod kills;
mod ledger;
mod mariadb;
mod messages;
mod operator;
mod oracle;
mod passwords;
mod postgresql;
mod process;
mod running;
mod scope;
mod service;
mod source_faults;
mod support;
mod target_faults;
mod words;
mod write_back;
