//! Access tokens: opaque, as Microsoft asks clients to treat them.

use std::collections::HashMap;

use uuid::Uuid;

use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

/// Beyond this, tokens that have expired are forgotten.
const MANY: usize = 10_000;

/// The tokens given out, with the second in which they end.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    ends: HashMap<String, u64>,
}

impl Issued {
    pub(crate) fn issue(&mut self, now: u64, seconds: u64) -> String {
        if self.ends.len() >= MANY {
            self.ends.retain(|_, end| *end > now);
        }
        let token = format!("EwB0A8l6BAAU{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.ends.insert(token.clone(), now.saturating_add(seconds));
        token
    }
}

/// Lets a request with a living token pass.
pub(crate) fn authorize(shared: &Shared, request: &Request) -> Result<(), Refusal> {
    let refused = |message: &str| Err(Refusal::new(401, "InvalidAuthenticationToken", message));
    let Some(header) = request.header("authorization") else { return refused("Access token is empty.") };
    let Some((scheme, token)) = header.split_once(' ') else { return refused("Access token is empty.") };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return refused("Access token is empty.");
    }
    match shared.issued().ends.get(token.trim()) {
        None => refused("CompactToken parsing failed with error code: 80049217"),
        Some(end) if *end <= shared.clock.now() => refused("Lifetime validation failed, the token is expired."),
        Some(_) => Ok(()),
    }
}
