//! What the log was told already, so that what lasts is said once in a while and not with every cycle.

/// After so long, what lasts is said again, in milliseconds.
const AGAIN: i64 = 3_600_000;

/// The notes of a sync that were logged last, and when.
#[derive(Debug, Default)]
pub(crate) struct Told {
    notes: Vec<(String, i64)>,
}

impl Told {
    /// Those of a cycle's notes that are to be logged now: new ones, and once an hour those that last.
    pub(crate) fn news(&mut self, notes: Vec<String>, now: i64) -> Vec<String> {
        let mut news = Vec::new();
        let told = std::mem::take(&mut self.notes);
        for note in notes {
            let before = told.iter().find(|(known, _)| *known == note).map(|(_, at)| *at);
            match before.filter(|at| now.saturating_sub(*at) < AGAIN) {
                Some(at) => self.notes.push((note, at)),
                None => {
                    news.push(note.clone());
                    self.notes.push((note, now));
                }
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_once_an_hour_and_what_changes_at_once() {
        let mut told = Told::default();
        let held = || vec!["20 held".to_owned()];
        let minutes = [0, 1, 30, 59, 60, 61, 119, 120];
        let said: Vec<usize> = minutes.iter().map(|minute| told.news(held(), minute * 60_000).len()).collect();
        assert_eq!(said, [1, 0, 0, 0, 1, 0, 0, 1]);
        let more = vec!["20 held".to_owned(), "restored".to_owned()];
        assert_eq!(told.news(more, 121 * 60_000), ["restored"]);
        // What was over and comes back is news.
        assert!(told.news(Vec::new(), 122 * 60_000).is_empty());
        assert_eq!(told.news(held(), 123 * 60_000).len(), 1);
    }
}
