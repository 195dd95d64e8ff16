//! Servers that keep silent of a referral: 389 names another server for a referral object itself, says of what is below
//! it that there is no such entry, and takes new entries there. Whoever asks goes where the referral object leads.

use crate::protocol::dn::Dn;
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, LdapResult};
use crate::protocol::request::{Depth, Search};
use crate::session::connection::Connection;
use crate::session::directory::Directory;
use crate::session::failure::Failure;
use crate::session::following::Following;
use crate::session::referral::Place;

impl Directory {
    /// Whether a place may be on another server though nothing says so.
    pub(crate) fn keeps_silent(&self) -> bool {
        self.following.as_ref().is_some_and(Following::asks_above)
    }

    /// An answer that there is no such entry, as the referral that it should have been.
    pub(crate) async fn with_referral_above(
        &self,
        following: &Following,
        connection: &Connection,
        mut result: LdapResult,
    ) -> Result<LdapResult, Failure> {
        if result.code != Code::NO_SUCH_OBJECT || result.matched.is_empty() || !following.asks_above() {
            return Ok(result);
        }
        let search = Search {
            base: result.matched.clone(),
            depth: Depth::Base,
            filter: Filter::equals("objectClass", b"referral"),
            attributes: vec!["1.1".to_owned()],
            limit: 0,
        };
        let found = connection.search(search, &[], self.access.timeout).await?;
        if let Some(urls) = found.elsewhere.into_iter().next() {
            result.code = Code::REFERRAL;
            result.referrals = urls.iter().map(|url| server_of(url, following, &result.matched)).collect();
        }
        Ok(result)
    }
}

/// The server that a referral object names, for something below it; all of the URL where names are others there.
fn server_of(url: &str, following: &Following, above: &str) -> String {
    let is_same =
        |dn: &String| Dn::parse(dn).ok().zip(Dn::parse(above).ok()).is_some_and(|(dn, above)| dn.is_same(&above));
    let names_same = Place::parse(url, following.protection).is_ok_and(|place| place.dn.as_ref().is_none_or(is_same));
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(authority..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |at| authority + at);
    if names_same { url.get(..end).unwrap_or(url).to_owned() } else { url.to_owned() }
}
