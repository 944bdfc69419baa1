//! A shop whose mistakes are known, each behind a switch, and which counts what it does itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::{Client, NoTls};

use crate::support::postgres::cluster;

/// Wait of a route for another service.
const WAIT: Duration = Duration::from_millis(120);

/// Time for which the catalogue is locked while it is made anew.
const REFRESH: Duration = Duration::from_millis(250);

/// Sessions of the pool.
pub(super) const SESSIONS: usize = 24;

/// Which mistakes it makes.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Mistakes {
    /// The report waits inside of its transaction.
    pub(super) report_holds: bool,
    /// The draft's session never comes back.
    pub(super) draft_leaks: bool,
    /// The stock waits for the catalogue inside of its transaction.
    pub(super) stock_waits: bool,
    /// A search whose client leaves is given up with its transaction open.
    pub(super) search_is_left: bool,
}

/// Number and duration of a route's waits in a transaction.
#[derive(Default)]
pub(super) struct Held {
    count: AtomicU64,
    micros: AtomicU64,
}

impl Held {
    fn since(&self, began: Instant) {
        self.micros.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of waits.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Seconds, all together.
    pub(super) fn seconds(&self) -> f64 {
        self.micros.load(Ordering::Relaxed) as f64 / 1e6
    }
}

pub(super) struct Shop {
    mistakes: Mistakes,
    pub(super) report: Held,
    pub(super) stock: Held,
    sessions: std::sync::Mutex<Vec<Client>>,
    free: Semaphore,
    /// Sessions that were forgotten.
    forgotten: std::sync::Mutex<Vec<Client>>,
    catalogue: Mutex<()>,
}

impl Shop {
    /// Serves on a port of its own; gives the base URL, too.
    pub(super) async fn serve(mistakes: Mistakes) -> (Arc<Self>, String) {
        let mut config = cluster().await.config();
        config.application_name("shop");
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            sessions.push(client);
        }
        let shop = Arc::new(Self {
            mistakes,
            report: Held::default(),
            stock: Held::default(),
            sessions: std::sync::Mutex::new(sessions),
            free: Semaphore::new(SESSIONS),
            forgotten: std::sync::Mutex::default(),
            catalogue: Mutex::default(),
        });
        let router = Router::new()
            .route("/reports/{id}", get(report))
            .route("/drafts", get(draft))
            .route("/stock", get(stock))
            .route("/catalogue", get(catalogue))
            .route("/items", get(items))
            .route("/weather", get(weather))
            .route("/search", get(search))
            .route("/basket", get(basket))
            .route("/broken", get(async || axum::http::StatusCode::INTERNAL_SERVER_ERROR))
            .with_state(Arc::clone(&shop));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        (shop, url)
    }

    async fn session(self: &Arc<Self>) -> Session {
        self.free.acquire().await.unwrap().forget();
        let client = self.sessions.lock().unwrap().pop();
        Session { client, shop: Arc::clone(self), is_left: false }
    }

    fn give_back(&self, client: Client) {
        self.sessions.lock().unwrap().push(client);
        self.free.add_permits(1);
    }
}

/// A session out of the pool. A handler ends in the middle when its client leaves: then it is rolled back, as it should.
struct Session {
    client: Option<Client>,
    shop: Arc<Shop>,
    /// The mistake: it is forgotten instead.
    is_left: bool,
}

impl Session {
    async fn execute(&self, statement: &str) {
        self.client.as_ref().unwrap().batch_execute(statement).await.unwrap();
    }

    fn give_back(mut self) {
        self.shop.give_back(self.client.take().unwrap());
    }

    fn forget(mut self) {
        self.shop.forgotten.lock().unwrap().push(self.client.take().unwrap());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        let shop = Arc::clone(&self.shop);
        if self.is_left {
            shop.forgotten.lock().unwrap().push(client);
        } else {
            tokio::spawn(async move {
                client.batch_execute("ROLLBACK").await.unwrap();
                shop.give_back(client);
            });
        }
    }
}

/// Reads in a transaction, and waits for somebody else: inside of it, or after it.
async fn report(State(shop): State<Arc<Shop>>, Path(id): Path<String>) -> String {
    let session = shop.session().await;
    session.execute("BEGIN").await;
    let began = Instant::now();
    session.execute("SELECT count(*) AS report_rows FROM pg_class").await;
    if shop.mistakes.report_holds {
        tokio::time::sleep(WAIT).await;
        shop.report.since(began);
    }
    session.execute("COMMIT").await;
    session.give_back();
    if !shop.mistakes.report_holds {
        tokio::time::sleep(WAIT).await;
    }
    id
}

/// Forgets to end its transaction.
async fn draft(State(shop): State<Arc<Shop>>) -> &'static str {
    let session = shop.session().await;
    session.execute("BEGIN").await;
    session.execute("SELECT count(*) AS draft_rows FROM pg_class").await;
    if shop.mistakes.draft_leaks {
        session.forget();
    } else {
        session.execute("COMMIT").await;
        session.give_back();
    }
    "{}"
}

/// Looks into the catalogue, which is locked only while another route makes it anew.
async fn stock(State(shop): State<Arc<Shop>>) -> &'static str {
    if !shop.mistakes.stock_waits {
        drop(shop.catalogue.lock().await);
    }
    let session = shop.session().await;
    session.execute("BEGIN").await;
    // As the server has it: the pauses around the statement are idle, too.
    let began = Instant::now();
    session.execute("SELECT count(*) AS stock_rows FROM pg_class").await;
    if shop.mistakes.stock_waits {
        drop(shop.catalogue.lock().await);
        shop.stock.since(began);
    }
    session.execute("COMMIT").await;
    session.give_back();
    "{}"
}

/// Makes the catalogue anew, without a session.
async fn catalogue(State(shop): State<Arc<Shop>>) -> &'static str {
    let _locked = shop.catalogue.lock().await;
    tokio::time::sleep(REFRESH).await;
    "{}"
}

/// A short transaction.
async fn items(State(shop): State<Arc<Shop>>) -> &'static str {
    let session = shop.session().await;
    session.execute("BEGIN; SELECT 1 AS items; COMMIT").await;
    session.give_back();
    "[]"
}

/// Slow, without a session.
async fn weather() -> &'static str {
    tokio::time::sleep(2 * WAIT).await;
    "{}"
}

/// A slow query in a transaction.
async fn search(State(shop): State<Arc<Shop>>) -> &'static str {
    let mut session = shop.session().await;
    session.is_left = shop.mistakes.search_is_left;
    session.execute("BEGIN").await;
    session.execute("SELECT pg_sleep(0.2) AS search_rows").await;
    session.execute("COMMIT").await;
    session.give_back();
    "[]"
}

/// Many short statements in a transaction, one after the other.
async fn basket(State(shop): State<Arc<Shop>>) -> &'static str {
    let session = shop.session().await;
    session.execute("BEGIN").await;
    for _ in 0..60 {
        session.execute("SELECT 1 AS basket_row").await;
    }
    session.execute("COMMIT").await;
    session.give_back();
    "[]"
}
