//! Microsoft Graph: users, groups, members, managers, the recycle bin, batches.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{new_user, plain, start};

#[tokio::test]
async fn a_user_lives_and_dies_as_in_graph() {
    let client = start(plain()).await;
    let created = client.post("/users", new_user("Zita")).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.body["id"].as_str().unwrap();
    let path = format!("/users/{id}");
    let change = json!({"employeeId": "12345678", "onPremisesExtensionAttributes": {"extensionAttribute7": "x"}});
    assert_eq!(client.send(Method::PATCH, &path, &[], Some(change)).await.status, 204);
    let by_name = client.get("/users/zita@sandbox.example?$select=id,employeeId,department").await;
    assert_eq!((&by_name.body["id"], &by_name.body["employeeId"]), (&json!(id), &json!("12345678")));
    assert_eq!(by_name.body.get("department"), Some(&Value::Null));
    assert_eq!(client.send(Method::DELETE, &path, &[], None).await.status, 204);
    assert_eq!(client.get(&path).await.code(), "Request_ResourceNotFound");

    let bin = client.get("/directory/deletedItems/microsoft.graph.user").await;
    assert_eq!(bin.body["value"][0]["id"], id);
    let restored = client.post(&format!("/directory/deletedItems/{id}/restore"), json!({})).await;
    assert_eq!((restored.status, &restored.body["displayName"]), (200, &json!("Zita")));
    client.send(Method::DELETE, &path, &[], None).await;
    assert_eq!(client.send(Method::DELETE, &format!("/directory/deletedItems/{id}"), &[], None).await.status, 204);
    assert_eq!(client.post(&format!("/directory/deletedItems/{id}/restore"), json!({})).await.status, 404);
}

#[tokio::test]
async fn bodies_are_validated() {
    let client = start(plain()).await;
    assert_eq!(client.post("/users", new_user("Zita")).await.status, 201);
    let again = client.post("/users", new_user("ZITA")).await;
    assert_eq!((again.status, again.code()), (400, "Request_BadRequest"));
    let message = "Another object with the same value for property userPrincipalName already exists.";
    assert_eq!(again.body["error"]["message"], message);
    let broken = |name: &str, value: Value| {
        let mut body = new_user("Yann");
        body[name] = value;
        body
    };
    for (name, value) in [
        ("displayName", Value::Null),
        ("employeeId", json!("12345678901234567")),
        ("usageLocation", json!("NLD")),
        ("accountEnabled", json!("yes")),
        ("jobTitle", json!("")),
        ("shoeSize", json!(42)),
        ("createdDateTime", json!("2026-01-01T00:00:00Z")),
        ("employeeHireDate", json!("soon")),
        ("userPrincipalName", json!("yann@elsewhere.example")),
        ("passwordProfile", json!({"password": "short"})),
    ] {
        let refused = client.post("/users", broken(name, value)).await;
        assert_eq!((refused.status, refused.code()), (400, "Request_BadRequest"), "{name}");
    }
    let existing = client.sandbox.directory().users()[3]["userPrincipalName"].clone();
    assert_eq!(client.post("/users", broken("userPrincipalName", existing)).await.status, 400);
    assert_eq!(client.post("/users", new_user("Yann")).await.status, 201);
}

#[tokio::test]
async fn collections_are_filtered_counted_and_paged() {
    let client = start(plain()).await;
    let users = client.sandbox.directory().users();
    let somebody = users.iter().find(|user| user["mail"].is_string() && user["employeeId"].is_string()).unwrap();
    for property in ["id", "userPrincipalName", "mail", "employeeId"] {
        let found =
            client.get(&format!("/users?$filter={property} eq '{}'", somebody[property].as_str().unwrap())).await;
        assert_eq!(found.body["value"].as_array().unwrap().len(), 1, "{property}");
        assert_eq!(found.body["value"][0]["id"], somebody["id"]);
    }
    let begins = client.get("/users?$filter=startswith(displayName,'Anna')&$select=displayName&$top=999").await;
    let expected = users.iter().filter(|user| user["displayName"].as_str().unwrap().starts_with("Anna")).count();
    assert_eq!(begins.body["value"].as_array().unwrap().len(), expected);

    let counted = client
        .send(Method::GET, "/users?$count=true&$top=30&$select=mail", &[("ConsistencyLevel", "eventual")], None)
        .await;
    assert_eq!(counted.body["@odata.count"], 200);
    let (mut next, mut seen) = (Some("/users?$top=30&$select=mail".to_owned()), 0);
    while let Some(path) = next {
        let page = client.get(&path).await;
        seen += page.body["value"].as_array().unwrap().len();
        assert!(page.body["value"][0].get("displayName").is_none());
        next = page.body["@odata.nextLink"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, 200);
    assert_eq!(client.get("/users?$select=shoeSize").await.status, 400);
    assert_eq!(client.get("/users?$select=skills").await.status, 501);
    assert_eq!(client.get("/users?$orderby=displayName").await.code(), "Request_UnsupportedQuery");
    assert_eq!(client.get("/nonsense").await.status, 400);
    assert_eq!(client.send(Method::PUT, "/users", &[], Some(json!({}))).await.status, 405);
}

#[tokio::test]
async fn answers_carry_the_headers_of_graph() {
    let client = start(plain()).await;
    let answer = client.send(Method::GET, "/users/nobody", &[("client-request-id", "mine")], None).await;
    assert_eq!((answer.status, answer.header("client-request-id")), (404, "mine"));
    assert_eq!(answer.body["error"]["innerError"]["client-request-id"], "mine");
    assert_eq!(answer.body["error"]["innerError"]["request-id"], answer.header("request-id"));
    assert_eq!((answer.header("odata-version"), answer.header("x-ms-resource-unit")), ("4.0", "1"));
    assert!(answer.header("content-type").starts_with("application/json;odata.metadata=minimal;"));
    assert!(answer.header("date").ends_with(" GMT"));
}

#[tokio::test]
async fn members_and_managers_are_references() {
    let client = start(plain()).await;
    let ids = client.sandbox.directory().user_ids();
    let body = json!({"displayName": "Cooks", "mailEnabled": false, "mailNickname": "cooks", "securityEnabled": true});
    let group = client.post("/groups", body).await.body["id"].as_str().unwrap().to_owned();
    let reference = |id: &str| json!({"@odata.id": format!("https://graph.microsoft.com/v1.0/directoryObjects/{id}")});
    let path = format!("/groups/{group}/members");
    for id in &ids[..3] {
        assert_eq!(client.post(&format!("{path}/$ref"), reference(id)).await.status, 204);
    }
    assert_eq!(client.post(&format!("{path}/%24ref"), reference(&ids[0])).await.status, 400);
    assert_eq!(client.send(Method::DELETE, &format!("{path}/{}/$ref", ids[1]), &[], None).await.status, 204);
    assert_eq!(client.send(Method::DELETE, &format!("{path}/{}/$ref", ids[1]), &[], None).await.status, 404);
    let page = client.get(&format!("{path}?$top=1&$select=displayName")).await;
    assert_eq!(page.body["value"][0]["@odata.type"], "#microsoft.graph.user");
    let rest = client.get(page.body["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(rest.body["value"][0]["id"], ids[2]);

    let manager = format!("/users/{}/manager", ids[50]);
    assert_eq!(client.send(Method::PUT, &format!("{manager}/$ref"), &[], Some(reference(&ids[2]))).await.status, 204);
    assert_eq!(client.get(&manager).await.body["id"], ids[2]);
    assert_eq!(client.send(Method::DELETE, &format!("{manager}/$ref"), &[], None).await.status, 204);
    assert_eq!(client.get(&manager).await.status, 404);
    let organization = client.get("/organization").await;
    assert_eq!(organization.body["value"][0]["id"], client.sandbox.facts().tenant);
}

#[tokio::test]
async fn a_batch_is_up_to_twenty_requests() {
    let client = start(plain()).await;
    let batch = json!({"requests": [
        {"id": "1", "method": "GET", "url": "/users?$top=1"},
        {"id": "2", "method": "POST", "url": "/users", "body": new_user("Zita"), "headers": {"Content-Type": "application/json"}},
        {"id": "3", "method": "GET", "url": "/users/nobody"},
        {"id": "4", "method": "GET", "url": "/users", "dependsOn": ["3"]},
    ]});
    let answer = client.post("/$batch", batch).await;
    let status = |id: &str| {
        let all = answer.body["responses"].as_array().unwrap();
        all.iter().find(|response| response["id"] == id).unwrap()["status"].as_u64().unwrap()
    };
    assert_eq!([status("1"), status("2"), status("3"), status("4")], [200, 201, 404, 424]);
    let step = json!({"id": "1", "method": "GET", "url": "/users"});
    assert_eq!(client.post("/$batch", json!({"requests": vec![step.clone(); 21]})).await.status, 400);
    assert_eq!(client.post("/$batch", json!({"requests": [step, step]})).await.status, 400);
}

#[tokio::test]
async fn groups_have_unique_names_and_take_twenty_members_at_once() {
    let client = start(plain()).await;
    let ids = client.sandbox.directory().user_ids();
    let body = json!({"displayName": "Crew", "mailEnabled": false, "mailNickname": "crew", "securityEnabled": true});
    let path = "/groups(uniqueName='o''neil')";
    let upsert =
        async |body: Value, prefer: &str| client.send(Method::PATCH, path, &[("prefer", prefer)], Some(body)).await;
    assert_eq!(upsert(body.clone(), "return=minimal").await.status, 404);
    let made = upsert(body.clone(), "create-if-missing").await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(upsert(json!({"displayName": "The crew"}), "create-if-missing").await.status, 204);
    let found = client.get("/groups?$filter=uniqueName eq 'o''neil'&$select=uniqueName,displayName").await;
    assert_eq!(found.body["value"], json!([{"id": id, "displayName": "The crew", "uniqueName": "o'neil"}]));
    assert_eq!(client.post("/groups", json!({"uniqueName": "x"})).await.status, 400, "only an upsert gives a name");

    let url = |id: &String| json!(format!("https://graph.microsoft.com/v1.0/directoryObjects/{id}"));
    let bind = async |ids: &[String]| {
        let references: Vec<Value> = ids.iter().map(url).collect();
        let body = json!({"members@odata.bind": references});
        client.send(Method::PATCH, &format!("/groups/{id}"), &[], Some(body)).await
    };
    assert_eq!(bind(&ids[..20]).await.status, 204);
    assert_eq!(bind(&ids[20..41]).await.status, 400, "more than twenty");
    let again = bind(&ids[19..22]).await;
    assert!(again.body["error"]["message"].as_str().unwrap().contains("already exist"), "{}", again.body);
    assert_eq!(bind(&[ids[30].clone(), id.replace('-', "0")]).await.status, 404);
    assert_eq!(client.sandbox.directory().members(id).unwrap().len(), 20, "all or none");
}

#[tokio::test]
async fn managers_come_along_and_conflicts_name_the_property() {
    let client = start(plain()).await;
    let directory = client.sandbox.directory();
    let managed = directory.user_ids().into_iter().find(|id| directory.manager(id).is_some()).unwrap();
    let manager = directory.manager(&managed).unwrap();
    let expanded = client.get(&format!("/users/{managed}?$select=id&$expand=manager($select=id)")).await;
    assert_eq!(expanded.body["manager"]["id"], manager);
    let listed = client.get(&format!("/users?$filter=id eq '{managed}'&$select=id&$expand=manager($select=id)")).await;
    assert_eq!(listed.body["value"][0]["manager"]["id"], manager);
    assert_eq!(client.get("/users?$expand=memberOf").await.code(), "Request_UnsupportedQuery");

    assert_eq!(client.post("/users", new_user("Zita")).await.status, 201);
    let again = client.post("/users", new_user("Zita")).await;
    assert_eq!(again.body["error"]["details"][0]["code"], "ObjectConflict");
    assert_eq!(again.body["error"]["details"][0]["target"], "userPrincipalName");
}
