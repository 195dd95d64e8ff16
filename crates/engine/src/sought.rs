//! By what an object is found again at the target when an answer was lost, as a batch's record keeps it.

use std::collections::BTreeMap;

use muster_connector::{Error as ConnectorError, FoundObject, Target};
use muster_model::{Key, Row, Value};
use muster_store::{BatchMember, OperationKind};

use crate::accepted::Taken;
use crate::apply::creators_key;
use crate::compile::Compiled;
use crate::error::EngineError;
use crate::prepare::Prepared;
use crate::recognition::MatchValues;

/// Marks what the target has taken.
const TAKEN: u8 = 4;

/// By what an object is found at the target.
#[derive(Debug, Clone)]
pub(crate) enum Sought {
    Key(Key),
    /// Attributes and the values that they have.
    Match(Vec<(String, Value)>),
    /// The key that a rename was to bring about, and the object's values after it, packed.
    Renamed(Key, Vec<u8>),
    /// Nothing need be looked for: the target has taken it, and will say what became of it.
    Taken(Taken),
    /// Nothing identifies it: it cannot have been created, since creates without identity are refused.
    Nowhere,
}

impl Sought {
    /// What a rename was to bring about: the new key, and the values as they are after it, packed, where they were
    /// noted.
    pub(crate) fn renamed(&self, member: &BatchMember) -> Option<(&Key, &[u8])> {
        match self {
            _ if member.kind != OperationKind::Rename => None,
            Self::Renamed(key, after) => Some((key, after)),
            Self::Key(key) => Some((key, &[])),
            _ => None,
        }
    }

    /// The operation that the target has taken, if that is what was noted.
    pub(crate) fn taken(bytes: &[u8]) -> Option<Taken> {
        let (_, rest) = bytes.split_first().filter(|(tag, _)| **tag == TAKEN)?;
        Taken::decode(rest).ok().flatten()
    }

    pub(crate) fn matched(compiled: &Compiled, matched: &MatchValues) -> Self {
        let names = compiled.compared(matched.rule).map(|(_, attribute)| attribute.name.clone());
        Self::Match(names.zip(matched.values.iter().cloned()).collect())
    }

    pub(crate) fn value(compiled: &Compiled, position: usize, value: Value) -> Self {
        let name = compiled.target_attributes.get(position).cloned().unwrap_or_default();
        Self::Match(vec![(name, value)])
    }

    /// As a batch's record keeps it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (tag, key) = match self {
            Self::Key(key) => (0, key.encode()),
            Self::Match(values) => {
                let pairs = values.iter().flat_map(|(name, value)| [Value::text(name), value.clone()]);
                (2, Key(pairs.collect()).encode())
            }
            Self::Renamed(key, after) => {
                let key = key.encode();
                let length = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
                (3, [&length, key.as_slice(), after].concat())
            }
            Self::Taken(taken) => (TAKEN, taken.encode()),
            Self::Nowhere => return Vec::new(),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&key);
        bytes
    }

    pub(crate) fn decode(compiled: &Compiled, bytes: &[u8]) -> Result<Self, EngineError> {
        let Some((tag, key)) = bytes.split_first() else { return Ok(Self::Nowhere) };
        if *tag == 3 {
            let Some((length, rest)) = key.split_first_chunk::<4>() else { return Ok(Self::Nowhere) };
            let Some((key, after)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                return Ok(Self::Nowhere);
            };
            return Ok(Self::Renamed(Key::decode(key)?, after.to_vec()));
        }
        if *tag == TAKEN {
            return Ok(Taken::decode(key)?.map_or(Self::Nowhere, Self::Taken));
        }
        let key = Key::decode(key)?;
        Ok(match (tag, key.0.as_slice()) {
            // As noted by versions that knew one match rule.
            (1, [value]) => match compiled.matching.first().map(|matching| matching.all.as_slice()) {
                Some([compared]) => Self::value(compiled, compared.target, value.clone()),
                _ => Self::Nowhere,
            },
            (2, pairs) => {
                Self::Match(pairs.chunks_exact(2).map(|pair| (pair[0].to_string(), pair[1].clone())).collect())
            }
            _ => Self::Key(key),
        })
    }
}

pub(crate) async fn look(
    prepared: &Prepared,
    target: &dyn Target,
    probes: &[Sought],
) -> Result<Vec<Option<FoundObject>>, ConnectorError> {
    let request = &prepared.target.request;
    let mut keys = Vec::new();
    // Which attributes identify an object differs from one to the next.
    let mut values: BTreeMap<Vec<String>, Vec<Vec<Value>>> = BTreeMap::new();
    for probe in probes {
        match probe {
            Sought::Key(key) | Sought::Renamed(key, _) => keys.push(key.clone()),
            Sought::Match(pairs) => {
                let (by, tuple) = pairs.iter().cloned().unzip();
                values.entry(by).or_default().push(tuple);
            }
            Sought::Taken(_) | Sought::Nowhere => {}
        }
    }
    let mut by_key = if keys.is_empty() { Vec::new() } else { target.get(request, &keys).await? }.into_iter();
    let mut by_value = BTreeMap::new();
    for (by, tuples) in values {
        let found = target.find(request, &by, &tuples).await?;
        by_value.insert(by, found.into_iter());
    }
    Ok(probes
        .iter()
        .map(|probe| match probe {
            Sought::Key(_) | Sought::Renamed(..) => by_key.next().flatten(),
            Sought::Match(pairs) => {
                let by: Vec<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
                let mut objects = by_value.get_mut(&by)?.next()?;
                if objects.len() == 1 { objects.pop() } else { None }
            }
            Sought::Taken(_) | Sought::Nowhere => None,
        })
        .collect())
}

pub(crate) fn sought(compiled: &Compiled, row: &Row, matches: &[MatchValues]) -> Sought {
    match (creators_key(compiled, row), compiled.recognised_by(matches)) {
        (Some(key), _) => Sought::Key(key),
        (None, Some(matched)) => Sought::matched(compiled, matched),
        (None, None) => Sought::Nowhere,
    }
}
