//! A service that runs while a test looks at it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Program;

/// `muster run`, logging as JSON.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    address: String,
}

/// Longer than anything here should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

impl Running {
    /// Starts the service and waits until it answers.
    pub(crate) async fn start(program: &Program, name: &str) -> Self {
        Self::launch(program, program.command(&["run"]), name).await
    }

    /// The same, within limits that a shell sets, such as `ulimit -n 64`.
    pub(crate) async fn start_limited(program: &Program, limits: &str, name: &str) -> Self {
        Self::launch(program, program.limited(limits, &["run"]), name).await
    }

    async fn launch(program: &Program, mut command: Command, name: &str) -> Self {
        let log = program.path(name);
        let mut child = command
            .env("MUSTER_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let mut running = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            let said = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let address = said
                .filter(|line| line["message"] == "health and metrics")
                .find_map(|line| line["address"].as_str().map(str::to_owned));
            if let Some(address) = address {
                break Self { child, log, address };
            }
            assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "it does not run:\n{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        running.until("the service is ready", async |running| running.log().contains("muster runs")).await;
        running
    }

    /// Waits for something to come true.
    pub(crate) async fn until(&mut self, what: &str, is_true: impl AsyncFn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_true(self).await {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{what}: the service ended ({status})\n{}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "{what} does not come true\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Where it answers by HTTP.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks it by HTTP.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Its health.
    pub(crate) fn health(&self) -> (u16, Value) {
        let (code, body) = self.get("/health");
        (code, serde_json::from_str(&body).unwrap())
    }

    /// One measurement; missing ones count as zero.
    pub(crate) fn measured(&self, sample: &str) -> f64 {
        let (code, body) = self.get("/metrics");
        assert_eq!(code, 200);
        let line = body.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it as a supervisor would, and returns all it has logged.
    pub(crate) fn end(mut self) -> String {
        self.signal("TERM");
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
