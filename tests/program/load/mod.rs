//! Loads of small services whose behaviour is known, by the program.

#![expect(clippy::unwrap_used, reason = "a service of a test fails as loudly as the test itself")]

mod broken;
mod journeys;
mod lost;
mod mcp;
mod open;

use std::fs;
use std::sync::Arc;

use axum::Router;
use serde_json::Value;

use crate::program::{Place, json, record};
use crate::service::{database_url, output};

/// Serves `router` on a port of its own.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    url
}

/// Writes a scenario: `load` are lines under `[load]`, `rest` the tables after it.
fn write(place: &Place, url: &str, load: &str, rest: &str) -> String {
    let text = format!(
        "name = \"load\"\n[target]\nurl = \"{url}\"\n[database]\nurl_env = \"SHOP_DATABASE\"\nexpect_sessions = false\n[load]\n{load}\n{rest}"
    );
    let path = place.tmp().join("load.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs it to its end, and gives what is recorded of its one variant.
async fn recorded(url: &str, load: &str, rest: &str) -> Value {
    let place = Arc::new(Place::new());
    let scenario = write(&place, url, load, rest);
    json(&output(&place, &database_url().await, &["run", &scenario, "--json"]).await);
    record(&place.run_folder())["variants"]["service"].clone()
}
