//! What became of a rename whose answer was lost: which of the objects under its two keys is the linked one. A key
//! that one object gave up may be another's by then, so the key alone tells nothing.

use std::collections::HashSet;

use muster_connector::FoundObject;
use muster_model::pack::unpack_row;
use muster_model::{Key, Row};
use muster_store::LinkView;

use crate::compile::Compiled;
use crate::error::EngineError;
use crate::identity::spelled_alike;
use crate::prepare::Prepared;

/// What stands under both keys of a rename.
pub(crate) struct BothKeys {
    /// Under the key that it had.
    pub(crate) former: Option<FoundObject>,
    /// Under the key that it was to get.
    pub(crate) renamed: Option<FoundObject>,
    /// Another operation in doubt wanted the key that it had.
    pub(crate) former_is_wanted: bool,
}

/// How sure it is that an object is the one meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Same,
    Other,
    /// Nothing but its key tells it from others, and some value is another.
    Unsure,
}

impl BothKeys {
    /// The linked object. `None` where it is gone or cannot be told from others: the match rules decide then, and
    /// nothing under either key is touched before they do.
    pub(crate) fn linked(
        self,
        prepared: &Prepared,
        view: &LinkView,
        after: &[u8],
    ) -> Result<Option<FoundObject>, EngineError> {
        let known = |packed: &[u8]| unpack_row(&prepared.layout.target, packed);
        let written = known(view.written.as_deref().unwrap_or_default())?;
        let after = if after.is_empty() { written.clone() } else { known(after)? };
        let identities = identities(&prepared.compiled);
        let likeness = |known: &Row, object: &FoundObject| likeness(&prepared.compiled, &identities, known, object);
        Ok(match (self.renamed, self.former) {
            (None, None) => None,
            (Some(renamed), None) => Some(renamed).filter(|renamed| likeness(&after, renamed) != Likeness::Other),
            // What others changed meanwhile makes it no other object, unless somebody was to get its key.
            (None, Some(former)) => {
                Some(former).filter(|former| !self.former_is_wanted || likeness(&written, former) == Likeness::Same)
            }
            (Some(renamed), Some(former)) => match (likeness(&after, &renamed), likeness(&written, &former)) {
                (Likeness::Same, _) => Some(renamed),
                (_, Likeness::Same) => Some(former),
                _ => None,
            },
        })
    }
}

/// The target attributes, apart from the anchor's, that tell an object from others: each set of positions by itself.
fn identities(compiled: &Compiled) -> Vec<Vec<usize>> {
    let anchor = anchor(compiled);
    let position = |name: &String| compiled.target_attributes.iter().position(|known| known == name);
    let rules = (0..compiled.matching.len()).map(|rule| compiled.positions(rule));
    let keys = compiled.target.alternate_keys.iter().filter_map(|key| key.iter().map(position).collect());
    let attributes = compiled.target.attributes.iter().filter(|attribute| attribute.unique);
    let unique = attributes.filter_map(|attribute| Some(vec![position(&attribute.name)?]));
    let all = rules.chain(keys).chain(unique);
    all.filter(|set: &Vec<usize>| !set.is_empty() && !set.iter().any(|one| anchor.contains(one))).collect()
}

fn anchor(compiled: &Compiled) -> HashSet<usize> {
    let names = &compiled.target.anchor.attributes;
    let all = compiled.target_attributes.iter().enumerate();
    all.filter(|(_, name)| names.contains(name)).map(|(position, _)| position).collect()
}

fn likeness(compiled: &Compiled, identities: &[Vec<usize>], known: &Row, object: &FoundObject) -> Likeness {
    let alike = |position: usize| match (known.slot(position).value(), object.row.slot(position).value()) {
        (Some(known), Some(found)) => spelled_alike(known, found),
        _ => false,
    };
    let is_known = |set: &&Vec<usize>| set.iter().all(|position| known.slot(*position).value().is_some());
    let mut telling = identities.iter().filter(is_known).peekable();
    if telling.peek().is_some() {
        let is_same = telling.any(|set| set.iter().all(|position| alike(*position)));
        return if is_same { Likeness::Same } else { Likeness::Other };
    }
    let anchor = anchor(compiled);
    let values = (0..known.0.len()).filter(|position| !anchor.contains(position));
    let mut values = values.filter(|position| known.slot(*position).value().is_some()).peekable();
    if values.peek().is_some() && values.all(alike) { Likeness::Same } else { Likeness::Unsure }
}

/// The keys that operations in doubt were to bring about.
pub(crate) fn wanted(keys: impl Iterator<Item = Key>) -> HashSet<Vec<u8>> {
    keys.map(|key| key.encode()).collect()
}
