//! Random histories of people who refer to one another, through removals and restores, faults, kills and what others
//! do at the target. In the end everybody's ties are what the source says.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use muster_connector::Expired;
use muster_connector::page::Removal;
use muster_model::{Slot, Value};

use super::chaos::{Dice, given};
use super::references::{assert_alike, world};
use super::world::{DAY, Fault, KILLED, World};
use crate::{CommitPoint, CycleOptions};

const SEEDS: u64 = 25;

/// Cycles after which everything must have come to rest.
const REST: usize = 12;

struct History {
    dice: Dice,
    world: World,
    story: Vec<String>,
    known: Vec<String>,
    binned: BTreeSet<String>,
    next: u32,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut world = world();
        let open = crate::Limit { percent: 100.0, min: 100_000, max: None };
        world.rules.guard.delete = open;
        world.rules.guard.disable = open;
        world.rules.guard.missing = open;
        world.rules.guard.member_removal = open;
        world.rules.guard.clear = open;
        world.rules.removal.hard = dice.one_in(2).then_some(crate::Removal::Delete);
        world.rules.removal.grace = 0;
        world.merged_together = if dice.one_in(2) { 1 } else { 4_000 };
        Self { dice, world, story: Vec::new(), known: Vec::new(), binned: BTreeSet::new(), next: 0 }
    }

    fn live(&self) -> Vec<String> {
        self.world.source.state.lock().unwrap().people.keys().cloned().collect()
    }

    fn step(&mut self) {
        let live = self.live();
        let (one, other) = (self.dice.pick(&live).cloned(), self.dice.pick(&live).cloned());
        let (Some(one), Some(other)) = (one, other) else { return self.join() };
        let attribute = if self.dice.one_in(3) { "manager" } else { "friends" };
        let told = match self.dice.below(10) {
            0 | 1 => return self.join(),
            2..=4 => {
                self.world.source.refer(&one, attribute, &other);
                format!("{one} {attribute} + {other}")
            }
            5 => {
                self.world.source.refer_no_more(&one, attribute, &other);
                format!("{one} {attribute} - {other}")
            }
            6 => {
                let words = ["x", "y", "z"];
                let roles = words.iter().filter(|_| self.dice.one_in(2)).map(|word| Value::text(word)).collect();
                self.world.source.set(&one, "phones", Slot::many(roles));
                format!("{one} has other roles")
            }
            7 => {
                self.world.source.remove(&one, Removal::Soft);
                self.binned.insert(one.clone());
                format!("{one} goes to the recycle bin")
            }
            8 => {
                self.world.source.remove(&one, Removal::Hard);
                format!("{one} is gone")
            }
            _ => {
                let Some(back) = self.binned.pop_first() else { return };
                self.world.source.person(&back, "P", &format!("{back}@x"));
                self.world.source.set(&back, "phones", Slot::Null);
                // Whoever was in the recycle bin during a full read was not listed, nor were their ties.
                let ties = self.world.source.state.lock().unwrap().references.clone();
                for (from, attribute, to) in ties.iter().filter(|(from, _, to)| [from, to].contains(&&back)) {
                    self.world.source.refer(from, attribute, to);
                }
                format!("{back} comes back")
            }
        };
        self.story.push(told);
    }

    fn join(&mut self) {
        self.next += 1;
        let id = format!("p{:03}", self.next);
        self.world.source.person(&id, "P", &format!("{id}@x"));
        self.known.push(id.clone());
        self.story.push(format!("{id} joins"));
    }

    /// Somebody takes values out of a row.
    fn meddle(&mut self) {
        let mut state = self.world.target.state.lock().unwrap();
        let keys: Vec<i64> = state.rows.keys().copied().collect();
        let Some(key) = self.dice.pick(&keys) else { return };
        state.rows.get_mut(key).unwrap().remove("friends");
        self.story.push(format!("row {key} loses its friends"));
    }

    fn trouble(&mut self) {
        let times = usize::try_from(1 + self.dice.below(2)).unwrap();
        let fault = match self.dice.below(6) {
            0 => Some(Fault::LostAnswers(times)),
            1 => Some(Fault::Down(times)),
            2 => Some(Fault::Later(times)),
            3 => Some(Fault::Silent(times)),
            _ => None,
        };
        if let Some(fault) = fault {
            self.story.push(format!("the target: {fault:?}"));
            self.world.fault(fault);
        }
        if self.dice.one_in(6) {
            let expired = if self.dice.one_in(2) { Expired::Cursor } else { Expired::Watermark };
            self.world.source.state.lock().unwrap().expire.push(expired);
        }
        if self.dice.one_in(3) {
            let point = *self.dice.pick(&CommitPoint::ALL).unwrap();
            let passing = usize::try_from(1 + self.dice.below(3)).unwrap();
            let with_power = self.dice.one_in(3);
            let told = if with_power { ", and the power fails" } else { "" };
            self.story.push(format!("a kill at passing {passing} of {point}{told}"));
            *self.world.killer.0.lock().unwrap() = Some((point, passing));
            self.world.killer.1.lock().unwrap().fails = with_power;
        }
    }

    async fn run(&mut self) {
        let options = match self.dice.below(6) {
            0 => CycleOptions { full: true, ..CycleOptions::default() },
            1 => CycleOptions { reconcile: true, ..CycleOptions::default() },
            _ => CycleOptions::default(),
        };
        let engine = self.world.engine().await;
        match std::panic::AssertUnwindSafe(engine.cycle(&self.world.rules, &options)).catch_unwind().await {
            Ok(Ok(report)) => self.story.push(format!("{options:?}: {:?}", super::world::numbers(&report))),
            Ok(Err(error)) => self.story.push(format!("{options:?}: {error}")),
            Err(payload) => {
                assert_eq!(payload.downcast_ref::<&str>(), Some(&KILLED), "the engine panicked by itself");
                self.story.push("killed".to_owned());
            }
        }
    }

    async fn rest(&mut self) {
        *self.world.killer.0.lock().unwrap() = None;
        self.world.target.state.lock().unwrap().faults.clear();
        self.world.source.state.lock().unwrap().expire.clear();
        for round in 0..REST {
            self.world.wait(2 * 3_600_000);
            // What others took away is found only by asking.
            let options = CycleOptions { reconcile: round == 0, ..CycleOptions::default() };
            let report = self.world.engine().await.cycle(&self.world.rules, &options).await.unwrap();
            self.story.push(format!("at rest: {:?}", super::world::numbers(&report)));
            if round > 1 && !report.changed_target() && report.unknown + report.waiting == 0 {
                return;
            }
        }
        panic!("it finds no peace");
    }
}

async fn history(seed: u64) {
    let mut history = History::new(seed);
    for _ in 0..8 {
        for _ in 0..=history.dice.below(6) {
            history.step();
        }
        if history.dice.one_in(5) {
            history.meddle();
        }
        if history.dice.one_in(2) {
            history.trouble();
        }
        history.run().await;
        history.world.wait(if history.dice.one_in(4) { DAY } else { 60_000 });
    }
    history.rest().await;
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_alike(&history.world))) {
        eprintln!(
            "seed {seed}; replay with: cargo xtask chaos --first {seed} --seeds 1\n  {}",
            history.story.join("\n  ")
        );
        std::panic::resume_unwind(payload);
    }
}

#[tokio::test]
async fn random_ties_end_as_the_source_says() {
    let first = given("MUSTER_CHAOS_FIRST", 1);
    for seed in first..first + given("MUSTER_CHAOS_SEEDS", SEEDS) {
        if let Err(payload) = std::panic::AssertUnwindSafe(history(seed)).catch_unwind().await {
            eprintln!("seed {seed} failed; replay with: cargo xtask chaos --first {seed} --seeds 1");
            std::panic::resume_unwind(payload);
        }
    }
}
