//! A worker of the gateway on a database of its own, asked without a network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use axum::response::Response;
use gateway_under_test::auth::password::hash;
use gateway_under_test::auth::{AUDIENCE, Denied, ISSUER};
use gateway_under_test::db::migrate;
use gateway_under_test::gauges::ReplicaGauges;
use gateway_under_test::routes;
use gateway_under_test::settings::{
    Audit, Checkout, DatabaseSettings, Masks, PoolSettings, PrePing, SessionScope, Settings, SlowWorkSettings,
    UsageCounterSettings,
};
use gateway_under_test::worker::Worker;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};
use tower::ServiceExt;

use crate::support::postgres::{cluster, database_settings};

const DATA: &str = include_str!("../../fixtures/rbac/data.sql");

pub(crate) const SECRET: &str = "the key of these tests, long enough for HS256";

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Users in the fixture: three teams of 20. user-1 and user-21 own theirs, user-2 develops, user-3 views.
const USERS: &str = "60";

/// A seeded database, and everything that serves from it.
pub(crate) struct SeededDatabase {
    pub(crate) database: Client,
    settings: DatabaseSettings,
    password_hash: String,
}

/// One worker in one session scope.
pub(crate) struct Gateway {
    router: Router,
    replica: Arc<ReplicaGauges>,
    denied: Arc<Denied>,
    settings: Arc<Settings>,
}

/// Answer to the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl SeededDatabase {
    /// Schema and data in the database of this process.
    pub(crate) async fn start() -> Self {
        let (mut database, connection) = cluster().await.config().connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        migrate(&mut database).await.unwrap();
        let specimen = Self { database, settings: database_settings().await, password_hash: hash(PASSWORD).unwrap() };
        specimen.load().await;
        specimen
    }

    /// Makes room for another one in the same database.
    pub(crate) async fn end(self) {
        self.database.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.unwrap();
    }

    async fn load(&self) {
        let data = DATA.replace("{{tool_prefixes}}", "{}").replace("{{users}}", USERS).replace("{{counter_rows}}", "1");
        let data = data.replace("{{password_hash}}", &self.password_hash);
        self.database.batch_execute(&data).await.unwrap();
    }

    pub(crate) fn gateway(&self, session_scope: SessionScope) -> Gateway {
        self.gateway_with(session_scope, |_| ())
    }

    /// A gateway with some of its settings changed.
    pub(crate) fn gateway_with(&self, session_scope: SessionScope, change: impl FnOnce(&mut Settings)) -> Gateway {
        self.gateway_of(session_scope, change, |_| ())
    }

    /// A gateway with some of its settings changed, and something of its worker.
    pub(crate) fn gateway_of(
        &self,
        session_scope: SessionScope,
        change: impl FnOnce(&mut Settings),
        change_worker: impl FnOnce(&mut Worker),
    ) -> Gateway {
        let mut settings = Settings {
            name: format!("gw-{}", session_scope.name()),
            port: 0,
            workers: 1,
            session_scope,
            checkout: Checkout::Async,
            pool: PoolSettings {
                size: 2,
                max_overflow: 3,
                timeout: Duration::from_secs(30),
                pre_ping: PrePing::Off,
                recycle: None,
            },
            database: self.settings.clone(),
            // Nobody listens there: a call that is let through ends in an error of the backend.
            backend_url: "http://127.0.0.1:9/mcp".to_owned(),
            jwt_secret: SECRET.to_owned(),
            platform_admin_email: "admin@example.com".to_owned(),
            usage_counter: UsageCounterSettings::default(),
            slow_work: SlowWorkSettings::default(),
            audit: Audit::Off,
            masks: Masks::Protocol,
            also: Vec::new(),
            garbage_after: Duration::from_millis(20),
            header_timeout: Duration::from_mins(1),
        };
        change(&mut settings);
        let settings = Arc::new(settings);
        let denied = Arc::new(Denied::default());
        let replica = Arc::new(ReplicaGauges::new(&settings.name, 1, session_scope));
        Gateway::serving(settings, replica, denied, change_worker)
    }
}

impl Gateway {
    fn serving(
        settings: Arc<Settings>,
        replica: Arc<ReplicaGauges>,
        denied: Arc<Denied>,
        change: impl FnOnce(&mut Worker),
    ) -> Self {
        let parts = routes::parts().unwrap();
        let mut worker = Worker::new(0, Arc::clone(&settings), Arc::clone(&replica), Arc::clone(&denied), parts);
        change(&mut worker);
        Self { router: routes::router(Arc::new(worker)), replica, denied, settings }
    }

    /// Reads who is not let in, as a replica does every second.
    pub(crate) async fn read_denied(&self) {
        drop(self.denied.read(&self.settings).await.unwrap());
    }

    /// Asks as the owner of `token`.
    pub(crate) async fn ask(&self, method: &Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        self.send(method, path, token, body.map(Value::to_string).unwrap_or_default()).await
    }

    /// Sends a body that says it is JSON.
    pub(crate) async fn send(&self, method: &Method, path: &str, token: Option<&str>, body: String) -> Answer {
        self.send_as("application/json", method, path, token, body).await
    }

    /// Sends a body that says it is of the type `kind`.
    pub(crate) async fn send_as(
        &self,
        kind: &str,
        method: &Method,
        path: &str,
        token: Option<&str>,
        body: String,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1");
        request = request.extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000))));
        request = request.header("content-type", kind);
        request = request.header("accept", "application/json, text/event-stream");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        // A stream has no end.
        if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
            return Answer { status, body: String::new() };
        }
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Sends a request whose body never comes; gives the status, should there be one.
    pub(crate) async fn send_no_end(&self, path: &str, token: &str) -> u16 {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}")).body(never).unwrap();
        self.router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    /// Gauges of its replica.
    pub(crate) fn replica(&self) -> &ReplicaGauges {
        &self.replica
    }

    /// The beginning of an answer that is a stream.
    pub(crate) async fn open(&self, path: &str, token: &str) -> Response {
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {token}"));
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// Asks as a browser does, without a token: status, and where it is sent.
    pub(crate) async fn browse(&self, path: &str) -> (u16, Option<String>) {
        let request = Request::builder().uri(path).header("accept", "text/html,application/xhtml+xml");
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let location = response.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        (response.status().as_u16(), location)
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(&Method::GET, path, Some(token), None).await
    }

    /// A JSON-RPC call.
    pub(crate) async fn rpc(&self, method: &str, params: Value, token: &str) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.ask(&Method::POST, "/rpc", Some(token), Some(&call)).await.json()
    }
}

/// Ids as the fixture makes them.
pub(crate) async fn id_of(specimen: &SeededDatabase, name: &str) -> String {
    specimen.database.query_one("SELECT md5($1)", &[&name]).await.unwrap().get(0)
}

/// The claims of a good token, which a test then changes.
pub(crate) fn claims(email: &str, jti: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({ "sub": email, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600, "jti": jti })
}

pub(crate) fn sign(claims: &Value) -> String {
    sign_with(SECRET, claims)
}

pub(crate) fn sign_with(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A token of `email` whose `teams` claim is as given.
pub(crate) fn token(email: &str, teams: Value) -> String {
    let mut claims = claims(email, email);
    claims["is_admin"] = json!(teams.is_null());
    claims["teams"] = teams;
    sign(&claims)
}
