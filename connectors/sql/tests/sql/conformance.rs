//! The connector keeps the contract, by the kit that proves it of any connector.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_conformance::{Options, Report, Subject, run};
use muster_connector::{Connector, ConnectorKind as _, Description, Error};
use muster_connector_sql::SqlKind;

use serde_json::json;

use crate::world::World;

struct Database {
    world: World,
    ledger: bool,
}

#[async_trait]
impl Subject for Database {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        Ok(self.world.connect_with(json!({ "ledger": self.ledger })).0)
    }

    fn description(&self) -> Option<Description> {
        Some(SqlKind.describe())
    }
}

fn options(many: usize) -> Options {
    Options {
        types: ["app_user", "badge", "person", "visit"].map(str::to_owned).into(),

        exceptions: vec![(
            "faults.natural_create".to_owned(),
            "app_user".to_owned(),
            "a repeated create of a row whose key the database assigns is answered as not unique; there is one row"
                .to_owned(),
        )],
        many,
        patience: Duration::from_mins(5),
        ..Options::default()
    }
}

async fn the_contract_is_kept(world: World, many: usize) -> Report {
    let report = run(&Database { world, ledger: false }, &options(many)).await;
    assert!(report.passed(), "{report}");
    report
}

async fn the_contract_is_kept_with_a_ledger(world: World, only: &[&str]) {
    let database = Database { world, ledger: true };
    for statement in database.start().await.unwrap().schema().await.unwrap().setup {
        database.world.run(&statement).await;
    }
    let only = only.iter().map(|&start| start.to_owned()).collect();
    let report = run(&database, &Options { only, ..options(300) }).await;
    assert!(report.passed(), "{report}");
    assert!(report.results.iter().any(|one| one.id == "faults.ledger_tells"));
}

mod postgres {
    use crate::world::World;

    #[tokio::test]
    async fn the_contract_is_kept() {
        super::the_contract_is_kept(World::postgres().await, 300).await;
    }

    #[tokio::test]
    async fn what_the_ledger_promises_is_kept() {
        super::the_contract_is_kept_with_a_ledger(World::postgres().await, &["faults.", "order."]).await;
    }
}

mod mariadb {
    use crate::world::World;

    #[tokio::test]
    async fn the_contract_is_kept() {
        super::the_contract_is_kept(World::mariadb().await, 300).await;
    }

    #[tokio::test]
    async fn what_the_ledger_promises_is_kept() {
        super::the_contract_is_kept_with_a_ledger(World::mariadb().await, &["faults.", "order."]).await;
    }
}

mod sqlite {
    use muster_conformance::{CheckResult, Status};

    use crate::world::World;

    #[tokio::test]
    async fn the_contract_is_kept() {
        // More than one page.
        let report = super::the_contract_is_kept(World::sqlite().await, 5_100).await;
        let paged = |one: &CheckResult| one.id == "reading.paging_delete" && one.status == Status::Passed;
        assert!(report.results.iter().any(paged), "{report}");
    }

    #[tokio::test]
    async fn the_contract_is_kept_with_a_ledger() {
        super::the_contract_is_kept_with_a_ledger(World::sqlite().await, &[]).await;
    }
}
