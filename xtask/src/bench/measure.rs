//! Running the program, and watching how long it takes and how much memory it needs.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// How long a cycle of the service may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One run of the program.
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) peak_mib: f64,
    pub(super) report: Value,
}

fn command(program: &Path, folder: &Path, secret: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("BENCH_SECRET", secret);
    command
}

/// The most memory that a running process ever had resident, in MiB.
fn peak_mib(process: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1_024.0)
}

/// Runs a sync and watches how much memory the program takes at most.
pub(super) fn sync(program: &Path, folder: &Path, secret: &str, name: &str) -> anyhow::Result<Measured> {
    let started = Instant::now();
    let mut child =
        command(program, folder, secret, &["--output", "json", "sync", name]).stdout(Stdio::piped()).spawn()?;
    let mut peak = 0.0_f64;
    let status = loop {
        peak = peak.max(peak_mib(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let seconds = started.elapsed().as_secs_f64();
    let mut text = String::new();
    child.stdout.take().context("no output")?.read_to_string(&mut text)?;
    if !status.success() {
        bail!("muster sync failed: {text}");
    }
    Ok(Measured { seconds, peak_mib: peak, report: serde_json::from_str(&text)? })
}

/// The program as a service, whose cycles are asked for one by one.
pub(super) struct Service {
    program: PathBuf,
    folder: PathBuf,
    secret: String,
    process: Child,
}

impl Service {
    pub(super) fn start(program: &Path, folder: &Path, secret: &str) -> anyhow::Result<Self> {
        let process = command(program, folder, secret, &["run"]).stderr(Stdio::null()).spawn()?;
        Ok(Self { program: program.to_owned(), folder: folder.to_owned(), secret: secret.to_owned(), process })
    }

    fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = command(&self.program, &self.folder, &self.secret, arguments).output()?;
        if !output.status.success() {
            bail!("muster {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The last run as `status` shows it.
    fn last(&self) -> anyhow::Result<Value> {
        let mut status: Value = serde_json::from_str(&self.ask(&["--output", "json", "status"])?)?;
        let sync = status["syncs"].get_mut(0).context("status knows no sync")?;
        Ok(sync["last_run"].take())
    }

    /// Asks for a cycle, waits for its end, and returns its report.
    pub(super) fn cycle(&mut self) -> anyhow::Result<Value> {
        let before = self.last()?;
        self.ask(&["resume", "staff"])?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            let mut last = self.last()?;
            if last != before && last["outcome"] == "ok" {
                return Ok(last["report"].take());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the service ended with {status}");
            }
            // Asking takes part of the machine that is measured.
            std::thread::sleep(Duration::from_secs(1));
        }
        bail!("no cycle within {} s", PATIENCE.as_secs())
    }

    pub(super) fn peak_mib(&self) -> f64 {
        peak_mib(self.process.id()).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The one in the middle.
pub(super) fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default()
}
