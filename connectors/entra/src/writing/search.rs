//! Finding users and groups by their values.

use muster_connector::{Entry, Error, FoundObject, ReadRequest};
use muster_model::{CaseRule, Key, Slot, Value};

use super::draft::literal;
use super::lookup::objects;
use crate::batch::{self, Get};
use crate::connector::Entra;
use crate::decode;
use crate::error::Failure;
use crate::http::Answer;
use crate::layout::{Layout, collection};
use crate::schema::attributes_of;
use crate::session::{Ask, Doubt};

/// More pages of one search are not read: nobody matches so many.
const MOST_PAGES: u32 = 1_000;

/// What Graph filters by without asking its slower index of advanced queries
/// (<https://learn.microsoft.com/graph/aad-advanced-queries>).
const PLAINLY_FILTERED: &[&str] = &[
    "id",
    "userPrincipalName",
    "displayName",
    "givenName",
    "surname",
    "mail",
    "mailNickname",
    "employeeId",
    "jobTitle",
    "department",
    "accountEnabled",
    "city",
    "state",
    "country",
    "usageLocation",
    "userType",
    "onPremisesImmutableId",
    "securityEnabled",
    "mailEnabled",
    "uniqueName",
    "otherMails",
];

impl Entra {
    pub(crate) async fn search(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        let further = by.iter().filter(|name| !request.attributes.contains(name));
        let names: Vec<String> = request.attributes.iter().chain(further).cloned().collect();
        let wide = ReadRequest { attributes: names.into(), ..request.clone() };
        let layout = Layout::new(&wide, &self.extensions)?;
        let plainly = |name: &String| PLAINLY_FILTERED.contains(&name.as_str()) || name.starts_with("extension_");
        let advanced = !by.iter().all(plainly);
        let mut gets = Vec::with_capacity(values.len());
        for tuple in values {
            let terms = by.iter().zip(tuple).map(|(name, value)| term(&request.object_type, name, value));
            let terms = terms.collect::<Result<Vec<_>, _>>()?.join("%20and%20");
            let mut url =
                format!("/{}?$filter={terms}&$select={}", collection(&request.object_type)?, layout.plain_select);
            match advanced {
                true => url.push_str("&$count=true"),
                false => url.push_str(&expansion(&layout)),
            }
            // Nobody has an empty text.
            let has_empty = tuple.iter().any(|value| value.as_text().is_some_and(str::is_empty));
            gets.push((!has_empty).then_some(Get { url, advanced }));
        }
        let pages = self.pages(&gets, &layout).await?;
        let found = pages.into_iter().zip(values).map(|(entries, tuple)| {
            let objects = objects(&layout, &wide, entries);
            let suits = |object: &FoundObject| {
                by.iter().zip(tuple).all(|(name, wanted)| {
                    let position = wide.attributes.iter().position(|other| other == name).unwrap_or(usize::MAX);
                    self.is_same(&request.object_type, name, object.row.slot(position), wanted)
                })
            };
            let narrow = |mut object: FoundObject| {
                object.row.0.truncate(request.attributes.len());
                object
            };
            objects.filter(suits).take(2).map(narrow).collect()
        });
        let mut found: Vec<Vec<FoundObject>> = found.collect();
        if advanced && !expansion(&layout).is_empty() {
            // Advanced queries expand nothing, so whoever was found is read once more.
            let keys: Vec<Key> = found.iter().flatten().map(|object| object.key.clone()).collect();
            let mut whole = self.objects_of(request, &keys).await?.into_iter();
            for objects in &mut found {
                *objects = whole.by_ref().take(objects.len()).flatten().collect();
            }
        }
        Ok(found)
    }

    /// All that each search brings, page after page.
    async fn pages(&self, gets: &[Option<Get>], layout: &Layout) -> Result<Vec<Vec<Entry>>, Error> {
        let read = |body: &[u8]| decode::page(body, layout);
        let pages = match batch::get_all(&self.session, gets, read).await {
            Err(Failure::Refused(refusal)) if refusal.status == 400 && gets.len() > 1 => {
                self.pages_apart(gets, layout).await?
            }
            pages => pages.map_err(|failure| self.failed(failure))?,
        };
        let mut all = Vec::with_capacity(pages.len());
        for page in pages {
            let (mut entries, mut next) = page.map_or((Vec::new(), None), |page| (page.entries, page.next_link));
            let mut left = MOST_PAGES;
            while let Some(link) = next.filter(|_| left > 0) {
                let page = self.page(self.session.endpoints.follow(link.as_bytes())?, layout).await?;
                entries.extend(page.entries);
                next = page.next_link;
                left -= 1;
            }
            all.push(entries);
        }
        Ok(all)
    }

    /// A value that Graph cannot even search for is nobody's, as long as it answers for others.
    async fn pages_apart(&self, gets: &[Option<Get>], layout: &Layout) -> Result<Vec<Option<decode::Page>>, Error> {
        let mut pages = Vec::with_capacity(gets.len());
        let mut refused = None;
        let mut answered = false;
        for get in gets {
            let one = std::slice::from_ref(get);
            match batch::get_all(&self.session, one, |body| decode::page(body, layout)).await {
                Ok(found) => {
                    answered |= get.is_some();
                    pages.push(found.into_iter().next().flatten());
                }
                Err(Failure::Refused(refusal)) if refusal.status == 400 => {
                    pages.push(None);
                    refused = Some(refusal);
                }
                Err(failure) => return Err(self.failed(failure)),
            }
        }
        match refused.filter(|_| !answered) {
            Some(refusal) => Err(self.failed(Failure::Refused(refusal))),
            None => Ok(pages),
        }
    }

    pub(super) async fn page(&self, url: url::Url, layout: &Layout) -> Result<decode::Page, Error> {
        let accept = |answer: &Answer| {
            decode::page(&answer.body, layout)
                .map_err(|error| Doubt::Again(format!("Microsoft Graph sent a damaged page: {error}")))
        };
        let asked = self.session.ask(&Ask::Get(url), accept).await;
        asked.map(|(page, _)| page).map_err(|failure| self.failed(failure))
    }

    /// Graph's filters know no case, Muster's rules may.
    pub(super) fn is_same(&self, kind: &str, name: &str, slot: &Slot, wanted: &Value) -> bool {
        let insensitive = attributes_of(kind)
            .unwrap_or_default()
            .iter()
            .find(|spec| spec.name == name)
            .is_some_and(|spec| spec.attribute(kind).case == CaseRule::Insensitive);
        let same = |value: &Value| match (value, wanted) {
            (Value::Text(one), Value::Text(other)) if insensitive => one.to_lowercase() == other.to_lowercase(),
            (one, other) => one == other,
        };
        match slot {
            Slot::One(value) => same(value),
            Slot::Many(values) => values.iter().any(same),
            Slot::Null | Slot::Unknown => false,
        }
    }
}

/// What brings a manager along with whoever reports to them.
pub(super) fn expansion(layout: &Layout) -> String {
    match layout.references.iter().any(|(name, _)| *name == "manager") {
        true => format!("&{}", batch::EXPAND_MANAGER),
        false => String::new(),
    }
}

/// A condition of `$filter` (OData 4.01 URL Conventions, section 5.1.1).
fn term(kind: &str, name: &str, value: &Value) -> Result<String, Error> {
    let spec = attributes_of(kind).unwrap_or_default().iter().find(|spec| spec.name == name);
    let cannot = || Err(Error::Unsupported(format!("searching Entra {kind} objects by {name}")));
    if spec.is_some_and(|spec| spec.is_reference() || spec.many && spec.parent.is_some()) {
        return cannot();
    }
    let text = match value {
        Value::Text(text) => format!("'{}'", literal(text)),
        Value::Boolean(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Instant(instant) => instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        _ => return cannot(),
    };
    let path = match spec.and_then(|spec| Some((spec.parent?, spec.member))) {
        Some((parent, member)) => format!("{parent}/{member}"),
        None => name.to_owned(),
    };
    Ok(match spec.is_some_and(|spec| spec.many) {
        true => format!("{path}/any(one:one%20eq%20{text})"),
        false => format!("{path}%20eq%20{text}"),
    })
}
