//! Merging a page of entries into what was known: pure, and the same however often or in which order entries come.

use std::collections::HashMap;

use muster_connector::page::Removal;
use muster_connector::{Change, Entry};
use muster_model::pack::{pack_row, pack_slots, unpack_row};
use muster_model::{AttributeId, PackError, Row, Slot};
use muster_store::records::ObjectsByAnchor;
use muster_store::{EdgeWrite, ObjectId, ObjectWrite, Removed, SourceTypeId};

/// What merging must know of the round.
#[derive(Debug)]
pub struct MergeContext<'a> {
    /// The attributes being read, in the order of the rows.
    pub ids: &'a [AttributeId],
    /// Which of them are references: the ids of the types they may name, and whether they are single-valued.
    pub references: &'a [Option<ReferenceAttribute>],
    /// The round is a full read with this generation; `None` in a delta.
    pub full: Option<i64>,
    /// Now, in milliseconds since 1970.
    pub now: i64,
}

/// A reference attribute being read.
#[derive(Debug, Clone)]
pub struct ReferenceAttribute {
    /// The types it may name.
    pub types: HashMap<String, SourceTypeId>,
    /// It holds one reference at most.
    pub single: bool,
    /// Its changes appear in the type's delta.
    pub in_changes: bool,
}

/// A merged page.
#[derive(Debug, Default)]
pub struct Merged {
    /// The objects to write, each once.
    pub objects: Vec<ObjectWrite>,
    /// The references to write.
    pub edges: Vec<EdgeWrite>,
    /// Of these attributes of these objects `edges` holds every reference.
    pub complete: Vec<(Vec<u8>, AttributeId)>,
}

/// What is known of an object's state after the entries so far.
enum State<'a> {
    /// Nothing but what is stored.
    Stored,
    /// What one entry said, and null where it said nothing.
    Read(&'a Row),
    Merged(Row),
}

struct Working<'a> {
    known: Option<ObjectId>,
    state: State<'a>,
    packed: Option<Vec<u8>>,
    seen: bool,
    removed: Removed,
    removed_since: Option<i64>,
    changed: bool,
}

/// Merges entries into the stored objects of their anchors.
///
/// # Errors
/// A stored state is damaged.
pub fn merge(context: &MergeContext<'_>, entries: &[Entry], stored: &ObjectsByAnchor) -> Result<Merged, PackError> {
    let mut merged = Merged::default();
    let mut positions: HashMap<Vec<u8>, usize> = HashMap::with_capacity(entries.len());
    let mut working: Vec<(Vec<u8>, Working<'_>)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let anchor = entry.key.encode();
        let position = match positions.get(&anchor) {
            Some(position) => *position,
            None => {
                let known = stored.get(&anchor);
                // The removal of what was never seen says nothing: legal in a first round. So do references of an object
                // that came into being while it was read around.
                let tells_nothing = matches!(entry.change, Change::Removed(_) | Change::Same);
                if tells_nothing && known.is_none_or(|object| object.state.is_none()) {
                    continue;
                }
                let prior = Working {
                    known: known.map(|object| object.id),
                    state: State::Stored,
                    packed: known.and_then(|object| object.state.clone()),
                    seen: known
                        .is_some_and(|object| context.full.is_none_or(|generation| object.generation >= generation)),
                    removed: known.map_or(Removed::No, |object| object.removed),
                    removed_since: known.and_then(|object| object.removed_since),
                    changed: false,
                };
                positions.insert(anchor.clone(), working.len());
                working.push((anchor.clone(), prior));
                working.len() - 1
            }
        };
        if let Some((_, object)) = working.get_mut(position) {
            absorb(context, object, &entry.change)?;
        }
        // In a full read an object's references may come in pieces, and what is not repeated goes with the sweep.
        if context.full.is_none() && matches!(entry.change, Change::Whole(_)) {
            merged.edges.retain(|edge| edge.anchor != anchor);
            let references = context.ids.iter().zip(context.references).filter(|(_, reference)| reference.is_some());
            merged.complete.extend(references.map(|(id, _)| (anchor.clone(), *id)));
        }
        collect_edges(context, &anchor, entry, &mut merged.edges);
    }
    for (anchor, object) in working {
        let packed = match &object.state {
            State::Stored => None,
            State::Read(row) => Some(pack_slots(context.ids, slots_read(context, row))),
            State::Merged(row) => Some(pack_row(context.ids, row)),
        };
        let state_changed = packed.is_some() && packed != object.packed;
        merged.objects.push(ObjectWrite {
            known: object.known,
            anchor,
            state: packed.filter(|_| state_changed),
            removed: object.removed,
            removed_since: object.removed_since,
            changed: state_changed || object.changed,
            came_or_went: object.known.is_some() && object.changed,
        });
    }
    Ok(merged)
}

fn absorb<'a>(context: &MergeContext<'_>, object: &mut Working<'a>, change: &'a Change) -> Result<(), PackError> {
    let (row, whole) = match change {
        Change::Removed(removal) => {
            let removed = match removal {
                Removal::Soft => Removed::Soft,
                Removal::Hard => Removed::Hard,
            };
            // What is gone for good does not come back into the recycle bin by a replayed page.
            let later = !(object.removed == Removed::Hard && removed == Removed::Soft);
            if object.removed != removed && later {
                object.removed = removed;
                object.removed_since = Some(context.now);
                object.changed = true;
            }
            return Ok(());
        }
        Change::Same => {
            object.seen = true;
            return Ok(());
        }
        Change::Whole(row) => (row, true),
        Change::Partial(row) => (row, false),
    };
    let base = match (&mut object.state, &object.packed) {
        _ if whole => None,
        (State::Merged(row), _) => Some(std::mem::take(row)),
        (State::Read(row), _) => Some(Row(slots_read(context, row).cloned().collect())),
        // In a full read the first sight replaces; a purged object that appears again is a new one.
        (State::Stored, Some(packed)) if object.seen && object.removed != Removed::Hard => {
            Some(unpack_row(context.ids, packed)?)
        }
        (State::Stored, _) => None,
    };
    object.state = match base {
        None => State::Read(row),
        Some(base) => {
            let slots = (0..context.ids.len()).map(|position| match row.slot(position) {
                Slot::Unknown => base.slot(position).clone(),
                known => known.clone(),
            });
            State::Merged(Row(slots.collect()))
        }
    };
    object.seen = true;
    if object.removed != Removed::No {
        object.removed = Removed::No;
        object.removed_since = None;
        object.changed = true;
    }
    Ok(())
}

/// A reference leaves its slot unknown and so it becomes null, which says that it is being read; where it leads stands
/// in rows of their own.
fn slots_read<'a>(context: &MergeContext<'_>, row: &'a Row) -> impl Iterator<Item = &'a Slot> + Clone {
    (0..context.ids.len()).map(|position| match row.slot(position) {
        Slot::Unknown => &Slot::Null,
        known => known,
    })
}

fn collect_edges(context: &MergeContext<'_>, anchor: &[u8], entry: &Entry, edges: &mut Vec<EdgeWrite>) {
    if matches!(entry.change, Change::Removed(_)) {
        return;
    }
    for edge in &entry.edges {
        let Some(Some(reference)) = context.references.get(edge.attribute) else { continue };
        let (Some(id), Some(referenced_type)) =
            (context.ids.get(edge.attribute), reference.types.get(edge.object_type.as_ref()))
        else {
            continue;
        };
        edges.push(EdgeWrite {
            anchor: anchor.to_vec(),
            attribute: *id,
            referenced_type: *referenced_type,
            referenced: edge.referenced.encode(),
            removed: edge.removed,
            single: reference.single,
        });
    }
}

#[cfg(test)]
mod tests {
    use muster_connector::page::EdgeChange;
    use muster_model::Key;
    use muster_store::StoredObject;

    use super::*;

    const IDS: [AttributeId; 2] = [AttributeId(1), AttributeId(2)];

    fn context(full: Option<i64>) -> MergeContext<'static> {
        MergeContext { ids: &IDS, references: &[None, None], full, now: 1_000 }
    }

    fn entry(change: Change) -> Entry {
        Entry { key: Key::text("a"), change, edges: Vec::new() }
    }

    fn row(name: Slot, mail: Slot) -> Row {
        Row(vec![name, mail])
    }

    fn known(row: &Row, generation: i64, removed: Removed) -> ObjectsByAnchor {
        let object = StoredObject {
            id: ObjectId(1),
            generation,
            removed,
            removed_since: (removed != Removed::No).then_some(5),
            state: Some(pack_row(&IDS, row)),
        };
        [(Key::text("a").encode(), object)].into()
    }

    fn after(
        context: &MergeContext<'_>,
        entries: &[Entry],
        stored: &ObjectsByAnchor,
    ) -> Option<(Option<Row>, Removed, bool)> {
        let merged = merge(context, entries, stored).unwrap();
        let object = merged.objects.first()?;
        assert_eq!(merged.objects.len(), 1);
        let state = object.state.as_ref().map(|packed| unpack_row(&IDS, packed).unwrap());
        Some((state, object.removed, object.changed))
    }

    #[test]
    fn a_partial_entry_keeps_the_rest() {
        let stored = known(&row(Slot::text("A"), Slot::text("a@x")), 1, Removed::No);
        let change = entry(Change::Partial(row(Slot::Unknown, Slot::Null)));
        let expected = row(Slot::text("A"), Slot::Null);
        assert_eq!(after(&context(None), &[change], &stored), Some((Some(expected), Removed::No, true)));
    }

    #[test]
    fn the_first_sight_in_a_full_read_replaces_and_later_ones_merge() {
        let stored = known(&row(Slot::text("A"), Slot::text("a@x")), 1, Removed::No);
        let first = entry(Change::Partial(row(Slot::text("B"), Slot::Unknown)));
        let second = entry(Change::Partial(row(Slot::Unknown, Slot::text("b@x"))));
        let once = row(Slot::text("B"), Slot::Null);
        assert_eq!(
            after(&context(Some(2)), std::slice::from_ref(&first), &stored),
            Some((Some(once), Removed::No, true))
        );
        let both = row(Slot::text("B"), Slot::text("b@x"));
        assert_eq!(after(&context(Some(2)), &[first, second.clone()], &stored), Some((Some(both), Removed::No, true)));
        let seen = known(&row(Slot::text("B"), Slot::Null), 2, Removed::No);
        let merged = row(Slot::text("B"), Slot::text("b@x"));
        assert_eq!(after(&context(Some(2)), &[second], &seen), Some((Some(merged), Removed::No, true)));
    }

    #[test]
    fn what_is_whole_in_a_delta_names_all_references() {
        let referring = |to: &str| {
            let (object_type, referenced) = ("user".into(), Key::text(to));
            let edges = vec![EdgeChange { attribute: 1, object_type, referenced, removed: false }];
            Entry { edges, ..entry(Change::Whole(row(Slot::text("A"), Slot::Unknown))) }
        };
        let types = HashMap::from([("user".to_owned(), SourceTypeId(1))]);
        let references = [None, Some(ReferenceAttribute { types, single: false, in_changes: true })];
        let context = |full| MergeContext { references: &references, ..context(full) };
        let pages = [referring("x"), referring("y")];
        let merged = merge(&context(None), &pages, &ObjectsByAnchor::new()).unwrap();
        assert_eq!(merged.complete, vec![(Key::text("a").encode(), IDS[1]); 2]);
        let named: Vec<_> = merged.edges.iter().map(|edge| edge.referenced.clone()).collect();
        assert_eq!(named, [Key::text("y").encode()]);
        // A full read may bring them in pieces.
        let merged = merge(&context(Some(2)), &pages, &ObjectsByAnchor::new()).unwrap();
        assert_eq!((merged.edges.len(), merged.complete.len()), (2, 0));
    }

    #[test]
    fn replays_change_nothing() {
        let same = row(Slot::text("A"), Slot::Null);
        let stored = known(&same, 1, Removed::No);
        let replay = entry(Change::Partial(same));
        assert_eq!(after(&context(None), &[replay.clone(), replay], &stored), Some((None, Removed::No, false)));
    }

    #[test]
    fn removals_come_go_and_never_soften() {
        let state = row(Slot::text("A"), Slot::Null);
        let soft = entry(Change::Removed(Removal::Soft));
        let hard = entry(Change::Removed(Removal::Hard));
        let present = known(&state, 1, Removed::No);
        assert_eq!(after(&context(None), std::slice::from_ref(&soft), &present), Some((None, Removed::Soft, true)));
        assert_eq!(
            after(&context(None), std::slice::from_ref(&soft), &known(&state, 1, Removed::Soft)),
            Some((None, Removed::Soft, false))
        );
        assert_eq!(
            after(&context(None), std::slice::from_ref(&soft), &known(&state, 1, Removed::Hard)),
            Some((None, Removed::Hard, false))
        );
        assert_eq!(after(&context(None), &[soft.clone(), hard], &present), Some((None, Removed::Hard, true)));
        assert_eq!(after(&context(None), std::slice::from_ref(&soft), &ObjectsByAnchor::new()), None);
        // Restored with one attribute only: the rest is as it was. Purged and made again: the rest is null.
        let back = entry(Change::Partial(row(Slot::Unknown, Slot::text("m"))));
        let restored = row(Slot::text("A"), Slot::text("m"));
        let anew = row(Slot::Null, Slot::text("m"));
        assert_eq!(
            after(&context(None), std::slice::from_ref(&back), &known(&state, 1, Removed::Soft)),
            Some((Some(restored), Removed::No, true))
        );
        assert_eq!(
            after(&context(None), &[back], &known(&state, 1, Removed::Hard)),
            Some((Some(anew), Removed::No, true))
        );
    }
}
