//! The time zone that calendars follow: a name that this machine does not know would be taken for UTC in silence.

use std::path::{Path, PathBuf};

use muster_settings::Settings;

/// Where systems keep their time zones.
const FOLDERS: [&str; 4] = ["/usr/share/zoneinfo", "/share/zoneinfo", "/etc/zoneinfo", "/usr/share/lib/zoneinfo"];

/// What is wrong with the variable `TZ`, where a sync has a schedule that depends on it.
pub(crate) fn problem(settings: &Settings) -> Option<String> {
    settings.syncs.iter().find(|sync| sync.schedule.is_some())?;
    unknown(std::env::var("TZ").ok().as_deref(), Path::is_file)
}

fn unknown(zone: Option<&str>, is_file: impl Fn(&Path) -> bool) -> Option<String> {
    let zone = zone?;
    let name = zone.strip_prefix(':').unwrap_or(zone);
    let is_found = match Path::new(name) {
        path if path.is_absolute() => is_file(path),
        _ => FOLDERS.iter().any(|folder| is_file(&PathBuf::from(folder).join(name))),
    };
    if name.is_empty() || is_found || is_rule(name) || ["UTC", "GMT"].contains(&name) {
        return None;
    }
    Some(format!(
        "the variable TZ is {zone:?}, which this machine does not know, so schedules run by UTC; write a name such as \
         \"Europe/Berlin\", and see that the system's time zones are installed (the package tzdata)"
    ))
}

/// Whether it is a zone spelled out, such as `CET-1CEST,M3.5.0,M10.5.0/3`: a name and its distance from UTC.
/// Source: POSIX, Base Definitions, chapter 8.3.
fn is_rule(text: &str) -> bool {
    let rest = match text.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((name, rest)) if name.len() >= 3 => rest,
        _ => {
            let rest = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
            if text.len() - rest.len() < 3 {
                return false;
            }
            rest
        }
    };
    rest.trim_start_matches(['+', '-']).starts_with(|digit: char| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_this_machine_does_not_know_is_told() {
        let installed = |path: &Path| {
            ["/usr/share/zoneinfo/Europe/Berlin", "/srv/zone"].iter().any(|known| path == Path::new(known))
        };
        let good = ["Europe/Berlin", ":Europe/Berlin", "/srv/zone", "", "UTC", "CET-1CEST,M3.5.0,M10.5.0/3", "<+03>-3"];
        for zone in good {
            assert_eq!(unknown(Some(zone), installed), None, "{zone}");
        }
        assert_eq!(unknown(None, installed), None);
        for zone in ["Europe/Berln", "Berlin", "/srv/none", "+1", "X1"] {
            let said = unknown(Some(zone), installed).unwrap();
            assert!(said.contains(zone) && said.contains("run by UTC") && said.contains("tzdata"), "{said}");
        }
    }
}
