//! What the checks found: as text for a person, as JSON, and as JUnit's XML for a CI server.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::all;

/// What all checks found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One for each check and object type, in the order performed.
    pub results: Vec<CheckResult>,
}

/// What one check found on one object type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's id.
    pub id: String,
    /// The object type; none where the check concerns the connection.
    pub object_type: Option<String>,
    /// What was found.
    #[serde(flatten)]
    pub status: Status,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// The contract is kept.
    Passed,
    /// What the connector declares makes the check pointless, or the subject lacks what it needs.
    NotApplicable {
        /// Why.
        why: String,
    },
    /// The contract is broken.
    Failed {
        /// What was expected and what happened.
        problem: String,
        /// The calls that led to it and their answers, without secrets.
        transcript: Vec<String>,
    },
}

impl Report {
    /// Whether no check failed and at least one passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().next().is_none() && self.results.iter().any(|result| result.status == Status::Passed)
    }

    /// How many passed, failed and did not apply, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let passed = self.results.iter().filter(|one| one.status == Status::Passed).count();
        let failed = self.failed().count();
        let pointless = self.results.len().saturating_sub(passed + failed);
        format!("{passed} passed, {failed} failed, {pointless} not applicable")
    }

    /// What failed.
    pub fn failed(&self) -> impl Iterator<Item = &CheckResult> {
        self.results.iter().filter(|result| matches!(result.status, Status::Failed { .. }))
    }

    /// Whether the check failed on any type.
    #[must_use]
    pub fn has_failed(&self, id: &str) -> bool {
        self.failed().any(|result| result.id == id)
    }

    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts and lists only, which JSON can always hold.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The report as JUnit's XML, one suite, a case for each check and object type.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let skipped = self.results.iter().filter(|one| matches!(one.status, Status::NotApplicable { .. })).count();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuite name=\"muster connector\" tests=\"{}\" failures=\"{}\" skipped=\"{skipped}\">\n",
            self.results.len(),
            self.failed().count()
        );
        for result in &self.results {
            let class = result.object_type.as_deref().unwrap_or("connection");
            let head = format!("  <testcase classname=\"{}\" name=\"{}\"", escaped(class), escaped(&result.id));
            xml += &match &result.status {
                Status::Passed => format!("{head}/>\n"),
                Status::NotApplicable { why } => {
                    format!("{head}><skipped message=\"{}\"/></testcase>\n", escaped(why))
                }
                Status::Failed { problem, transcript } => format!(
                    "{head}><failure message=\"{}\">{}</failure></testcase>\n",
                    escaped(problem),
                    escaped(&transcript.join("\n"))
                ),
            };
        }
        xml + "</testsuite>\n"
    }
}

/// What XML 1.0 can hold of a text.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\n' => safe.push('\n'),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other if other < ' ' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

impl fmt::Display for CheckResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.object_type.as_ref().map_or(String::new(), |name| format!(" ({name})"));
        match &self.status {
            Status::Passed => write!(formatter, "passed          {}{on}", self.id),
            Status::NotApplicable { why } => write!(formatter, "not applicable  {}{on}: {why}", self.id),
            Status::Failed { problem, transcript } => {
                write!(formatter, "FAILED          {}{on}: {problem}", self.id)?;
                if let Some(check) = all().find(|check| check.id == self.id) {
                    write!(formatter, "\n    the contract: {}", check.sentence)?;
                    write!(formatter, "\n    otherwise: {}", check.reason)?;
                }
                transcript.iter().try_for_each(|line| write!(formatter, "\n    {line}"))
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.results.iter().try_for_each(|result| writeln!(formatter, "{result}"))?;
        writeln!(formatter, "{}", self.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let result = |id: &str, status| CheckResult { id: id.to_owned(), object_type: Some("a<b".to_owned()), status };
        let failed =
            Status::Failed { problem: "\"x\" & \u{1}".to_owned(), transcript: vec!["get -> <none>".to_owned()] };
        Report {
            results: vec![
                result("trip.delete", failed),
                result("trip.find", Status::Passed),
                result("trip.list", Status::NotApplicable { why: "no list".to_owned() }),
            ],
        }
    }

    #[test]
    fn reports_are_told_in_three_ways() {
        let report = report();
        assert!(!report.passed());
        let text = report.to_string();
        assert!(text.contains("FAILED          trip.delete (a<b)") && text.contains("the contract: "), "{text}");
        assert!(text.ends_with("1 passed, 1 failed, 1 not applicable\n"), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).unwrap(), report);
        let xml = report.to_junit();
        assert!(xml.contains("tests=\"3\" failures=\"1\" skipped=\"1\""), "{xml}");
        assert!(xml.contains("message=\"&quot;x&quot; &amp; \u{fffd}\">get -&gt; &lt;none&gt;</failure>"), "{xml}");
        assert!(!Report::default().passed(), "no check at all is no success");
    }
}
