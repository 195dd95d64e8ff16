//! Words that several messages share.

use muster_model::nearest;

/// `did you mean "table"?`, or what is known, when nothing is near.
pub(crate) fn did_you_mean(name: &str, known: &[&str], otherwise: &str) -> String {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("did you mean {near:?}?");
    }
    match known {
        [] => otherwise.to_owned(),
        [one] => format!("only {one:?} is known here"),
        _ => format!("known here are {}", quoted(known)),
    }
}

/// `"a", "b" and "c"`.
pub(crate) fn quoted(names: &[&str]) -> String {
    const MOST: usize = 30;
    let (shown, rest) = names.split_at(names.len().min(MOST));
    let shown: Vec<String> = shown.iter().map(|name| format!("{name:?}")).collect();
    match shown.as_slice() {
        [first @ .., last] if rest.is_empty() && !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ if rest.is_empty() => shown.join(", "),
        _ => format!("{} and {} more", shown.join(", "), rest.len()),
    }
}

/// The first sentence of a description, for a short hint.
pub(crate) fn first_sentence(description: &str) -> String {
    let flat = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = flat.split(". ").next().unwrap_or("");
    sentence.trim_end_matches(['.', ':']).to_owned()
}
