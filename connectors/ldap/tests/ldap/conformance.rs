//! The connector keeps the contract, by the kit that proves it of any connector.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_conformance::{Options, Subject, run};
use muster_connector::{Connector, ConnectorKind as _, Description, Error};
use muster_connector_ldap::LdapKind;
use muster_model::Value;

use crate::world::World;

#[async_trait]
impl Subject for World {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        Ok(self.connect().0)
    }

    fn description(&self) -> Option<Description> {
        Some(LdapKind.describe())
    }
}

/// The same with changes by this way.
struct ChangesBy(&'static str, World);

#[async_trait]
impl Subject for ChangesBy {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        Ok(self.1.connect_with(&serde_json::json!({ "changes": self.0 })).0)
    }
}

async fn the_contract_is_kept(world: World) {
    let options = options(&world);
    let report = run(&world, &options).await;
    assert!(report.passed(), "{report}");
}

fn options(world: &World) -> Options {
    let login = if world.is_samba() { "sAMAccountName" } else { "uid" };
    let attributes = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    Options {
        types: attributes(&["user", "group"]),
        attributes: [
            ("user".to_owned(), attributes(&["cn", "sn", "mail", "title", "manager", "enabled", "container", login])),
            ("group".to_owned(), attributes(&["cn", "description", "member", "container"])),
        ]
        .into(),
        samples: [("user.container", world.people()), ("group.container", world.groups())]
            .map(|(name, place)| (name.to_owned(), vec![Value::text(&place)]))
            .into(),
        many: 300,
        patience: Duration::from_mins(4),
        ..Options::default()
    }
}

#[tokio::test]
async fn the_contract_is_kept_by_slapd_with_synchronisation() {
    the_contract_is_kept_with("sync", World::slapd()).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_ds389_with_synchronisation() {
    the_contract_is_kept_with("sync", World::ds389()).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_slapd_with_its_log() {
    the_contract_is_kept_with("accesslog", World::slapd_logging()).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_ds389_with_its_log() {
    the_contract_is_kept_with("changelog", World::ds389()).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_samba_with_dirsync() {
    the_contract_is_kept_with("dirsync", World::samba()).await;
}

async fn the_contract_is_kept_with(changes: &'static str, world: World) {
    let options = options(&world);
    let report = run(&ChangesBy(changes, world), &options).await;
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn the_contract_is_kept_by_slapd() {
    the_contract_is_kept(World::slapd()).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_samba() {
    the_contract_is_kept(World::samba()).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_ds389() {
    the_contract_is_kept(World::ds389()).await;
}
