//! A system changed through the connector's own target side, where the subject offers no other way.

use async_trait::async_trait;
use muster_connector::{Kind, Outcome};
use muster_model::{Key, Slot};

use crate::bench::{Bench, Stop};
use crate::subject::World;

pub(crate) struct ByTarget<'a>(pub(crate) &'a Bench<'a>);

impl ByTarget<'_> {
    async fn sent(&self, kind: Kind, key: Option<Key>, values: &[(String, Slot)]) -> Result<Outcome, String> {
        let named: Vec<(&str, Slot)> = values.iter().map(|(name, slot)| (name.as_str(), slot.clone())).collect();
        let row = if kind == Kind::Delete { muster_model::Row::default() } else { self.0.row(&named) };
        let operation = match kind {
            Kind::Create => self.0.create_operation(row),
            kind => self.0.operation(kind, key, row),
        };
        self.0.one(operation).await.map_err(|stop| match stop {
            Stop::Failed(why) | Stop::Skipped(why) => why,
        })
    }
}

#[async_trait]
impl World for ByTarget<'_> {
    async fn insert(&self, _: &str, values: &[(String, Slot)]) -> Result<Key, String> {
        let key = self.0.key_of_values(values);
        match self.sent(Kind::Create, None, values).await? {
            Outcome::Applied(effect) => effect.key.or(key).ok_or_else(|| "the create brought no key".to_owned()),
            other => Err(format!("the create is answered {other:?}")),
        }
    }

    async fn insert_all(&self, _: &str, objects: &[Vec<(String, Slot)>]) -> Result<Vec<Key>, String> {
        let row = |values: &Vec<(String, Slot)>| {
            let named: Vec<(&str, Slot)> = values.iter().map(|(name, slot)| (name.as_str(), slot.clone())).collect();
            self.0.row(&named)
        };
        self.0.create_all(objects.iter().map(row).collect()).await.map_err(|stop| match stop {
            Stop::Failed(why) | Stop::Skipped(why) => why,
        })
    }

    async fn change(&self, _: &str, key: &Key, values: &[(String, Slot)]) -> Result<(), String> {
        match self.sent(Kind::Update, Some(key.clone()), values).await? {
            Outcome::Applied(_) | Outcome::AlreadySo(_) => Ok(()),
            other => Err(format!("the update is answered {other:?}")),
        }
    }

    async fn remove(&self, _: &str, key: &Key) -> Result<(), String> {
        match self.sent(Kind::Delete, Some(key.clone()), &[]).await? {
            Outcome::Applied(_) | Outcome::AlreadySo(_) => Ok(()),
            other => Err(format!("the delete is answered {other:?}")),
        }
    }
}
