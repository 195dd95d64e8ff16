//! The dates between which a person has access, as they are written.

use std::str::FromStr as _;

use chrono_tz::{TZ_VARIANTS, Tz};
use muster_expression::Expression;
use muster_model::nearest;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::form::ExpressionForm;
use crate::place::child;
use crate::span::TimeSpan;
use crate::syncs::Reader;
use crate::tree::Node;

/// From when until when a person has access: `start <= now < end`. It goes on top of `scope` and of whether the person
/// is enabled at the source, and each of them alone suffices to disable. The dates wake the sync by themselves under
/// `muster run`.
#[derive(JsonSchema)]
#[schemars(rename = "Lifecycle", deny_unknown_fields)]
#[expect(dead_code, reason = "the form for the schema; it is read piece by piece, so that no mistake hides another")]
pub(crate) struct LifecycleForm {
    /// From when on a person has access: an expression such as `"[employeeHireDate]"` that comes to a day (from its
    /// beginning in `time_zone`) or a moment. Empty: from ever. A value that is no date parks the person.
    #[schemars(with = "Option<ExpressionForm>")]
    starts: Option<String>,
    /// Until when a person has access: an expression such as `"[employeeLeaveDateTime]"` that comes to a day (to its
    /// end in `time_zone`, see `end_day`) or a moment. Empty: for ever. Then the target object is disabled, as far as
    /// `guard.disable` lets.
    #[schemars(with = "Option<ExpressionForm>")]
    ends: Option<String>,
    /// How long before the start the target object is created, disabled: such as `"14d"`. As soon as the person is in
    /// scope by default. `"0s"`: at the start.
    create_before: Option<TimeSpan>,
    /// How long after the end the target object is deleted, such as `"90d"`, as far as `guard.delete` lets; adopted
    /// ones as `removal.delete_adopted` says. Never for its date alone by default.
    delete_after: Option<TimeSpan>,
    /// Where the days of dates without a time begin and end: a name such as `"Europe/Berlin"`. `"UTC"` by default.
    time_zone: Option<String>,
    /// Whether the day of an end date without a time is the last day of access (`"included"`, by default) or the first
    /// day without (`"excluded"`).
    end_day: Option<EndDay>,
}

/// Whether the day of an end date still counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndDay {
    /// It is the last day of access.
    #[default]
    Included,
    /// It is the first day without.
    Excluded,
}

/// The dates between which a person has access.
#[derive(Debug, Clone, PartialEq)]
pub struct LifecycleSettings {
    /// From when on.
    pub starts: Option<Expression>,
    /// Until when.
    pub ends: Option<Expression>,
    /// How long before the start the target object is created; at any time when `None`.
    pub create_before: Option<TimeSpan>,
    /// How long after the end it is deleted; never when `None`.
    pub delete_after: Option<TimeSpan>,
    /// Where days begin.
    pub time_zone: Tz,
    /// Whether the day of an end date still counts.
    pub end_day: EndDay,
}

impl Reader<'_> {
    pub(crate) fn lifecycle(&mut self) -> Option<LifecycleSettings> {
        let outer = self.table;
        let node = outer.get("lifecycle")?;
        let table = node.table()?;
        let path = child(&self.path, "lifecycle");
        let mut date = |name: &str| {
            let node = table.get(name)?;
            self.expression(node.text()?, &node.place, &child(&path, name))
        };
        let (starts, ends) = (date("starts"), date("ends"));
        let mut length = |name: &str, needed: &str| {
            let node = table.get(name)?;
            if table.get(needed).is_none() {
                let problem = format!("there is no `{needed}` that it could be counted from");
                self.add(&node.place, &child(&path, name), problem, format!("add `{needed}`, or remove it"));
            }
            self.span(node, &child(&path, name))
        };
        let create_before = length("create_before", "starts");
        let delete_after = length("delete_after", "ends");
        if table.get("starts").is_none() && table.get("ends").is_none() {
            let fix = "add starts = \"[…]\" or ends = \"[…]\", or remove it";
            self.add(&node.place, &path, "no date stands here", fix);
        }
        let time_zone = table.get("time_zone").and_then(|node| self.time_zone(node, &child(&path, "time_zone")));
        let end_day = table.get("end_day").and_then(|node| self.parse(node, &child(&path, "end_day")));
        Some(LifecycleSettings {
            starts,
            ends,
            create_before,
            delete_after,
            time_zone: time_zone.unwrap_or(Tz::UTC),
            end_day: end_day.unwrap_or_default(),
        })
    }

    fn time_zone(&mut self, node: &Node, path: &str) -> Option<Tz> {
        let text = node.text()?;
        let zone = Tz::from_str(text).ok();
        if zone.is_none() {
            // By the place alone, as people say it, or nearly the whole name.
            let place = |name: &&str| name.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(text));
            let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
            let fix = match names().find(place).or_else(|| nearest(text, names())) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "write a name such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
            };
            self.add(&node.place, path, format!("there is no time zone {text:?}"), fix);
        }
        zone
    }
}
