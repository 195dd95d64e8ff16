//! Users and groups as pages of changes.
//!
//! Sources: <https://learn.microsoft.com/graph/delta-query-overview>,
//! <https://learn.microsoft.com/graph/api/user-delta>, <https://learn.microsoft.com/graph/api/group-delta>.

use async_trait::async_trait;
use muster_connector::{
    ChangePage, Cursor, Error, Expired, Next, Position, ReadPage, ReadRequest, Source, SourceObject, Watermark,
};
use muster_model::Key;

use crate::batch;
use crate::connector::Entra;
use crate::decode::{self, Page};
use crate::error::{Failure, Refusal};
use crate::http::Answer;
use crate::layout::{Layout, collection};
use crate::schema::APPLICATION;
use crate::session::{Ask, Doubt};

#[async_trait]
impl Source for Entra {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        if &*request.object_type == APPLICATION {
            return self.read_applications(request, cursor).await;
        }
        Err(Error::Unsupported("a separate full read (a round of changes without a watermark is one)".to_owned()))
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        if &*request.object_type == APPLICATION {
            return Err(Error::Unsupported("changes of applications, which are read in full".to_owned()));
        }
        let layout = Layout::new(request, &self.extensions)?;
        let url = match position {
            Position::Start(None) => {
                let path = format!("{}/delta", collection(&request.object_type)?);
                self.session.endpoints.graph(&path, Some(&format!("$select={}", layout.select)))
            }
            Position::Start(Some(watermark)) => match self.session.endpoints.leads_here(&watermark.0) {
                true => self.session.endpoints.follow(&watermark.0)?,
                false => return Err(self.session.endpoints.moved(&watermark.0)),
            },
            // Links of running rounds were examined when they came, so this one was kept by an earlier run.
            Position::Page(cursor) => match self.session.endpoints.leads_here(&cursor.0) {
                true => self.session.endpoints.follow(&cursor.0)?,
                false => return Err(Error::Expired { expired: Expired::Cursor }),
            },
        };
        let accept = |answer: &Answer| self.accept(answer, &layout, position);
        match self.session.ask(&Ask::Get(url), accept).await {
            Ok(((entries, next), source_time)) => Ok(ChangePage { entries, next, source_time }),
            Err(Failure::Host(error)) => Err(error),
            Err(Failure::Refused(refusal)) => Err(match expired(&refusal, position) {
                Some(expired) => Error::Expired { expired },
                None => self.explain(&refusal, request, position == &Position::Start(None)).await,
            }),
        }
    }

    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        if &*request.object_type == APPLICATION {
            return Err(Error::Unsupported("single applications, which are read in full".to_owned()));
        }
        let layout = Layout::new(request, &self.extensions)?;
        match batch::get(&self.session, &layout, collection(&request.object_type)?, keys).await {
            Ok(objects) => Ok(objects),
            Err(Failure::Host(error)) => Err(error),
            Err(Failure::Refused(refusal)) => Err(self.explain(&refusal, request, true).await),
        }
    }
}

impl Entra {
    /// Takes a page only if it is whole and says how to go on.
    fn accept(
        &self,
        answer: &Answer,
        layout: &Layout,
        position: &Position,
    ) -> Result<(Vec<muster_connector::Entry>, Next), Doubt> {
        let page = decode::page(&answer.body, layout).map_err(|error| {
            // The parser's message names a place, never a value.
            Doubt::Again(format!("Microsoft Graph sent a page that is no delta page: {error}"))
        })?;
        let Page { entries, next_link, delta_link } = page;
        // With both, going on with the round loses nothing.
        let next = match (next_link, delta_link) {
            (Some(next), _) => {
                let again = matches!(position, Position::Page(cursor) if cursor.0 == next.as_bytes());
                if again {
                    return Err(Doubt::Again("Microsoft Graph names the same page as the next one".to_owned()));
                }
                self.session.endpoints.follow(next.as_bytes()).map_err(Doubt::Stop)?;
                Next::Page(Cursor(next.into_bytes()))
            }
            (None, Some(delta)) => {
                self.session.endpoints.follow(delta.as_bytes()).map_err(Doubt::Stop)?;
                Next::Done(Watermark(delta.into_bytes()))
            }
            (None, None) => {
                let problem = "Microsoft Graph sent a page that leads nowhere (neither nextLink nor deltaLink)";
                return Err(Doubt::Again(problem.to_owned()));
            }
        };
        Ok((entries, next))
    }
}

/// Whether a refusal means that the position is no longer honoured.
///
/// Documented are 410 and "40X" with `syncStateNotFound`; in the wild Graph also answers 400
/// `Request_UnsupportedQuery` with a text about the DeltaLink's age, and 400 `Directory_ExpiredPageToken`.
/// Every other 400 is a mistake that must be seen.
fn expired(refusal: &Refusal, position: &Position) -> Option<Expired> {
    let expired = match refusal.status {
        410 => true,
        400 | 404 => {
            refusal.has_code(&["syncStateNotFound", "resyncRequired", "Directory_ExpiredPageToken"])
                || (refusal.status == 400
                    && refusal.has_code(&["Request_UnsupportedQuery"])
                    && refusal.message.to_ascii_lowercase().contains("deltalink"))
        }
        _ => false,
    };
    match position {
        // Nothing was handed in that could be too old.
        Position::Start(None) => None,
        Position::Page(_) if expired && refusal.has_code(&["Directory_ExpiredPageToken"]) => Some(Expired::Cursor),
        Position::Page(_) | Position::Start(Some(_)) => expired.then_some(Expired::Watermark),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_expiry_and_nothing_else() {
        let watermark = || Position::Start(Some(Watermark(Vec::new())));
        let page = || Position::Page(Cursor(Vec::new()));
        let cases = [
            (410, "", "", watermark(), Some(Expired::Watermark)),
            (410, "resyncRequired", "", page(), Some(Expired::Watermark)),
            (410, "somethingNew", "", watermark(), Some(Expired::Watermark)),
            (400, "syncStateNotFound", "", watermark(), Some(Expired::Watermark)),
            (400, "SyncStateNotFound", "", watermark(), Some(Expired::Watermark)),
            (404, "SYNCSTATENOTFOUND", "", watermark(), Some(Expired::Watermark)),
            (400, "resyncRequired", "", watermark(), Some(Expired::Watermark)),
            (400, "Directory_ExpiredPageToken", "", page(), Some(Expired::Cursor)),
            (400, "_Directory_ExpiredPageToken", "", page(), Some(Expired::Cursor)),
            (400, "Directory_ExpiredPageToken", "", watermark(), Some(Expired::Watermark)),
            (
                400,
                "Request_UnsupportedQuery",
                "DeltaLink older than 30 days is not supported.",
                watermark(),
                Some(Expired::Watermark),
            ),
            (400, "Request_UnsupportedQuery", "Unsupported filter.", watermark(), None),
            (400, "Request_BadRequest", "DeltaLink", watermark(), None),
            (400, "BadRequest", "", page(), None),
            (404, "Request_ResourceNotFound", "", watermark(), None),
            (403, "syncStateNotFound", "", watermark(), None),
            (410, "syncStateNotFound", "", Position::Start(None), None),
        ];
        for (status, code, message, position, wanted) in cases {
            let refusal =
                Refusal { status, code: code.into(), message: message.into(), target: None, request_id: None };
            assert_eq!(expired(&refusal, &position), wanted, "{status} {code} {position:?}");
        }
    }
}
