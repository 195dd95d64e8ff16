//! What became of uploaded people, by their tickets and the provisioning log.

use std::collections::HashSet;
use std::time::Duration;

use chrono::TimeDelta;
use muster_connector::{Effect, Error, OperationId, Outcome, Resolution, RetryScope};

use super::Inbound;
use super::entry::{Entry, Verdict};
use super::reader::Reading;
use super::ticket::Ticket;
use crate::connector::Entra;

/// After so long a call whose answer was lost has left its entry, or never arrived.
const SETTLED: TimeDelta = TimeDelta::hours(1);

/// Entra tries what failed by itself again in its next cycle; a record sent again does no harm.
const PASSING: Duration = Duration::from_secs(900);

/// How soon to come back while there are further pages.
const READ_ON: Duration = Duration::from_secs(10);

impl Entra {
    pub(crate) async fn resolve(
        &self,
        inbound: &Inbound,
        accepted: &[(OperationId, String)],
    ) -> Result<Vec<(OperationId, Resolution)>, Error> {
        let tickets: Vec<(OperationId, Option<Ticket>)> = accepted
            .iter()
            .map(|(id, text)| (*id, Ticket::read(text).filter(|ticket| ticket.job == inbound.job)))
            .collect();
        let known = || tickets.iter().filter_map(|(_, ticket)| ticket.as_ref());
        let Some(oldest) = known().map(|ticket| ticket.at).min() else {
            return Ok(tickets.iter().map(|(id, _)| (*id, Resolution::NotRecorded)).collect());
        };
        let people: HashSet<&str> = known().map(|ticket| ticket.external_id.as_str()).collect();
        let reading = self.read_log(inbound, &people, oldest).await?;
        let resolution = |ticket: &Option<Ticket>| match ticket {
            Some(ticket) => inbound.resolution(ticket, &reading),
            // Another job's, or of another version: its log is not this one.
            None => Resolution::NotRecorded,
        };
        Ok(tickets.iter().map(|(id, ticket)| (*id, resolution(ticket))).collect())
    }
}

impl Inbound {
    fn resolution(&self, ticket: &Ticket, reading: &Reading) -> Resolution {
        let age = reading.now - ticket.at;
        let entries = reading.about(&ticket.external_id, ticket.at);
        let entry = match entries.as_slice() {
            // The first may be that of the call whose answer was lost; a second one, or time, tells.
            [only] if ticket.doubt && (!reading.complete || age < SETTLED.min(self.patience())) => {
                tracing::debug!(at = %only.at, "an entry may belong to an earlier upload; waiting for another one");
                None
            }
            [.., last] if ticket.doubt => Some(*last),
            [first, ..] => Some(*first),
            [] => None,
        };
        match entry {
            Some(entry) => Resolution::Known(outcome(entry)),
            None if entries.is_empty() && age > self.patience() && reading.complete => {
                Resolution::Known(self.not_confirmed(ticket))
            }
            None if reading.complete => Resolution::Pending { look_again_after: self.look_again },
            // The rest of the log is still to be read.
            None => Resolution::Pending { look_again_after: self.look_again.min(READ_ON) },
        }
    }

    fn patience(&self) -> TimeDelta {
        TimeDelta::from_std(self.confirm_within).unwrap_or(TimeDelta::MAX)
    }

    fn not_confirmed(&self, ticket: &Ticket) -> Outcome {
        let hours = self.patience().num_hours();
        Outcome::Rejected {
            attribute: None,
            rule: "not_confirmed".to_owned(),
            message: format!(
                "Entra took the record at {} and its provisioning log has said nothing about it for {hours} hours. In the \
                 Entra admin center, under Enterprise applications > API-driven provisioning to Microsoft Entra ID > \
                 Provisioning, see whether the job is on, paused or in quarantine, and under Provisioning logs what it \
                 did; then send the record again",
                ticket.at
            ),
        }
    }
}

fn outcome(entry: &Entry) -> Outcome {
    match &entry.verdict {
        Verdict::Applied => Outcome::Applied(Effect::default()),
        Verdict::AlreadySo => Outcome::AlreadySo(Effect::default()),
        Verdict::Rejected { rule, attribute, message } => {
            Outcome::Rejected { attribute: attribute.map(str::to_owned), rule: rule.clone(), message: message.clone() }
        }
        Verdict::Passing(problem) => {
            Outcome::Retry { after: PASSING, scope: RetryScope::Object, problem: problem.clone() }
        }
    }
}
