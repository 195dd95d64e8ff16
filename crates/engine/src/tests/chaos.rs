//! The engine against a model that knows nothing of it: random histories, faults, kills and clocks. A failing seed is
//! printed with the command that replays it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat};
use futures::FutureExt as _;
use muster_connector::Expired;
use muster_connector::page::Removal;
use muster_expression::Expression;
use muster_model::{Key, Slot, Value};
use muster_store::Store as _;

use super::world::{DAY, Fault, KILLED, World};
use crate::rules::{EndDay, LifecycleRules, Limit, MatchRule};
use crate::{Clock as _, CommitPoint, CycleOptions, EngineError, Report};

/// Histories in an ordinary test run; `cargo xtask chaos` tries more.
const SEEDS: u64 = 40;

/// The name in a row that is there before its person.
const BEFORE: &str = "Was there before";

/// What the login begins with in a row that is there before its person and has only the name in common.
const OLD: &str = "old";

/// Cycles after which everything must have come to rest.
const REST: usize = 16;

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub(super) fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() {
            return None;
        }
        of.get(usize::try_from(self.below(of.len() as u64)).unwrap())
    }
}

/// A person as the model has it.
#[derive(Debug, Clone)]
struct Person {
    mail: String,
    name: String,
    active: bool,
    removed: Option<Removal>,
    /// From when until when there is access.
    hired: Option<i64>,
    leaves: Option<i64>,
    /// The former record of somebody who was hired again.
    is_former: bool,
    /// Gave a mail to somebody else, who waits for it if the giver's row never lets go of it.
    gave: bool,
}

impl Person {
    fn new(mail: String, name: String) -> Self {
        Self { mail, name, active: true, removed: None, hired: None, leaves: None, is_former: false, gave: false }
    }

    fn has_left(&self, now: i64) -> bool {
        self.leaves.is_some_and(|end| end <= now)
    }

    fn has_access(&self, now: i64) -> bool {
        self.active && !self.has_left(now) && self.hired.is_none_or(|start| start <= now)
    }
}

fn date(time: Option<i64>) -> Slot {
    let Some(time) = time else { return Slot::Null };
    Slot::text(&DateTime::from_timestamp_millis(time).unwrap().to_rfc3339_opts(SecondsFormat::Millis, true))
}

struct History {
    seed: u64,
    dice: Dice,
    /// A second rule matches by name.
    by_name: bool,
    world: World,
    people: BTreeMap<String, Person>,
    /// Rows that are nobody's: (key, name).
    foreign: Vec<(i64, String)>,
    /// What happened, to be read when it went wrong.
    story: Vec<String>,
    next: u32,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let open = Limit { percent: 100.0, min: 100_000, max: None };
        world.rules.guard.delete = open;
        world.rules.guard.disable = open;
        world.rules.guard.missing = open;
        world.merged_together = if dice.one_in(2) { 1 } else { 4_000 };
        world.blind_after = if dice.one_in(3) { 500 } else { 1 };
        let mut some = |days: i64| if dice.one_in(2) { Some(days * DAY) } else { None };
        let (create_before, delete_after) = (some(5), some(10));
        world.rules.lifecycle = Some(LifecycleRules {
            starts: Expression::parse("[hired]").ok(),
            ends: Expression::parse("[leaves]").ok(),
            create_before,
            delete_after,
            time_zone: chrono_tz::Tz::UTC,
            end_day: EndDay::Included,
        });
        // Who is not found by the mail may be found by name.
        let by_name = dice.one_in(3);
        if dice.one_in(3) {
            world.target.login_is_key.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        if by_name {
            let name = Expression::parse("[name]").unwrap();
            world.rules.matching.push(MatchRule::one(name, "name"));
        }
        Self { seed, dice, by_name, world, people: BTreeMap::new(), foreign: Vec::new(), story: Vec::new(), next: 0 }
    }

    fn tell(&mut self, what: String) {
        self.story.push(what);
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn ids(&self, wanted: impl Fn(&Person) -> bool) -> Vec<String> {
        self.people.iter().filter(|(_, person)| wanted(person)).map(|(id, _)| id.clone()).collect()
    }

    /// Somebody new at the source, whose mail nobody has.
    fn join(&mut self, mail: Option<String>) {
        let number = self.number();
        let id = format!("p{number:03}");
        let mail = mail.unwrap_or_else(|| format!("m{number}@x"));
        let name = format!("N{number}");
        self.tell(format!("{id} joins with {mail}"));
        self.world.source.person(&id, &name, &mail);
        self.people.insert(id, Person::new(mail, name));
    }

    fn change(&mut self) {
        let live = self.ids(|person| person.removed.is_none() && !person.is_former);
        let Some(id) = self.dice.pick(&live).cloned() else { return self.join(None) };
        let number = self.number();
        let person = self.people.get_mut(&id).unwrap();
        let most = if person.gave { 6 } else { 10 };
        let told = match self.dice.below(most) {
            0 | 1 => {
                person.name = format!("N{number}");
                self.world.source.set(&id, "name", Slot::text(&person.name));
                format!("{id} is called {}", person.name)
            }
            2 => {
                person.mail = format!("m{number}@x");
                self.world.source.set(&id, "mail", Slot::text(&person.mail));
                format!("{id} gets {}", person.mail)
            }
            3 => return self.hand_on(&id),
            4 => {
                person.active = !person.active;
                self.world.source.set(&id, "active", Slot::One(Value::Boolean(person.active)));
                format!("{id} is active: {}", person.active)
            }
            5 => {
                // Refused at the target, and healed by the next change.
                self.world.source.set(&id, "name", Slot::text("a name of more than twenty letters"));
                self.world.source.set(&id, "mail", Slot::Null);
                format!("{id} has a name that does not fit and no mail")
            }
            6 | 7 => {
                person.removed = Some(Removal::Soft);
                self.world.source.remove(&id, Removal::Soft);
                format!("{id} is removed softly")
            }
            8 => {
                person.removed = Some(Removal::Hard);
                self.world.source.remove(&id, Removal::Hard);
                format!("{id} is gone for good")
            }
            _ => {
                let mail = person.mail.clone();
                let key = self.world.target.people().iter().position(|(login, _, _)| *login == mail);
                format!("{id} stays ({})", if key.is_some() { "with a row" } else { "without a row" })
            }
        };
        self.tell(told);
    }

    /// Somebody gets another mail, and another person the former one.
    fn hand_on(&mut self, id: &str) {
        let others = self.ids(|person| person.removed.is_none() && !person.is_former);
        let Some(other) = self.dice.pick(&others).filter(|other| *other != id).cloned() else { return };
        let number = self.number();
        let giver = self.people.get_mut(id).unwrap();
        giver.gave = true;
        let former = std::mem::replace(&mut giver.mail, format!("m{number}@x"));
        self.world.source.set(id, "mail", Slot::text(&format!("m{number}@x")));
        self.world.source.set(&other, "mail", Slot::text(&former));
        self.tell(format!("{id} gets m{number}@x, and {other} gets {former}"));
        self.people.get_mut(&other).unwrap().mail = former;
    }

    /// A start or an end is set, moved or taken away.
    fn redate(&mut self) {
        let live = self.ids(|person| person.removed.is_none() && !person.is_former);
        let Some(id) = self.dice.pick(&live).cloned() else { return self.join(None) };
        let now = self.world.clock.now();
        let days = i64::try_from(self.dice.below(40)).unwrap() - 15;
        let time = if self.dice.one_in(4) { None } else { Some(now + days * DAY) };
        let is_start = self.dice.one_in(2);
        let attribute = if is_start { "hired" } else { "leaves" };
        if self.dice.one_in(8) {
            // Nothing to go by, until all is well again.
            self.world.source.set(&id, attribute, Slot::text("soon"));
            return self.tell(format!("{id} has no date in {attribute}"));
        }
        let person = self.people.get_mut(&id).unwrap();
        *if is_start { &mut person.hired } else { &mut person.leaves } = time;
        self.world.source.set(&id, attribute, date(time));
        self.tell(format!("{id} has {attribute} {:?} days from now", time.map(|_| days)));
    }

    /// A leaver by date is hired again under another id, and the former record stays.
    fn hire_again(&mut self) {
        let now = self.world.clock.now();
        // Whose own row does not have the mail yet could not have it beside another one.
        let logins: BTreeSet<String> = self.world.target.people().into_iter().map(|(login, _, _)| login).collect();
        let left = self.ids(|person| {
            person.removed.is_none() && !person.is_former && person.has_left(now) && logins.contains(&person.mail)
        });
        let Some(id) = self.dice.pick(&left).cloned() else { return self.redate() };
        let former = self.people.get_mut(&id).unwrap();
        former.is_former = true;
        let (mail, end) = (former.mail.clone(), date(former.leaves));
        self.world.source.set(&id, "mail", Slot::text(&mail));
        self.world.source.set(&id, "leaves", end);
        self.tell(format!("{id} is hired again, and the former record stays"));
        self.join(Some(mail));
    }

    /// A removed person comes back, with the same id or, rehired, with another one.
    fn come_back(&mut self) {
        let soft = self.ids(|person| person.removed == Some(Removal::Soft));
        if let Some(id) = self.dice.pick(&soft).cloned() {
            let person = self.people.get_mut(&id).unwrap();
            let (name, mail) = (person.name.clone(), person.mail.clone());
            *person = Person::new(mail.clone(), name.clone());
            self.world.source.person(&id, &name, &mail);
            return self.tell(format!("{id} is restored"));
        }
        let hard = self.ids(|person| person.removed == Some(Removal::Hard));
        if let Some(id) = self.dice.pick(&hard).cloned()
            && let Some(gone) = self.people.remove(&id)
        {
            self.tell(format!("{id} is hired again under another id"));
            self.join(Some(gone.mail));
        }
    }

    /// Somebody else writes into the target.
    fn foreign(&mut self) {
        let number = self.number();
        if self.dice.one_in(2) {
            let key = self.world.target.insert(&format!("root{number}@x"), "Root");
            self.foreign.push((key, "Root".to_owned()));
            self.tell(format!("row {key} belongs to nobody"));
        } else {
            let mail = format!("m{number}@x");
            // The person's own number is the next one.
            let (login, name) = match self.by_name && self.dice.one_in(2) {
                true => (format!("{OLD}{number}@x"), format!("N{}", number + 1)),
                false => (mail.clone(), BEFORE.to_owned()),
            };
            let key = self.world.target.insert(&login, &name);
            self.tell(format!("row {key} with {login}, {name} is there before its person"));
            self.join(Some(mail));
        }
    }

    fn trouble(&mut self) {
        let times = usize::try_from(1 + self.dice.below(3)).unwrap();
        let fault = match self.dice.below(7) {
            0 => Some(Fault::LostAnswers(times)),
            1 => Some(Fault::Down(times)),
            2 => Some(Fault::Later(times)),
            3 => Some(Fault::Silent(times)),
            _ => None,
        };
        if let Some(fault) = fault {
            self.tell(format!("the target: {fault:?}"));
            self.world.fault(fault);
        }
        if self.dice.one_in(6) {
            let expired = if self.dice.one_in(2) { Expired::Cursor } else { Expired::Watermark };
            self.tell(format!("the source forgets the {expired}"));
            self.world.source.state.lock().unwrap().expire.push(expired);
        }
        if self.dice.one_in(3) {
            let point = *self.dice.pick(&CommitPoint::ALL).unwrap();
            let passing = usize::try_from(1 + self.dice.below(3)).unwrap();
            let with_power = self.dice.one_in(3);
            let told = if with_power { ", and the power fails" } else { "" };
            self.tell(format!("a kill at passing {passing} of {point}{told}"));
            *self.world.killer.0.lock().unwrap() = Some((point, passing));
            self.world.killer.1.lock().unwrap().fails = with_power;
        }
    }

    async fn run(&mut self) -> Option<Result<Report, EngineError>> {
        let options = match self.dice.below(6) {
            0 => CycleOptions { full: true, ..CycleOptions::default() },
            1 => CycleOptions { reconcile: true, ..CycleOptions::default() },
            _ => CycleOptions::default(),
        };
        let engine = self.world.engine().await;
        match std::panic::AssertUnwindSafe(engine.cycle(&self.world.rules, &options)).catch_unwind().await {
            Ok(result) => {
                let told = match &result {
                    Ok(report) => format!("{options:?} ends with {:?}", super::world::numbers(report)),
                    Err(error) => format!("{options:?} ends with {error}"),
                };
                self.tell(told);
                Some(result)
            }
            Err(payload) => {
                self.check(payload.downcast_ref::<&str>() == Some(&KILLED), "the engine panicked by itself");
                self.tell("killed".to_owned());
                None
            }
        }
    }

    fn check(&self, holds: bool, promise: &str) {
        if !holds {
            let people: Vec<String> = self.people.iter().map(|(id, person)| format!("{id} {person:?}")).collect();
            let rows: Vec<String> = self.world.target.people().iter().map(|row| format!("{row:?}")).collect();
            panic!(
                "seed {seed}: {promise}\nreplay with: cargo xtask chaos --first {seed} --seeds 1\n\nwhat happened:\n  {}\n\n\
                 the model:\n  {}\n\nthe target:\n  {}",
                self.story.join("\n  "),
                people.join("\n  "),
                rows.join("\n  "),
                seed = self.seed
            );
        }
    }

    /// What must hold at any moment, whatever went wrong.
    fn invariants(&self) {
        let rows = self.world.target.state.lock().unwrap().rows.clone();
        for (key, name) in &self.foreign {
            let kept = rows.get(key).is_some_and(|row| {
                row.get("name") == Some(&Slot::text(name))
                    && row.get("extra") == Some(&Slot::text("not ours"))
                    && row.get("enabled") == Some(&Slot::One(Value::Boolean(true)))
            });
            self.check(kept, &format!("the foreign row {key} is as it was"));
        }
        let logins: BTreeSet<String> = rows.values().map(|row| format!("{:?}", row.get("login"))).collect();
        self.check(logins.len() == rows.len(), "no login is there twice");
    }

    /// A cycle while nothing goes wrong.
    async fn undisturbed(&self) -> Report {
        let engine = self.world.engine().await;
        let ended = engine.cycle(&self.world.rules, &CycleOptions::default()).await;
        self.check(ended.is_ok(), &format!("an undisturbed cycle ends well: {ended:?}"));
        ended.unwrap()
    }

    /// Everything that went wrong is over: the target must come to equal the mapped source, and rest.
    async fn settle(&mut self) {
        *self.world.killer.0.lock().unwrap() = None;
        self.world.target.state.lock().unwrap().faults.clear();
        self.world.source.state.lock().unwrap().expire.clear();
        for id in self.ids(|person| person.removed.is_none()) {
            let person = self.people.get(&id).unwrap();
            self.world.source.set(&id, "name", Slot::text(&person.name));
            self.world.source.set(&id, "mail", Slot::text(&person.mail));
            self.world.source.set(&id, "hired", date(person.hired));
            self.world.source.set(&id, "leaves", date(person.leaves));
        }
        self.tell("all is well again".to_owned());
        for _ in 0..REST {
            // Longer than any pause between attempts.
            self.world.wait(2 * 3_600_000);
            let report = self.undisturbed().await;
            self.tell(format!("then {:?}", super::world::numbers(&report)));
            if super::world::numbers(&report) == [0; 11] {
                return;
            }
        }
        let store = self.world.store().await;
        let (_, sync) = store.sync_names().await.unwrap().remove(0);
        for parked in store.parked(sync, 10).await.unwrap() {
            let key = Key::decode(&parked.anchor).unwrap();
            self.tell(format!("{key} is parked: {} {:?} {:?}", parked.rule, parked.attribute, parked.message));
        }
        self.check(false, "everything comes to rest");
    }

    fn equals_the_model(&self) {
        let rows: BTreeMap<String, (String, bool)> =
            self.world.target.people().into_iter().map(|(login, name, on)| (login, (name, on))).collect();
        let mut expected: BTreeSet<String> = self.foreign.iter().map(|(key, _)| self.login(*key)).collect();
        let now = self.world.clock.now();
        let before = self.world.rules.lifecycle.as_ref().and_then(|dates| dates.create_before).unwrap_or(i64::MAX);
        for person in self.people.values().filter(|person| person.removed.is_none() && !person.is_former) {
            let found = rows.get(&person.mail);
            let is_far_off = person.hired.is_some_and(|start| start.saturating_sub(before) > now);
            if person.has_left(now) || is_far_off {
                // There or not, by what was before; without access at any rate.
                let is_off = found.is_none_or(|(_, enabled)| !enabled);
                self.check(is_off, &format!("{} has no access outside its dates, and not {found:?}", person.mail));
                continue;
            }
            expected.insert(person.mail.clone());
            self.check(
                found == Some(&(person.name.clone(), person.has_access(now))),
                &format!("{} is at the target as at the source, and not {found:?}", person.mail),
            );
        }
        for (login, (name, on)) in rows.iter().filter(|(login, _)| !expected.contains(*login)) {
            // Whose person went before anybody was linked to it is nobody's, as before.
            let untouched = name == BEFORE || login.starts_with(OLD);
            self.check(!on || untouched, &format!("{login} is nobody's any more, so it is disabled"));
        }
    }

    fn login(&self, key: i64) -> String {
        let state = self.world.target.state.lock().unwrap();
        state.rows.get(&key).and_then(|row| row.get("login")?.value().map(ToString::to_string)).unwrap_or_default()
    }
}

impl History {
    /// The next dates come, one after the other, and nothing else: each is kept at its moment, by one cycle.
    async fn keeps_dates(&mut self) {
        for _ in 0..3 {
            let now = self.world.clock.now();
            let live = self.people.values().filter(|person| person.removed.is_none() && !person.is_former);
            let next = live.flat_map(|person| [person.hired, person.leaves]).flatten().filter(|time| *time > now).min();
            let Some(next) = next else { return };
            for time in [next - 1, next] {
                self.world.wait((time - self.world.clock.now()).max(0));
                let report = self.undisturbed().await;
                self.tell(format!("{} until a date: {:?}", next - time, super::world::numbers(&report)));
                self.invariants();
                self.equals_the_model();
            }
        }
    }
}

async fn history(seed: u64) {
    let mut history = History::new(seed);
    for _ in 0..3 + history.dice.below(10) {
        for _ in 0..history.dice.below(7) {
            match history.dice.below(13) {
                0..=2 => history.join(None),
                3 => history.come_back(),
                4 => history.foreign(),
                5 | 6 => history.redate(),
                7 => history.hire_again(),
                _ => history.change(),
            }
        }
        history.trouble();
        if history.dice.one_in(4) {
            let days = i64::try_from(history.dice.below(45)).unwrap();
            history.tell(format!("{days} days pass"));
            history.world.wait(days * DAY);
        }
        history.run().await;
        history.invariants();
    }
    history.settle().await;
    history.invariants();
    history.equals_the_model();
    // A full read and a look at every row of the target find nothing to do.
    for options in [
        CycleOptions { full: true, ..CycleOptions::default() },
        CycleOptions { reconcile: true, ..CycleOptions::default() },
    ] {
        let engine = history.world.engine().await;
        let report = engine.cycle(&history.world.rules, &options).await.unwrap();
        history
            .check(super::world::numbers(&report) == [0; 11], &format!("{options:?} finds nothing to do: {report:?}"));
    }
    history.keeps_dates().await;
}

pub(super) fn given(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn random_histories_end_as_the_model_says() {
    let first = given("MUSTER_CHAOS_FIRST", 1);
    for seed in first..first + given("MUSTER_CHAOS_SEEDS", SEEDS) {
        history(seed).await;
    }
}
