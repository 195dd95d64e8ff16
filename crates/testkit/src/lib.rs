//! Real servers in temporary folders, and proxies with faults between a program and its server.
//!
//! For tests only, and only on Unix: whatever goes wrong here ends the test with a message that says what to do.
//! Nothing outside the temporary folder is touched, no service of the machine is used, and nothing stays behind
//! after a test that passed. Start reading at [`postgres::Postgres`], [`mariadb::MariaDb`],
//! [`ldap::Directory`], [`proxy::Proxy`] (bytes) and [`http_proxy::HttpProxy`] (requests).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a test kit fails by failing the test, and tells the reason on the test's own standard error"
)]

pub mod certificates;
pub mod http_proxy;
pub mod ldap;
pub mod mariadb;
pub mod postgres;
pub mod proxy;

mod folder;
mod process;

pub use certificates::{Authority, Certificate};
pub use http_proxy::{Action, HttpProxy, Rule};
pub use ldap::Directory;
pub use mariadb::MariaDb;
pub use postgres::{NULL, Postgres};
pub use proxy::{Fault, Proxy};
