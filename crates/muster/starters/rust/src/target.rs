//! Writing.

use async_trait::async_trait;
use muster_connector::{
    Batch, Effect, Error, FoundObject, Kind, Operation, OperationId, Outcome, ReadRequest, RetryScope, Target,
};
use muster_model::{Key, Slot, Value};
use reqwest::{Method, Url};
use serde_json::{Map, Value as Json};

use crate::People;
use crate::schema::{id, json, key, row};
use crate::service::Answer;

#[async_trait]
impl Target for People {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            objects.push(self.person(key).await?.and_then(|person| found(&person, request)));
        }
        Ok(objects)
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        let mut results = Vec::with_capacity(values.len());
        for wanted in values {
            let texts = wanted.iter().map(|value| match json(value) {
                Json::String(text) => text,
                other => other.to_string(),
            });
            // Only for its way with what may stand in a query.
            let mut query = Url::parse("http://service").map_err(|error| Error::Bug(error.to_string()))?;
            query.query_pairs_mut().append_pair("limit", "2").extend_pairs(by.iter().zip(texts));
            let people = self.service.people(query.query().unwrap_or_default()).await?;
            results.push(people.iter().filter_map(|person| found(person, request)).collect());
        }
        Ok(results)
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        let told = |operation: &Operation| match asked(operation, &batch.attributes) {
            Some((method, path, body)) => {
                let body = body.map_or_else(String::new, |body| format!(" {body}"));
                format!("{method} {}{path}{body}", self.service.url())
            }
            None => format!("{:?} is not supported", operation.kind),
        };
        Ok(batch.operations.iter().map(told).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let mut outcomes = Vec::with_capacity(batch.operations.len());
        let mut left = batch.operations.iter();
        for operation in left.by_ref() {
            match self.applied(operation, batch).await {
                Ok(outcome) => outcomes.push((operation.id, outcome)),
                Err(error) if outcomes.is_empty() => return Err(error),
                Err(error) => {
                    // It may have taken effect, or not; those after it certainly did not.
                    outcomes.push((operation.id, Outcome::Unknown));
                    let after = std::time::Duration::from_secs(1);
                    let (scope, problem) = (RetryScope::Target, error.to_string());
                    let later = Outcome::Retry { after, scope, problem };
                    outcomes.extend(left.map(|operation| (operation.id, later.clone())));
                    break;
                }
            }
        }
        Ok(outcomes)
    }
}

impl People {
    async fn applied(&self, operation: &Operation, batch: &Batch) -> Result<Outcome, Error> {
        let Some((method, path, body)) = asked(operation, &batch.attributes) else {
            return Ok(Outcome::Unsupported { what: "this kind of change".to_owned() });
        };
        if let Some((position, value)) = &operation.expected {
            // Ids may be given again: the person must still be the one that Muster knows.
            let person = match &operation.key {
                Some(key) => self.person(key).await?,
                None => None,
            };
            let Some(person) = person else { return Ok(Outcome::Missing) };
            if batch.attributes.get(*position).and_then(|name| person.get(name)) != Some(&json(value)) {
                return Ok(Outcome::OtherObject);
            }
        }
        let is_create = operation.kind == Kind::Create;
        Ok(match self.service.ask(method, &path, body.as_ref()).await? {
            Answer::Done(person) => {
                let key = person.get("id").and_then(Json::as_i64).filter(|_| is_create).map(key);
                Outcome::Applied(Effect { key, ..Effect::default() })
            }
            Answer::Missing | Answer::Gone => Outcome::Missing,
            Answer::Taken(holder) if is_create => match holder.get("id").and_then(Json::as_i64) {
                Some(id) => Outcome::Exists { key: key(id) },
                None => taken(),
            },
            Answer::Taken(_) => taken(),
            Answer::Rejected(why) => {
                let text = |name: &str| why.get(name).and_then(Json::as_str).map(str::to_owned);
                Outcome::Rejected {
                    attribute: text("field"),
                    rule: "rejected".to_owned(),
                    message: text("problem").unwrap_or_default(),
                }
            }
        })
    }
}

fn taken() -> Outcome {
    Outcome::Rejected {
        attribute: Some("login".to_owned()),
        rule: "unique".to_owned(),
        message: "somebody has this login".to_owned(),
    }
}

fn found(person: &Json, request: &ReadRequest) -> Option<FoundObject> {
    let key = key(person.get("id")?.as_i64()?);
    Some(FoundObject { key, row: row(person, &request.attributes), version: None })
}

/// Method, path and body of an operation; none for what the schema says that it cannot.
fn asked(operation: &Operation, attributes: &[String]) -> Option<(Method, String, Option<Json>)> {
    let place = || operation.key.as_ref().and_then(id).map(|id| format!("/people/{id}"));
    if !operation.deltas.is_empty() {
        return None;
    }
    match operation.kind {
        Kind::Create => Some((Method::POST, "/people".to_owned(), Some(body(operation, attributes)))),
        Kind::Update => Some((Method::PATCH, place()?, Some(body(operation, attributes)))),
        Kind::Delete => Some((Method::DELETE, place()?, None)),
        Kind::Put | Kind::Rename { .. } => None,
    }
}

/// The known slots; an unknown one is as before.
fn body(operation: &Operation, attributes: &[String]) -> Json {
    let mut given = Map::new();
    for (name, slot) in attributes.iter().zip(&operation.row.0) {
        match slot {
            Slot::Unknown => {}
            Slot::One(value) => drop(given.insert(name.clone(), json(value))),
            _ => drop(given.insert(name.clone(), Json::Null)),
        }
    }
    Json::Object(given)
}
