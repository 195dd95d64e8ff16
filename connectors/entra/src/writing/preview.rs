//! Operations as the requests that carry them out, for a person.

use muster_connector::{Batch, Error, Outcome};
use serde_json::Value as Json;

use super::body::Body;
use super::draft::{Draft, Request, has_password};
use crate::connector::Entra;

/// Stands for the id that a new object gets.
const NEW: &str = "{id}";

impl Entra {
    pub(crate) async fn preview_requests(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        let drafts = self.drafts(batch).await?;
        let shown = batch.operations.iter().zip(drafts).map(|(operation, draft)| match draft {
            Ok(draft) => {
                let id = operation.key.as_ref().map_or_else(|| NEW.to_owned(), ToString::to_string);
                let of_nobody = !has_password(batch, operation);
                self.shown(&batch.object_type, &id, draft, of_nobody)
            }
            Err(Outcome::Rejected { message, .. }) => Ok(format!("not sent: {message}")),
            Err(Outcome::Unsupported { what }) => Ok(format!("not sent: {what} is not supported")),
            Err(Outcome::WaitsFor { attribute }) => Ok(format!("waits for whom {attribute} refers to")),
            Err(Outcome::Exists { key }) => Ok(format!("not sent: {key} has that name already")),
            Err(Outcome::OtherObject) => Ok("not sent: it lacks the value by which it is known".to_owned()),
            Err(Outcome::Retry { problem, .. }) => Ok(format!("later: {problem}")),
            Err(_) => Ok("not sent: there is no such object".to_owned()),
        });
        shown.collect()
    }

    fn shown(&self, object_type: &str, id: &str, draft: Draft, of_nobody: bool) -> Result<String, Error> {
        let ties = draft.ties.iter().map(|tie| self.tie(object_type, id, tie));
        let requests: Vec<Request> = draft.object.into_iter().chain(ties).collect();
        let mut texts = Vec::with_capacity(requests.len());
        for request in &requests {
            let mut text = format!("{} {}", request.method, request.url);
            if let Some(body) = &request.body {
                let body: Json = body.to_show();
                text.push('\n');
                text.push_str(&serde_json::to_string_pretty(&body).map_err(|error| Error::Bug(error.to_string()))?);
            }
            if of_nobody && request.body.as_ref().is_some_and(Body::has_password) {
                text.push_str("\n(the password is a long random one that nobody learns)");
            }
            texts.push(text);
        }
        Ok(texts.join("\n\n"))
    }
}
