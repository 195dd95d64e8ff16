//! A directory, a connection to it, and shorthand for operations.

use std::sync::Arc;
use std::time::Duration;

use muster_connector::settings::SecretString;
use muster_connector::{
    Batch, Connector, ConnectorKind as _, ConnectorSettings, Epoch, Error, FoundObject, Kind, Operation, OperationId,
    Outcome, ReadRequest, SecretValue, Target, ValueDelta,
};
use muster_connector_ldap::LdapKind;
use muster_model::{Key, Reference, Row, Slot, Value};
use muster_testkit::Directory;
use serde_json::{Value as Json, json};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kindred {
    OpenLdap,
    Ds389,
    Samba,
}

pub(crate) struct World {
    pub(crate) server: Directory,
    pub(crate) kind: Kindred,
}

/// A password that every policy takes.
pub(crate) const PASSWORD: &str = "Correct-horse.7-battery";

impl World {
    pub(crate) fn slapd() -> Self {
        Self { server: Directory::slapd(), kind: Kindred::OpenLdap }
    }

    /// With further lines of `slapd.conf`, as [`Directory::slapd_with`] takes them.
    pub(crate) fn slapd_with(before: &str, within: &str) -> Self {
        Self { server: Directory::slapd_with(before, within), kind: Kindred::OpenLdap }
    }

    /// With a log of its changes, in which the admin may do everything, and `cn=outside` see nothing but that it is there.
    pub(crate) fn slapd_logging() -> Self {
        Self::slapd_logging_with("")
    }

    /// With further settings of the log.
    pub(crate) fn slapd_logging_with(more: &str) -> Self {
        Self::slapd_with(
            "moduleload accesslog
             database mdb
             suffix cn=accesslog
             rootdn cn=root,cn=accesslog
             directory {folder}/accesslog
             dbnosync
             index objectClass,reqStart,entryCSN eq
             limits dn.exact=\"cn=muster,dc=example,dc=org\" size=unlimited time=unlimited
             access to dn.base=cn=accesslog by dn.exact=\"cn=muster,dc=example,dc=org\" write by dn.exact=\"cn=outside,dc=example,dc=org\" read
             access to * by dn.exact=\"cn=muster,dc=example,dc=org\" write
            "
            .replace("             ", "")
            .as_str(),
            &format!("overlay accesslog\nlogdb cn=accesslog\nlogops writes\nlogsuccess TRUE\n{more}"),
        )
    }

    pub(crate) fn ds389() -> Self {
        Self { server: Directory::ds389(), kind: Kindred::Ds389 }
    }

    pub(crate) fn samba() -> Self {
        Self { server: Directory::samba(), kind: Kindred::Samba }
    }

    pub(crate) fn is_samba(&self) -> bool {
        self.kind == Kindred::Samba
    }

    /// What people's entries are named by.
    pub(crate) fn rdn(&self) -> &'static str {
        if self.is_samba() { "cn" } else { "uid" }
    }

    /// Below which people are.
    pub(crate) fn people(&self) -> String {
        let ou = if self.is_samba() { "OU=Muster" } else { "ou=people" };
        format!("{ou},{}", self.server.base())
    }

    /// Below which groups are.
    pub(crate) fn groups(&self) -> String {
        if self.is_samba() { self.people() } else { format!("ou=groups,{}", self.server.base()) }
    }

    pub(crate) fn password_attribute(&self) -> &'static str {
        if self.is_samba() { "unicodePwd" } else { "userPassword" }
    }

    /// The attributes of a new person.
    pub(crate) fn person(&self, login: &str) -> Vec<(&'static str, Slot)> {
        let mut values = vec![("cn", Slot::text(login)), ("sn", Slot::text("Berg"))];
        values.push((if self.is_samba() { "sAMAccountName" } else { "uid" }, Slot::text(login)));
        values
    }

    pub(crate) fn settings(&self) -> Json {
        json!({
            "url": if self.is_samba() { self.server.tls_url() } else { self.server.url() },
            "user": self.server.admin(),
            "ca_file": self.server.ca_file(),
            "types": {
                "user": {
                    "base": self.people(), "create_containers": true,
                    "enabled": match self.kind {
                        Kindred::OpenLdap => "pwdAccountLockedTime",
                        Kindred::Ds389 => "nsAccountLock",
                        Kindred::Samba => "userAccountControl",
                    },
                },
                "group": {
                    "base": self.groups(),
                },
            },
        })
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_with(&json!({}))
    }

    /// With these settings in place of the usual ones.
    pub(crate) fn connect_with(&self, more: &Json) -> Connection {
        let mut settings = self.settings();
        merge(&mut settings, more);
        Connection(self.try_connect(settings, self.server.password()).unwrap())
    }

    pub(crate) fn try_connect(&self, settings: Json, password: &str) -> Result<Arc<dyn Connector>, Error> {
        LdapKind.connect(ConnectorSettings {
            connection: "directory".to_owned(),
            values: settings,
            secrets: [("password".to_owned(), SecretString::from(password.to_owned()))].into(),
            base_folder: "/".into(),
        })
    }
}

fn merge(into: &mut Json, from: &Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Json::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

pub(crate) struct Connection(pub(crate) Arc<dyn Connector>);

pub(crate) fn operation(kind: Kind, key: Option<&Key>) -> Operation {
    Operation {
        id: OperationId(Uuid::now_v7()),
        kind,
        key: key.cloned(),
        row: Row::default(),
        deltas: Vec::new(),
        enabling: None,
        expected_version: None,
        expected: None,
        depends_on: Vec::new(),
        secrets: Vec::new(),
    }
}

pub(crate) fn batch(object_type: &str, attributes: &[&str], operations: Vec<Operation>) -> Batch {
    Batch {
        object_type: object_type.into(),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        operations,
        epoch: Epoch::default(),
        deadline: Duration::from_secs(60),
    }
}

pub(crate) fn reference(key: &Key) -> Value {
    Value::Reference(Box::new(Reference { object_type: None, key: key.clone() }))
}

impl Connection {
    pub(crate) fn target(&self) -> &dyn Target {
        self.0.target().unwrap()
    }

    pub(crate) async fn apply(&self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes: Vec<_> = self.target().apply(batch).await.unwrap();
        outcomes.sort_by_key(|(id, _)| batch.operations.iter().position(|operation| operation.id == *id));
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn one(&self, object_type: &str, attributes: &[&str], operation: Operation) -> Outcome {
        self.apply(&batch(object_type, attributes, vec![operation])).await.remove(0)
    }

    pub(crate) async fn create(&self, object_type: &str, values: &[(&str, Slot)]) -> Outcome {
        self.create_with(object_type, values, None).await
    }

    /// With a first password, in an attribute.
    pub(crate) async fn create_with(
        &self,
        object_type: &str,
        values: &[(&str, Slot)],
        password: Option<(&str, &str)>,
    ) -> Outcome {
        let mut attributes: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let mut create = operation(Kind::Create, None);
        create.row = Row(values.iter().map(|(_, slot)| slot.clone()).collect());
        if let Some((attribute, password)) = password {
            create.secrets.push((attributes.len(), SecretValue(SecretString::from(password.to_owned()))));
            attributes.push(attribute);
            create.row.0.push(Slot::Unknown);
        }
        self.one(object_type, &attributes, create).await
    }

    /// A new object's key.
    pub(crate) async fn created(&self, object_type: &str, values: &[(&str, Slot)]) -> Key {
        key(self.create(object_type, values).await)
    }

    pub(crate) async fn update(&self, object_type: &str, key: &Key, values: &[(&str, Slot)]) -> Outcome {
        let attributes: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let mut update = operation(Kind::Update, Some(key));
        update.row = Row(values.iter().map(|(_, slot)| slot.clone()).collect());
        self.one(object_type, &attributes, update).await
    }

    pub(crate) async fn delete(&self, object_type: &str, key: &Key) -> Outcome {
        self.one(object_type, &[], operation(Kind::Delete, Some(key))).await
    }

    /// Adds and removes values of an attribute.
    pub(crate) async fn values(
        &self,
        object_type: &str,
        key: &Key,
        attribute: &str,
        add: Vec<Value>,
        remove: Vec<Value>,
    ) -> Outcome {
        let mut update = operation(Kind::Update, Some(key));
        update.row = Row::unknown(1);
        update.deltas.push(ValueDelta { attribute: 0, add, remove });
        self.one(object_type, &[attribute], update).await
    }

    pub(crate) async fn get(&self, object_type: &str, key: &Key, attributes: &[&str]) -> Option<FoundObject> {
        self.target().get(&request(object_type, attributes), std::slice::from_ref(key)).await.unwrap().remove(0)
    }

    pub(crate) async fn find(&self, object_type: &str, by: &str, value: &str, attributes: &[&str]) -> Vec<FoundObject> {
        let (by, values) = ([by.to_owned()], [vec![Value::text(value)]]);
        self.target().find(&request(object_type, attributes), &by, &values).await.unwrap().remove(0)
    }
}

pub(crate) fn request(object_type: &str, attributes: &[&str]) -> ReadRequest {
    ReadRequest {
        object_type: object_type.into(),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        named: Arc::new([]),
    }
}

pub(crate) fn key(outcome: Outcome) -> Key {
    match outcome {
        Outcome::Applied(effect) => effect.key.expect("a create brings the key"),
        other => panic!("not created: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn applied(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
}

/// The rule and the attribute of a refusal.
#[track_caller]
pub(crate) fn refused(outcome: &Outcome) -> (&str, Option<&str>) {
    match outcome {
        Outcome::Rejected { rule, attribute, .. } => (rule, attribute.as_deref()),
        other => panic!("not refused: {other:?}"),
    }
}
