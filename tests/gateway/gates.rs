//! Which connections are out while everything slow stands still: each plugin, backend call and page waits at a gate that
//! the test opens by hand, and streams are not read to their end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Method;
use axum::routing::post;
use gateway_under_test::plugins::Plugins;
use gateway_under_test::settings::SessionScope::{
    self, AcrossBackend, AcrossHook, AcrossRender, BeginAgain, DoubleCheckout, EarlyClose, EndpointShared, FailedKept,
    Held, LeakedOnCancel, NeverCommitted, Scoped, SessionPerLayer, UntilSent,
};
use gateway_under_test::settings::Settings;
use gateway_under_test::waits::Wait;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::gateway::{Gateway, SeededDatabase, id_of, token};

/// Only a hang takes this long.
const DEADLINE: Duration = Duration::from_secs(30);

/// Gate at which work stands still until it is let through.
#[derive(Clone)]
struct Gate {
    arrived: Arc<watch::Sender<usize>>,
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    fn closed() -> Self {
        Self { arrived: Arc::new(watch::channel(0).0), open: Arc::new(watch::channel(false).0) }
    }

    async fn pass(self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    fn wait(&self) -> Wait {
        let gate = self.clone();
        Wait::until(move || Box::pin(gate.clone().pass()))
    }

    /// Waits until as many stand here.
    async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let came = tokio::time::timeout(DEADLINE, arrived.wait_for(|arrived| *arrived == count)).await;
        assert!(came.is_ok(), "{} stand at the gate, not {count}", *self.arrived.borrow());
    }

    fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Serves a backend whose every call waits at `gate`; gives its URL.
async fn backend_behind(gate: Gate) -> String {
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [], "isError": false } });
    let call = async move || {
        gate.pass().await;
        axum::Json(answer)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/mcp", post(call))).await });
    url
}

/// Connections that are out, as the pool's gauges say.
fn checked_out(gateway: &Gateway) -> u64 {
    gateway.replica().worker(0).pool.checked_out.load(Ordering::Relaxed)
}

/// The same while nothing moves: the server sees as many in a transaction, aborted or not.
async fn out(specimen: &SeededDatabase, gateway: &Gateway, name: &str) -> u64 {
    let in_transaction = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'";
    let row = specimen.database.query_one(in_transaction, &[&format!("{name}/worker-1")]).await.unwrap();
    let checked_out = checked_out(gateway);
    assert_eq!(
        u64::try_from(row.get::<_, i64>(0)).unwrap(),
        checked_out,
        "{name}: seen by the server, and by the pool"
    );
    checked_out
}

/// Connections that are out while three calls stand before their plugin, two pages before their rendering, and two
/// streams are open;
/// and then, when the calls have got as far as the backend.
async fn out_at_both_gates(specimen: &SeededDatabase, scope: SessionScope) -> (u64, u64) {
    let [hook, render, backend] = [(); 3].map(|()| Gate::closed());
    let url = backend_behind(backend.clone()).await;
    let room = |settings: &mut Settings| {
        (settings.backend_url, settings.pool.size) = (url, 20);
    };
    let gateway = specimen.gateway_of(scope, room, |worker| {
        worker.plugins = Plugins::new(hook.wait());
        worker.rendering = render.wait();
    });
    let name = format!("gw-{}", scope.name());
    let owner = token("user-1@example.com", json!([id_of(specimen, "team-1").await]));
    let server = id_of(specimen, "server-1").await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "message": "x" } } });
    let ask = async |method: Method, path: String, body: Option<&Value>| {
        let answer = gateway.ask(&method, &path, Some(&owner), body).await;
        assert!(answer.status == 200 && !answer.body.contains("\"error\""), "{path}: {answer:?}");
    };
    let calls = ["/rpc".to_owned(), "/mcp".to_owned(), format!("/servers/{server}/mcp")];
    let calls = calls.into_iter().map(|path| ask(Method::POST, path, Some(&call)));
    let pages = ["/admin/", "/admin/tools"].map(|path| ask(Method::GET, path.to_owned(), None));
    let look = async {
        let stream = format!("/servers/{server}/sse");
        let streams = [gateway.open(&stream, &owner).await, gateway.open(&stream, &owner).await];
        assert!(streams.iter().all(|stream| stream.status() == 200), "{streams:?}");
        hook.arrived(3).await;
        render.arrived(2).await;
        let at_the_hook = out(specimen, &gateway, &name).await;
        hook.open();
        backend.arrived(3).await;
        let at_the_backend = out(specimen, &gateway, &name).await;
        backend.open();
        render.open();
        drop(streams);
        (at_the_hook, at_the_backend)
    };
    let everything =
        futures_util::future::join(futures_util::future::join_all(calls), futures_util::future::join_all(pages));
    let (_, seen) = tokio::join!(everything, look);
    let deadline = Instant::now() + DEADLINE;
    while checked_out(&gateway) > 0 {
        assert!(Instant::now() < deadline, "{scope:?}: held when all is over");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

#[tokio::test]
async fn only_holding_scopes_have_connections_out_during_slow_work() {
    let specimen = SeededDatabase::start().await;
    for (scope, at_the_hook, at_the_backend) in [
        (Scoped, 0, 0),
        (EndpointShared, 0, 0),
        (EarlyClose, 0, 0),
        // What happens elsewhere: in the health probe.
        (NeverCommitted, 0, 0),
        // Three calls, two pages, two streams.
        (Held, 7, 7),
        (AcrossHook, 3, 0),
        (AcrossBackend, 0, 3),
        (LeakedOnCancel, 0, 3),
        (BeginAgain, 0, 3),
        (FailedKept, 0, 3),
        (AcrossRender, 2, 2),
        (UntilSent, 2, 2),
        // One more for each call, and three more.
        (DoubleCheckout, 7, 10),
        (SessionPerLayer, 7, 16),
    ] {
        let seen = out_at_both_gates(&specimen, scope).await;
        assert_eq!(seen, (at_the_hook, at_the_backend), "{scope:?}: at the hook, and at the backend");
    }
}
