//! The measurements in Prometheus's text form. Labels are names of the configuration and a few fixed words, so that
//! their number is bounded.

use std::fmt::Write as _;

use super::board::{Standing, SyncStanding};

/// The words for how a cycle ended, in the order of [`SyncStanding::cycles`].
pub(crate) const OUTCOMES: [&str; 3] = ["ok", "failed", "stopped"];

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").ok();
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Everything that is measured.
pub(crate) fn text(standing: &Standing) -> String {
    let mut page = Page(String::new());
    page.head("muster_info", "gauge", "This program.");
    page.sample("muster_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.head("muster_cycles_total", "counter", "Cycles that ended, by how.");
    for (name, sync) in &standing.syncs {
        for (outcome, number) in OUTCOMES.iter().zip(sync.cycles) {
            page.sample("muster_cycles_total", &[("sync", name), ("outcome", outcome)], number);
        }
    }
    page.head("muster_cycle_seconds", "summary", "How long cycles took.");
    for (name, sync) in &standing.syncs {
        page.sample("muster_cycle_seconds_sum", &[("sync", name)], sync.seconds);
        page.sample("muster_cycle_seconds_count", &[("sync", name)], sync.cycles.iter().sum::<u64>());
    }
    page.head("muster_operations_total", "counter", "What was done at the target, by kind.");
    for (name, sync) in &standing.syncs {
        for (kind, number) in &sync.operations {
            page.sample("muster_operations_total", &[("sync", name), ("kind", kind)], number);
        }
    }
    page.head("muster_source_pages_total", "counter", "Pages read from a source.");
    for (connection, (pages, _)) in &standing.read {
        page.sample("muster_source_pages_total", &[("connection", connection)], pages);
    }
    page.head("muster_source_objects_total", "counter", "Entries read from a source.");
    for (connection, (_, objects)) in &standing.read {
        page.sample("muster_source_objects_total", &[("connection", connection)], objects);
    }
    type Gauge = (&'static str, &'static str, fn(&SyncStanding) -> u64);
    let gauges: [Gauge; 7] = [
        ("muster_linked", "Linked and enabled.", |sync| sync.counts.linked),
        ("muster_disabled", "Linked and disabled.", |sync| sync.counts.disabled),
        ("muster_parked", "Refused, and waiting for a change or a person.", |sync| sync.counts.parked),
        ("muster_held", "Held by the guard.", |sync| sync.counts.held),
        ("muster_dirty", "Still to be evaluated.", |sync| sync.counts.dirty),
        ("muster_failing", "1 while the sync fails.", |sync| u64::from(sync.failing.is_some())),
        ("muster_paused", "1 while the sync is paused.", |sync| u64::from(sync.paused.is_some())),
    ];
    for (gauge, help, value) in gauges {
        page.head(gauge, "gauge", help);
        for (name, sync) in &standing.syncs {
            page.sample(gauge, &[("sync", name)], value(sync));
        }
    }
    page.head("muster_last_success_timestamp_seconds", "gauge", "When a cycle ended well.");
    for (name, sync) in &standing.syncs {
        if let Some(last) = sync.last_success {
            page.sample("muster_last_success_timestamp_seconds", &[("sync", name)], last as f64 / 1_000.0);
        }
    }
    page.head("muster_state_writable", "gauge", "0 when the state could not be written.");
    page.sample("muster_state_writable", &[], u8::from(standing.state.is_none()));
    if let Some(bytes) = resident_memory() {
        page.head("process_resident_memory_bytes", "gauge", "Memory that this process holds.");
        page.sample("process_resident_memory_bytes", &[], bytes);
    }
    page.head("process_start_time_seconds", "gauge", "When this process started.");
    page.sample("process_start_time_seconds", &[], standing.started / 1_000);
    page.0
}

/// As Linux tells it; elsewhere nothing.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_sample_or_a_comment_and_each_name_stands_once() {
        let sync = SyncStanding {
            last_success: Some(1_500),
            cycles: [3, 1, 0],
            operations: [("create", 5)].into(),
            ..SyncStanding::default()
        };
        let mut standing =
            Standing { syncs: [("a".to_owned(), sync.clone()), ("b".to_owned(), sync)].into(), ..Standing::default() };
        standing.read.insert("entra".to_owned(), (2, 900));
        let text = text(&standing);
        let mut kinds = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(kinds.insert(rest.split(' ').next().unwrap().to_owned()), "{rest} stands twice");
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                let name = name.split('{').next().unwrap();
                let base = name.trim_end_matches("_sum").trim_end_matches("_count");
                assert!(kinds.contains(base), "{line} has no type");
            }
        }
        for line in [
            "muster_cycles_total{sync=\"a\",outcome=\"failed\"} 1",
            "muster_operations_total{sync=\"b\",kind=\"create\"} 5",
            "muster_source_objects_total{connection=\"entra\"} 900",
            "muster_last_success_timestamp_seconds{sync=\"a\"} 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
        assert_eq!(escaped("a\"b\\\n"), "a\\\"b\\\\\\n");
    }
}
