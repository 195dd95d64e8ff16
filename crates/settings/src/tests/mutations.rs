//! Thousands of damaged configurations: none makes the loader panic, and every complaint names file and line.

use super::{Files, SAMPLE, write};
use crate::{Environment, Place, load};

/// A small generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (limit.max(1) as u64)).unwrap()
    }
}

const TOKENS: [&str; 24] = [
    "\"", "'", "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "#", "\n", "\\", "true", "-1", "1e999", "0x", "nan", "å",
    "\u{0}", "\"\"\"", "{}", "[]",
];

fn damage(text: &str, numbers: &mut Numbers) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(lines.len());
        match numbers.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = numbers.below(lines.len());
                lines.swap(at, other);
            }
            3 => {
                let token = TOKENS[numbers.below(TOKENS.len())];
                let letters: Vec<char> = lines[at].chars().collect();
                let (before, after) = letters.split_at(numbers.below(letters.len() + 1));
                lines[at] = format!("{}{token}{}", before.iter().collect::<String>(), after.iter().collect::<String>());
            }
            4 => {
                let mut words: Vec<&str> = lines[at].split(' ').collect();
                words.remove(numbers.below(words.len()));
                lines[at] = words.join(" ");
            }
            _ => {
                let mut words: Vec<String> = lines[at].split(' ').map(str::to_owned).collect();
                let word = numbers.below(words.len());
                words[word] = TOKENS[numbers.below(TOKENS.len())].to_owned();
                lines[at] = words.join(" ");
            }
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    lines.join("\n")
}

#[test]
fn damaged_files_are_refused_with_file_and_line() {
    let files = Files::new(&[("muster.toml", SAMPLE)]);
    let path = files.path();
    let connectors = super::connectors();
    let environment = Environment::default();
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    let mut refused = 0;
    for _ in 0..4_000 {
        let text = damage(SAMPLE, &mut numbers);
        write(&path, text.as_bytes());
        let Err(problems) = load(&path, &environment, &connectors) else { continue };
        refused += 1;
        assert!(problems.iter().count() > 0);
        for problem in &problems {
            let lines = text.split('\n').count();
            let named = matches!(&problem.place, Place::Line { file, line, column }
                if **file == *path && (1..=lines).contains(line) && *column > 0);
            assert!(named, "{problem}\n{text}");
            assert!(!problem.problem.is_empty() && !problem.fix.is_empty(), "{problem:?}");
        }
    }
    assert!((2_000..4_000).contains(&refused), "{refused}");
}
