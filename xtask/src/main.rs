//! What the project does with itself. `cargo xtask` lists the tasks.

mod bench;
mod chaos;
mod connectors;
mod expressions;
mod fuzz;
mod generate;
mod reference;

use std::io::Write as _;

use anyhow::bail;

/// The program's own, so that a connector that is measured in this process runs as it does there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "\
cargo xtask generate [--check]
    writes the files that are made from the code: the JSON Schema of the configuration,
    the tables of its reference, and the reference of expressions; with --check it only says which of them are out of date

cargo xtask bench [USERS ...]
    measures a full sync, a delta of 1 % and an idle delta into PostgreSQL and SQLite, beside the raw
    best of the same rows in the same run; without numbers for 10000 and 100000 users

cargo xtask bench groups [MEMBERS ...]
    measures a group of many members, filled and changed; without a number for 100000

cargo run --release --package xtask -- bench apply [ROWS ...]
    measures writing alone: rows in memory through the SQL connector beside the raw best of each engine through the
    same driver, SQL Server where MUSTER_TEST_SQLSERVER_URL names one; without a number for 100000

cargo run --release --package xtask -- bench ldap [PEOPLE ...]
    measures writing into directories alone, beside ldapmodify on as many connections; without a number for 10000

cargo xtask expressions
    measures how long 15 typical mappings take for an object on one core; build it with --release

cargo xtask chaos [--seeds NUMBER] [--first SEED]
    random histories, faults and kills against a model that knows nothing of the engine, 500 without
    a number; a seed that fails is named with the command that replays it

cargo xtask fuzz [--seconds NUMBER] [--seed NUMBER] [--count NUMBER] [--target NAME]
    inputs that nobody would write, 30 seconds for each target without a number; an input that does harm is
    named with the command that replays it
";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut output = std::io::stdout().lock();
    match arguments.as_slice() {
        ["generate"] => generate::write(&mut output),
        ["generate", "--check"] => generate::check(),
        ["bench", "groups", members @ ..] => {
            let members = members.iter().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
            bench::groups::run(if members.is_empty() { &[100_000] } else { &members }, &mut output)
        }
        ["bench", "apply", rows @ ..] => {
            let rows = rows.iter().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
            bench::apply::run(if rows.is_empty() { &[100_000] } else { &rows }, &mut output)
        }
        ["bench", "ldap", people @ ..] => {
            let people = people.iter().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
            bench::ldap::run(if people.is_empty() { &[10_000] } else { &people }, &mut output)
        }
        ["bench", users @ ..] => {
            let users = users.iter().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
            bench::run(if users.is_empty() { &[10_000, 100_000] } else { &users }, &mut output)
        }
        ["expressions"] => expressions::measure(&mut output),
        ["chaos", options @ ..] => {
            let (mut first, mut seeds) = (1, 500);
            for option in options.chunks(2) {
                match option {
                    ["--seeds", number] => seeds = number.parse()?,
                    ["--first", number] => first = number.parse()?,
                    other => bail!("unknown option {:?}\n\n{USAGE}", other.join(" ")),
                }
            }
            chaos::run(first, seeds)
        }
        ["fuzz", options @ ..] => fuzzed(options, &mut output),
        [] | ["help" | "--help" | "-h"] => Ok(output.write_all(USAGE.as_bytes())?),
        other => bail!("unknown task {:?}\n\n{USAGE}", other.join(" ")),
    }
}

fn fuzzed(options: &[&str], output: &mut dyn std::io::Write) -> anyhow::Result<()> {
    let mut wanted = fuzz::Options { time: std::time::Duration::from_secs(30), seed: 1, count: u64::MAX, target: None };
    for option in options.chunks(2) {
        match option {
            ["--seconds", number] => wanted.time = std::time::Duration::from_secs(number.parse()?),
            ["--seed", number] => wanted.seed = number.parse()?,
            ["--count", number] => wanted.count = number.parse()?,
            ["--target", name] => wanted.target = Some((*name).to_owned()),
            other => bail!("unknown option {:?}\n\n{USAGE}", other.join(" ")),
        }
    }
    for (target, tried) in fuzz::run(&wanted)? {
        writeln!(output, "{target}: {tried} inputs did no harm")?;
    }
    Ok(())
}
