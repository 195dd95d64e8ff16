//! The calls of a check and their answers, without secrets and of bounded length.

use muster_connector::{ExposeSecret as _, SecretString};

const LINES: usize = 16;
const LENGTH: usize = 600;

#[derive(Debug, Default)]
pub(crate) struct Transcript {
    lines: Vec<String>,
    left_out: usize,
    /// Where a planted secret appeared in an answer.
    pub(crate) leaks: Vec<String>,
}

impl Transcript {
    pub(crate) fn add(&mut self, call: &str, answer: &str, secrets: &[(String, SecretString)]) {
        for (path, secret) in secrets {
            if answer.contains(secret.expose_secret()) {
                self.leaks.push(format!("the secret of setting `{path}` stands in the answer to {call}"));
            }
        }
        if self.lines.len() == LINES {
            self.lines.remove(0);
            self.left_out += 1;
        }
        // Hidden before it is shortened, so that no half of a secret stays.
        let (call, answer) = (redacted(call, secrets), redacted(answer, secrets));
        self.lines.push(format!("{} -> {}", shortened(&call), shortened(&answer)));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let left_out = (self.left_out > 0).then(|| format!("({} earlier calls are left out)", self.left_out));
        left_out.into_iter().chain(self.lines.iter().cloned()).collect()
    }
}

pub(crate) fn redacted(text: &str, secrets: &[(String, SecretString)]) -> String {
    let hide = |text: String, (_, secret): &(String, SecretString)| match secret.expose_secret() {
        "" => text,
        plain => text.replace(plain, "(secret)"),
    };
    secrets.iter().fold(text.to_owned(), hide)
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LENGTH {
        return text.to_owned();
    }
    text.chars().take(LENGTH).chain(" …".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_are_bounded_and_hold_no_secret() {
        let secrets = [("password".to_owned(), SecretString::from("hunter2"))];
        let mut transcript = Transcript::default();
        for number in 0..40 {
            transcript.add(&format!("call {number}"), &format!("hunter2 {}", "é".repeat(2_000)), &secrets);
        }
        let lines = transcript.lines();
        assert_eq!((lines.len(), transcript.leaks.len()), (LINES + 1, 40));
        assert!(lines.iter().all(|line| line.chars().count() < 2 * LENGTH && !line.contains("hunter2")));
    }
}
