//! What the service and its log are told.

use super::{Files, SAMPLE, settings};
use crate::{LogFormat, LogLevel};

#[test]
fn the_service_listens_here_unless_told_otherwise() {
    let listen = |text: &str| settings(&[("muster.toml", &format!("{text}\n{SAMPLE}"))], &[]).service.listen;
    assert_eq!(listen("").unwrap().to_string(), "127.0.0.1:9750");
    assert_eq!(listen("service = {}").unwrap().to_string(), "127.0.0.1:9750");
    assert_eq!(listen("service.listen = \"[::1]:80\"").unwrap().to_string(), "[::1]:80");
    assert_eq!(listen("service.listen = \"off\""), None);
    let environment = [("MUSTER_SERVICE__LISTEN", "0.0.0.0:9"), ("MUSTER_SERVICE_HOST", "10.0.0.1")];
    let settings = settings(&[("muster.toml", SAMPLE)], &environment);
    assert_eq!(settings.service.listen.unwrap().to_string(), "0.0.0.0:9");
}

#[test]
fn the_log_has_a_form_and_a_level() {
    let text = format!("log = {{ format = \"json\", level = \"debug\" }}\n{SAMPLE}");
    let log = settings(&[("muster.toml", &text)], &[]).log;
    assert_eq!((log.format, log.level), (Some(LogFormat::Json), Some(LogLevel::Debug)));
    assert_eq!(settings(&[("muster.toml", SAMPLE)], &[]).log, crate::LogSettings::default());
}

#[test]
fn a_sync_runs_by_one_calendar_or_period() {
    let by = |text: &str| SAMPLE.replacen("every = \"5m\"", text, 1);
    let staff = settings(&[("muster.toml", &by("schedule = \"0 6 * * 1-5\""))], &[]).syncs.remove(0);
    assert_eq!((staff.every, staff.schedule.unwrap().to_string().as_str()), (None, "0 6 * * 1-5"));
    let refused = |text: &str, expected: &str| {
        let found = Files::new(&[("muster.toml", &by(text))]).load(&[]).unwrap_err();
        assert!(found.len() == 1 && found[0].contains(expected), "{found:#?}");
    };
    refused(
        "every = \"5m\"\nschedule = \"0 6 * * *\"",
        "muster.toml:21: syncs.staff.schedule: `every` stands here too",
    );
    refused(
        "schedule = \"0 6 * *\"",
        "syncs.staff.schedule: this is no schedule: it has 4 fields and not five; write the five fields of cron",
    );
    let found = Files::new(&[("muster.toml", &format!("service.listen = \"here\"\n{SAMPLE}"))]).load(&[]).unwrap_err();
    assert_eq!(
        found,
        [
            "muster.toml:1: service.listen: this is no address to listen on; write an IP address and a port, such as \"127.0.0.1:9750\", or \"off\""
        ]
    );
}
