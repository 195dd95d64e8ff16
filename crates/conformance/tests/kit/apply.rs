//! The target side.

use async_trait::async_trait;
use muster_conformance::Fault;
use muster_connector::{
    Batch, Cursor, Effect, Error, ExposeSecret as _, FoundObject, FoundPage, Kind, Operation, OperationId, Outcome,
    ReadRequest, Resolution, Target,
};
use muster_model::{AssignedBy, Decimal, Key, Multiplicity, ObjectType, Once, Slot, Value};
use uuid::Uuid;

use crate::connector::Memory;
use crate::mutants::Mutant;
use crate::read::row;
use crate::system::{Fields, SECRET, System};

const PAGE: usize = 20;

fn found(request: &ReadRequest, key: &Key, fields: &Fields) -> FoundObject {
    FoundObject { key: key.clone(), row: row(request, fields), version: None }
}

fn rejected(attribute: &str, rule: &str) -> Outcome {
    Outcome::Rejected { attribute: Some(attribute.to_owned()), rule: rule.to_owned(), message: rule.to_owned() }
}

fn applied(key: Option<Key>) -> Outcome {
    Outcome::Applied(Effect { key, ..Effect::default() })
}

/// What becomes of a value on the way of a mutant.
fn damaged(mutant: &Memory, value: Value, most: Option<u32>) -> Value {
    let is = |wanted| mutant.is(wanted);
    match &value {
        Value::Text(text) if is(Mutant::UnicodeDamaged) => Value::text(&text.replace(|one: char| !one.is_ascii(), "?")),
        Value::Text(text) if is(Mutant::CaseFolded) => Value::text(&text.to_lowercase()),
        Value::Text(text) if is(Mutant::Trimmed) => Value::text(text.trim()),
        Value::Text(text) if is(Mutant::QuotesDoubled) => Value::text(&text.replace('\'', "''")),
        Value::Text(text) if is(Mutant::TextCut) => {
            Value::text(&text.chars().take(most.unwrap_or(u32::MAX) as usize).collect::<String>())
        }
        Value::Text(text) if is(Mutant::CutByBytes) => {
            let most = most.map_or(usize::MAX, |most| most as usize);
            let mut length = 0;
            let fits = |one: &char| {
                length += one.len_utf8();
                length <= most
            };
            Value::text(&text.chars().take_while(fits).collect::<String>())
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "that is the fault")]
        Value::Integer(number) if is(Mutant::NumbersAsFloats) => Value::Integer(*number as f64 as i64),
        Value::Decimal(number) if is(Mutant::DecimalsCut) => {
            let whole = number.as_str().split('.').next().unwrap_or_default();
            Value::Decimal(Decimal::parse(whole).unwrap())
        }
        Value::Instant(instant) if is(Mutant::LocalTime) => Value::Instant(*instant + chrono::TimeDelta::hours(1)),
        Value::Binary(bytes) if is(Mutant::BinaryAsText) => {
            Value::Binary(String::from_utf8_lossy(bytes).as_bytes().into())
        }
        _ => value,
    }
}

impl Memory {
    /// The slots that the operation writes.
    fn written(&self, found: &ObjectType, batch: &Batch, operation: &Operation) -> Fields {
        let mut fields = Fields::new();
        for (name, slot) in batch.attributes.iter().zip(&operation.row.0) {
            let most = found.attribute(name).and_then(|one| one.max_length);
            let slot = match slot {
                Slot::Unknown => continue,
                Slot::Null if self.is(Mutant::NullsDropped) => continue,
                Slot::One(value) if found.alternate_keys.is_empty() || name != "login" => {
                    Slot::One(damaged(self, value.clone(), most))
                }
                other => other.clone(),
            };
            if self.is(Mutant::DisableIgnored) && name == "enabled" {
                continue;
            }
            fields.insert(name.clone(), slot);
        }
        for (position, value) in &operation.secrets {
            fields.insert(batch.attributes[*position].clone(), Slot::text(value.0.expose_secret()));
        }
        fields
    }

    fn refusal(
        &self,
        found: &ObjectType,
        system: &mut System,
        operation: &Operation,
        fields: &Fields,
    ) -> Option<Outcome> {
        for (name, slot) in fields {
            let attribute = found.attribute(name)?;
            let length = slot.value().and_then(Value::as_text).map_or(0, |text| text.chars().count());
            if attribute.max_length.is_some_and(|most| length > most as usize) {
                return Some(rejected(name, "too_long"));
            }
            if attribute.refers()
                && let Some(value) = slot.value()
                && !system.table(&found.name).rows.contains_key(&Key::one(value.clone()))
                && !self.is(Mutant::DanglingReference)
            {
                return Some(Outcome::WaitsFor { attribute: name.clone() });
            }
        }
        let lacks = |name: &str| fields.get(name).and_then(Slot::value).is_none();
        let required = found.attributes.iter().find(|one| one.required && lacks(&one.name));
        match required {
            Some(attribute) if operation.kind == Kind::Create && !self.is(Mutant::RequiredIgnored) => {
                Some(rejected(&attribute.name, "required"))
            }
            _ => None,
        }
    }

    /// Whom a key means.
    fn meant(&self, system: &mut System, found: &ObjectType, key: &Key) -> Key {
        let same = |other: &&Key| {
            if self.is(Mutant::FirstPartOfKeyOnly) {
                return other.0.first() == key.0.first();
            }
            let plain = |key: &Key| key.to_string().split(['\'', '\\', '%', '#']).next().unwrap_or_default().to_owned();
            self.is(Mutant::OddKeysCut) && plain(other) == plain(key)
        };
        let rows = &system.table(&found.name).rows;
        rows.keys().find(same).unwrap_or(key).clone()
    }

    fn perform(&self, system: &mut System, found: &ObjectType, batch: &Batch, operation: &Operation) -> Outcome {
        let mut fields = self.written(found, batch, operation);
        let name = found.name.as_str();
        let mut own = self.own.lock().unwrap();
        if let Some(outcome) = self.refusal(found, system, operation, &fields) {
            if self.is(Mutant::RejectedButWritten)
                && let Some(key) = &operation.key
                && let Some(mut now) = system.table(name).rows.get(key).cloned()
            {
                now.extend(fields);
                system.put(name, key, now);
            }
            return outcome;
        }
        let key = operation.key.as_ref().map(|key| self.meant(system, found, key));
        let now = key.as_ref().and_then(|key| system.table(name).rows.get(key).cloned());
        if let (Some((position, value)), Some(now)) = (&operation.expected, &now)
            && now.get(&batch.attributes[*position]).and_then(Slot::value) != Some(value)
            && !self.is(Mutant::ExpectedIgnored)
        {
            return Outcome::OtherObject;
        }
        match &operation.kind {
            Kind::Create => {
                let login = fields.get("login").cloned();
                let twin = match (&key, &login) {
                    (Some(key), _) => now.as_ref().map(|_| key.clone()),
                    (None, login) => {
                        let mut rows = system.table(name).rows.iter();
                        rows.find(|(_, row)| row.get("login") == login.as_ref()).map(|(key, _)| key.clone())
                    }
                };
                let text = login.as_ref().map_or(String::new(), |login| format!("{login:?}"));
                let seen_here = own.logins.contains(&text);
                let unnoticed =
                    self.is(Mutant::CreatesTwice) || self.is(Mutant::CreatesTwiceAfterRestart) && !seen_here;
                own.logins.push(text);
                match twin {
                    Some(key) if self.is(Mutant::CreateOverwrites) => {
                        system.put(name, &key, fields);
                        return Outcome::Exists { key };
                    }
                    Some(_) if self.is(Mutant::ExistsNamesAnother) => {
                        return Outcome::Exists { key: Key::one(Value::Integer(-1)) };
                    }
                    Some(key) if !unnoticed => return Outcome::Exists { key },
                    _ => {}
                }
                let key = key.unwrap_or_else(|| {
                    system.next += 1;
                    Key::one(Value::Integer(system.next))
                });
                if self.is(Mutant::CreateWithoutWriting) {
                    return applied(Some(key));
                }
                system.put(name, &key, fields);
                own.created.push(key.clone());
                let told = if self.is(Mutant::KeyOfAnother) { Key::one(Value::Integer(system.next - 1)) } else { key };
                applied((found.anchor.assigned_by == AssignedBy::System).then_some(told))
            }
            Kind::Update => {
                let Some(key) = key else { return Outcome::Missing };
                let Some(mut now) = now.or_else(|| self.is(Mutant::UpdateMakes).then(Fields::new)) else {
                    return Outcome::Missing;
                };
                if self.is(Mutant::UpdateWithoutWriting) {
                    return applied(None);
                }
                if self.is(Mutant::SecondChangeLost) {
                    if own.updated.contains(&key) {
                        return applied(None);
                    }
                    own.updated.push(key.clone());
                }
                if self.is(Mutant::ClockDecides) {
                    let clock = system.clock;
                    let stamp = system.stamps.entry(key.clone()).or_insert(0);
                    if clock < *stamp {
                        return applied(None);
                    }
                    *stamp = clock;
                }
                if self.is(Mutant::WritesWholeRow) {
                    let keep = ["login", "name", "site", "number", "boss"];
                    now.retain(|name, _| keep.contains(&name.as_str()));
                }
                for delta in &operation.deltas {
                    let attribute = &batch.attributes[delta.attribute];
                    if let Some(refused) = self.change_values(&mut now, attribute, &delta.add, &delta.remove) {
                        return refused;
                    }
                }
                if self.is(Mutant::ReferenceStays) && fields.get("boss") == Some(&Slot::Null) {
                    fields.remove("boss");
                }
                let boss = fields.get("boss").cloned();
                if boss.is_some() && self.is(Mutant::ReferenceDropped) {
                    fields.remove("boss");
                }
                if let Some(Slot::One(value)) = &boss
                    && self.is(Mutant::CycleRefused)
                    && let Some(other) = system.table(name).rows.get(&Key::one(value.clone()))
                    && other.get("boss").and_then(Slot::value) == key.0.first()
                {
                    return rejected("boss", "cycle");
                }
                if self.is(Mutant::GrowsWithEachWrite)
                    && let Some(Slot::One(Value::Text(was))) = now.get("name")
                {
                    fields.insert("name".to_owned(), Slot::text(&format!("{was}.")));
                }
                system.updates += 1;
                if self.is(Mutant::EveryTenthUpdateLost) && system.updates.is_multiple_of(10) {
                    return applied(None);
                }
                now.extend(fields);
                if self.is(Mutant::OneBehind) {
                    let last = system.pending.replace((name.to_owned(), key, now));
                    if let Some((name, key, fields)) = last {
                        system.put(&name, &key, fields);
                    }
                    return applied(None);
                }
                if self.is(Mutant::BufferedUpdates) {
                    own.buffered.push((name.to_owned(), key, now));
                    return applied(None);
                }
                system.put(name, &key, now);
                applied(None)
            }
            Kind::Delete => {
                if !found.target.as_ref().is_some_and(|target| target.can_delete) {
                    let done = self.is(Mutant::CannotDeleteSaysDone);
                    return if done { applied(None) } else { Outcome::Unsupported { what: "deleting".to_owned() } };
                }
                match key.filter(|_| now.is_some()) {
                    Some(_) if self.is(Mutant::DeleteForgotten) => applied(None),
                    Some(key) => {
                        system.remove(name, &key);
                        applied(None)
                    }
                    None if self.is(Mutant::DeleteOfNothingApplied) => applied(None),
                    None if self.is(Mutant::DeleteOfNothingFails) => rejected("id", "not_found"),
                    None => Outcome::Missing,
                }
            }
            Kind::Rename { to } => {
                if !found.target.as_ref().is_some_and(|target| target.can_rename) {
                    return Outcome::Unsupported { what: "renaming".to_owned() };
                }
                let (Some(key), Some(mut now)) = (key, now) else { return Outcome::Missing };
                if system.table(name).rows.contains_key(to) && !self.is(Mutant::RenameSwallows) {
                    return rejected("site", "unique");
                }
                for (part, value) in found.anchor.attributes.iter().zip(&to.0) {
                    now.insert(part.clone(), Slot::One(value.clone()));
                }
                if !self.is(Mutant::RenameCopies) {
                    system.remove(name, &key);
                }
                system.put(name, to, now);
                applied(Some(to.clone()))
            }
            Kind::Put => Outcome::Unsupported { what: "writing the whole state".to_owned() },
        }
    }

    fn change_values(&self, now: &mut Fields, name: &str, add: &[Value], remove: &[Value]) -> Option<Outcome> {
        let mut values = match now.remove(name) {
            Some(Slot::Many(values)) if !self.is(Mutant::SetRewritten) => values,
            _ => Vec::new(),
        };
        if self.is(Mutant::SetRepeatFails) && add.iter().any(|value| values.contains(value)) {
            return Some(rejected(name, "exists"));
        }
        values.retain(|value| !remove.contains(value));
        for value in add {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        now.insert(name.to_owned(), Slot::many(values));
        None
    }

    /// One operation, and its entry in the ledger, at once.
    fn step(&self, found: &ObjectType, batch: &Batch, operation: &Operation) -> Outcome {
        let mut system = self.system();
        let outcome = self.perform(&mut system, found, batch, operation);
        if self.once == Once::Ledger && !self.is(Mutant::LedgerAfterAnswer) {
            let told = match (&outcome, self.is(Mutant::LedgerWithoutKey)) {
                (Outcome::Applied(_), true) => applied(None),
                _ => outcome.clone(),
            };
            system.ledger.insert(operation.id, told);
        }
        outcome
    }
}

#[async_trait]
impl Target for Memory {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        self.alive()?;
        let known = self.known(&request.object_type)?;
        let mut system = self.system();
        if let Some(key) = keys.iter().find(|key| key.0.len() != known.anchor.attributes.len()) {
            return Err(Error::Bug(format!("{key} is no key of {}", known.name)));
        }
        let keys: Vec<(Key, Key)> =
            keys.iter().map(|key| (self.meant(&mut system, &known, key), key.clone())).collect();
        let table = system.table(&request.object_type);
        let of = |(meant, key): &(Key, Key)| table.rows.get(meant).map(|fields| found(request, key, fields));
        let mut all: Vec<_> = keys.iter().map(of).collect();
        if self.is(Mutant::GetSorted) {
            all.sort_by_key(|one| one.as_ref().map(|one| one.key.clone()));
        }
        Ok(all)
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        self.alive()?;
        let known = self.known(&request.object_type)?;
        if let Some(name) = by.iter().find(|name| known.attribute(name).is_none()) {
            return Err(Error::Bug(format!("no attribute {name}")));
        }
        let mut system = self.system();
        let table = system.table(&request.object_type);
        let equal = |slot: Option<&Slot>, value: &Value| match slot.and_then(Slot::value) {
            Some(here) if self.is(Mutant::FindIgnoresCase) => {
                here.to_string().to_lowercase() == value.to_string().to_lowercase()
            }
            Some(_) if self.is(Mutant::FindInjected) && value.to_string().contains("OR '1'='1") => true,
            here => here == Some(value),
        };
        let of = |tuple: &Vec<Value>| {
            let fits = |fields: &Fields| by.iter().zip(tuple).all(|(name, value)| equal(fields.get(name), value));
            let some = table.rows.iter().filter(|(_, fields)| fits(fields)).take(2);
            some.map(|(key, fields)| found(request, key, fields)).collect::<Vec<_>>()
        };
        let mut all: Vec<Vec<FoundObject>> = values.iter().map(of).collect();
        if self.is(Mutant::FindReversed) {
            all.reverse();
        }
        let is_own = |one: &FoundObject| self.own.lock().unwrap().created.contains(&one.key);
        if self.is(Mutant::FindsOwnOnly) {
            all.iter_mut().for_each(|some| some.retain(is_own));
        }
        if self.is(Mutant::FindNothing) {
            all.iter_mut().for_each(Vec::clear);
        }
        Ok(all)
    }

    async fn list(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        self.alive()?;
        self.known(&request.object_type)?;
        let mut system = self.system();
        let table = system.table(&request.object_type);
        let after =
            cursor.map(|cursor| Key::decode(&cursor.0)).transpose().map_err(|error| Error::Bug(error.to_string()))?;
        let rest = table.rows.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        let page = if self.is(Mutant::EverythingInOnePage) { usize::MAX } else { PAGE };
        let mut objects: Vec<_> = rest.take(page).map(|(key, fields)| found(request, key, fields)).collect();
        let next = (objects.len() == page).then(|| objects.last().map(|one| Cursor(one.key.encode()))).flatten();
        if self.is(Mutant::ListedTwice) && cursor.is_none() {
            objects.extend(objects.clone());
        }
        if self.is(Mutant::MemoryWithoutBound) {
            system.held += objects.len() as u64;
        }
        Ok(FoundPage { objects, next })
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        self.alive()?;
        if self.is(Mutant::PreviewWrites) {
            let known = self.known(&batch.object_type)?;
            for operation in &batch.operations {
                self.perform(&mut self.system(), &known, batch, operation);
            }
        }
        let told = |operation: &Operation| {
            let password = operation.secrets.iter().map(|(_, value)| value.0.expose_secret().to_owned());
            match self.is(Mutant::PasswordInPreview) {
                true => format!("{:?} {:?}", operation.kind, password.collect::<Vec<_>>()),
                false if self.is(Mutant::SecretInPreview) => format!("{:?} with {SECRET}", operation.kind),
                false => format!("{:?}", operation.kind),
            }
        };
        Ok(batch.operations.iter().map(told).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        self.alive()?;
        let known = self.known(&batch.object_type)?;
        let wrong = |operation: &&Operation| {
            operation.key.as_ref().is_some_and(|key| key.0.len() != known.anchor.attributes.len())
        };
        if let Some(operation) = batch.operations.iter().find(wrong) {
            return Err(Error::Refused { problem: format!("{:?} is no key", operation.key) });
        }
        if self.is(Mutant::LastOfFullBatchLost) && batch.operations.len() > 5 {
            return Err(Error::Bug("too many".to_owned()));
        }
        if self.once == Once::Ledger {
            let mut system = self.system();
            if batch.epoch < system.epoch && !self.is(Mutant::EpochIgnored) {
                return Err(Error::Unreachable { problem: "superseded".to_owned(), nothing_sent: true });
            }
            system.epoch = system.epoch.max(batch.epoch);
        }
        if self.is(Mutant::CancelLocks) {
            let busy = std::mem::replace(&mut self.own.lock().unwrap().busy, true);
            if busy {
                std::future::pending::<()>().await;
            }
        }
        if self.is(Mutant::OneAtATime) {
            let flying = {
                let mut own = self.own.lock().unwrap();
                own.flying += 1;
                own.flying
            };
            tokio::task::yield_now().await;
            self.own.lock().unwrap().flying -= 1;
            if flying > 1 {
                return Err(Error::Bug("busy".to_owned()));
            }
        }
        let flushed = std::mem::take(&mut self.own.lock().unwrap().buffered);
        for (name, key, fields) in flushed {
            self.system().put(&name, &key, fields);
        }
        let mut order: Vec<&Operation> = batch.operations.iter().collect();
        if self.is(Mutant::OrderLost) {
            order.reverse();
        }
        let mut outcomes = Vec::new();
        for operation in order {
            tokio::task::yield_now().await;
            if self.is(Mutant::HalfWritten) && operation.kind == Kind::Create {
                let half = Operation { row: operation.row.clone(), ..operation.clone() };
                let outcome = self.half(&known, batch, &half).await;
                outcomes.push((operation.id, outcome));
                continue;
            }
            let outcome = self.step(&known, batch, operation);
            if self.is(Mutant::BatchSpoiled) && matches!(outcome, Outcome::Rejected { .. }) {
                return Err(Error::Refused { problem: "one is bad".to_owned() });
            }
            outcomes.push((operation.id, outcome));
        }
        let fault = self.system().fault.take();
        match fault {
            Some(Fault::CutAnswer) if self.is(Mutant::CutAnswerIsSuccess) => {}
            Some(_) => {
                self.dead.store(true, std::sync::atomic::Ordering::Relaxed);
                let nothing_sent = self.is(Mutant::NothingSentIsALie);
                return Err(Error::Unreachable { problem: "connection reset".to_owned(), nothing_sent });
            }
            None => {}
        }
        if self.once == Once::Ledger {
            self.system().ledger.extend(outcomes.iter().cloned());
        }
        if self.is(Mutant::EmptyBatchFails) && outcomes.is_empty() {
            return Err(Error::Bug("nothing to do".to_owned()));
        }
        self.own.lock().unwrap().busy = false;
        if self.is(Mutant::OutcomesRotated) && outcomes.len() > 1 {
            let first = outcomes[0].1.clone();
            let last = outcomes.len() - 1;
            outcomes[0].1 = outcomes[last].1.clone();
            outcomes[last].1 = first;
        }
        if self.is(Mutant::ForeignId) {
            outcomes.push((OperationId(Uuid::now_v7()), applied(None)));
        }
        if self.is(Mutant::AnswerMissing) && outcomes.len() > 1 {
            outcomes.pop();
        }
        if self.is(Mutant::AnsweredTwice) {
            outcomes.extend(outcomes.clone());
        }
        Ok(outcomes)
    }

    async fn outcomes(&self, ids: &[OperationId]) -> Result<Vec<(OperationId, Resolution)>, Error> {
        self.alive()?;
        let system = self.system();
        let of = |id: &OperationId| match (self.once, system.ledger.get(id)) {
            (Once::Ledger, Some(outcome)) => Resolution::Known(outcome.clone()),
            (Once::Ledger, None) if self.is(Mutant::LedgerClaimsAll) => Resolution::Known(applied(None)),
            (Once::Ledger, None) if self.is(Mutant::LedgerKnowsNothing) => Resolution::NotRecorded,
            (Once::Ledger, None) => Resolution::NeverApplied,
            _ => Resolution::NotRecorded,
        };
        Ok(ids.iter().map(|id| (*id, of(id))).collect())
    }

    async fn confirm(
        &self,
        _: &str,
        accepted: &[(OperationId, String)],
    ) -> Result<Vec<(OperationId, Resolution)>, Error> {
        let of = match self.is(Mutant::ConfirmsAnything) {
            true => Resolution::Known(applied(None)),
            false => Resolution::NotRecorded,
        };
        Ok(accepted.iter().map(|(id, _)| (*id, of.clone())).collect())
    }

    async fn acknowledge(&self, ids: &[OperationId]) -> Result<(), Error> {
        self.alive()?;
        if self.is(Mutant::LedgerForgetsAtOnce) {
            self.system().ledger.retain(|id, _| !ids.contains(id));
        }
        Ok(())
    }
}

impl Memory {
    /// A create in two steps, as a fault.
    async fn half(&self, known: &ObjectType, batch: &Batch, operation: &Operation) -> Outcome {
        let mut first = operation.clone();
        for (name, slot) in batch.attributes.iter().zip(&mut first.row.0) {
            let attribute = known.attribute(name).unwrap();
            if !attribute.required && attribute.multiplicity == Multiplicity::Single {
                *slot = Slot::Unknown;
            }
        }
        let outcome = self.step(known, batch, &first);
        let key = match &outcome {
            Outcome::Applied(effect) => effect.key.clone().or_else(|| operation.key.clone()),
            _ => return outcome,
        };
        tokio::task::yield_now().await;
        let second = Operation { kind: Kind::Update, key, ..operation.clone() };
        self.perform(&mut self.system(), known, batch, &second);
        outcome
    }
}
