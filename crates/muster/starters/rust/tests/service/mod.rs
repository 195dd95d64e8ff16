//! The REST service that the tests start: people in memory, who outlive the connector. Replace it by a test instance of
//! your own system.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;
type Shared = State<Arc<Mutex<Directory>>>;

#[derive(Default)]
struct Directory {
    people: BTreeMap<i64, Map<String, Value>>,
    logins: HashMap<String, i64>,
    next: i64,
    /// Whose change each number is, from 1.
    changes: Vec<i64>,
}

fn refused<T>(status: StatusCode, body: Value) -> Result<T, (StatusCode, Json<Value>)> {
    Err((status, Json(body)))
}

impl Directory {
    fn fits(given: &Map<String, Value>) -> Result<(), (StatusCode, Json<Value>)> {
        for (field, value) in given {
            let longest = match field.as_str() {
                "login" => 40,
                "name" => 100,
                "email" => 200,
                _ => 0,
            };
            let fits = match value {
                Value::Bool(_) => field == "active",
                Value::Null => field == "email",
                Value::String(text) => text.chars().count() <= longest,
                _ => false,
            };
            if !fits {
                let body = json!({ "field": field, "problem": "the service does not take this value" });
                return refused(StatusCode::UNPROCESSABLE_ENTITY, body);
            }
        }
        Ok(())
    }

    fn write(&mut self, id: i64, given: Map<String, Value>, mut person: Map<String, Value>) -> Answer {
        Self::fits(&given)?;
        let former = person.get("login").and_then(Value::as_str).map(str::to_owned);
        person.extend(given);
        for field in ["login", "name"] {
            if !person.contains_key(field) {
                let body = json!({ "field": field, "problem": "the service needs it" });
                return refused(StatusCode::UNPROCESSABLE_ENTITY, body);
            }
        }
        let login = person["login"].as_str().unwrap_or_default().to_owned();
        if let Some(holder) = self.logins.get(&login).filter(|holder| **holder != id) {
            return refused(StatusCode::CONFLICT, json!({ "id": holder }));
        }
        former.and_then(|former| self.logins.remove(&former));
        self.logins.insert(login, id);
        person.insert("id".to_owned(), json!(id));
        self.people.insert(id, person.clone());
        self.next = self.next.max(id);
        self.changes.push(id);
        Ok(Json(Value::Object(person)))
    }
}

async fn list(State(directory): Shared, Query(mut filters): Query<BTreeMap<String, String>>) -> Answer {
    let mut number = |name: &str, otherwise| filters.remove(name).map_or(otherwise, |text| text.parse().unwrap());
    let (after, limit) = (number("after", 0), number("limit", 100));
    let directory = directory.lock().unwrap();
    let same = |value: Option<&Value>, wanted: &str| match value {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Bool(truth)) => wanted == if *truth { "true" } else { "false" },
        _ => false,
    };
    let later = directory.people.range(after + 1..).map(|(_, person)| person);
    let people = later.filter(|person| filters.iter().all(|(name, wanted)| same(person.get(name), wanted)));
    Ok(Json(json!({ "people": people.take(limit as usize).collect::<Vec<_>>() })))
}

async fn create(State(directory): Shared, Json(given): Json<Map<String, Value>>) -> Answer {
    let mut directory = directory.lock().unwrap();
    let id = directory.next + 1;
    let blank = json!({ "email": null, "active": true }).as_object().cloned().unwrap();
    directory.write(id, given, blank)
}

async fn show(State(directory): Shared, Path(id): Path<i64>) -> Answer {
    match directory.lock().unwrap().people.get(&id) {
        Some(person) => Ok(Json(json!(person))),
        None => refused(StatusCode::NOT_FOUND, Value::Null),
    }
}

async fn change(State(directory): Shared, Path(id): Path<i64>, Json(given): Json<Map<String, Value>>) -> Answer {
    let mut directory = directory.lock().unwrap();
    match directory.people.get(&id).cloned() {
        Some(person) => directory.write(id, given, person),
        None => refused(StatusCode::NOT_FOUND, Value::Null),
    }
}

async fn remove(State(directory): Shared, Path(id): Path<i64>) -> Answer {
    let mut directory = directory.lock().unwrap();
    let Some(person) = directory.people.remove(&id) else { return refused(StatusCode::NOT_FOUND, Value::Null) };
    directory.logins.remove(person["login"].as_str().unwrap_or_default());
    directory.changes.push(id);
    Ok(Json(Value::Null))
}

async fn changes(State(directory): Shared, Query(asked): Query<BTreeMap<String, usize>>) -> Answer {
    let directory = directory.lock().unwrap();
    let latest = directory.changes.len();
    let after = asked.get("after").copied().unwrap_or(latest);
    if after > latest {
        return refused(StatusCode::GONE, Value::Null);
    }
    let some = directory.changes.iter().enumerate().skip(after).take(asked.get("limit").copied().unwrap_or(100));
    let told =
        some.map(|(position, id)| json!({ "number": position + 1, "id": id, "person": directory.people.get(id) }));
    Ok(Json(json!({ "latest": latest, "changes": told.collect::<Vec<_>>() })))
}

async fn authorized(State(token): State<String>, request: Request, next: Next) -> Response {
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if given == Some(format!("Bearer {token}").as_str()) {
        return next.run(request).await;
    }
    StatusCode::UNAUTHORIZED.into_response()
}

/// Starts the service and answers its address.
pub async fn start(token: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new()
        .route("/people", get(list).post(create))
        .route("/people/{id}", get(show).patch(change).delete(remove))
        .route("/changes", get(changes))
        .with_state(Arc::default())
        .layer(from_fn_with_state(token.to_owned(), authorized));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}
