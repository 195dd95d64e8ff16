//! The LDAP connector as the host sees it.

use std::sync::Arc;

use async_trait::async_trait;
use muster_connector::{
    CheckReport, Connector, ConnectorKind, ConnectorSettings, Description, Error, Source, Target, UsedType,
};
use muster_model::{Key, Schema};
use tokio::sync::{Mutex, RwLock};

use crate::changes::{Follow, LogRounds, MODIFIED, Refreshes};
use crate::config::LdapSettings;
use crate::directory::root::{Root, Vendor};
use crate::directory::subschema::Subschema;
use crate::entries::{EntryType, types};
use crate::list::Lists;
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, Entry};
use crate::protocol::request::{Depth, Search};
use crate::rows::key_of;
use crate::session::directory::Directory;
use crate::session::failure::Failure;

/// How many connections are kept open, where nothing else is said.
const CONNECTIONS: u8 = 4;

/// LDAP directories.
#[derive(Debug, Clone, Copy, Default)]
pub struct LdapKind;

impl ConnectorKind for LdapKind {
    fn describe(&self) -> Description {
        Description {
            kind: "ldap".to_owned(),
            summary: "entries of an OpenLDAP, 389 or Active Directory server".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: schemars::schema_for!(LdapSettings).to_value(),
        }
    }

    fn connect(&self, given: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
        let settings: LdapSettings = given.parse()?;
        let connections = usize::from(settings.connections.unwrap_or(CONNECTIONS).clamp(1, 32));
        let directory = Directory::new(settings.access(&given)?, connections);
        Ok(Arc::new(LdapConnector {
            settings,
            directory,
            known: RwLock::default(),
            lists: Mutex::default(),
            refreshes: Mutex::default(),
            log_rounds: Mutex::default(),
        }))
    }
}

/// One configured directory.
#[derive(Debug)]
pub(crate) struct LdapConnector {
    pub(crate) settings: LdapSettings,
    pub(crate) directory: Directory,
    known: RwLock<Option<Arc<Known>>>,
    /// Lists that are being handed over page by page.
    pub(crate) lists: Mutex<Lists>,
    /// Rounds of changes that are.
    pub(crate) refreshes: Mutex<Refreshes>,
    /// The same, read from logs.
    pub(crate) log_rounds: Mutex<LogRounds>,
}

/// What was found out of the directory.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) root: Root,
    pub(crate) types: Vec<EntryType>,
    /// The entry below which everything is.
    pub(crate) base: String,
    /// How changes are noticed, where they are.
    pub(crate) follow: Option<Follow>,
    /// The entry below which the log of changes is, where they are read from one.
    pub(crate) log: Option<String>,
    identity: String,
}

impl Known {
    pub(crate) fn entry_type(&self, name: &str) -> Result<&EntryType, Error> {
        self.types.iter().find(|one| one.object_type.name == name).ok_or_else(|| Error::Configuration {
            setting: None,
            problem: format!("the connection has no object type {name:?}"),
            fix: "compare with `muster schema`".to_owned(),
        })
    }

    /// The attributes that identify entries of any type.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> =
            self.types.iter().filter_map(|one| one.fields.get(&one.anchor)).map(|field| field.wire.clone()).collect();
        anchors.sort();
        anchors.dedup();
        anchors
    }

    /// The key of an entry that shows its classes and anchors, as the type that it is of has it.
    pub(crate) fn key(&self, entry: &Entry) -> Option<Key> {
        self.type_of(entry).and_then(|of| key_of(of, entry))
    }

    /// The first type that an entry's classes are of.
    pub(crate) fn type_of(&self, entry: &Entry) -> Option<&EntryType> {
        let has = |class: &String| entry.texts("objectClass").any(|one| one.eq_ignore_ascii_case(class));
        self.types.iter().find(|of| of.classes.first().is_some_and(has))
    }
}

impl LdapConnector {
    /// Asks the directory anew.
    pub(crate) async fn discover(&self) -> Result<Arc<Known>, Error> {
        let root = Root::read(&self.directory).await.map_err(Failure::error)?;
        let schema = self.subschema(&root).await?;
        let mut types = types(&self.settings, &root, &schema)?;
        if let Some(following) = self.directory.following.as_ref().filter(|_| root.is_windows()) {
            // Active Directory names its own configuration in every search of a domain, and where it keeps DNS.
            let zones = root
                .contexts
                .iter()
                .flat_map(|dn| ["DomainDnsZones", "ForestDnsZones"].map(|zone| format!("DC={zone},{dn}")));
            following.leave_out(&root.contexts.iter().cloned().chain(zones).collect::<Vec<_>>());
        }
        if let Some(following) = self.directory.following.as_ref().filter(|_| root.vendor == Vendor::Ds389) {
            following.ask_above();
        }
        let base = self.settings.base.clone().or_else(|| root.contexts.first().cloned()).unwrap_or_default();
        let anchor = root.anchor();
        let entry = self.directory.entry(&base, &[anchor, MODIFIED]).await.map_err(Failure::error)?;
        let entry = entry.ok_or_else(|| Error::Configuration {
            setting: Some("base".to_owned()),
            problem: format!("there is no entry {base:?}, or the connection's user may not see it"),
            fix: "check `base`, and whether `user` may read there".to_owned(),
        })?;
        // The same on every server that holds a copy.
        let id = entry.values(anchor).first().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let identity = id.map_or_else(|| base.to_lowercase(), |id| format!("{} {id}", base.to_lowercase()));
        let follow = Follow::new(&self.settings, &root, entry.text(MODIFIED).is_some())?;
        if let Some(follow) = &follow {
            types.iter_mut().for_each(|of| follow.describe(of));
        }
        let log = self.log(&root, &base).await?;
        let known = Arc::new(Known { root, types, base, follow, log, identity });
        *self.known.write().await = Some(known.clone());
        Ok(known)
    }

    async fn subschema(&self, root: &Root) -> Result<Subschema, Error> {
        let search = Search {
            base: root.subschema.clone(),
            depth: Depth::Base,
            // Said by RFC 4512, section 4.4; some servers hide the entry from any other filter.
            filter: Filter::equals("objectClass", b"subschema"),
            attributes: ["attributeTypes", "objectClasses", "dITContentRules"].map(str::to_owned).into(),
            limit: 0,
        };
        let mut found = self.directory.search(search.clone(), &[]).await.map_err(Failure::error)?;
        if found.entries.is_empty() {
            let search = Search { filter: Filter::anything(), ..search };
            found = self.directory.search(search, &[]).await.map_err(Failure::error)?;
        }
        match found.entries.first() {
            Some(entry) => Ok(Subschema::of(entry)),
            None if found.result.code == Code::SUCCESS => Err(Error::Credentials {
                problem: format!("the directory does not show its schema ({})", root.subschema),
                fix: "let the connection's user read that entry".to_owned(),
            }),
            None => Err(Failure::refused("the directory's schema cannot be read", found.result).error()),
        }
    }

    /// What is known of the directory, asked once.
    pub(crate) async fn known(&self) -> Result<Arc<Known>, Error> {
        let known = self.known.read().await.clone();
        match known {
            Some(known) => Ok(known),
            None => self.discover().await,
        }
    }
}

#[async_trait]
impl Connector for LdapConnector {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        self.examined(used).await
    }

    async fn schema(&self) -> Result<Schema, Error> {
        let known = self.discover().await?;
        Ok(Schema {
            identity: known.identity.clone(),
            types: known.types.iter().map(|one| one.object_type.clone()).collect(),
            setup: Vec::new(),
        })
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}
