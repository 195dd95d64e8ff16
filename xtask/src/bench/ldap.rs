//! Writing into directories alone, beside the distribution's own `ldapmodify` with as many open connections.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use muster_connector::settings::SecretString;
use muster_connector::{Connector, ConnectorKind as _, ConnectorSettings, Kind, Operation, OperationId};
use muster_connector_ldap::LdapKind;
use muster_model::{Key, Slot};
use muster_testkit::Directory;
use serde_json::json;

use super::sending::{Sender, batches, operation};

/// Connections of the raw side.
const CONNECTIONS: usize = 8;
/// Operations in a batch, as many as the connector takes.
const BATCH: usize = 500;

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
    let connector = Sender::new(connect(server, &directory, &place)?).await?;

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
    let attributes = server.attributes().map(str::to_owned);
    let row = |number| values("app", number, 0).iter().map(|value| Slot::text(value)).collect();
    let creates: Vec<Operation> = (0..people).map(|number| operation(Kind::Create, None, row(number))).collect();
    let order: Vec<OperationId> = creates.iter().map(|one| one.id).collect();
    let creates = batches(&attributes, BATCH, creates);
    let started = Instant::now();
    let mut created = Vec::new();
    connector.send(&creates, |id, effect| created.push((id, effect))).await?;
    let add = started.elapsed().as_secs_f64();
    let keys: BTreeMap<OperationId, Key> =
        created.into_iter().filter_map(|(id, effect)| Some((id, effect.key?))).collect();
    raw_add = f64::midpoint(raw_add, raw_adds("rau")?);
    let mut raw_change = raw_changes("raw")?;
    let change = |(number, id): (usize, &OperationId)| {
        let [.., title, phone] = values("app", number, 1);
        let row = vec![Slot::Unknown, Slot::Unknown, Slot::Unknown, Slot::text(&title), Slot::text(&phone)];
        operation(Kind::Update, keys.get(id).cloned(), row)
    };
    let changes = batches(&attributes, BATCH, order.iter().enumerate().map(change).collect());
    let started = Instant::now();
    connector.send(&changes, |_, _| ()).await?;
    let change = started.elapsed().as_secs_f64();
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
