//! `muster approve`: held changes may go.

use std::path::Path;

use muster_engine::{Clock as _, SystemClock, short_digest};
use muster_store::{Approval, HoldRecord};
use serde_json::json;

use super::held;
use crate::cli::{ApproveArguments, OutputForm};
use crate::exit::Failure;
use crate::operator::{Desk, digest, grant_expires, kind, time};
use crate::output;

/// Fewer characters of a digest could be meant for another hold.
const LEAST: usize = 4;

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &ApproveArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let (sync, id) = desk.sync(&arguments.sync).await?;
    let holds = desk.state.store.holds(id).await?;
    let hold = chosen(&holds, &sync.name, &arguments.digest)?;
    let names = desk.names(&sync.name).await?;
    let objects = held::objects(&desk.state, &names, hold, arguments.limit).await?;
    let now = SystemClock.now();
    let until = grant_expires(now);
    match desk.state.store.approve(id, &hold.digest, now, until).await? {
        Approval::Recorded(_) => {}
        Approval::Unknown => return Err(stale(&holds, &sync.name, "it was replaced just now")),
        Approval::Expired => {
            let message = format!(
                "this hold expired at {}; the next cycle holds its changes anew while they are wanted",
                time(hold.expires_at)
            );
            return Err(Failure::configuration(message));
        }
    }
    let detail = format!("{} {} {}", hold.wanted, kind(hold), short_digest(&hold.digest));
    desk.note(id, None, "approved", detail).await?;
    desk.ask_for_a_cycle(id).await?;
    if form == OutputForm::Json {
        let approved = HoldRecord { approved: true, ..hold.clone() };
        return output::json(
            &json!({ "approved": held::document(&sync.name, &approved, &objects), "until": time(until) }),
        );
    }
    held::list(hold, &objects);
    output::line(format!(
        "{}: {} × {} approved until {}; the next cycle sends them",
        sync.name,
        hold.wanted,
        kind(hold),
        time(until)
    ));
    Ok(())
}

fn chosen<'a>(holds: &'a [HoldRecord], sync: &str, typed: &str) -> Result<&'a HoldRecord, Failure> {
    let typed = typed.trim().to_ascii_lowercase();
    if typed.len() < LEAST {
        return Err(stale(holds, sync, &format!("at least {LEAST} characters of the digest are needed")));
    }
    let fitting: Vec<&HoldRecord> = holds.iter().filter(|hold| digest(&hold.digest).starts_with(&typed)).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(stale(holds, sync, &format!("nothing with the digest {typed:?} is held"))),
        _ => Err(stale(holds, sync, "more than one hold has a digest that begins so")),
    }
}

/// What is held now, so that the right digest can be typed.
fn stale(holds: &[HoldRecord], sync: &str, problem: &str) -> Failure {
    if holds.is_empty() {
        return Failure::configuration(format!("{problem}: sync {sync:?} holds nothing"));
    }
    let lines: Vec<String> = holds.iter().map(|hold| format!("  {}", held::headline(sync, hold))).collect();
    Failure::configuration(format!("{problem}; held now:\n{}", lines.join("\n")))
}
