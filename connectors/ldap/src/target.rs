//! The target side of the contract.

use async_trait::async_trait;
use muster_connector::{
    Batch, Cursor, Error, FoundObject, FoundPage, Kind, Operation, OperationId, Outcome, ReadRequest, Target,
};
use muster_model::{Key, Value};

use crate::apply::Context;
use crate::connector::LdapConnector;
use crate::ldif;
use crate::protocol::request::Request;
use crate::rows::wanted;

#[async_trait]
impl Target for LdapConnector {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let found = self.entries_of(&known, of, keys, &wanted(of, &request.attributes)?).await?;
        let (found, entries): (Vec<Key>, Vec<_>) = found.into_iter().unzip();
        let objects = self.objects(&known, of, &request.attributes, entries).await?;
        let objects: std::collections::HashMap<Key, FoundObject> = found.into_iter().zip(objects).collect();
        Ok(keys.iter().map(|key| objects.get(key).cloned()).collect())
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        self.find_objects(request, by, values).await
    }

    async fn holds(&self, request: &ReadRequest, attribute: &str, pairs: &[(Key, Value)]) -> Result<Vec<bool>, Error> {
        self.compare_all(request, attribute, pairs).await
    }

    async fn list(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        self.list_page(request, cursor).await
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        let known = self.known().await?;
        let context = self.prepare(&known, batch).await?;
        Ok(batch.operations.iter().map(|operation| self.shown(&context, operation)).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        self.write(batch).await
    }
}

impl LdapConnector {
    /// An operation as LDIF.
    fn shown(&self, context: &Context<'_>, operation: &Operation) -> String {
        let entry = operation.key.as_ref().and_then(|key| context.entries.get(key));
        let requests = match (&operation.kind, entry) {
            (Kind::Create, _) => context.new_entry(operation).map(|new| {
                let then = new
                    .password
                    .as_ref()
                    .map(|(_, password)| Request::SetPassword { dn: new.dn.to_string(), password: password.clone() });
                std::iter::once(new.request()).chain(then).collect()
            }),
            (_, None) => return "# there is no such entry\n".to_owned(),
            (Kind::Delete, Some(entry)) => Ok(vec![Request::Delete { dn: entry.dn.clone() }]),
            (Kind::Update, Some(entry)) => context.changes(operation, entry).map(|changes| changes.requests(&entry.dn)),
            (Kind::Rename { .. } | Kind::Put, Some(_)) => Ok(Vec::new()),
        };
        match requests {
            Ok(requests) => ldif::shown(&requests),
            Err(Outcome::Rejected { message, .. }) => format!("# not sent: {message}\n"),
            Err(Outcome::WaitsFor { attribute }) => format!("# waits for the entry that {attribute} names\n"),
            Err(_) => String::new(),
        }
    }
}
