//! Why an object looks as it does: everything the state knows of one link, and what a cycle would do with it next.

use muster_model::pack::unpack_row;
use muster_model::{Key, Slot, ValueType};
use muster_store::{EventRecord, LinkFacts, LinkState, LinkView, Origin, QuarantineRecord, Removed};
use serde::Serialize;

use crate::accepted::waiting;
use crate::compile::Input;
use crate::computed::Subject;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Evaluation, Wanted, evaluate, in_scope};
use crate::explain_match::{ExplainedMatch, Matched};
use crate::guard::{guarded_changes, short_digest};
use crate::lifecycle::ExplainedDate;
use crate::nulls::{flow_into, nulls_in_words};
use crate::prepare::Prepared;
use crate::rules::{Removal, SyncRules, When};
use crate::scope::ExplainedCondition;
use crate::scope::Scoped;
use crate::takeover::shown_slot;
use crate::ties::Lack;

/// What is shown of a value that `Redact` hides.
pub(crate) const REDACTED: &str = "[Redact]";

/// Events shown.
const EVENTS: u32 = 10;

/// Everything about one link, in words and values for a person.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The sync.
    pub sync: String,
    /// The source object's key.
    pub source: String,
    /// The value it is matched by.
    pub name: Option<String>,
    /// Whether it is there: `present`, `in the recycle bin or missing`, `gone for good`.
    pub presence: String,
    /// Since when it is gone, in milliseconds since 1970.
    pub gone_since: Option<i64>,
    /// The full read that last saw it.
    pub generation: i64,
    /// Its attributes as last read.
    pub attributes: Vec<(String, String)>,
    /// The link's state: `candidate`, `linked`, `disabled`, `gone`, `released`, `ignored`.
    pub state: String,
    /// `created` or `adopted`, where it was ever linked.
    pub origin: Option<String>,
    /// The target object's key.
    pub target: Option<String>,
    /// The match rules in turn, and what they found.
    pub matching: Vec<ExplainedMatch>,
    /// The mappings.
    pub mappings: Vec<ExplainedMapping>,
    /// The scope's conditions with their truth; one that holds suffices, and without any all objects belong.
    pub scope: Vec<ExplainedCondition>,
    /// The dates between which the person has access.
    pub dates: Vec<ExplainedDate>,
    /// Why the object should be enabled, disabled, deleted or left alone.
    pub decision: String,
    /// What a cycle would do next.
    pub next: String,
    /// Why nothing may happen although something is to do.
    pub waits: Vec<String>,
    /// When it is looked at again by itself, in milliseconds since 1970.
    pub due_at: Option<i64>,
    /// The last events: (when, what, detail).
    pub events: Vec<(i64, String, String)>,
}

/// One mapping with its values.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedMapping {
    /// The target attribute.
    pub attribute: String,
    /// What flows into it.
    pub expression: String,
    /// The source attributes it reads, with their values.
    pub inputs: Vec<(String, String)>,
    /// What it comes to, or why it does not fit.
    pub value: String,
    /// What was last written or seen at the target.
    pub written: String,
    /// They differ, so it would be written.
    pub differs: bool,
    /// It flows when the object is created only.
    pub on_create_only: bool,
}

fn moment(milliseconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(milliseconds);
    time.map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default()
}

fn state_name(state: LinkState) -> &'static str {
    match state {
        LinkState::Candidate => "candidate",
        LinkState::Linked => "linked",
        LinkState::Disabled => "disabled",
        LinkState::Gone => "gone",
        LinkState::Released => "released",
        LinkState::Ignored => "ignored",
    }
}

impl Engine {
    /// Explains one source object, named by its key or by the value it is matched by.
    ///
    /// # Errors
    /// There is no such object, or a system cannot be asked.
    pub async fn explain(&self, rules: &SyncRules, named: &str) -> Result<Explanation, EngineError> {
        let prepared = self.prepare(rules, false).await?;
        let link = self.named(&prepared, named).await?;
        let link = self
            .with_referred(&prepared, self.with_groups(&prepared, vec![link]).await?)
            .await?
            .pop()
            .ok_or_else(|| EngineError::NoObject { key: named.to_owned() })?;
        let Some(facts) = self.store.link_facts(prepared.sync, link.id).await? else {
            return Err(EngineError::NoObject { key: named.to_owned() });
        };
        let evaluation = evaluate(&prepared.compiled, &prepared.layout, &link, self.clock.lifecycle())?;
        let mut events = self.store.events(prepared.sync, Some(link.id), EVENTS).await?;
        events.extend(
            self.store.events(prepared.sync, None, EVENTS).await?.into_iter().filter(|event| event.link.is_none()),
        );
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events.truncate(EVENTS as usize);
        let source = unpack_row(&prepared.layout.source, link.source.as_deref().unwrap_or_default())?;
        let (dates, access) = prepared.compiled.explain_dates(&source, self.clock.lifecycle());
        let matched = self.explain_matching(&prepared, &link, &evaluation).await?;
        let presence = match link.removed {
            Removed::No => "present",
            Removed::Soft => "in the recycle bin, or missing from the last full read",
            Removed::Hard => "gone for good",
        };
        let origin = match link.origin {
            Origin::None => None,
            Origin::Created => Some("created by Muster"),
            Origin::Adopted => Some("adopted: it was there before"),
        };
        Ok(Explanation {
            sync: rules.name.clone(),
            source: Key::decode(&link.anchor)?.to_string(),
            name: self.match_names(&prepared, &link)?.into_iter().next(),
            presence: presence.to_owned(),
            gone_since: link.removed_since.filter(|_| link.removed != Removed::No),
            generation: facts.generation,
            attributes: hidden(&prepared, self.attributes(&prepared, &link).await?),
            state: state_name(link.state).to_owned(),
            origin: origin.map(str::to_owned),
            target: link.target_key.as_deref().map(Key::decode).transpose()?.map(|key| key.to_string()),
            mappings: {
                let mut mappings = mappings(&prepared, &link, &evaluation, self.clock.lifecycle())?;
                mappings.extend(self.explain_ties(&prepared, &link, &evaluation).await?);
                mappings
            },
            scope: match &link.source {
                Some(packed) => {
                    let source = &unpack_row(&prepared.layout.source, packed)?;
                    prepared.compiled.explain_scope(Scoped { source, member_of: link.member_of.as_deref() })
                }
                None => Vec::new(),
            },
            dates,
            decision: decision(&prepared, &link, access)?,
            next: self.next(&prepared, &link, &evaluation, &matched).await?,
            matching: matched.rules,
            waits: self.waits(&prepared, &link, &evaluation, &facts).await?,
            due_at: [link.due_at, evaluation.due_at].into_iter().flatten().min(),
            events: events.into_iter().map(|EventRecord { at, code, detail, .. }| (at, code, detail)).collect(),
        })
    }

    /// All that was read of the source object, not only what the mappings use.
    async fn attributes(&self, prepared: &Prepared, link: &LinkView) -> Result<Vec<(String, String)>, EngineError> {
        let Some(packed) = &link.source else { return Ok(Vec::new()) };
        let source = &prepared.source;
        let standing = self.store.source_type(source.connection, &source.object_type.name).await?;
        let specs = self.store.attribute_specs(&standing.attributes).await?;
        let row = unpack_row(&standing.attributes, packed)?;
        let mut shown = Vec::new();
        for (position, id) in standing.attributes.iter().enumerate() {
            if let Some(spec) = specs.get(id)
                && spec.value_type != ValueType::Reference
                && !row.slot(position).is_unknown()
            {
                shown.push((spec.name.clone(), shown_slot(row.slot(position))));
            }
        }
        Ok(shown)
    }

    async fn next(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        evaluation: &Evaluation,
        matched: &Matched,
    ) -> Result<String, EngineError> {
        if matches!(evaluation.wanted, Wanted::Change(_) | Wanted::Delete)
            && let Some(rule) = self.protection(prepared, link).await?
        {
            return Ok(format!("nothing: the target object is protected, so it would be parked ({rule})"));
        }
        Ok(match &evaluation.wanted {
            Wanted::Nothing(_) => {
                let lacks = self.lacks(prepared, link, evaluation).await?;
                let name = |lack: &Lack| prepared.compiled.target_attributes.get(lack.delta.attribute).cloned();
                let lacks: Vec<String> = lacks
                    .iter()
                    .map(|lack| format!("{} +{} −{}", name(lack).unwrap_or_default(), lack.to_add, lack.to_remove))
                    .collect();
                match lacks.as_slice() {
                    [] => "nothing: all is as it should be".to_owned(),
                    lacks => format!("values would be added and removed ({})", lacks.join(", ")),
                }
            }
            Wanted::NotYet => "nothing before the source is read in full: an attribute is not known yet".to_owned(),
            Wanted::Delete => "the target object would be deleted".to_owned(),
            Wanted::Park(reason) => {
                let attribute = reason.attribute.as_deref().unwrap_or("object");
                format!("it would be parked: {attribute} {} ({})", reason.rule, reason.message)
            }
            Wanted::Object { matches, may_create, .. } => {
                self.next_for_new(prepared, link, matches, *may_create, matched).await?
            }
            Wanted::Change(change) => {
                let names = prepared.compiled.target_attributes.iter().zip(&change.row.0);
                let names: Vec<&str> =
                    names.filter(|(_, slot)| !slot.is_unknown()).map(|(name, _)| name.as_str()).collect();
                let what = match (change.enabling, &change.rename) {
                    (Some(true), _) => "the target object would be enabled",
                    (Some(false), _) => "the target object would be disabled",
                    (None, Some(_)) => "the target object would be renamed",
                    (None, None) => "the target object would be updated",
                };
                format!("{what} ({})", names.join(", "))
            }
        })
    }

    async fn waits(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        evaluation: &Evaluation,
        facts: &LinkFacts,
    ) -> Result<Vec<String>, EngineError> {
        let name = &prepared.compiled.rules.name;
        let mut waits = Vec::new();
        if let Some(reason) = &prepared.paused {
            waits.push(format!("the sync is paused: {reason}"));
        }
        if prepared.compiled.rules.mode == crate::rules::Mode::Observe {
            waits.push(format!("the sync only observes (syncs.{name}.mode), so nothing is written"));
        }
        if let Some(QuarantineRecord { rule, attribute, .. }) = self.store.quarantine(prepared.sync).await? {
            let attribute = attribute.map(|attribute| format!(" {attribute}")).unwrap_or_default();
            waits.push(format!("the sync is in quarantine, because most was refused by the rule {rule}{attribute}"));
        }
        let batches = match facts.on_its_way {
            true => self.store.open_batches(prepared.sync).await?,
            false => Vec::new(),
        };
        if let Some((_, taken)) = waiting(&batches).find(|(of, _)| *of == link.id) {
            waits.push(format!(
                "the target took a change at {} and has not said what became of it; it is asked again from {} on",
                moment(taken.since),
                moment(taken.ask_at)
            ));
        } else if facts.on_its_way {
            waits.push("an operation is on its way, or its answer was lost: the next cycle asks the target".to_owned());
        }
        if let Some(parked) = &facts.parked {
            let attribute = parked.attribute.as_deref().map(|name| format!(" {name}:")).unwrap_or_default();
            let message = parked.message.as_deref().unwrap_or("");
            waits.push(format!("parked:{attribute} {} ({message}), refused {} times", parked.rule, parked.attempts));
        }
        if facts.not_before.is_some_and(|until| until > self.clock.now()) {
            waits.push("a pause after a failed attempt".to_owned());
        }
        let mut guarded = guarded_changes(prepared, link, &evaluation.wanted)?;
        guarded.extend(self.lacks(prepared, link, evaluation).await?.into_iter().flat_map(|lack| lack.removals));
        for hold in self.store.holds(prepared.sync).await? {
            let concerns = guarded.iter().any(|change| {
                change.kind.name() == hold.kind
                    && hold.items.iter().any(|item| item.link == link.id && item.value == change.value)
            });
            if concerns {
                let attribute = hold.attribute.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
                let digest = short_digest(&hold.digest);
                waits.push(match hold.approved {
                    true => format!("{}{attribute} is approved and goes with the next cycle", hold.kind),
                    false => format!("held: {}{attribute}; `muster approve {name} {digest}` lets it go", hold.kind),
                });
            }
        }
        Ok(waits)
    }
}

fn mappings(
    prepared: &Prepared,
    link: &LinkView,
    evaluation: &Evaluation,
    now: i64,
) -> Result<Vec<ExplainedMapping>, EngineError> {
    let compiled = &prepared.compiled;
    let source = unpack_row(&prepared.layout.source, link.source.as_deref().unwrap_or_default())?;
    let written = unpack_row(&prepared.layout.target, link.written.as_deref().unwrap_or_default())?;
    let wanted = match &evaluation.wanted {
        Wanted::Object { row, .. } => Some(row),
        Wanted::Change(change) => Some(&change.row),
        _ => None,
    };
    let sync = &compiled.rules.name;
    let subject = Subject { sync, anchor: &link.anchor, source: &source, enabled: true, now };
    let mut mappings = Vec::new();
    for (position, column) in compiled.columns.iter().enumerate() {
        let name = &column.attribute.name;
        let is_redacted = column.input.is_redacted();
        let rule = compiled.rules.mappings.iter().find(|mapping| mapping.target == *name);
        let (expression, inputs) = match (&column.input, rule) {
            // References and values of several are told apart.
            (Input::None | Input::Reference(_), _) => continue,
            (Input::Source(at), Some(rule)) => {
                let read = compiled.source_attributes.get(*at).cloned().unwrap_or_default();
                (rule.value.to_string(), vec![(read, shown_slot(source.slot(*at)))])
            }
            (Input::Expression(_), Some(rule)) => {
                let read = |name: &str| {
                    let at = compiled.source_attributes.iter().position(|known| known == name);
                    let value = at.map_or_else(String::new, |at| shown_slot(source.slot(at)));
                    (name.to_owned(), if is_redacted { REDACTED.to_owned() } else { value })
                };
                (rule.value.to_string(), rule.value.attributes().into_iter().map(read).collect())
            }
            (_, Some(rule)) => (rule.value.to_string(), Vec::new()),
            (_, None) => ("whether it should be enabled".to_owned(), Vec::new()),
        };
        let before = written.slot(position);
        let new = wanted.map(|row| row.slot(position)).filter(|slot| !slot.is_unknown());
        let value = match (&column.input, new) {
            (_, Some(slot)) => shown_slot(slot),
            // Made once, and not to be had again.
            (Input::Expression(program), None) if program.is_volatile() && link.target_key.is_some() => {
                shown_slot(before)
            }
            (Input::Source(_) | Input::Expression(_), None) => {
                match flow_into(column, &subject, link.target_key.is_some()) {
                    // What flows on create only, or not at all, leaves what is there.
                    Ok(Slot::Unknown) => shown_slot(before),
                    Ok(slot) => shown_slot(&slot),
                    Err(misfit) => format!("{} ({})", misfit.rule, misfit.message),
                }
            }
            (Input::Constant(slot), None) => shown_slot(slot),
            (_, None) => shown_slot(before),
        };
        mappings.push(ExplainedMapping {
            attribute: name.clone(),
            expression: expression + &rule.map(nulls_in_words).unwrap_or_default(),
            inputs,
            value: if is_redacted { REDACTED.to_owned() } else { value },
            written: if is_redacted { REDACTED.to_owned() } else { shown_slot(before) },
            differs: new.is_some() && link.target_key.is_some(),
            on_create_only: column.when == When::Create,
        });
    }
    Ok(mappings)
}

/// What was last written or seen in one attribute.
pub(crate) fn written_value(prepared: &Prepared, link: &LinkView, position: usize) -> Result<String, EngineError> {
    let written = unpack_row(&prepared.layout.target, link.written.as_deref().unwrap_or_default())?;
    Ok(shown_slot(written.slot(position)))
}

/// Whether an attribute of a linked object would be written.
pub(crate) fn is_wanted(evaluation: &Evaluation, link: &LinkView, position: usize) -> bool {
    match &evaluation.wanted {
        Wanted::Change(change) => link.target_key.is_some() && !change.row.slot(position).is_unknown(),
        _ => false,
    }
}

/// What `Redact` hides in a mapping is not told beside it.
fn hidden(prepared: &Prepared, mut attributes: Vec<(String, String)>) -> Vec<(String, String)> {
    let compiled = &prepared.compiled;
    let redacted = compiled.rules.mappings.iter().filter(|mapping| mapping.value.is_redacted());
    let names: Vec<&str> = redacted.flat_map(|mapping| mapping.value.attributes()).collect();
    for (name, value) in &mut attributes {
        if names.contains(&name.as_str()) {
            REDACTED.clone_into(value);
        }
    }
    attributes
}

/// Whether the object should be there and enabled, and why.
fn decision(prepared: &Prepared, link: &LinkView, access: Option<String>) -> Result<String, EngineError> {
    let compiled = &prepared.compiled;
    let rules = &compiled.rules.removal;
    let sync = &compiled.rules.name;
    match link.state {
        LinkState::Released => {
            return Ok(
                "a person separated it from its target object (`unlink`): left alone until `muster link`".to_owned()
            );
        }
        LinkState::Ignored => {
            return Ok("a person said that it is to be ignored: left alone until `muster unignore` or `muster link`"
                .to_owned());
        }
        _ => {}
    }
    let word =
        |choice: Option<Removal>, default: &str| choice.map_or(default.to_owned(), |choice| choice.name().to_owned());
    let default = if compiled.enabling.is_some() { "disable" } else { "keep" };
    let and_by_date = |rule: String| match &access {
        Some(access) => format!("{rule}; {access}"),
        None => rule,
    };
    Ok(match link.removed {
        Removed::No => {
            let source = unpack_row(&prepared.layout.source, link.source.as_deref().unwrap_or_default())?;
            if in_scope(compiled, link, &source) == Some(false) {
                let choice = word(rules.out_of_scope, default);
                let about = format!("(syncs.{sync}.removal.out_of_scope)");
                return Ok(match link.target_key {
                    Some(_) => and_by_date(format!("it is out of scope: {choice} {about}")),
                    None => "it is out of scope, and has no target object: left alone".to_owned(),
                });
            }
            let off = muster_model::Slot::One(muster_model::Value::Boolean(false));
            match compiled.source_enabling.filter(|position| *source.slot(*position) == off) {
                Some(position) => {
                    let name = compiled.source_attributes.get(position).map_or("", String::as_str);
                    let choice = word(rules.disabled, default);
                    and_by_date(format!(
                        "it is disabled at the source ([{name}] is false): {choice} (syncs.{sync}.removal.disabled)"
                    ))
                }
                None => access.unwrap_or_else(|| {
                    "it is present and enabled at the source: its target object should be there and enabled".to_owned()
                }),
            }
        }
        Removed::Soft => {
            let choice = word(rules.soft, default);
            format!("it was removed, and may come back: {choice} (syncs.{sync}.removal.soft)")
        }
        Removed::Hard => {
            let choice = word(rules.hard, "disable, then delete after the grace period");
            let adopted = link.origin == Origin::Adopted && !rules.delete_adopted;
            let kept = if adopted { "; adopted objects are not deleted" } else { "" };
            format!("it is gone for good: {choice} (syncs.{sync}.removal.hard){kept}")
        }
    })
}
