//! Random histories against the model, as many as asked for.

use std::process::Command;

use anyhow::bail;

/// Runs the engine's histories for these seeds, and the killed program for as many kills.
pub(crate) fn run(first: u64, seeds: u64) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["test", "--package", "muster-engine", "--lib", "--", "--nocapture", "random_histories"])
        .env("MUSTER_CHAOS_FIRST", first.to_string())
        .env("MUSTER_CHAOS_SEEDS", seeds.to_string())
        .env("RUST_BACKTRACE", "0")
        .status()?;
    if !status.success() {
        bail!("a history did not end as the model says; the seed is named above");
    }
    Ok(())
}
