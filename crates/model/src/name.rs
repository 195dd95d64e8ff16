//! The nearest known name, for messages about unknown ones.

/// The candidate most like `name`, when one is near enough to be a plausible slip of the pen.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    // A name longer than this is no typing error, and the distance would cost its square.
    if wanted.chars().count() > 100 {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 200)
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| {
            let length = wanted.chars().count().max(candidate.chars().count());
            *distance == 0 || *distance <= length / 3
        })
        .map(|(_, candidate)| candidate)
}

/// Damerau–Levenshtein distance with adjacent transpositions.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let mut previous = None;
    for (row, letter) in one.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, &candidate) in other.iter().enumerate() {
            let substitution = last[column] + usize::from(letter != candidate);
            let mut best = substitution.min(last[column + 1] + 1).min(current[column] + 1);
            if column > 0 && Some(candidate) == previous && Some(&letter) == other.get(column - 1) {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        previous = Some(letter);
        before_last = std::mem::replace(&mut last, current);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_of_the_pen_only() {
        let known = ["displayName", "employeeId", "mail"];
        assert_eq!(nearest("displayname", known), Some("displayName"));
        assert_eq!(nearest("dispalyName", known), Some("displayName"));
        assert_eq!(nearest("employeID", known), Some("employeeId"));
        assert_eq!(nearest("mial", known), Some("mail"));
        assert_eq!(nearest("costCenter", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
