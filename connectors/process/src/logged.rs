//! What a process writes to standard error: logged at debug within bounds, its last lines kept for a message.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_connector::wire::{Line, Lines};
use muster_connector::{ExposeSecret as _, SecretString};
use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::time::Instant;

use crate::config::Command;

/// The longest line of a log in bytes.
const LINE: usize = 4096;
/// How many of the last lines are kept.
const KEPT: usize = 10;
/// How many lines are logged in a second; the others are counted.
const A_SECOND: u32 = 100;

/// The last lines, without secrets.
#[derive(Clone, Default)]
pub(crate) struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    /// As the end of a message; empty if nothing was written.
    pub(crate) fn told(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return String::new();
        }
        format!("; it said: {}", lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | "))
    }

    fn keep(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// The most bytes that a trial keeps.
const HEARD: usize = 16 << 20;

/// All that a process on trial wrote, as it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn keep(&self, bytes: &[u8]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEARD.saturating_sub(all.len()).min(bytes.len());
        all.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

pub(crate) fn redact(mut text: String, secrets: &BTreeMap<String, SecretString>) -> String {
    // The longest first, so that no rest of one is left where another is part of it.
    let mut known: Vec<&str> = secrets.values().map(SecretString::expose_secret).collect();
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in known.into_iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "(secret)");
    }
    text
}

/// Reads until the end, whatever comes.
pub(crate) async fn follow(mut stderr: ChildStderr, command: Arc<Command>, last: LastLines) {
    let Command { connection, hidden, heard, .. } = command.as_ref();
    let mut lines = Lines::new(LINE);
    let mut buffer = vec![0; 8192];
    let (mut since, mut logged, mut dropped) = (Instant::now(), 0, 0_u64);
    while let Ok(length) = stderr.read(&mut buffer).await {
        // Last words need no line end.
        let is_over = length == 0;
        let bytes = if is_over { b"\n" } else { buffer.get(..length).unwrap_or_default() };
        if let Some(heard) = heard {
            heard.keep(bytes);
        }
        lines.push(bytes);
        while let Some(line) = lines.line() {
            if since.elapsed() > Duration::from_secs(1) {
                if dropped > 0 {
                    tracing::debug!(connection, dropped, "the connector logs more than is kept");
                }
                (since, logged, dropped) = (Instant::now(), 0, 0);
            }
            let text = match line {
                Line::Whole(line) if line.is_empty() => continue,
                Line::Whole(line) => redact(String::from_utf8_lossy(&line).into_owned(), hidden),
                Line::TooLong => "(a line that is too long)".to_owned(),
            };
            if logged < A_SECOND {
                logged += 1;
                tracing::debug!(connection, line = text, "the connector's log");
            } else {
                dropped += 1;
            }
            last.keep(text);
        }
        if is_over {
            break;
        }
    }
}
