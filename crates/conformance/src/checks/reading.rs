//! A source loses nobody.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use muster_connector::{Change, Cursor, Entry, Error, Expired, Next, Position, ReadRequest, Source, Watermark};
use muster_model::{AssignedBy, Attribute, Changes, Key, Multiplicity, Row, Slot, Value, ValueType};

use crate::bench::{Bench, Verdict, ensure, failed, skipped};
use crate::check::{Check, check};
use crate::subject::World;
use crate::world::ByTarget;

pub(super) const CHECKS: &[Check] = &[
    check!(
        "reading.full",
        Source,
        full,
        "A full read brings every object once, with its values.",
        "People are missing, and the sync deletes their accounts."
    ),
    check!(
        "reading.get",
        Source,
        get,
        "`get` answers in the order of the keys, none where there is none.",
        "One person's values go into another's account."
    ),
    check!(
        "reading.paging_insert",
        Source,
        paging_insert,
        "Objects added between pages push nobody out.",
        "People are missing at random, and the sync deletes their accounts."
    ),
    check!(
        "reading.paging_delete",
        Source,
        paging_delete,
        "Objects removed between pages push nobody out.",
        "People are missing at random, and the sync deletes their accounts."
    ),
    check!(
        "reading.watermark_first",
        Source,
        watermark_first,
        "The watermark is taken before the data.",
        "What changes during a long read is never seen."
    ),
    check!(
        "reading.changes",
        Source,
        changes,
        "A round brings all that was added, changed and, where declared, removed since its watermark.",
        "Changes are lost until somebody complains."
    ),
    check!(
        "reading.chain",
        Source,
        chain,
        "The watermark at the end of a round continues it without a gap.",
        "Changes between two rounds are lost."
    ),
    check!(
        "reading.repeat",
        Source,
        repeat,
        "The same round again brings the same changes.",
        "After a crash the changes of the lost round are lost as well."
    ),
    check!(
        "reading.same_instant",
        Source,
        same_instant,
        "Many changes at the same time are all seen.",
        "A bulk load is read in part."
    ),
    check!(
        "reading.expired",
        Source,
        expired,
        "A watermark that the system has forgotten is answered `expired`.",
        "A long pause silently loses changes."
    ),
    check!(
        "reading.future",
        Source,
        future,
        "A watermark ahead of the system is refused.",
        "After a restore of the source nothing is read any more."
    ),
    check!(
        "reading.foreign_token",
        Source,
        foreign_token,
        "A watermark or cursor that is none is refused.",
        "A damaged state silently reads nothing."
    ),
];

/// What was read, by key: every row that came, in order.
type Rows = BTreeMap<Key, Vec<Row>>;

fn world<'b>(bench: &'b Bench<'b>, by_target: &'b ByTarget<'b>) -> Verdict<&'b dyn World> {
    if let Some(world) = bench.subject.world() {
        return Ok(world);
    }
    let usable = bench.object_type.target.as_ref().is_some_and(|target| target.readable && target.can_delete);
    if usable { Ok(by_target) } else { skipped("the subject offers no way to change what is read") }
}

fn delta<'b>(bench: &'b Bench<'b>) -> Verdict<&'b Changes> {
    let delta = bench.object_type.source.as_ref().and_then(|source| source.changes.as_ref());
    delta.map_or_else(|| skipped("the schema says that the type has no delta"), Ok)
}

fn request(bench: &Bench<'_>) -> ReadRequest {
    bench.request()
}

/// Values of a new object.
fn values(bench: &Bench<'_>) -> Verdict<Vec<(String, Slot)>> {
    if bench.object_type.target.is_some() {
        let row = bench.new_row(&[])?;
        let known = bench.layout.iter().zip(&row.0).filter(|(_, slot)| !slot.is_unknown());
        return Ok(known.map(|(name, slot)| (name.clone(), slot.clone())).collect());
    }
    let generated = bench.object_type.anchor.assigned_by == AssignedBy::System;
    let plain = bench.object_type.attributes.iter().filter(|one| {
        one.unsupported.is_none()
            && one.multiplicity == Multiplicity::Single
            && !one.refers()
            && !(generated && bench.is_key(&one.name))
    });
    Ok(plain.filter_map(|one| Some((one.name.clone(), Slot::One(bench.value(one)?)))).collect())
}

fn changing<'b>(bench: &'b Bench<'b>) -> Verdict<(&'b Attribute, Value, Value)> {
    let is_target = bench.object_type.target.is_some();
    let plain = |one: &&Attribute| {
        one.readable
            && one.in_changes
            && (one.updatable || !is_target)
            && one.unsupported.is_none()
            && one.multiplicity == Multiplicity::Single
            && one.value_type == ValueType::Text
            && !one.refers()
            && !one.unique
            && !bench.is_key(&one.name)
    };
    for attribute in bench.object_type.attributes.iter().filter(plain) {
        if let (Some(first), Some(second)) = (bench.value(attribute), bench.value(attribute)) {
            return Ok((attribute, first, second));
        }
    }
    skipped("no text that is neither key nor unique shows in the delta")
}

async fn insert(bench: &Bench<'_>, world: &dyn World) -> Verdict<Key> {
    let values = values(bench)?;
    let made = world.insert(&bench.object_type.name, &values).await;
    bench.note("(in the system) insert", &format!("{made:?}"));
    let key = made.or_else(|why| failed(format!("the system takes no new object: {why}")))?;
    if bench.subject.world().is_some() && bench.object_type.target.is_some() {
        bench.will_clean(key.clone());
    }
    Ok(key)
}

async fn insert_all(bench: &Bench<'_>, world: &dyn World, number: usize) -> Verdict<Vec<Key>> {
    let objects = (0..number).map(|_| values(bench)).collect::<Verdict<Vec<_>>>()?;
    let made = world.insert_all(&bench.object_type.name, &objects).await;
    bench.note(
        &format!("(in the system) insert {number}"),
        &made.as_ref().map_or_else(String::clone, |_| String::new()),
    );
    let keys = made.or_else(|why| failed(format!("the system takes no new objects: {why}")))?;
    if bench.subject.world().is_some() && bench.object_type.target.is_some() {
        keys.iter().for_each(|key| bench.will_clean(key.clone()));
    }
    Ok(keys)
}

async fn change(bench: &Bench<'_>, world: &dyn World, key: &Key, name: &str, value: &Value) -> Verdict {
    let done = world.change(&bench.object_type.name, key, &[(name.to_owned(), Slot::One(value.clone()))]).await;
    bench.note(&format!("(in the system) change {name} of {key} to {value:?}"), &format!("{done:?}"));
    done.or_else(|why| failed(format!("the system takes no change: {why}")))
}

async fn remove(bench: &Bench<'_>, world: &dyn World, key: &Key) -> Verdict {
    let done = world.remove(&bench.object_type.name, key).await;
    bench.note(&format!("(in the system) remove {key}"), &format!("{done:?}"));
    done.or_else(|why| failed(format!("the system removes nothing: {why}")))
}

fn side(source: Option<&dyn Source>) -> Verdict<&dyn Source> {
    source.map_or_else(|| failed("the type is a source by the schema, but there is no source side"), Ok)
}

type Between<'b> = Box<dyn FnOnce(Vec<Key>) -> BoxFuture<'b, Verdict> + Send + 'b>;

struct Full {
    rows: Rows,
    watermark: Option<Watermark>,
    pages: usize,
}

/// Reads everything; what happens between the first page and the second is told the first page's keys.
async fn read_all(bench: &Bench<'_>, between: Option<Between<'_>>) -> Verdict<Full> {
    let connector = bench.connector().await?;
    let source = side(connector.source())?;
    let request = request(bench);
    let starts_full = delta(bench).is_ok_and(|delta| delta.starts_full);
    let mut between = between;
    let mut full = Full { rows: Rows::new(), watermark: None, pages: 0 };
    let mut cursor: Option<Cursor> = None;
    loop {
        full.pages += 1;
        let mut keys = Vec::new();
        let next = if starts_full {
            let position = cursor.clone().map_or(Position::Start(None), Position::Page);
            let page = source.changes(&request, &position).await;
            bench.note("changes of a full round", &format!("{page:?}"));
            let page = page.or_else(|error| failed(format!("`changes` fails: {error}")))?;
            for entry in page.entries {
                keys.push(entry.key.clone());
                taken(&mut full.rows, entry);
            }
            match page.next {
                Next::Page(next) => Some(next),
                Next::Done(watermark) => {
                    full.watermark = Some(watermark);
                    None
                }
            }
        } else {
            let page = source.read(&request, cursor.as_ref()).await;
            bench.note("read", &format!("{page:?}"));
            let page = page.or_else(|error| failed(format!("`read` fails: {error}")))?;
            if cursor.is_none() {
                full.watermark = page.watermark;
            }
            for object in page.objects.into_iter().filter(|object| !object.continues) {
                keys.push(object.key.clone());
                full.rows.entry(object.key).or_default().push(object.row);
            }
            page.next
        };
        if let Some(between) = between.take() {
            between(keys).await?;
        }
        match next {
            Some(next) if Some(&next) == cursor.as_ref() => {
                return failed("the same cursor comes again: pages without end");
            }
            Some(next) => cursor = Some(next),
            None => return Ok(full),
        }
    }
}

fn taken(rows: &mut Rows, entry: Entry) {
    match entry.change {
        Change::Whole(row) | Change::Partial(row) => rows.entry(entry.key).or_default().push(row),
        Change::Removed(_) => drop(rows.remove(&entry.key)),
        Change::Same => {}
    }
}

/// The entries of a round, in order, and where the next one starts.
async fn round(bench: &Bench<'_>, from: &Watermark) -> Verdict<(Vec<Entry>, Watermark)> {
    let connector = bench.connector().await?;
    let source = side(connector.source())?;
    let mut entries = Vec::new();
    let mut position = Position::Start(Some(from.clone()));
    loop {
        let page = source.changes(&request(bench), &position).await;
        bench.note(&format!("changes {position:?}"), &format!("{page:?}"));
        let page = page.or_else(|error| failed(format!("`changes` fails: {error}")))?;
        entries.extend(page.entries);
        match page.next {
            Next::Done(watermark) => return Ok((entries, watermark)),
            Next::Page(next) if position == Position::Page(next.clone()) => {
                return failed("the same cursor comes again: a round without end");
            }
            Next::Page(next) => position = Position::Page(next),
        }
    }
}

async fn watermark(bench: &Bench<'_>) -> Verdict<Watermark> {
    delta(bench)?;
    let full = read_all(bench, None).await?;
    full.watermark.map_or_else(|| failed("the type has a delta, and a full read brings no watermark"), Ok)
}

fn shows(bench: &Bench<'_>, row: &Row, name: &str, value: &Value) -> bool {
    let position = request(bench).attributes.iter().position(|other| other == name);
    row.slot(position.unwrap_or(usize::MAX)).value() == Some(value)
}

/// Whether the last thing that the round says of the object is this value.
fn ends_with(bench: &Bench<'_>, entries: &[Entry], key: &Key, name: &str, value: &Value) -> bool {
    let mut of = entries.iter().rev().filter(|entry| entry.key == *key);
    of.any(|entry| match &entry.change {
        Change::Whole(row) | Change::Partial(row) => shows(bench, row, name, value),
        Change::Same | Change::Removed(_) => false,
    })
}

async fn full(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let (attribute, value, _) = changing(bench)?;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(insert(bench, world).await?);
    }
    change(bench, world, &keys[0], &attribute.name, &value).await?;
    let read = read_all(bench, None).await?;
    for key in &keys {
        let times = read.rows.get(key).map_or(0, Vec::len);
        ensure(times == 1, || format!("{key} is read {times} times"))?;
    }
    let row = read.rows.get(&keys[0]).and_then(|rows| rows.last());
    ensure(row.is_some_and(|row| shows(bench, row, &attribute.name, &value)), || {
        format!("{} of {} is not read as {value:?}: {row:?}", attribute.name, keys[0])
    })?;
    for key in &keys {
        remove(bench, world, key).await?;
    }
    let read = read_all(bench, None).await?;
    ensure(keys.iter().all(|key| !read.rows.contains_key(key)), || {
        "objects that were removed are still read".to_owned()
    })
}

async fn get(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let (first, gone, last) = (insert(bench, world).await?, insert(bench, world).await?, insert(bench, world).await?);
    remove(bench, world, &gone).await?;
    let connector = bench.connector().await?;
    let answer = side(connector.source())?.get(&request(bench), &[last.clone(), gone, first.clone()]).await;
    bench.note("get", &format!("{answer:?}"));
    let found = answer.or_else(|error| failed(format!("`get` fails: {error}")))?;
    let keys: Vec<Option<&Key>> = found.iter().map(|one| one.as_ref().map(|one| &one.key)).collect();
    ensure(keys == [Some(&last), None, Some(&first)], || format!("`get` answers {keys:?}"))
}

/// As many objects as take more than one page.
async fn several_pages(bench: &Bench<'_>, world: &dyn World) -> Verdict<Vec<Key>> {
    let mut keys = Vec::new();
    for count in [12, bench.options.many] {
        keys.extend(insert_all(bench, world, count.saturating_sub(keys.len())).await?);
        if read_all(bench, None).await?.pages > 1 {
            return Ok(keys);
        }
    }
    skipped(format!("{} objects come in one page", keys.len()))
}

async fn paging_insert(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let keys = several_pages(bench, world).await?;
    let between: Between<'_> = Box::new(move |_| {
        Box::pin(async move {
            for _ in 0..3 {
                insert(bench, world).await?;
            }
            Ok(())
        })
    });
    let read = read_all(bench, Some(between)).await?;
    let missing: Vec<&Key> = keys.iter().filter(|key| !read.rows.contains_key(key)).collect();
    ensure(missing.is_empty(), || format!("objects were added after the first page, and {missing:?} are not read"))?;
    // A round of changes may repeat an object, a full read may not.
    let may_repeat = delta(bench).is_ok_and(|delta| delta.starts_full);
    let is_twice = |key: &&Key| !may_repeat && read.rows.get(*key).is_some_and(|rows| rows.len() > 1);
    let twice = keys.iter().find(is_twice);
    ensure(twice.is_none(), || format!("objects were added after the first page, and {twice:?} is read twice"))
}

async fn paging_delete(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let keys = several_pages(bench, world).await?;
    let (ours, gone) = (keys.clone(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let removed = gone.clone();
    let between: Between<'_> = Box::new(move |first: Vec<Key>| {
        Box::pin(async move {
            for key in first.iter().filter(|key| ours.contains(key)).take(2) {
                remove(bench, world, key).await?;
                removed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(key.clone());
            }
            Ok(())
        })
    });
    let read = read_all(bench, Some(between)).await?;
    let gone = gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    if gone.is_empty() {
        return skipped("the first page holds none of the objects that the check made");
    }
    let missing: Vec<&Key> = keys.iter().filter(|key| !gone.contains(key) && !read.rows.contains_key(key)).collect();
    ensure(missing.is_empty(), || format!("objects were removed after the first page, and {missing:?} are not read"))
}

async fn watermark_first(bench: &Bench<'_>) -> Verdict {
    delta(bench)?;
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let (attribute, value, _) = changing(bench)?;
    let keys = several_pages(bench, world).await?;
    let ours = keys.clone();
    let (sent, received) = std::sync::mpsc::channel();
    let (name, written) = (attribute.name.clone(), value.clone());
    let between: Between<'_> = Box::new(move |first: Vec<Key>| {
        Box::pin(async move {
            if let Some(key) = first.into_iter().find(|key| ours.contains(key)) {
                change(bench, world, &key, &name, &written).await?;
                sent.send(key).or_else(|_| failed("the check lost its place"))?;
            }
            Ok(())
        })
    });
    let read = read_all(bench, Some(between)).await?;
    let Ok(key) = received.try_recv() else {
        return skipped("the first page holds none of the objects that the check made");
    };
    let Some(from) = read.watermark else { return failed("the type has a delta, and a full read brings no watermark") };
    let seen_at_once =
        read.rows.get(&key).and_then(|rows| rows.last()).is_some_and(|row| shows(bench, row, &attribute.name, &value));
    let (entries, _) = round(bench, &from).await?;
    ensure(seen_at_once || ends_with(bench, &entries, &key, &attribute.name, &value), || {
        format!("{key} changed after its page was read, and the round after the full read does not show it")
    })
}

async fn changes(bench: &Bench<'_>) -> Verdict {
    let deletes = delta(bench)?.deletes_visible;
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let (attribute, value, other) = changing(bench)?;
    let (changed, gone) = (insert(bench, world).await?, insert(bench, world).await?);
    let from = watermark(bench).await?;
    let new = insert(bench, world).await?;
    change(bench, world, &changed, &attribute.name, &other).await?;
    change(bench, world, &changed, &attribute.name, &value).await?;
    remove(bench, world, &gone).await?;
    let (entries, _) = round(bench, &from).await?;
    let is_new =
        entries.iter().any(|entry| entry.key == new && matches!(entry.change, Change::Whole(_) | Change::Partial(_)));
    ensure(is_new, || format!("{new} was added, and the round does not show it"))?;
    ensure(ends_with(bench, &entries, &changed, &attribute.name, &value), || {
        format!("{} of {changed} became {value:?}, and the round does not show it", attribute.name)
    })?;
    if deletes {
        let is_gone = entries.iter().any(|entry| entry.key == gone && matches!(entry.change, Change::Removed(_)));
        ensure(is_gone, || format!("{gone} was removed, and the round does not show it"))?;
    }
    let wrong = entries.iter().find(|entry| {
        entry.key != gone && matches!(entry.change, Change::Removed(_)) && (entry.key == new || entry.key == changed)
    });
    ensure(wrong.is_none(), || format!("an object that is there is shown as removed: {wrong:?}"))
}

async fn chain(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let (attribute, ..) = changing(bench)?;
    let key = insert(bench, world).await?;
    let mut from = watermark(bench).await?;
    for turn in 1..=4 {
        let Some(value) = bench.value(attribute) else { return skipped("no value can be made up") };
        change(bench, world, &key, &attribute.name, &value).await?;
        if turn == 3 {
            bench.kill().await;
        }
        let (entries, next) = round(bench, &from).await?;
        ensure(ends_with(bench, &entries, &key, &attribute.name, &value), || {
            format!("the change before round {turn} is not shown in it")
        })?;
        from = next;
    }
    Ok(())
}

async fn repeat(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let (attribute, value, _) = changing(bench)?;
    let key = insert(bench, world).await?;
    let from = watermark(bench).await?;
    change(bench, world, &key, &attribute.name, &value).await?;
    for turn in ["first", "second", "third"] {
        let (entries, _) = round(bench, &from).await?;
        ensure(ends_with(bench, &entries, &key, &attribute.name, &value), || {
            format!("a change is not shown the {turn} time that its round is read")
        })?;
        bench.kill().await;
    }
    Ok(())
}

async fn same_instant(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let from = watermark(bench).await?;
    let mut keys = Vec::new();
    for _ in 0..25 {
        keys.push(insert(bench, world).await?);
    }
    let (entries, _) = round(bench, &from).await?;
    let missing: Vec<&Key> = keys.iter().filter(|key| !entries.iter().any(|entry| entry.key == **key)).collect();
    ensure(missing.is_empty(), || format!("25 objects were added at once, and the round lacks {missing:?}"))
}

async fn expired(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let from = watermark(bench).await?;
    if !world.expire().await {
        return skipped("the subject cannot make watermarks expire");
    }
    insert(bench, world).await?;
    let connector = bench.connector().await?;
    let answer = side(connector.source())?.changes(&request(bench), &Position::Start(Some(from))).await;
    bench.note("changes from a watermark that has expired", &format!("{answer:?}"));
    ensure(matches!(answer, Err(Error::Expired { expired: Expired::Watermark })), || {
        "a watermark that the system has forgotten is not answered `expired`".to_owned()
    })
}

async fn future(bench: &Bench<'_>) -> Verdict {
    let by_target = ByTarget(bench);
    let world = world(bench, &by_target)?;
    let from = watermark(bench).await?;
    let Some(ahead) = world.in_the_future(&from) else {
        return skipped("the subject makes no watermark of the future");
    };
    insert(bench, world).await?;
    let connector = bench.connector().await?;
    let answer = side(connector.source())?.changes(&request(bench), &Position::Start(Some(ahead))).await;
    bench.note("changes from a watermark of the future", &format!("{answer:?}"));
    ensure(answer.is_err(), || "a watermark ahead of the system is honoured".to_owned())
}

async fn foreign_token(bench: &Bench<'_>) -> Verdict {
    let connector = bench.connector().await?;
    let source = side(connector.source())?;
    let token = b"{\"no\": \"token of this connector\"}".to_vec();
    if delta(bench).is_ok_and(|delta| !delta.starts_full) || delta(bench).is_err() {
        let answer = source.read(&request(bench), Some(&Cursor(token.clone()))).await;
        bench.note("read from a cursor that is none", &format!("{answer:?}"));
        ensure(answer.is_err(), || "a cursor that is none is honoured".to_owned())?;
    }
    if delta(bench).is_err() {
        return Ok(());
    }
    for position in [Position::Start(Some(Watermark(token.clone()))), Position::Page(Cursor(token))] {
        let answer = source.changes(&request(bench), &position).await;
        bench.note(&format!("changes {position:?}, which is none of this connector's"), &format!("{answer:?}"));
        ensure(answer.is_err(), || format!("{position:?}, which is none of this connector's, is honoured"))?;
    }
    Ok(())
}
