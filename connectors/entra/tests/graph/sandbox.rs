//! Whole rounds against a whole tenant, compared with its directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_connector::{Change, Connector, ConnectorKind as _, Error, Next, Position, Watermark};
use muster_connector_entra::EntraKind;
use muster_model::{Slot, Value};
use muster_sandbox::{Sandbox, SandboxOptions, TlsOptions};
use serde_json::json;

use crate::world::{request, settings};

/// What the rounds so far add up to.
#[derive(Default)]
struct Merged {
    names: BTreeMap<String, Slot>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Merged {
    /// Reads a round from `start` to its end and merges it.
    async fn round(
        &mut self,
        connector: &Arc<dyn Connector>,
        object_type: &str,
        reference: &str,
        start: Option<Watermark>,
    ) -> Watermark {
        let request = request(object_type, &["displayName", reference]);
        let mut position = Position::Start(start);
        loop {
            let page = connector.source().unwrap().changes(&request, &position).await.unwrap();
            assert!(page.source_time.is_some());
            for entry in page.entries {
                let key = entry.key.to_string();
                match entry.change {
                    Change::Removed(_) => drop(self.names.remove(&key)),
                    Change::Partial(row) | Change::Whole(row) if !row.slot(0).is_unknown() => {
                        self.names.insert(key.clone(), row.slot(0).clone());
                    }
                    _ => {}
                }
                let edges = self.edges.entry(key).or_default();
                for edge in entry.edges {
                    assert_eq!(edge.attribute, 1);
                    // A single-valued reference is replaced by what it gains.
                    if reference == "manager" && !edge.removed {
                        edges.clear();
                    }
                    match edge.removed {
                        true => drop(edges.remove(&edge.referenced.to_string())),
                        false => drop(edges.insert(edge.referenced.to_string())),
                    }
                }
            }
            match page.next {
                Next::Page(cursor) => position = Position::Page(cursor),
                Next::Done(watermark) => return watermark,
            }
        }
    }
}

fn names(objects: &[serde_json::Value]) -> BTreeMap<String, Slot> {
    let text = |value: &serde_json::Value| value.as_str().map_or(Slot::Null, |text| Slot::One(Value::text(text)));
    objects.iter().map(|object| (object["id"].as_str().unwrap().to_owned(), text(&object["displayName"]))).collect()
}

fn compare(sandbox: &Sandbox, users: &Merged, groups: &Merged) {
    let directory = sandbox.directory();
    assert_eq!(users.names, names(&directory.users()));
    assert_eq!(groups.names, names(&directory.groups()));
    for id in directory.user_ids() {
        let found: Vec<&String> = users.edges.get(&id).into_iter().flatten().collect();
        assert_eq!(found, directory.manager(&id).iter().collect::<Vec<_>>(), "manager of {id}");
    }
    let known: BTreeSet<String> = directory.user_ids().into_iter().chain(directory.deleted_user_ids()).collect();
    for group in groups.names.keys() {
        let there: BTreeSet<String> = directory.members(group).unwrap().into_iter().collect();
        let found = groups.edges.get(group).cloned().unwrap_or_default();
        // Graph never reports that a purged user was a member, and devices are not ours.
        let purged: Vec<_> = found.difference(&there).filter(|id| known.contains(*id)).collect();
        assert!(purged.is_empty(), "members of {group} that it has lost: {purged:?}");
        let missed: Vec<_> = there.difference(&found).filter(|id| known.contains(*id)).collect();
        assert!(missed.is_empty(), "members of {group} that were missed: {missed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_rounds_and_deltas_equal_the_directory() {
    let ca = tempfile::tempdir().unwrap();
    let options = SandboxOptions {
        users: 1_200,
        groups: 40,
        page_size: 100,
        group_page_size: 7,
        member_slice: 50,
        tls: Some(TlsOptions { ca_folder: ca.path().to_owned() }),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let facts = sandbox.facts();
    let values = json!({
        "tenant": facts.tenant, "client_id": facts.client_id, "client_secret": {"env":"X"},
        "authority": facts.authority, "graph_url": facts.graph_url, "ca_file": facts.ca_file,
    });
    let connector = EntraKind.connect(settings(values, &[("client_secret", &facts.client_secret)])).unwrap();
    assert_eq!(connector.schema().await.unwrap().identity, facts.tenant);

    let (mut users, mut groups) = (Merged::default(), Merged::default());
    let mut user_mark = users.round(&connector, "user", "manager", None).await;
    let mut group_mark = groups.round(&connector, "group", "members", None).await;
    compare(&sandbox, &users, &groups);
    assert!(users.names.len() > 1_000 && groups.names.len() > 30, "there was something to compare");
    assert!(users.edges.values().filter(|managers| !managers.is_empty()).count() > 500);
    assert!(groups.edges.values().map(BTreeSet::len).sum::<usize>() > 500);
    for _ in 0..3 {
        sandbox.directory().churn(150);
        user_mark = users.round(&connector, "user", "manager", Some(user_mark)).await;
        group_mark = groups.round(&connector, "group", "members", Some(group_mark)).await;
        compare(&sandbox, &users, &groups);
    }

    let some = sandbox.directory().user_ids();
    let keys: Vec<_> = some.iter().take(25).map(|id| muster_model::Key::text(id)).collect();
    let found = connector.source().unwrap().get(&request("user", &["id", "displayName"]), &keys).await.unwrap();
    for (id, object) in some.iter().zip(&found) {
        assert_eq!(object.as_ref().unwrap().row.slot(0), &Slot::text(id));
        assert_eq!(object.as_ref().unwrap().row.slot(1), &users.names[id]);
    }
    assert_eq!(sandbox.directory().violations(), Vec::<String>::new());
    sandbox.stop().await;
}

/// The tenant checks the assertion by itself: signature, audience, time and thumbprint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_accepts_the_registered_certificate_only() {
    let pair = || {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let name = vec!["muster.test".to_owned()];
        (rcgen::CertificateParams::new(name).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = pair();
    let (other_certificate, other_key) = pair();
    let options =
        SandboxOptions { users: 3, groups: 0, client_certificate_pem: Some(certificate.clone()), ..Default::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let facts = sandbox.facts();
    let folder = tempfile::tempdir().unwrap();
    for (certificate, key, accepted) in [(certificate, key, true), (other_certificate, other_key, false)] {
        std::fs::write(folder.path().join("pair.pem"), certificate + &key).unwrap();
        let values = json!({
            "tenant": facts.tenant, "client_id": facts.client_id,
            "certificate": {"certificate_file":"pair.pem","private_key_file":"pair.pem"},
            "authority": facts.authority, "graph_url": facts.graph_url,
        });
        let mut connection = settings(values, &[]);
        connection.base_folder = folder.path().to_owned();
        let connector = EntraKind.connect(connection).unwrap();
        match crate::world::first(&connector).await {
            Ok(_) => assert!(accepted),
            Err(Error::Credentials { problem, fix }) => {
                assert!(!accepted, "{problem}");
                assert!(fix.contains("Certificates"), "{problem}; {fix}");
            }
            other => panic!("{other:?}"),
        }
    }
    sandbox.stop().await;
}
