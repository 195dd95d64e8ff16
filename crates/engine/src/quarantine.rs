//! Quarantine: when most of what a sync sends is refused alike, its changes wait, and a few of them are tried now and
//! then. Import goes on.

use std::collections::{HashMap, HashSet, VecDeque};

use muster_store::{EventRecord, LinkId, QuarantineRecord};
use serde::{Deserialize, Serialize};

use crate::accepted::Verdict;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate};
use crate::pass::{Pass, Progress, SLICE};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::send::MAX_BLAMED;

/// Outcomes looked at.
const WINDOW: usize = 1_000;
/// Fewer outcomes say nothing.
const LEAST: usize = 50;
/// So many objects are refused for reasons of their own.
const OBJECTS: usize = 20;
/// Beyond this share, in percent, the fault is no object's.
const SHARE: usize = 40;

const MINUTE: i64 = 60_000;
/// The longest pause between probes, in minutes.
const LONGEST_PAUSE: i64 = 60;
/// Operations of a probe.
const PROBE: usize = 10;
/// Slices of dirty links looked through for a probe's disables.
const PROBE_SLICES: u32 = 10;

/// A rule, and the attribute to blame.
pub(crate) type Reason = (String, Option<String>);

/// A sync's last outcomes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Window {
    outcomes: VecDeque<(i64, Option<Reason>)>,
    #[serde(skip)]
    is_new: bool,
}

impl Window {
    /// Reads what [`Self::write`] wrote; anything else counts as no outcomes.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// The form at rest, if there is anything new.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        self.is_new.then(|| serde_json::to_vec(self).unwrap_or_default())
    }

    /// Notes an outcome; `refusal` is empty for a success.
    pub(crate) fn note(&mut self, link: LinkId, refusal: Option<Reason>) {
        if self.outcomes.len() >= WINDOW {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back((link.0, refusal));
        self.is_new = true;
    }

    /// The reason for which most is refused, if so.
    pub(crate) fn verdict(&self) -> Option<Reason> {
        if self.outcomes.len() < LEAST {
            return None;
        }
        let mut refused: HashMap<&Reason, (usize, HashSet<i64>)> = HashMap::new();
        for (link, reason) in &self.outcomes {
            let Some(reason) = reason else { continue };
            let (times, objects) = refused.entry(reason).or_default();
            *times += 1;
            objects.insert(*link);
        }
        let (reason, (times, objects)) = refused.into_iter().max_by_key(|(_, (times, _))| *times)?;
        (objects.len() > OBJECTS && times * 100 > self.outcomes.len() * SHARE).then(|| reason.clone())
    }
}

/// A quarantine in a sentence.
fn note(sync: &str, quarantine: &QuarantineRecord) -> String {
    let attribute = quarantine.attribute.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    format!(
        "quarantined: most of what {sync} sent was refused by the rule {}{attribute}. Its changes wait, while a few are \
         tried now and then; the first success of most ends it. `muster parked {sync}` lists what was refused and why, \
         and `muster resume {sync}` ends it at once",
        quarantine.rule
    )
}

impl Engine {
    /// Looks at the last outcomes after a batch has landed, and stops sending if most were refused alike.
    pub(crate) async fn perhaps_quarantine(
        &self,
        prepared: &Prepared,
        blamed: Option<Reason>,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        if progress.quarantined || progress.probing {
            return Ok(());
        }
        let Some(reason) = blamed.or_else(|| progress.window.verdict()) else { return Ok(()) };
        let quarantine = self.quarantine(prepared, reason, progress).await?;
        report.notes.push(note(&prepared.compiled.rules.name, &quarantine));
        Ok(())
    }

    async fn quarantine(
        &self,
        prepared: &Prepared,
        (rule, attribute): Reason,
        progress: &mut Progress,
    ) -> Result<QuarantineRecord, EngineError> {
        let now = self.clock.now();
        let quarantine = QuarantineRecord {
            sync: prepared.sync,
            rule,
            attribute,
            since: now,
            probes: 0,
            next_probe_at: now + MINUTE,
        };
        self.store.set_quarantine(&quarantine).await?;
        progress.quarantined = true;
        progress.events.push(event(&quarantine, "quarantined", now));
        Ok(quarantine)
    }

    /// Counts what a target told of operations that it had taken: refusals alike stop the sync as if they had been
    /// answered at once, and what was tried since ends that when most of it succeeded.
    pub(crate) async fn told_later(
        &self,
        prepared: &Prepared,
        verdicts: &[Verdict],
        progress: &mut Progress,
    ) -> Result<(), EngineError> {
        for verdict in verdicts {
            progress.window.note(verdict.link, verdict.refusal.clone());
        }
        match self.store.quarantine(prepared.sync).await? {
            Some(quarantine) => {
                let tried = || verdicts.iter().filter(|verdict| verdict.since > quarantine.since);
                let refused = tried().filter(|verdict| verdict.refusal.is_some()).count();
                if tried().count() > 2 * refused {
                    self.free(prepared, &quarantine, progress).await?;
                }
            }
            None if verdicts.iter().any(|verdict| verdict.refusal.is_some()) => {
                if let Some(reason) = progress.window.verdict() {
                    self.quarantine(prepared, reason, progress).await?;
                }
            }
            None => {}
        }
        Ok(())
    }

    async fn free(
        &self,
        prepared: &Prepared,
        quarantine: &QuarantineRecord,
        progress: &mut Progress,
    ) -> Result<(), EngineError> {
        self.store.end_quarantine(prepared.sync).await?;
        progress.window = Window::default();
        progress.events.push(event(quarantine, "resumed", self.clock.now()));
        Ok(())
    }

    /// Whether a sync's changes may go: there is no quarantine, or a probe just ended it.
    pub(crate) async fn is_free(
        &self,
        prepared: &Prepared,
        quarantine: Option<QuarantineRecord>,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<bool, EngineError> {
        let Some(quarantine) = quarantine else { return Ok(true) };
        let now = self.clock.now();
        // Other rules are a reason to try at once.
        if now < quarantine.next_probe_at && !prepared.rules_changed {
            report.notes.push(note(&prepared.compiled.rules.name, &quarantine));
            return Ok(false);
        }
        let before = (progress.succeeded, progress.refused);
        let links = self.probe_links(prepared, &quarantine).await?;
        let is_over = links.is_empty() || {
            progress.probing = true;
            let sent = self.pass(prepared, Pass::These(&links), progress, report).await;
            let sent = match sent {
                Ok(()) => self.guarded(prepared, true, progress, report).await,
                error => error,
            };
            progress.probing = false;
            sent?;
            let (succeeded, refused) = (progress.succeeded - before.0, progress.refused - before.1);
            succeeded > refused
        };
        if is_over {
            self.free(prepared, &quarantine, progress).await?;
            return Ok(true);
        }
        let probes = quarantine.probes + 1;
        let pause = (1 << probes.clamp(0, 6)).min(LONGEST_PAUSE);
        let next = QuarantineRecord { probes, next_probe_at: now + pause * MINUTE, ..quarantine };
        self.store.set_quarantine(&next).await?;
        report.notes.push(note(&prepared.compiled.rules.name, &next));
        progress.events.push(event(&next, "probe", now));
        Ok(false)
    }

    /// A few links to try: whoever should lose access first, then what else is to do, then what was refused.
    async fn probe_links(
        &self,
        prepared: &Prepared,
        quarantine: &QuarantineRecord,
    ) -> Result<Vec<LinkId>, EngineError> {
        let now = self.clock.now();
        let mut first = Vec::new();
        let mut others = Vec::new();
        let mut after = LinkId(0);
        for _ in 0..PROBE_SLICES {
            let links = self.store.dirty_links(prepared.sync, after, now, SLICE).await?;
            let Some(last) = links.last() else { break };
            after = last.id;
            for link in links {
                match evaluate(&prepared.compiled, &prepared.layout, &link, self.clock.lifecycle())?.wanted {
                    Wanted::Delete => first.push(link.id),
                    Wanted::Change(change) if change.enabling == Some(false) => first.push(link.id),
                    Wanted::Change(_) | Wanted::Object { .. } if others.len() < PROBE => others.push(link.id),
                    _ => {}
                }
            }
            if first.len() >= PROBE {
                break;
            }
        }
        first.extend(others);
        first.truncate(PROBE);
        let missing = PROBE - first.len();
        if missing > 0 {
            let attribute = quarantine.attribute.as_deref();
            let refused = self.store.parked_links(prepared.sync, &quarantine.rule, attribute, PROBE as u32).await?;
            let new: Vec<LinkId> = refused.into_iter().filter(|link| !first.contains(link)).take(missing).collect();
            first.extend(new);
        }
        Ok(first)
    }
}

/// What single refusals while splitting one batch say.
pub(crate) fn blamed_alone(refusals: &[Reason]) -> Option<Reason> {
    if refusals.len() < MAX_BLAMED {
        return None;
    }
    let mut times: HashMap<&Reason, usize> = HashMap::new();
    for reason in refusals {
        *times.entry(reason).or_default() += 1;
    }
    times.into_iter().max_by_key(|(_, times)| *times).map(|(reason, _)| reason.clone())
}

fn event(quarantine: &QuarantineRecord, code: &str, now: i64) -> EventRecord {
    let attribute = quarantine.attribute.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    EventRecord {
        at: now,
        sync: quarantine.sync,
        link: None,
        code: code.to_owned(),
        detail: format!("{}{attribute}", quarantine.rule),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(outcomes: impl IntoIterator<Item = (i64, bool)>) -> Window {
        let mut window = Window::default();
        for (link, refused) in outcomes {
            window.note(LinkId(link), refused.then(|| ("unique".to_owned(), Some("login".to_owned()))));
        }
        window
    }

    #[test]
    fn most_must_be_refused_alike_and_for_more_than_a_few_objects() {
        assert_eq!(window((0..49).map(|link| (link, true))).verdict(), None);
        let reason = Some(("unique".to_owned(), Some("login".to_owned())));
        assert_eq!(window((0..50).map(|link| (link, link < 21))).verdict(), reason);
        assert_eq!(window((0..50).map(|link| (link, link < 20))).verdict(), None);
        assert_eq!(window((0..100).map(|link| (link % 20, true))).verdict(), None);
        assert_eq!(window((0..100).map(|link| (link, link < 40))).verdict(), None);
        assert_eq!(window((0..100).map(|link| (link, link < 41))).verdict(), reason);
        // Only the last thousand count.
        assert_eq!(window((0..1_900).map(|link| (link, link < 1_000))).verdict(), None);
        let kept = Window::read(&window((0..50).map(|link| (link, true))).write().unwrap());
        assert_eq!(kept.verdict(), reason);
        assert_eq!(kept.write(), None);
    }
}
