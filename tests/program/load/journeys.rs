//! Logins, journeys and what they capture: a shop that knows who ordered what.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{serve, write};
use crate::program::{Place, json as document, record, text};
use crate::service::{database_url, output};

/// State of the shop.
#[derive(Default)]
struct Shop {
    logins: AtomicU64,
    /// Orders by user.
    orders: std::sync::Mutex<BTreeMap<u64, String>>,
    /// Orders that somebody looked at who has not ordered them.
    strange: AtomicU64,
    looked_at: AtomicU64,
    /// Every n-th order has no number in its answer.
    forgets_every: u64,
}

type Of = State<Arc<Shop>>;

/// A token is made of the name, so that each user's is another one.
fn token(user: &str) -> String {
    format!("tok-{user}-0123456789")
}

async fn login(State(shop): Of, Json(asked): Json<Value>) -> Result<Json<Value>, StatusCode> {
    shop.logins.fetch_add(1, Ordering::Relaxed);
    let user = asked["user"].as_str().unwrap_or_default();
    let good = asked["password"] == format!("s3cret-{user}");
    if good { Ok(Json(json!({ "data": { "token": token(user) } }))) } else { Err(StatusCode::FORBIDDEN) }
}

fn who(headers: &HeaderMap) -> Option<String> {
    let token = headers.get("x-token")?.to_str().ok()?.strip_prefix("Token tok-")?;
    token.strip_suffix("-0123456789").map(str::to_owned)
}

async fn order(State(shop): Of, headers: HeaderMap) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let user = who(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let mut orders = shop.orders.lock().unwrap();
    let number = orders.len() as u64 + 1;
    orders.insert(number, user);
    let forgotten = shop.forgets_every > 0 && number.is_multiple_of(shop.forgets_every);
    let answer = if forgotten { json!({ "error": "no luck" }) } else { json!({ "order": { "id": number } }) };
    Ok((StatusCode::CREATED, Json(answer)))
}

async fn look(State(shop): Of, Path(number): Path<u64>, headers: HeaderMap) -> StatusCode {
    shop.looked_at.fetch_add(1, Ordering::Relaxed);
    let ordered_by = shop.orders.lock().unwrap().get(&number).cloned();
    if ordered_by.is_some() && ordered_by == who(&headers) {
        return StatusCode::OK;
    }
    shop.strange.fetch_add(1, Ordering::Relaxed);
    StatusCode::NOT_FOUND
}

async fn customer(Path(number): Path<String>, headers: HeaderMap) -> StatusCode {
    let expected = who(&headers).map(|user| format!("c-{user}"));
    if expected == Some(number) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

async fn serve_shop(shop: &Arc<Shop>) -> String {
    let router = Router::new()
        .route("/login", post(login))
        .route("/orders", post(order))
        .route("/orders/{number}", get(look))
        .route("/customers/{number}", get(customer))
        .with_state(Arc::clone(shop));
    serve(router).await
}

const REST: &str = r#"
[[identity]]
file = "users.csv"
password_column = "password"
login = { route = "POST /login", json = { user = "{name}", password = "{password}" }, token = "/data/token", header = "X-Token", prefix = "Token " }
[[route]]
route = "POST /orders"
json = { for = "{name}" }
expect = [201]
changes_data = true
capture = { order = "/order/id" }
[[route]]
route = "GET /orders/{order}"
think_time = ["1ms", "2ms"]
[[route]]
route = "GET /customers/{customer}"
[[journey]]
name = "buy"
weight = 2
steps = ["POST /orders", "GET /orders/{order}", "GET /orders/{order}"]
"#;

const USERS: &str =
    "name,password,customer\nanna,s3cret-anna,c-anna\nbert,s3cret-bert,c-bert\ncleo,s3cret-cleo,c-cleo\n";

fn write_users(place: &Place, users: &str) {
    let path = place.tmp().join("users.csv");
    fs::write(&path, users).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

async fn run(shop: &Arc<Shop>, load: &str) -> (Arc<Place>, Value) {
    let url = serve_shop(shop).await;
    let place = Arc::new(Place::new());
    write_users(&place, USERS);
    let scenario = write(&place, &url, load, REST);
    document(&output(&place, &database_url().await, &["run", &scenario, "--json"]).await);
    let variant = record(&place.run_folder())["variants"]["service"].clone();
    (place, variant)
}

fn requests(variant: &Value, route: &str) -> (u64, u64) {
    let routes = variant["routes"].as_array().unwrap();
    let of = routes.iter().find(|it| it["route"] == route).unwrap_or_else(|| panic!("{route}: {routes:#?}"));
    (of["requests"].as_u64().unwrap(), of["failures"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_log_in_once_and_look_at_their_own_orders_only() {
    let shop = Arc::new(Shop::default());
    let load = "users = 6\nchange_data = true\nramp_up = \"0s\"\nduration = \"3s\"\nthink_time = [\"5ms\", \"10ms\"]";
    let (place, variant) = run(&shop, load).await;
    assert_eq!(variant["errors"], json!([]), "{variant:#}");
    assert_eq!(shop.logins.load(Ordering::Relaxed), 3, "once each");
    assert_eq!(shop.strange.load(Ordering::Relaxed), 0);
    let (orders, _) = requests(&variant, "POST /orders");
    let (looks, _) = requests(&variant, "GET /orders/{order}");
    let (customers, _) = requests(&variant, "GET /customers/{customer}");
    assert!(orders > 50 && customers > 20, "{orders} {customers}");
    // Each journey has two looks, but for those that the ends of the phase cut.
    assert!(looks.abs_diff(2 * orders) <= 12, "{orders} orders, {looks} looks");
    for entry in fs::read_dir(place.run_folder()).unwrap() {
        let written = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!written.contains("s3cret") && !written.contains("tok-"), "a secret is in the record");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_captures_nothing_fails_and_ends_the_journey() {
    let shop = Arc::new(Shop { forgets_every: 4, ..Shop::default() });
    let load = "arrival_rate = 100\nchange_data = true\nramp_up = \"0s\"\nduration = \"3s\"";
    let (_place, variant) = run(&shop, load).await;
    let errors = variant["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0]["text"], "nothing to capture as `order`: the answer has no `/order/id`");
    let orders = shop.orders.lock().unwrap().len() as u64;
    assert!(errors[0]["count"].as_u64().unwrap().abs_diff(orders / 4) <= 1, "{orders} orders: {errors:#?}");
    let expected = (orders - orders / 4) * 2;
    assert!(shop.looked_at.load(Ordering::Relaxed).abs_diff(expected) <= 8, "{orders} orders");
    assert_eq!(shop.strange.load(Ordering::Relaxed), 0);
    // Steps take the places of the schedule, so that the rate is that of requests.
    assert_eq!(variant["generator"]["schedule"]["started"], 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_is_one_error_with_its_status_and_without_its_secret() {
    let shop = Arc::new(Shop::default());
    let url = serve_shop(&shop).await;
    let place = Arc::new(Place::new());
    write_users(&place, &USERS.replace("s3cret-bert", "s3cret-wrong"));
    let scenario = write(&place, &url, "users = 2\nchange_data = true", REST);
    let refused = output(&place, &database_url().await, &["run", &scenario]).await;
    let printed = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{printed}");
    assert!(printed.contains("the login of identity[1], row 2 by `POST /login` failed: HTTP 403"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
    assert_eq!(shop.orders.lock().unwrap().len(), 0, "no load without everybody");
}
