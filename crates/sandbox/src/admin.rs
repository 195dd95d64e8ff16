//! What tests and demonstrations in other processes need: faults, churn, the clock, and a look inside.
//! No token is needed, and nothing here is part of Graph.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::directory::churn;
use crate::faults::{Fault, FaultPlan, FaultRun};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::state::Shared;

/// One call may not make more changes than this.
const MOST_CHANGES: u64 = 10_000_000;

pub(crate) fn answer(shared: &Arc<Shared>, request: &Request) -> Reply {
    let answered = match (request.method.as_str(), request.path().as_slice()) {
        ("GET", ["sandbox", "state"]) => Ok(state(shared)),
        ("GET", ["sandbox", "facts"]) => Ok(json!(shared.facts)),
        ("GET", ["sandbox", "faults"]) => Ok(json!({"faults": shared.faults().pending()})),
        ("POST", ["sandbox", "faults"]) => set_faults(shared, request),
        ("DELETE", ["sandbox", "faults"]) => {
            *shared.faults() = FaultRun::default();
            Ok(json!({"faults": []}))
        }
        ("POST", ["sandbox", "churn"]) => change(shared, request),
        ("POST", ["sandbox", "clock"]) => advance(shared, request),
        ("POST", ["sandbox", "inbound"]) => change_delays(shared, request),
        _ => {
            return Reply::json(
                404,
                &json!({"error": "see GET /sandbox/state, GET, POST and DELETE /sandbox/faults, POST /sandbox/churn, POST /sandbox/clock, POST /sandbox/inbound"}),
            );
        }
    };
    answered.map_or_else(|message| Reply::json(400, &json!({"error": message})), |body| Reply::json(200, &body))
}

fn state(shared: &Shared) -> Value {
    let (requests, violations) = {
        let traffic = shared.traffic();
        (traffic.requests(), traffic.violations())
    };
    let (struck, pending) = {
        let faults = shared.faults();
        (faults.struck, faults.pending())
    };
    let inbound = shared.provisioning().state();
    let tenant = shared.tenant();
    json!({
        "users": tenant.users.live_count(),
        "deletedUsers": tenant.users.recycle_bin().len(),
        "groups": tenant.groups.live().count(),
        "changes": tenant.users.log.len() + tenant.groups.log.len(),
        "churned": tenant.churned,
        "requests": requests,
        "violations": violations,
        "inbound": inbound,
        "faultsStruck": struck,
        "faultsPending": pending,
    })
}

/// `{"faults": […]}` replaces all, a single fault is added.
fn set_faults(shared: &Shared, request: &Request) -> Result<Value, String> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    let checked = |fault: Fault| fault.checked().map_err(|error| error.to_string());
    if body.get("faults").is_some() {
        let plan: FaultPlan = serde_json::from_value(body).map_err(|error| error.to_string())?;
        let faults = plan.faults.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        *shared.faults() = FaultRun::new(faults.into());
    } else {
        let fault: Fault = serde_json::from_value(body).map_err(|error| error.to_string())?;
        shared.faults().add(checked(fault)?);
    }
    Ok(json!({"faults": shared.faults().pending()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ChurnOrder {
    /// So many changes now.
    changes: Option<u64>,
    /// So many a second from now on.
    per_second: Option<f64>,
}

fn change(shared: &Shared, request: &Request) -> Result<Value, String> {
    let order: ChurnOrder = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    if let Some(rate) = order.per_second {
        if !rate.is_finite() || rate < 0.0 {
            return Err("per-second must be zero or more".to_owned());
        }
        shared.churn.send_replace(rate);
    }
    let now = shared.clock.timestamp();
    let mut tenant = shared.tenant_mut();
    for _ in 0..order.changes.unwrap_or(0).min(MOST_CHANGES) {
        churn::step(&mut tenant, &now);
    }
    Ok(json!({"churned": tenant.churned, "users": tenant.users.live_count()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct InboundOrder {
    /// How long an upload waits for the run that works on it.
    processing_seconds: Option<u64>,
    /// How long the run's entries then take to appear in the log.
    log_seconds: Option<u64>,
}

fn change_delays(shared: &Shared, request: &Request) -> Result<Value, String> {
    let order: InboundOrder = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    let mut provisioning = shared.provisioning();
    let delays = &mut provisioning.delays;
    delays.processing = order.processing_seconds.unwrap_or(delays.processing);
    delays.log = order.log_seconds.unwrap_or(delays.log);
    Ok(provisioning.state())
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ClockOrder {
    advance_seconds: u64,
}

fn advance(shared: &Shared, request: &Request) -> Result<Value, String> {
    let order: ClockOrder = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    shared.clock.advance(order.advance_seconds);
    Ok(json!({"now": shared.clock.timestamp()}))
}
