//! The connector against real databases. Every scenario is written once and runs on PostgreSQL, MariaDB and SQLite, and
//! on SQL Server where the environment names one (see [`sqlserver_kit`]); what the databases hold is asked by other means
//! than the connector's own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail")]

mod belonging;
mod certificates;
mod checks;
mod conformance;
mod creates;
mod discovery;
mod enabling;
mod faults;
mod finds;
mod identities;
mod large;
mod ledger;
mod mariadb;
mod names;
mod own;
mod previews;
mod reading;
mod refusals;
mod relations;
mod secrets;
mod sqlserver;
mod sqlserver_kit;
mod updates;
mod values;
mod world;

/// Runs scenarios of the module on each database.
macro_rules! on_each {
    ($($scenario:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test] async fn $scenario() { super::$scenario(crate::world::World::postgres().await).await; })*
        }
        mod mariadb {
            $(#[tokio::test] async fn $scenario() { super::$scenario(crate::world::World::mariadb().await).await; })*
        }
        mod sqlserver {
            $(
                #[tokio::test]
                #[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one; then sqlserver::scenarios_run_where_a_server_is_named runs this"]
                async fn $scenario() { super::$scenario(crate::world::World::sqlserver().await).await; }
            )*
        }
        mod sqlite {
            $(#[tokio::test] async fn $scenario() { super::$scenario(crate::world::World::sqlite().await).await; })*
        }
    };
}
pub(crate) use on_each;
