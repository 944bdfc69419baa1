//! State of the view at one instant, as JSON for scripts.

use serde::Serialize;

use super::groups::{Arranged, RootSession};
use super::model::WatchModel;
use crate::monitor::sessions::Session;
use crate::record::{Format, PoolSample};

/// Sessions that are listed: the oldest.
const LISTED: usize = 200;

/// The document; `docs/FORMATS.md` describes it.
#[derive(Debug, Serialize)]
pub struct WatchJson<'a> {
    format: Format,
    database_url: &'a str,
    postgres_version: &'a str,
    /// Seconds since 1970 UTC.
    taken_unix_s: f64,
    /// `null` while the server answers.
    lost: Option<Lost<'a>>,
    /// `null` before the first poll.
    sessions: Option<Sessions>,
    oldest_transaction_s: Option<f64>,
    transactions: Vec<TransactionJson<'a>>,
    transactions_left_out: usize,
    by_statement: Vec<ByStatement<'a>>,
    by_application: Vec<ByApplication<'a>>,
    blocking: Vec<Blocking<'a>>,
    waiting_untraced: u32,
    pools: Vec<PoolJson<'a>>,
}

#[derive(Debug, Serialize)]
struct Lost<'a> {
    for_s: f64,
    error: &'a str,
}

#[derive(Debug, Serialize)]
struct Sessions {
    total: u32,
    active: u32,
    idle: u32,
    idle_in_transaction: u32,
    idle_in_transaction_aborted: u32,
    waiting_for_lock: u32,
    max_connections: u32,
}

#[derive(Debug, Serialize)]
struct TransactionJson<'a> {
    pid: i32,
    state: &'static str,
    age_s: Option<f64>,
    state_s: Option<f64>,
    statement: Option<&'a str>,
    application_name: &'a str,
    user: Option<&'a str>,
    client: Option<&'a str>,
    wait: Option<&'a str>,
    blocked_by: &'a [i32],
}

#[derive(Debug, Serialize)]
struct ByStatement<'a> {
    statement: &'a str,
    sessions: u32,
    idle_in_transaction: u32,
    oldest_s: f64,
    application_name: &'a str,
}

#[derive(Debug, Serialize)]
struct ByApplication<'a> {
    application_name: &'a str,
    sessions: u32,
    active: u32,
    idle: u32,
    idle_in_transaction: u32,
    waiting_for_lock: u32,
    oldest_s: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Blocking<'a> {
    pid: i32,
    state: Option<&'static str>,
    age_s: Option<f64>,
    statement: Option<&'a str>,
    application_name: Option<&'a str>,
    blocked: usize,
    blocked_pids: Vec<i32>,
}

#[derive(Debug, Serialize)]
struct PoolJson<'a> {
    url: &'a str,
    #[serde(flatten)]
    sample: &'a PoolSample,
}

impl<'a> WatchJson<'a> {
    /// Document of a model.
    pub fn of(model: &'a WatchModel) -> Self {
        let poll = model.poll.as_ref().map(|(_, poll)| poll);
        let transactions = poll.map_or(&[][..], |poll| &poll.transactions[..]);
        let max_connections = model.server.max_connections;
        Self {
            format: Format { name: "rbac-bench/watch".to_owned(), version: 1 },
            database_url: &model.target.url,
            postgres_version: &model.server.version,
            taken_unix_s: model.target.started_unix_s + model.poll.as_ref().map_or(model.now_s, |(at_s, _)| *at_s),
            lost: model.lost.as_ref().map(|(since_s, error)| Lost { for_s: model.now_s - since_s, error }),
            sessions: poll.map(|poll| sessions(poll, max_connections)),
            oldest_transaction_s: poll.and_then(Arranged::oldest_s),
            transactions: transactions.iter().take(LISTED).map(transaction).collect(),
            transactions_left_out: transactions.len().saturating_sub(LISTED),
            by_statement: poll.map_or_else(Vec::new, by_statement),
            by_application: poll.map_or_else(Vec::new, by_application),
            blocking: poll.map_or_else(Vec::new, |poll| poll.roots.iter().map(blocking).collect()),
            waiting_untraced: poll.map_or(0, |poll| poll.untraced),
            pools: pools(model),
        }
    }
}

fn sessions(poll: &Arranged, max_connections: u32) -> Sessions {
    let counts = poll.counts;
    Sessions {
        total: counts.sessions,
        active: counts.active,
        idle: counts.idle,
        idle_in_transaction: counts.idle_in_transaction,
        idle_in_transaction_aborted: counts.aborted,
        waiting_for_lock: counts.waiting_for_lock,
        max_connections,
    }
}

fn transaction(session: &Session) -> TransactionJson<'_> {
    TransactionJson {
        pid: session.pid,
        state: session.state.name(),
        age_s: session.transaction_s,
        state_s: session.state_s,
        statement: session.statement.as_deref(),
        application_name: &session.application_name,
        user: session.user.as_deref(),
        client: session.client.as_deref(),
        wait: session.wait.as_deref(),
        blocked_by: &session.blocked_by,
    }
}

fn by_statement(poll: &Arranged) -> Vec<ByStatement<'_>> {
    let groups = poll.statements.iter().map(|group| ByStatement {
        statement: &group.statement,
        sessions: group.sessions,
        idle_in_transaction: group.idle_in_transaction,
        oldest_s: group.oldest_s,
        application_name: &group.application_name,
    });
    groups.collect()
}

fn by_application(poll: &Arranged) -> Vec<ByApplication<'_>> {
    let groups = poll.applications.iter().map(|group| ByApplication {
        application_name: &group.application_name,
        sessions: group.counts.sessions,
        active: group.counts.active,
        idle: group.counts.idle,
        idle_in_transaction: group.counts.idle_in_transaction_total(),
        waiting_for_lock: group.counts.waiting_for_lock,
        oldest_s: group.oldest_s,
    });
    groups.collect()
}

fn blocking(root: &RootSession) -> Blocking<'_> {
    let session = root.session.as_ref();
    Blocking {
        pid: root.pid,
        state: session.map(|it| it.state.name()),
        age_s: session.and_then(|it| it.transaction_s),
        statement: session.and_then(|it| it.statement.as_deref()),
        application_name: session.map(|it| it.application_name.as_str()),
        blocked: root.behind.len(),
        blocked_pids: root.behind.iter().map(|waiter| waiter.session.pid).collect(),
    }
}

fn pools(model: &WatchModel) -> Vec<PoolJson<'_>> {
    let named = model.pools.iter().map(|(number, pool)| {
        let url = model.target.pools.get((*number as usize).wrapping_sub(1));
        PoolJson { url: url.map_or("", String::as_str), sample: &pool.sample }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::simulated::model;

    #[test]
    fn a_document_says_what_it_is_and_has_what_the_screen_has() {
        let model = model(1_000);
        let document = serde_json::to_value(WatchJson::of(&model)).unwrap();
        assert_eq!(document["format"]["name"], "rbac-bench/watch");
        assert_eq!(document["sessions"]["idle_in_transaction"], 600);
        assert_eq!(document["transactions"].as_array().unwrap().len(), LISTED);
        assert_eq!(document["transactions_left_out"], 900 - LISTED);
        assert_eq!(document["transactions"][0]["age_s"], document["oldest_transaction_s"]);
        assert_eq!(
            (&document["blocking"][0]["pid"], &document["blocking"][0]["blocked"]),
            (&1_000.into(), &100.into())
        );
        assert_eq!(
            (&document["pools"][0]["checked_out"], &document["pools"][1]["checked_out"]),
            (&30.into(), &().into())
        );
        assert!(document["lost"].is_null());
    }
}
