//! The log, on standard error.

use std::io::IsTerminal as _;

use muster_settings::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;

/// Starts the log. What it holds follows `MUSTER_LOG`, such as `info` or `muster_engine=debug`, else the settings of
/// the service, else it is what is odd; its form follows `MUSTER_LOG_FORMAT`, else the settings, else it is for people.
pub(crate) fn start(service: Option<LogSettings>) {
    let level = service.map_or("warn", |log| log.level.unwrap_or_default().name());
    let filter = EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let named = std::env::var("MUSTER_LOG_FORMAT").ok();
    let format = match named.as_deref() {
        Some("json") => LogFormat::Json,
        Some("text") => LogFormat::Text,
        _ => service.and_then(|log| log.format).unwrap_or_default(),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    if let Some(other) = named.filter(|name| !matches!(name.as_str(), "json" | "text" | "")) {
        tracing::warn!(value = other, "MUSTER_LOG_FORMAT is \"json\" or \"text\"");
    }
}
