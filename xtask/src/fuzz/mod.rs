//! Inputs that nobody would write, by the million: nothing panics, nothing takes long, and what must agree agrees.
//!
//! Every input follows from its number alone, so that whatever fails is replayed by that number. Structure comes from
//! generators that know the grammar, and mutation breaks it.

mod conditions;
mod expressions;
mod files;
mod random;
mod records;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use random::Random;

/// What is tried: makes an input of the random numbers, notes it, and says what is wrong with what became of it.
type Examine = fn(&mut Random, &mut String) -> Result<(), String>;

struct Target {
    name: &'static str,
    about: &'static str,
    examine: Examine,
}

const TARGETS: [Target; 7] = [
    Target {
        name: "parser",
        about: "expressions as texts: printed and read again they are the same",
        examine: expressions::parse,
    },
    Target {
        name: "evaluator",
        about: "expressions on any values: the same twice, and within their bounds",
        examine: expressions::evaluate,
    },
    Target { name: "dates", about: "formats of dates, and texts that may be dates", examine: expressions::dates },
    Target { name: "conditions", about: "conditions of scopes, and any values", examine: conditions::examine },
    Target { name: "settings", about: "configuration files: refused with a place, or read", examine: files::settings },
    Target { name: "pages", about: "what a directory answers, byte by byte", examine: files::pages },
    Target {
        name: "rows",
        about: "packed rows and keys: read and packed again they are the same",
        examine: records::examine,
    },
];

/// Longer than any input may take, on a busy machine and without optimization.
const PATIENCE: Duration = Duration::from_secs(20);

/// How to run.
pub(crate) struct Options {
    /// How long each target is tried.
    pub(crate) time: Duration,
    /// The number of the first input.
    pub(crate) seed: u64,
    /// At most so many inputs for each target.
    pub(crate) count: u64,
    /// One target instead of all.
    pub(crate) target: Option<String>,
}

/// What is being tried, for whoever finds that it does not end.
#[derive(Default)]
struct Trial {
    number: AtomicU64,
    begun: Mutex<Option<Instant>>,
}

/// Tries the targets, one after the other. Returns how many inputs each had.
///
/// # Errors
/// An input that does what it must not, with the command that replays it; or an unknown target.
pub(crate) fn run(options: &Options) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let wanted = |target: &&Target| options.target.as_deref().is_none_or(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    if targets.is_empty() {
        let known: Vec<String> = TARGETS.iter().map(|target| format!("{} ({})", target.name, target.about)).collect();
        bail!("there is no such target; there are: {}", known.join(", "));
    }
    targets.into_iter().map(|target| Ok((target.name, try_one(target, options)?))).collect()
}

fn try_one(target: &'static Target, options: &Options) -> anyhow::Result<u64> {
    let trial = Arc::new(Trial::default());
    let watched = Arc::downgrade(&trial);
    std::thread::spawn(move || {
        while let Some(trial) = watched.upgrade() {
            let begun = trial.begun.lock().ok().and_then(|begun| *begun);
            if begun.is_some_and(|begun| begun.elapsed() > PATIENCE) {
                let number = trial.number.load(Ordering::Relaxed);
                let told = format!("{}: input {number} does not end\n{}\n", target.name, replay(target, number));
                drop(std::io::stderr().write_all(told.as_bytes()));
                // What does not end cannot be asked to.
                std::process::abort();
            }
            drop(trial);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let until = Instant::now() + options.time;
    let mut tried = 0;
    while tried < options.count && (Instant::now() < until || tried == 0) {
        let number = options.seed.wrapping_add(tried);
        trial.number.store(number, Ordering::Relaxed);
        *trial.begun.lock().map_err(|_| anyhow::anyhow!("the watch is broken"))? = Some(Instant::now());
        one(target, number).with_context(|| replay(target, number))?;
        tried += 1;
    }
    Ok(tried)
}

fn one(target: &Target, number: u64) -> anyhow::Result<()> {
    let mut input = String::new();
    let begun = Instant::now();
    let mut random = Random::new(number);
    let ended = catch_unwind(AssertUnwindSafe(|| (target.examine)(&mut random, &mut input)));
    let problem = match ended {
        Ok(Ok(())) if begun.elapsed() > PATIENCE => format!("it took {:?}", begun.elapsed()),
        Ok(Ok(())) => return Ok(()),
        Ok(Err(problem)) => problem,
        Err(_) => "it panicked".to_owned(),
    };
    bail!("{}: {problem}\nthe input: {input}", target.name)
}

fn replay(target: &Target, number: u64) -> String {
    format!("replay with: cargo xtask fuzz --target {} --seed {number} --count 1", target.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries a target for a part of `MUSTER_FUZZ_SECONDS`, 6 without: the whole for what people write expressions
    /// for, a sixth for the rest.
    fn tried(target: &str) {
        let given = std::env::var("MUSTER_FUZZ_SECONDS").ok();
        let given: u32 = given.map_or(6, |text| text.parse().expect("MUSTER_FUZZ_SECONDS is a number of seconds"));
        let share = if matches!(target, "parser" | "evaluator") { 1 } else { 6 };
        let time = Duration::from_secs(given.into()) / share;
        let seed =
            std::env::var("MUSTER_FUZZ_SEED").map_or(1, |text| text.parse().expect("MUSTER_FUZZ_SEED is a number"));
        let options = Options { time, seed, count: u64::MAX, target: Some(target.to_owned()) };
        match run(&options) {
            Ok(tried) => assert!(tried[0].1 > 0),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused() {
        tried("parser");
    }

    #[test]
    fn any_expression_is_evaluated_within_its_bounds() {
        tried("evaluator");
    }

    #[test]
    fn any_condition_is_read_and_answered() {
        tried("conditions");
    }

    #[test]
    fn any_format_of_dates_is_read_or_refused() {
        tried("dates");
    }

    #[test]
    fn any_configuration_is_read_or_refused() {
        tried("settings");
    }

    #[test]
    fn any_answer_of_a_directory_is_read_or_refused() {
        tried("pages");
    }

    #[test]
    fn any_packed_row_is_read_or_refused() {
        tried("rows");
    }

    #[test]
    fn an_input_follows_from_its_number() {
        for target in &TARGETS {
            let input = |number| {
                let mut input = String::new();
                drop((target.examine)(&mut Random::new(number), &mut input));
                input
            };
            assert_eq!(input(7), input(7), "{}", target.name);
            assert_ne!((0..20).map(input).collect::<std::collections::BTreeSet<_>>().len(), 1, "{}", target.name);
        }
    }

    #[test]
    fn a_panic_is_told_with_the_command_that_replays_it() {
        let broken = Target {
            name: "broken",
            about: "",
            examine: |_, input| {
                input.push_str("this one");
                panic!("as it should");
            },
        };
        let error = one(&broken, 5).with_context(|| replay(&broken, 5)).unwrap_err();
        let told = format!("{error:?}");
        assert!(
            told.contains("--target broken --seed 5 --count 1")
                && told.contains("panicked")
                && told.contains("this one")
        );
    }
}
