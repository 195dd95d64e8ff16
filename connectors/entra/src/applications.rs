//! Enterprise applications and who is assigned to them, read in full: Graph has no delta of assignments.
//!
//! Each application is an object, and each of its app roles is one, named `APPLICATION/ROLE`.
//!
//! Sources: <https://learn.microsoft.com/graph/api/serviceprincipal-list>,
//! <https://learn.microsoft.com/graph/api/serviceprincipal-list-approleassignedto>.

use muster_connector::{Cursor, EdgeChange, Error, Expired, ReadPage, ReadRequest, SourceObject};
use muster_model::{Key, Row, Slot};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::connector::Entra;
use crate::error::{Failure, Refusal};
use crate::http::Answer;
use crate::layout::unknown_attribute;
use crate::properties::APPLICATION_ATTRIBUTES;
use crate::schema::{APPLICATION, GROUP, USER};
use crate::session::{Ask, Doubt};

const SELECT: &str = "$select=id,displayName,appId,appRoles";

/// Where a read goes on: what is still to be looked up, and whose assignments are still to be read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// Raised when the form changes, so that a place kept by another version is not misread.
    version: u32,
    ask: Vec<Lookup>,
    found: Vec<Application>,
    /// The next page of assignments of the first application found.
    link: Option<String>,
    /// Ids that were found already: two names may mean one application.
    seen: Vec<String>,
}

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Lookup {
    Name(String),
    Id(String),
    /// All of them: the first page, or a link to a further one.
    All(Option<String>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Application {
    id: String,
    name: String,
    app_id: Option<String>,
    /// (id, name) of each role.
    roles: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServicePrincipal {
    id: String,
    display_name: Option<String>,
    app_id: Option<String>,
    #[serde(default)]
    app_roles: Vec<AppRole>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppRole {
    id: String,
    value: Option<String>,
    display_name: Option<String>,
    #[serde(default)]
    is_enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assignment {
    app_role_id: String,
    principal_id: String,
    principal_type: String,
}

#[derive(Deserialize)]
struct Listed<T> {
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

impl From<ServicePrincipal> for Application {
    fn from(found: ServicePrincipal) -> Self {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let roles = found.app_roles.into_iter().filter(|role| role.is_enabled).filter_map(|role| {
            let name = filled(role.value).or_else(|| filled(role.display_name))?;
            Some((role.id, name))
        });
        Self {
            roles: roles.collect(),
            name: found.display_name.unwrap_or_default(),
            app_id: found.app_id,
            id: found.id,
        }
    }
}

impl Place {
    /// Where a read of these objects begins. A name may end in a role, and both may have slashes.
    fn start(named: &[String]) -> Self {
        let mut ask = Vec::new();
        for named in named {
            let is_id = |text: &str| uuid::Uuid::try_parse(text).is_ok();
            match named.rsplit_once('/') {
                _ if is_id(named) => ask.push(Lookup::Id(named.clone())),
                Some((application, role)) if is_id(application) && is_id(role) => {
                    ask.push(Lookup::Id(application.to_owned()));
                }
                _ => {
                    let beginnings = named.match_indices('/').filter_map(|(at, _)| named.get(..at));
                    ask.extend(beginnings.chain([named.as_str()]).map(|name| Lookup::Name(name.to_owned())));
                }
            }
        }
        if named.is_empty() {
            ask.push(Lookup::All(None));
        }
        Self { version: VERSION, ask, ..Self::default() }
    }

    fn decode(cursor: &Cursor) -> Result<Self, Error> {
        let place: Option<Self> = serde_json::from_slice(&cursor.0).ok();
        place.filter(|place| place.version == VERSION).ok_or(Error::Expired { expired: Expired::Cursor })
    }

    fn is_done(&self) -> bool {
        self.ask.is_empty() && self.found.is_empty()
    }

    fn note(&mut self, found: Vec<ServicePrincipal>) {
        for found in found.into_iter().map(Application::from) {
            if !self.seen.contains(&found.id) {
                self.seen.push(found.id.clone());
                self.found.push(found);
            }
        }
    }
}

/// Where the attributes of a request are.
struct Wanted<'a> {
    request: &'a ReadRequest,
    assigned: Option<usize>,
}

impl<'a> Wanted<'a> {
    fn new(request: &'a ReadRequest) -> Result<Self, Error> {
        let is_known = |name: &&String| APPLICATION_ATTRIBUTES.iter().any(|spec| spec.name == name.as_str());
        if let Some(unknown) = request.attributes.iter().find(|name| !is_known(name)) {
            return Err(unknown_attribute(APPLICATION, unknown, &Default::default()));
        }
        Ok(Self { request, assigned: request.attributes.iter().position(|name| name == "assigned") })
    }

    /// An application, or one of its roles, with those of the assignments that are its own.
    fn object(&self, application: &Application, role: Option<&(String, String)>, all: &[Assignment]) -> SourceObject {
        let (id, name) = match role {
            None => (application.id.clone(), application.name.clone()),
            Some((id, name)) => (format!("{}/{id}", application.id), format!("{}/{name}", application.name)),
        };
        let slot = |attribute: &String| match attribute.as_str() {
            "id" => Slot::text(&id),
            "displayName" => Slot::text(&name),
            "appId" => application.app_id.as_deref().map_or(Slot::Null, Slot::text),
            _ => Slot::Unknown,
        };
        let own = all.iter().filter(|one| role.is_none_or(|(id, _)| one.app_role_id.eq_ignore_ascii_case(id)));
        let edge = |one: &Assignment| {
            let object_type = match one.principal_type.as_str() {
                "User" => USER,
                "Group" => GROUP,
                // Other applications may have roles as well.
                _ => return None,
            };
            Some(EdgeChange {
                attribute: self.assigned?,
                object_type: object_type.into(),
                referenced: Key::text(&one.principal_id),
                removed: false,
            })
        };
        SourceObject {
            row: Row(self.request.attributes.iter().map(slot).collect()),
            edges: own.filter_map(edge).collect(),
            key: Key::text(&id),
            continues: false,
        }
    }
}

impl Entra {
    /// One request's worth of a full read.
    pub(crate) async fn read_applications(
        &self,
        request: &ReadRequest,
        cursor: Option<&Cursor>,
    ) -> Result<ReadPage, Error> {
        let wanted = Wanted::new(request)?;
        let mut place = match cursor {
            Some(cursor) => Place::decode(cursor)?,
            None => Place::start(&request.named),
        };
        let step = match place.found.is_empty() {
            true => self.look_up(&mut place).await.map(|time| (Vec::new(), time)),
            false => self.assignments(&wanted, &mut place).await,
        };
        let (objects, source_time) = match step {
            Ok(step) => step,
            Err(Failure::Host(error)) => return Err(error),
            Err(Failure::Refused(refusal)) => return Err(self.refused(&refusal, request, cursor.is_none()).await),
        };
        let next = match place.is_done() {
            true => None,
            false => Some(Cursor(serde_json::to_vec(&place).map_err(|error| Error::Bug(error.to_string()))?)),
        };
        Ok(ReadPage { objects, next, watermark: None, source_time })
    }

    async fn refused(&self, refusal: &Refusal, request: &ReadRequest, first: bool) -> Error {
        match refusal.has_code(&["Directory_ExpiredPageToken"]) {
            true => Error::Expired { expired: Expired::Cursor },
            false => self.explain(refusal, request, first).await,
        }
    }

    async fn look_up(&self, place: &mut Place) -> Result<Option<chrono::DateTime<chrono::Utc>>, Failure> {
        let endpoints = &self.session.endpoints;
        let Some(lookup) = place.ask.pop() else { return Ok(None) };
        let url = match &lookup {
            Lookup::Name(name) => {
                let filter = format!("displayName eq '{}'", name.replace('\'', "''"));
                let filter: String = byte_serialize(filter.as_bytes()).collect();
                // A plus is a space in forms only.
                let query = format!("$filter={}&{SELECT}", filter.replace('+', "%20"));
                endpoints.graph("servicePrincipals", Some(&query))
            }
            Lookup::Id(id) => {
                let asked =
                    self.one::<ServicePrincipal>(endpoints.graph(&format!("servicePrincipals/{id}"), Some(SELECT)));
                return match asked.await {
                    Ok((found, time)) => {
                        place.note(vec![found]);
                        Ok(time)
                    }
                    // Whoever asks for it says that it is not there.
                    Err(Failure::Refused(refusal)) if refusal.status == 404 => Ok(None),
                    Err(failure) => Err(failure),
                };
            }
            Lookup::All(None) => endpoints.graph("servicePrincipals", Some(&format!("{SELECT}&$top=100"))),
            Lookup::All(Some(link)) => self.kept(link)?,
        };
        let (found, time) = self.one::<Listed<ServicePrincipal>>(url).await?;
        if let Some(link) = self.onward(found.next)? {
            place.ask.push(Lookup::All(Some(link)));
        }
        place.note(found.value);
        Ok(time)
    }

    async fn assignments(
        &self,
        wanted: &Wanted<'_>,
        place: &mut Place,
    ) -> Result<(Vec<SourceObject>, Option<chrono::DateTime<chrono::Utc>>), Failure> {
        let Some(application) = place.found.last() else { return Ok((Vec::new(), None)) };
        let url = match &place.link {
            Some(link) => self.kept(link)?,
            None => {
                let path = format!("servicePrincipals/{}/appRoleAssignedTo", application.id);
                self.session.endpoints.graph(&path, Some("$top=999"))
            }
        };
        let is_first = place.link.is_none();
        let (page, time) = match self.one::<Listed<Assignment>>(url).await {
            // It went since it was looked up.
            Err(Failure::Refused(refusal)) if refusal.status == 404 && is_first => {
                place.found.pop();
                return Ok((Vec::new(), None));
            }
            answer => answer?,
        };
        let next = self.onward(page.next)?;
        let mut objects = vec![wanted.object(application, None, &page.value)];
        objects.extend(application.roles.iter().map(|role| wanted.object(application, Some(role), &page.value)));
        if next.is_none() {
            place.found.pop();
        }
        place.link = next;
        Ok((objects, time))
    }

    async fn one<T: DeserializeOwned + Send>(
        &self,
        url: Url,
    ) -> Result<(T, Option<chrono::DateTime<chrono::Utc>>), Failure> {
        let accept = |answer: &Answer| {
            serde_json::from_slice::<T>(&answer.body).map_err(|error| {
                Doubt::Again(format!(
                    "Microsoft Graph sent a page that is no list of applications or assignments: {error}"
                ))
            })
        };
        self.session.ask(&Ask::Get(url), accept).await
    }

    /// A link to a further page, examined before it is kept.
    fn onward(&self, link: Option<String>) -> Result<Option<String>, Failure> {
        if let Some(link) = &link {
            self.session.endpoints.follow(link.as_bytes())?;
        }
        Ok(link)
    }

    /// A link that was kept, perhaps by an earlier run with another address.
    fn kept(&self, link: &str) -> Result<Url, Failure> {
        match self.session.endpoints.leads_here(link.as_bytes()) {
            true => Ok(self.session.endpoints.follow(link.as_bytes())?),
            false => Err(Failure::Host(Error::Expired { expired: Expired::Cursor })),
        }
    }

    /// The ids and names of applications that these names may mean, with their roles, and the names of the applications
    /// alone; of the first ones of the tenant where nothing is named.
    pub(crate) async fn application_names(
        &self,
        named: &[String],
    ) -> Result<(Vec<(String, String)>, Vec<String>), Failure> {
        let mut place = Place::start(named);
        while !place.ask.is_empty() {
            self.look_up(&mut place).await?;
            if named.is_empty() {
                break;
            }
        }
        let applications: Vec<String> = place.found.iter().map(|found| found.name.clone()).collect();
        let mut names = Vec::new();
        for application in place.found {
            let roles = application.roles.into_iter();
            let (id, name) = (&application.id, &application.name);
            names.extend(roles.map(|(role, called)| (format!("{id}/{role}"), format!("{name}/{called}"))));
            names.push((application.id, application.name));
        }
        Ok((names, applications))
    }

    /// Asks for one application, which takes the same permission as all of them.
    pub(crate) async fn probe_applications(&self) -> Result<(), Failure> {
        let url = self.session.endpoints.graph("servicePrincipals", Some("$select=id&$top=1"));
        self.one::<Listed<serde_json::Value>>(url).await.map(drop)
    }
}
