//! A database that lets nobody in any more: what was seen until then remains.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_postgres::{Client, NoTls};

use super::{serve, write};
use crate::program::{Place, record, text};
use crate::service::{database_url, output};
use crate::support::postgres::cluster;

/// As a driver writes it that puts values into the text itself.
const STATEMENT: &str = "SELECT 1 WHERE 'tok-0123456789' = 'lost-s3cret'";

const HELD: Duration = Duration::from_millis(100);

/// After so many requests the role of anyone who watches may not log in any more.
const LAST: u64 = 12;

struct Shop {
    role: String,
    asked: AtomicU64,
}

async fn connect() -> Client {
    let (client, connection) = cluster().await.config().connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn report(State(shop): State<Arc<Shop>>) -> StatusCode {
    if shop.asked.fetch_add(1, Ordering::Relaxed) == LAST {
        connect().await.batch_execute(&format!("ALTER ROLE {} NOLOGIN", shop.role)).await.unwrap();
    }
    let client = connect().await;
    client.batch_execute(&format!("BEGIN; {STATEMENT}")).await.unwrap();
    tokio::time::sleep(HELD).await;
    client.batch_execute("COMMIT").await.unwrap();
    StatusCode::OK
}

/// The service, and the database's URL for a role of its own.
async fn lost(role: &str) -> (String, String) {
    let admin = connect().await;
    let made = format!("CREATE ROLE {role} LOGIN; GRANT pg_monitor TO {role}");
    admin.batch_execute(&made).await.unwrap();
    let shop = Arc::new(Shop { role: role.to_owned(), asked: AtomicU64::new(0) });
    let url = serve(Router::new().route("/report", get(report)).with_state(shop)).await;
    (url, format!("{} user={role}", database_url().await))
}

const ROUTE: &str = "[[route]]\nroute = \"GET /report\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_at_the_end_takes_nothing_of_what_was_seen() {
    let (url, database) = lost("lost_run").await;
    let place = Arc::new(Place::new());
    let load = "users = 4\nramp_up = \"0s\"\nduration = \"3s\"\nthink_time = [\"10ms\", \"20ms\"]";
    let scenario = write(&place, &url, load, ROUTE);
    let ran = output(&place, &database, &["run", &scenario]).await;
    let printed = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{printed}");
    assert!(printed.contains("the server's own count is missing"), "{printed}");
    let summary = &record(&place.run_folder())["variants"]["service"]["summary"];
    assert!(summary["idle_in_transaction_counted_s"].is_null(), "{summary:#}");
    assert!(summary["idle_in_transaction_mean"].as_f64().unwrap() > 1.0, "{summary:#}");
    // Nor does anybody read there what stood in the statements.
    let samples = std::fs::read_to_string(place.run_folder().join("samples.ndjson")).unwrap();
    assert!(samples.contains("SELECT 1 WHERE '…' = '…'") && !samples.contains("s3cret") && !samples.contains("tok-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_goes_on_without_the_server_s_own_count() {
    let (url, database) = lost("lost_scan").await;
    let place = Arc::new(Place::new());
    let scenario = write(&place, &url, "users = 4", ROUTE);
    let ran = output(&place, &database, &["scan", &scenario, "--seconds", "2s"]).await;
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let scan = &record(&place.run_folder())["variants"]["service"]["scan"];
    assert_eq!(scan["routes"][0]["verdict"], "holds", "{scan:#}");
    assert!(
        scan["sampling"]["counted_s"].is_null()
            || scan["turns"].as_array().unwrap().iter().any(|it| it["counted_s"].is_null())
    );
}
