//! Advice, in the words of the stack that it is for.

use std::collections::BTreeMap;

use super::FindingKind;
use super::pattern::HoldPattern;

/// A stack that advice is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    SqlAlchemy,
    Django,
    NodePg,
    HikariCp,
    TokioPostgres,
}

impl Stack {
    const ALL: [Self; 5] = [Self::SqlAlchemy, Self::Django, Self::NodePg, Self::HikariCp, Self::TokioPostgres];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SqlAlchemy => "SQLAlchemy/FastAPI",
            Self::Django => "Django",
            Self::NodePg => "Node pg",
            Self::HikariCp => "HikariCP",
            Self::TokioPostgres => "tokio-postgres/deadpool",
        }
    }
}

/// Advice on a transaction that outlives its response, and ends.
pub(super) const END_FIRST: &str = "Commit or roll back before the response is sent, in every branch: giving a connection back to its pool may \
                                    not end its transaction. A background task should open a session of its own, around its statements alone.";

/// Advice on a result that is sent while it is read.
pub(super) const READ_ALL_ROWS: &str = "Read all rows before anything else is done with them, or in pages: a statement ends when its last row was \
                                        read, and its session is busy until then.";

/// The fix in a sentence.
pub(super) fn fix(kind: FindingKind, pattern: Option<HoldPattern>) -> &'static str {
    match (kind, pattern) {
        (FindingKind::HeldSession, Some(HoldPattern::H1)) => {
            "Open a short session for the permission check alone, and do not store a session in the request's context."
        }
        (FindingKind::HeldSession, Some(HoldPattern::H5)) => {
            "End the transaction before the first byte of the stream is sent."
        }
        (FindingKind::HeldSession, Some(HoldPattern::H6)) => {
            "Load what is needed before the commit, and touch no lazy relation after it."
        }
        (FindingKind::HeldSession, Some(HoldPattern::H10 | HoldPattern::H12)) => {
            "Use one session for each request and hand it on, instead of one for each layer; release it before slow work."
        }
        (FindingKind::HeldSession, Some(HoldPattern::H21)) => "Roll back in every branch that swallows an error.",
        (FindingKind::HeldSession, _) => {
            "Commit, and give the connection back, before the slow work; take another one after it."
        }
        (FindingKind::HeldOutsideRequests, _) => {
            "Look for what runs by itself (a worker, a scheduled job, another application): commit, and give the connection \
             back, before its slow work."
        }
        (FindingKind::LeakedSession, Some(HoldPattern::H7)) => "Commit after each probe, or let it use autocommit.",
        (FindingKind::LeakedSession, Some(HoldPattern::H8)) => {
            "Clean up in `finally` (or a guard's drop), which also runs when the request is cancelled."
        }
        (FindingKind::LeakedSession, _) => "Close each session in the scope that opens it.",
        (FindingKind::PoolExhausted, _) => {
            "Fix what holds the sessions first: a larger pool only takes longer to fill."
        }
        (FindingKind::PoolTooSmall, _) => "Raise the pool to what the load needs, or let in fewer requests at once.",
        (FindingKind::EventLoopBlocked, _) => {
            "Use an asynchronous driver and pool, or run the blocking call on a thread."
        }
        (FindingKind::LockConvoy, _) => {
            "Commit right after the update of the shared row, or update it in a transaction of its own; use NOWAIT or a \
             lock timeout."
        }
        (FindingKind::SlowQuery, _) => {
            "Look at its plan with EXPLAIN (ANALYZE, BUFFERS), and give the session a statement timeout."
        }
        (FindingKind::PgbouncerTimeout, _) => {
            "PgBouncer ends what idles too long: cure the hold; its timeouts only decide who sees the error."
        }
        (FindingKind::ServerError, _) => {
            "The server enforces its limits: find who runs into them in the other findings, or in its log by this code."
        }
        (FindingKind::PreparedTransaction, _) => {
            "Find it in pg_prepared_xacts, and end it with COMMIT PREPARED or ROLLBACK PREPARED; set max_prepared_transactions \
             to 0 where nobody needs two-phase commit."
        }
        (FindingKind::Healthy, _) => "Nothing to do.",
        (FindingKind::CannotTell, _) => {
            "Measure again: longer, with more users, or with a mix that tells the routes apart."
        }
    }
}

/// The same in code, for each stack; empty where there is no more to say.
pub(super) fn by_stack(kind: FindingKind) -> BTreeMap<&'static str, &'static str> {
    let lines: [&str; 5] = match kind {
        FindingKind::HeldSession => [
            "`with SessionLocal() as db: allowed = check(db, user)` closed before `await`; or `db.commit()` and `db.close()` \
             before it; `Depends(get_db, scope=\"function\")` for streams",
            "no ATOMIC_REQUESTS on this view; `with transaction.atomic():` around the queries only",
            "`client.release()` after COMMIT, before awaiting anything other than a query; `pool.query` for single reads",
            "`@Transactional` on the repository's method, not on the one that calls the service; spring.jpa.open-in-view=false",
            "end the transaction and drop the pooled object in an inner block, before the `.await` of slow work",
        ],
        FindingKind::LeakedSession => [
            "`with SessionLocal() as db:` or a dependency with `yield` in `try … finally`; never a bare `next(get_db())`",
            "`close_old_connections()` in threads; no connection outside a request without `connection.close()`",
            "`try { … } finally { client.release() }`",
            "try-with-resources around every `getConnection()`; leakDetectionThreshold=10000 finds the place",
            "keep the pooled object in a scope that ends; a `Transaction` that is dropped is rolled back",
        ],
        FindingKind::EventLoopBlocked => [
            "`create_async_engine` with asyncpg or psycopg; or `def` routes, which run on threads",
            "`sync_to_async` around the ORM, or a WSGI server",
            "no synchronous driver (pg-native's sync calls) in a handler",
            "no JDBC on a reactive event loop: use a bounded scheduler or virtual threads",
            "`tokio::task::spawn_blocking` around the `postgres` crate",
        ],
        _ => return BTreeMap::new(),
    };
    Stack::ALL.map(Stack::name).into_iter().zip(lines).collect()
}
