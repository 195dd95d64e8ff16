//! Lifecycle dates: what they make of a link. Pure: the dates and the lifecycle's time in, what is wanted and when that
//! changes out. A person has access while `start <= now < end`.

use chrono_tz::IANA_TZDB_VERSION;
use muster_model::{Attribute, Multiplicity, Row, Slot, TargetCapabilities, ValueType};
use muster_store::{LinkView, OperationKind, Removed};
use serde::Serialize;

use crate::compile::{Compiled, Compiler, Input};
use crate::dates::{Bound, Lifecycle, Window, bound};
use crate::evaluate::{Action, Evaluation, Plan, Wanted, disable, may_delete, park};
use crate::explain::REDACTED;
use crate::rules::LifecycleRules;
use crate::takeover::shown_slot;

/// The rule of an object whose start or end cannot be read.
const UNREADABLE: &str = "date";

/// What the dates make of what the rest of the rules wants. An error is the decision itself: a date that cannot be
/// read parks its object, unless it must lose access whatever the date says.
pub(crate) fn by_dates(
    compiled: &Compiled,
    link: &LinkView,
    source: &Row,
    written: &Row,
    now: i64,
    plan: Plan,
) -> Result<Plan, Box<Evaluation>> {
    let Some(lifecycle) = &compiled.lifecycle else { return Ok(plan) };
    let window = lifecycle.window(source);
    let linked = link.target_key.is_some();
    let can_disable = compiled.enabling.is_some();
    let deletion = lifecycle.deletion(&window).filter(|_| linked && may_delete(compiled, link));
    let next = |times: [Option<i64>; 4]| times.into_iter().flatten().filter(|time| *time > now).min();
    let (start, end) = (window.start.at(), window.end.at());
    match plan.action {
        Action::Delete => Ok(plan),
        // A leaver loses access wherever the account is.
        Action::Leave if linked && can_disable => {
            let action = if window.has_ended(now) { Action::Disable } else { Action::Leave };
            Ok(Plan { action, due_at: next([plan.due_at, end, None, None]) })
        }
        Action::Leave => Ok(plan),
        Action::Disable => {
            let deletion = deletion.filter(|_| link.removed == Removed::No);
            let is_due = deletion.is_some_and(|time| now >= time);
            let action = if is_due { Action::Delete } else { Action::Disable };
            Ok(Plan { action, due_at: next([plan.due_at, deletion, None, None]) })
        }
        Action::Ensure { enabled, .. } => {
            let enabled = enabled && !window.is_before(now) && !window.has_ended(now);
            let creation = start.map(|start| start.saturating_sub(lifecycle.rules.create_before.unwrap_or(i64::MAX)));
            let creation = if can_disable { creation } else { start }.filter(|_| !linked);
            let due_at = next([creation, start, end, deletion]);
            if let Some((name, input, problem)) = lifecycle.hindrance(&window) {
                let must_go = disable(compiled, link, written);
                if !enabled && matches!(must_go, Wanted::Change(_)) {
                    return Err(Box::new(Evaluation { wanted: must_go, due_at, present: None }));
                }
                let kind = if linked { OperationKind::Update } else { OperationKind::Create };
                let message = match input {
                    Input::Expression(program) if program.is_redacted() => {
                        format!("lifecycle.{name}: the value, which Redact hides, is no date")
                    }
                    _ => format!("lifecycle.{name}: {problem}"),
                };
                return Err(Box::new(Evaluation {
                    wanted: park(kind, UNREADABLE, None, message),
                    due_at,
                    present: None,
                }));
            }
            if deletion.is_some_and(|time| now >= time) {
                return Ok(Plan { action: Action::Delete, due_at: None });
            }
            let may_create = !window.has_ended(now) && creation.is_none_or(|time| now >= time);
            // What could neither be disabled nor deleted afterwards need not be found.
            let is_sought =
                can_disable || (lifecycle.rules.delete_after.is_some() && compiled.rules.removal.delete_adopted);
            let action = match linked || may_create || (is_sought && !compiled.matching.is_empty()) {
                true => Action::Ensure { enabled, may_create },
                false => Action::Leave,
            };
            Ok(Plan { action, due_at })
        }
    }
}

impl Lifecycle {
    /// When the object of somebody who ended then is deleted.
    fn deletion(&self, window: &Window) -> Option<i64> {
        // Dates that contradict each other, or of which one cannot be read, are no reason to delete anything.
        let is_sound = !window.is_empty() && window.start.problem().is_none();
        Some(window.end.at().filter(|_| is_sound)?.saturating_add(self.rules.delete_after?))
    }

    fn hindrance<'a>(&'a self, window: &'a Window) -> Option<(&'static str, &'a Input, &'a str)> {
        let bounds = [("starts", &self.starts, &window.start), ("ends", &self.ends, &window.end)];
        bounds.into_iter().find_map(|(name, input, bound)| Some((name, input.as_ref()?, bound.problem()?)))
    }
}

/// What a fingerprint holds of the rules: with new rules for the zones, days begin at other times.
pub(crate) fn described(rules: &LifecycleRules) -> String {
    let LifecycleRules { starts, ends, create_before, delete_after, time_zone, end_day } = rules;
    format!(" {starts:?} {ends:?} {create_before:?} {delete_after:?} {time_zone} {end_day:?} {IANA_TZDB_VERSION}")
}

impl Compiler<'_> {
    /// The dates, resolved, and what of them the target cannot do.
    pub(crate) fn lifecycle(&mut self, capabilities: &TargetCapabilities) -> Option<Lifecycle> {
        let rules = self.rules.lifecycle.clone()?;
        let starts = rules.starts.as_ref().and_then(|starts| self.date("lifecycle.starts", starts));
        let ends = rules.ends.as_ref().and_then(|ends| self.date("lifecycle.ends", ends));
        let name = &self.target.name;
        if self.target.enabling.is_none() {
            if rules.starts.is_some() && rules.create_before != Some(0) {
                let problem =
                    format!("{name} cannot be disabled, so nobody can be there before the start without access");
                let fix = "set `enabled` of the type to the column that says so, or write create_before = \"0s\", so that \
                    nobody is created before the start";
                self.findings.error("lifecycle.create_before", &problem, fix);
            }
            if rules.ends.is_some() && rules.delete_after.is_none() {
                let problem = format!("{name} cannot be disabled, so whoever has left by date would keep access");
                let fix = "set `enabled` of the type to the column that says so, or set delete_after, such as \"0s\" for \
                    at once";
                self.findings.error("lifecycle.delete_after", &problem, fix);
            }
        }
        if rules.delete_after.is_some() && !capabilities.can_delete {
            let problem = format!("{} cannot delete objects", self.rules.target_connection);
            self.findings.error("lifecycle.delete_after", &problem, "remove it");
        }
        if rules.delete_after.is_some() && self.rules.removal.delete_adopted {
            return Some(Lifecycle { starts, ends, rules });
        }
        if self.target.enabling.is_none() && rules.delete_after.is_some() && !self.rules.matching.is_empty() {
            let problem = "whoever was adopted keeps access after the end: adopted objects are not deleted".to_owned();
            let fix = "set removal.delete_adopted = true, if they may be deleted too";
            self.findings.warning("lifecycle.delete_after", &problem, fix);
        }
        Some(Lifecycle { starts, ends, rules })
    }

    fn date(&mut self, setting: &str, value: &muster_expression::Expression) -> Option<Input> {
        if let Some(function) = value.functions().into_iter().find(|function| function.volatile) {
            let problem = format!("{} has another value each time, and dates must stay", function.name);
            self.findings.error(setting, &problem, "name the attribute that holds the date");
            return None;
        }
        if let Some(constant) = value.constant() {
            let slot = Slot::One(constant.clone());
            let found = bound(Some(&Input::Constant(slot.clone())), &Row::default(), |_| Some(0));
            if let Bound::Unreadable(problem) = found {
                self.findings.error(setting, &problem, "name the attribute that holds the date, in brackets");
                return None;
            }
            return Some(Input::Constant(slot));
        }
        let Some(name) = value.direct() else {
            return self.computed(setting, value, &Attribute::new("date", ValueType::Text), None);
        };
        let attribute = self.source_attribute(setting, name)?;
        if attribute.multiplicity != Multiplicity::Single {
            let problem = format!("[{name}] has several values, and one date is expected");
            self.findings.error(setting, &problem, &format!("take one of them, such as Item([{name}], 1)"));
            return None;
        }
        if !matches!(attribute.value_type, ValueType::Date | ValueType::Instant | ValueType::Text) {
            let problem = format!("[{name}] is {} and holds no date", attribute.value_type);
            let fix = "name an attribute that holds a date, or make one of it with FormatDateTime or DateFromNum";
            self.findings.error(setting, &problem, fix);
            return None;
        }
        Some(Input::Source(self.source_position(name)))
    }
}

/// One of the dates, for a person.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedDate {
    /// `starts` or `ends`.
    pub name: String,
    /// The expression.
    pub expression: String,
    /// The source attributes that it reads, with their values.
    pub inputs: Vec<(String, String)>,
    /// The moment it means, in milliseconds since 1970; none where there is no date.
    pub at: Option<i64>,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

impl Compiled {
    /// The dates of an object, and what they make of the person now, where that is not simply access.
    pub(crate) fn explain_dates(&self, source: &Row, now: i64) -> (Vec<ExplainedDate>, Option<String>) {
        let Some(lifecycle) = &self.lifecycle else { return (Vec::new(), None) };
        let window = lifecycle.window(source);
        let rules = &lifecycle.rules;
        let bounds = [("starts", &rules.starts, &window.start), ("ends", &rules.ends, &window.end)];
        let explained = bounds.into_iter().filter_map(|(name, expression, bound)| {
            let expression = expression.as_ref()?;
            let is_redacted = expression.is_redacted();
            let read = |name: &str| {
                let at = self.source_attributes.iter().position(|known| known == name);
                let value = at.map_or_else(String::new, |at| shown_slot(source.slot(at)));
                (name.to_owned(), if is_redacted { REDACTED.to_owned() } else { value })
            };
            let hidden = |problem: &str| if is_redacted { "it is no date".to_owned() } else { problem.to_owned() };
            Some(ExplainedDate {
                name: name.to_owned(),
                expression: expression.to_string(),
                inputs: expression.attributes().into_iter().map(read).collect(),
                at: bound.at(),
                problem: bound.problem().map(hidden),
            })
        });
        (explained.collect(), self.standing(lifecycle, &window, now))
    }

    fn standing(&self, lifecycle: &Lifecycle, window: &Window, now: i64) -> Option<String> {
        let sync = &self.rules.name;
        if lifecycle.hindrance(window).is_some() {
            return Some(format!("a date cannot be read, so nobody is enabled for it (syncs.{sync}.lifecycle)"));
        }
        if window.is_empty() {
            return Some(format!("the end does not come after the start: never access (syncs.{sync}.lifecycle)"));
        }
        if window.has_ended(now) {
            let is_due = lifecycle.deletion(window).is_some_and(|time| now >= time);
            let setting = if is_due { "delete_after" } else { "ends" };
            let what = if is_due { "it is deleted" } else { "no access" };
            return Some(format!("the end has passed: {what} (syncs.{sync}.lifecycle.{setting})"));
        }
        window.is_before(now).then(|| format!("the start has not come: no access yet (syncs.{sync}.lifecycle.starts)"))
    }
}
