//! Which fault strikes which request.

use std::sync::Arc;

use super::spec::{ExpiredForm, Fault, FaultKind, FaultPlan};
use crate::http::request::Request;
use crate::state::Shared;

/// A cloneable handle by which the faults of a running sandbox are set.
#[derive(Debug, Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl Faults {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Replaces all faults.
    pub fn set(&self, plan: FaultPlan) {
        *self.shared.faults() = FaultRun::new(plan);
    }

    /// Adds one fault behind the others.
    pub fn add(&self, fault: Fault) {
        self.shared.faults().add(fault);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.set(FaultPlan::default());
    }

    /// How often faults have struck since they were set.
    pub fn struck(&self) -> u64 {
        self.shared.faults().struck
    }
}

#[derive(Debug, Default)]
pub(crate) struct FaultRun {
    armed: Vec<Armed>,
    pub(crate) struck: u64,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    seen: u32,
    done: u32,
}

impl FaultRun {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let mut run = Self::default();
        plan.faults.into_iter().for_each(|fault| run.add(fault));
        run
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.armed.push(Armed { fault, seen: 0, done: 0 });
    }

    /// The faults that may still strike.
    pub(crate) fn pending(&self) -> Vec<Fault> {
        self.armed
            .iter()
            .filter(|armed| armed.fault.times == 0 || armed.done < armed.fault.times)
            .map(|armed| armed.fault.clone())
            .collect()
    }

    /// The fault that strikes this request, which is thereby counted.
    pub(crate) fn strike(&mut self, request: &Request) -> Option<Fault> {
        for armed in &mut self.armed {
            if !fits(&armed.fault, request) {
                continue;
            }
            armed.seen = armed.seen.saturating_add(1);
            let due = armed.seen > armed.fault.after;
            if due && (armed.fault.times == 0 || armed.done < armed.fault.times) {
                armed.done = armed.done.saturating_add(1);
                self.struck += 1;
                return Some(armed.fault.clone());
            }
        }
        None
    }
}

fn fits(fault: &Fault, request: &Request) -> bool {
    let path = match &fault.path {
        Some(path) => request.canonical_path().contains(&path.trim_start_matches('/').to_lowercase()),
        None => request.is_graph(),
    };
    let method = fault.method.as_ref().is_none_or(|method| request.method.eq_ignore_ascii_case(method));
    path && method && (fault.what != FaultKind::Expired || carries_token(fault, request))
}

/// Only a request with a link can have an expired one.
fn carries_token(fault: &Fault, request: &Request) -> bool {
    match fault.form {
        Some(ExpiredForm::Page) => request.option("skiptoken").is_some(),
        _ => request.option("deltatoken").is_some_and(|token| !token.is_empty() && token != "latest"),
    }
}
