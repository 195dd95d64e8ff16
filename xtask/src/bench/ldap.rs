//! Writing into directories alone, beside the distribution's own `ldapmodify` with as many open connections.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_connector::settings::SecretString;
use muster_connector::{
    Batch, Connector, ConnectorKind as _, ConnectorSettings, Epoch, Kind, Operation, OperationId, Outcome,
};
use muster_connector_ldap::LdapKind;
use muster_model::{Key, Row, Slot};
use muster_testkit::Directory;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Connections of the raw side.
const CONNECTIONS: usize = 8;
/// Operations in a batch.
const BATCH: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    OpenLdap,
    Ds389,
    Samba,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::OpenLdap => "OpenLDAP",
            Self::Ds389 => "389",
            Self::Samba => "Samba AD DC",
        }
    }

    /// What names an entry, and whether people need a login of their own besides.
    fn rdn(self) -> &'static str {
        if self == Self::Samba { "cn" } else { "uid" }
    }

    fn attributes(self) -> [&'static str; 5] {
        [if self == Self::Samba { "sAMAccountName" } else { "uid" }, "cn", "sn", "title", "telephoneNumber"]
    }
}

pub(crate) fn run(people: &[usize], output: &mut dyn Write) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        bail!("the connector runs in this process: cargo run --release --package xtask -- bench ldap");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    writeln!(
        output,
        "people in memory → entries; raw: ldapmodify, {CONNECTIONS} at a time, each with a connection of its own, once before\n\
         and once after (the mean is shown)\n\
         389 gets a fifth of the people, Samba a twentieth\n\n\
         {:>9}  {:<12} {:>9} {:>8} {:>6} {:>10} {:>8} {:>6}",
        "people", "directory", "raw add s", "apply s", "rate", "raw mod s", "apply s", "rate"
    )?;
    for people in people {
        for (server, share) in [(Server::OpenLdap, 1), (Server::Ds389, 5), (Server::Samba, 20)] {
            runtime.block_on(one(server, (people / share).max(1), output))?;
        }
    }
    Ok(())
}

async fn one(server: Server, people: usize, output: &mut dyn Write) -> anyhow::Result<()> {
    let directory = Arc::new(match server {
        Server::OpenLdap => Directory::slapd(),
        Server::Ds389 => Directory::ds389(),
        Server::Samba => Directory::samba(),
    });
    let place = format!("{},{}", if server == Server::Samba { "OU=Muster" } else { "ou=people" }, directory.base());
    let connector = connect(server, &directory, &place)?;
    connector.schema().await?;

    let raw_adds = |side: &str| {
        raw(&directory, people, |number| {
            let mut record = format!("dn: {}={side}{number},{place}\nobjectClass: ", server.rdn());
            record += if server == Server::Samba { "user\n" } else { "inetOrgPerson\n" };
            for (name, value) in server.attributes().into_iter().zip(values(side, number, 0)) {
                if name != server.rdn() {
                    let _infallible = writeln!(record, "{name}: {value}");
                }
            }
            record
        })
    };
    let raw_changes = |side: &str| {
        raw(&directory, people, |number| {
            let [.., title, phone] = values(side, number, 1);
            format!(
                "dn: {}={side}{number},{place}\nchangetype: modify\nreplace: title\ntitle: {title}\n-\n\
                 replace: telephoneNumber\ntelephoneNumber: {phone}\n-\n",
                server.rdn()
            )
        })
    };
    // Before and after, since a directory is slower the more it holds.
    let mut raw_add = raw_adds("raw")?;
    let creates = (0..people).map(|number| operation(Kind::Create, None, &values("app", number, 0))).collect();
    let (add, keys) = apply(&connector, server, creates).await?;
    raw_add = f64::midpoint(raw_add, raw_adds("rau")?);
    let mut raw_change = raw_changes("raw")?;
    let changes = keys.into_iter().enumerate().map(|(number, key)| {
        let [.., title, phone] = values("app", number, 1);
        let mut change = operation(Kind::Update, Some(key), &[]);
        change.row = Row(vec![Slot::Unknown, Slot::Unknown, Slot::Unknown, Slot::text(&title), Slot::text(&phone)]);
        change
    });
    let (change, _) = apply(&connector, server, changes.collect()).await?;
    raw_change = f64::midpoint(raw_change, raw_changes("rau")?);
    let changed = directory.search("(title=Title 1)", &["1.1"]).len();
    if changed != 3 * people {
        bail!("{changed} entries have the new title, and {} should", 3 * people);
    }
    writeln!(
        output,
        "{people:>9}  {:<12} {raw_add:>9.2} {add:>8.2} {:>6.2} {raw_change:>10.2} {change:>8.2} {:>6.2}",
        server.name(),
        raw_add / add,
        raw_change / change
    )?;
    output.flush()?;
    Ok(())
}

fn values(side: &str, number: usize, round: usize) -> [String; 5] {
    let login = format!("{side}{number}");
    [login.clone(), login, format!("Surname {number}"), format!("Title {round}"), format!("+49 30 {number:07}{round}")]
}

/// Seconds of changing all entries by records of LDIF, which are in memory before.
fn raw(directory: &Arc<Directory>, people: usize, record: impl Fn(usize) -> String) -> anyhow::Result<f64> {
    let mut shares = vec![String::new(); CONNECTIONS];
    for (number, share) in (0..people).zip((0..CONNECTIONS).cycle()) {
        let share = shares.get_mut(share).context("no share")?;
        share.push_str(&record(number));
        share.push('\n');
    }
    let started = Instant::now();
    let working: Vec<_> = shares
        .into_iter()
        .map(|share| {
            let directory = Arc::clone(directory);
            std::thread::spawn(move || directory.try_ldif(&share))
        })
        .collect();
    for one in working {
        let done = one.join().map_err(|_| anyhow::anyhow!("ldapmodify could not be run"))?;
        done.map_err(|problem| anyhow::anyhow!("ldapmodify: {problem}"))?;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn connect(server: Server, directory: &Directory, place: &str) -> anyhow::Result<Arc<dyn Connector>> {
    // In clear where the server takes that, as the raw side does.
    let url = if server == Server::Samba { directory.tls_url() } else { directory.url() };
    let settings = ConnectorSettings {
        connection: "directory".to_owned(),
        values: json!({
            "url": url, "user": directory.admin(), "ca_file": directory.ca_file(),
            "types": { "user": { "base": place } },
        }),
        secrets: BTreeMap::from([("password".to_owned(), SecretString::from(directory.password().to_owned()))]),
        base_folder: "/".into(),
    };
    Ok(LdapKind.connect(settings)?)
}

fn operation(kind: Kind, key: Option<Key>, values: &[String]) -> Operation {
    Operation {
        id: OperationId(Uuid::now_v7()),
        key,
        kind,
        row: Row(values.iter().map(|value| Slot::text(value)).collect()),
        deltas: Vec::new(),
        enabling: None,
        expected_version: None,
        expected: None,
        depends_on: Vec::new(),
        secrets: Vec::new(),
    }
}

/// Sends operations, as many batches at once as the connector takes. Seconds, and the keys in the order of operations.
async fn apply(
    connector: &Arc<dyn Connector>,
    server: Server,
    operations: Vec<Operation>,
) -> anyhow::Result<(f64, Vec<Key>)> {
    let schema = connector.schema().await?;
    let capabilities = schema.object_type("user").and_then(|found| found.target.clone()).context("no target")?;
    let attributes: Arc<[String]> = server.attributes().map(str::to_owned).into();
    let batches: Vec<Batch> = operations
        .chunks(BATCH.min(capabilities.max_batch as usize))
        .map(|operations| Batch {
            object_type: "user".into(),
            attributes: Arc::clone(&attributes),
            operations: operations.to_vec(),
            epoch: Epoch::default(),
            deadline: Duration::from_secs(300),
        })
        .collect();
    let order: BTreeMap<OperationId, usize> = operations.iter().map(|one| one.id).zip(0..).collect();
    let started = Instant::now();
    let mut flying: JoinSet<anyhow::Result<Vec<(OperationId, Outcome)>>> = JoinSet::new();
    let mut keys = BTreeMap::new();
    let mut waiting = batches.into_iter();
    loop {
        while flying.len() < capabilities.max_in_flight as usize
            && let Some(batch) = waiting.next()
        {
            let connector = Arc::clone(connector);
            flying.spawn(async move { Ok(connector.target().context("no target")?.apply(&batch).await?) });
        }
        let Some(landed) = flying.join_next().await else { break };
        for (id, outcome) in landed?? {
            let Outcome::Applied(effect) = outcome else { bail!("an entry was not written: {outcome:?}") };
            keys.extend(order.get(&id).copied().zip(effect.key));
        }
    }
    Ok((started.elapsed().as_secs_f64(), keys.into_values().collect()))
}
