//! Operations that change or compare an entry, taken to the server that holds it.

use crate::protocol::control::Control;
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, LdapResult};
use crate::protocol::request::{Depth, Request, Search};
use crate::session::connection::Connection;
use crate::session::directory::Directory;
use crate::session::failure::Failure;
use crate::session::following::{Following, Journey, Leg, circle, lost};

impl Directory {
    /// One operation, at the server that answered another one for the same entry: some servers do not refer everything
    /// that they do not hold.
    pub(crate) async fn call_at(
        &self,
        by: Option<&str>,
        request: &Request,
        controls: &[Control],
    ) -> Result<LdapResult, Failure> {
        let (Some(following), Some(by)) = (&self.following, by) else { return self.call(request, controls).await };
        let server = following.servers.lock().await.keys().find(|server| server.to_string() == by).cloned();
        let Some(server) = server else { return self.call(request, controls).await };
        let connection = self.referred(following, &server).await?;
        let answered = connection.call(request, controls, self.access.timeout).await;
        let result = answered.map_err(|problem| lost(&connection, &problem))?;
        let result = LdapResult { by: Some(by.to_owned()), ..result };
        self.forwarded(following, &connection, request, controls, result).await
    }

    /// Takes an operation that changes or compares an entry to the server that holds it.
    pub(super) async fn forwarded(
        &self,
        following: &Following,
        connection: &Connection,
        request: &Request,
        controls: &[Control],
        mut result: LdapResult,
    ) -> Result<LdapResult, Failure> {
        let Some(dn) = request.dn() else { return Ok(result) };
        let search = Search {
            base: dn.to_owned(),
            depth: Depth::Base,
            filter: Filter::anything(),
            attributes: Vec::new(),
            limit: 0,
        };
        let mut journey = Journey::of(connection, &search);
        let mut hops = 0;
        while result.code == Code::REFERRAL {
            hops += 1;
            let leg = Leg { urls: result.referrals, search: search.clone(), hops, is_all: true, replaces: true };
            let Some((_, connection)) = self.reach(following, &mut journey, &leg, false).await? else {
                return Err(circle(&leg.urls, dn));
            };
            let answered = connection.call(request, controls, self.access.timeout).await;
            result = answered.map_err(|problem| lost(&connection, &problem))?;
            result.by = Some(connection.server().to_string());
        }
        Ok(result)
    }
}
