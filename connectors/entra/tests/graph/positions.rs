//! Rounds, their oddities and their ends.

use muster_connector::{Change, Cursor, Error, Expired, Next, Position, Removal};
use muster_model::{Key, Slot};

use crate::peer::Reply;
use crate::world::{first, last_page, page, request, start, watermark};

#[tokio::test]
async fn a_full_round_with_every_legal_oddity() {
    let (_, peer, connector) = start().await;
    let link = |number: u32| format!(r#""@odata.nextLink":"{{peer}}/v1.0/groups/delta?$skiptoken={number}""#);
    let member = |id: &str| format!(r##"{{"@odata.type":"#microsoft.graph.user","id":"{id}"}}"##);
    peer.answer([
        Reply::json(&format!(r#"{{"value":[],{}}}"#, link(1))),
        Reply::json(&format!(
            r#"{{"@odata.context":"c","value":[{{"id":"g1","displayName":"G","members@delta":[{}],"new":{{}}}}],{}}}"#,
            member("u1"),
            link(2)
        )),
        Reply::json(&format!(r#"{{"value":[{{"id":"g9","@removed":{{"reason":"deleted"}}}}],{}}}"#, link(3))),
        // The same group again with another slice, and both links: the round goes on.
        Reply::json(&format!(
            r#"{{{},"@odata.deltaLink":"{{peer}}/v1.0/groups/delta?$deltatoken=EARLY","value":[{{"members@delta":[{}],"displayName":"G","id":"g1"}}]}}"#,
            link(4),
            member("u2")
        )),
        Reply::json(r#"{"value":[],"@odata.deltaLink":"{peer}/v1.0/groups/delta?$deltatoken=D"}"#),
    ]);
    let request = request("group", &["displayName", "members"]);
    let mut position = Position::Start(None);
    let mut entries = Vec::new();
    let mut pages = 0;
    let done = loop {
        let page = connector.source().unwrap().changes(&request, &position).await.unwrap();
        entries.extend(page.entries);
        pages += 1;
        match page.next {
            Next::Page(cursor) => position = Position::Page(cursor),
            Next::Done(watermark) => break watermark,
        }
    };
    assert_eq!(pages, 5);
    assert!(done.0.ends_with(b"$deltatoken=D"));
    let members: Vec<String> =
        entries.iter().flat_map(|entry| &entry.edges).map(|edge| edge.referenced.to_string()).collect();
    assert_eq!(members, ["u1", "u2"]);
    assert_eq!(entries[1].change, Change::Removed(Removal::Hard));
    assert_eq!(peer.graph_calls()[0].target, "/v1.0/groups/delta?$select=id,displayName,members");
}

#[tokio::test]
async fn later_rounds_and_the_servers_clock() {
    let (_, peer, connector) = start().await;
    peer.answer([last_page()]);
    let page = page(&connector, &watermark(&peer, "OLD")).await.unwrap();
    assert_eq!(page.entries[0].key, Key::text("u1"));
    assert_eq!(page.entries[0].change, Change::Partial(muster_model::Row(vec![Slot::text("A")])));
    assert_eq!(page.source_time, Some("2026-11-22T12:00:00Z".parse().unwrap()));
    assert_eq!(peer.graph_calls()[0].target, "/v1.0/users/delta?$deltatoken=OLD");
}

#[tokio::test]
async fn a_page_that_follows_itself_is_noticed() {
    let (_, peer, connector) = start().await;
    let own = format!("{}/v1.0/users/delta?$skiptoken=P", peer.address);
    let again = Reply::json(&format!(r#"{{"value":[{{"id":"u1"}}],"@odata.nextLink":"{own}"}}"#));
    let position = Position::Page(Cursor(own.into_bytes()));
    peer.answer([again.clone(), last_page()]);
    assert!(page(&connector, &position).await.is_ok(), "asked again");
    peer.answer((0..9).map(|_| again.clone()));
    assert!(matches!(page(&connector, &position).await, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn expiry_is_told_apart() {
    let old = "DeltaLink older than 30 days is not supported.";
    let location = "{peer}/v1.0/users/delta?$deltatoken=";
    let cases = [
        (Reply::error(410, "resyncRequired", "").with("Location", location), false, Some(Expired::Watermark)),
        (Reply::status(410, ""), false, Some(Expired::Watermark)),
        (Reply::error(400, "syncStateNotFound", ""), false, Some(Expired::Watermark)),
        (Reply::error(400, "Request_UnsupportedQuery", old), false, Some(Expired::Watermark)),
        (Reply::error(400, "Directory_ExpiredPageToken", ""), true, Some(Expired::Cursor)),
        (Reply::error(400, "BadRequest", "no"), false, None),
        (Reply::error(400, "Request_UnsupportedQuery", "no"), true, None),
    ];
    for (reply, on_a_page, wanted) in cases {
        let (_, peer, connector) = start().await;
        let what = format!("{reply:?}");
        peer.answer([reply]);
        let position = match watermark(&peer, "x") {
            Position::Start(Some(token)) if on_a_page => Position::Page(Cursor(token.0)),
            other => other,
        };
        match (page(&connector, &position).await, wanted) {
            (Err(Error::Expired { expired }), Some(wanted)) => assert_eq!(expired, wanted, "{what}"),
            (Err(Error::Bug(_)), None) => {}
            (other, _) => panic!("{what}: {other:?}"),
        }
        assert_eq!(peer.graph_calls().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn refusals_of_a_new_round_name_what_to_change() {
    let message = "for this entity set, $expand/$select is not supported for the following properties: displayName";
    let cases = [
        (Reply::error(400, "BadRequest", message), "displayName"),
        (Reply::error(501, "NotImplemented", "not yet supported"), "not yet supported"),
        (Reply::error(404, "Request_ResourceNotFound", ""), "graph_url"),
        (Reply::error(403, "Authorization_RequestDenied", "Insufficient privileges"), "User.Read.All"),
    ];
    for (reply, wanted) in cases {
        let (_, peer, connector) = start().await;
        peer.answer([reply]);
        let error = first(&connector).await.unwrap_err();
        assert!(!matches!(error, Error::Unreachable { .. } | Error::Bug(_)), "{error:?}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_before_anything_is_sent() {
    let (_, peer, connector) = start().await;
    for (name, wanted) in [
        ("signInActivity", "delta query refuses"),
        ("skills", "SharePoint"),
        ("dispalyName", "displayName"),
        ("objectId", "write id"),
        ("extension_0123456789abcdef0123456789abcdef_x", "extension_attributes"),
    ] {
        let source = connector.source().unwrap();
        let error = source.changes(&request("user", &[name]), &Position::Start(None)).await.unwrap_err();
        assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert!(peer.seen().is_empty());
    assert!(matches!(connector.source().unwrap().read(&request("user", &[]), None).await, Err(Error::Unsupported(_))));
}
