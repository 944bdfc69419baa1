//! The dedicated connection: unpooled, outside any transaction, with its statements prepared.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::config::Host;
use tokio_postgres::{Client, Statement};

use super::activity::ServerText;
use super::clock::ServerTime;
use super::session_filter::SessionFilter;
use super::{APPLICATION_NAME, MonitorError, activity, blocking, counters, pulse};
use crate::database::{Database, Ending};

/// A poll that takes longer is given up, and there is a gap.
pub(super) const POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is up.
pub(super) struct Link {
    pub(super) client: Client,
    ending: Ending,
    pub(super) pulse: Statement,
    pub(super) rows: Statement,
    pub(super) counters: Statement,
    pub(super) blockers: Statement,
    pub(super) root_details: Statement,
    pub(super) server: ServerInfo,
}

/// Facts about the server, asked once in a connection.
#[derive(Clone, Debug)]
pub(super) struct ServerInfo {
    /// The database's oid.
    pub(super) database: u32,
    /// `pg_postmaster_start_time()`.
    pub(super) started: ServerTime,
    /// Our own server process.
    pub(super) pid: i32,
    /// Names of the roles by oid.
    pub(super) roles: HashMap<u32, String>,
    pub(super) limits: ServerLimits,
}

/// The server that is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Its version, as it says it: `15.18`.
    pub version: String,
    /// Sessions that it allows.
    pub max_connections: u32,
    pub database: String,
}

/// A plan is made once, and not for each set of parameters; nothing here is worth compiling. What takes longer than a poll
/// may is not to burden the server any further.
const SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; SET jit = off; SET statement_timeout = 5000";

/// Roles that are remembered by name.
const ROLES: &str = "SELECT oid, rolname::text FROM pg_roles ORDER BY oid LIMIT 10000";

const FACTS: &str = "\
SELECT (SELECT oid FROM pg_database WHERE datname = current_database()), pg_postmaster_start_time(), pg_backend_pid(),
       current_setting('server_version'), current_setting('max_connections')::int4, current_database()::text";

const SIGHT: &str = "SELECT current_user::text, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')";

/// The role of a connection, and whether it sees all sessions' states; PostgreSQL shows every role its own.
pub(super) async fn sight(client: &Client) -> Result<(String, bool), MonitorError> {
    let failed = |source| MonitorError::Query { what: "the role's privileges", source };
    let role = client.query_one(SIGHT, &[]).await.map_err(failed)?;
    Ok((role.get(0), role.get(1)))
}

/// Refuses a role that may not see the states of the sessions that are polled: whatever it counted would be zero.
async fn check_sight(client: &Client, whose: &SessionFilter) -> Result<(), MonitorError> {
    let (role, sees_all) = sight(client).await?;
    if sees_all || whose.users == [role.as_str()] { Ok(()) } else { Err(MonitorError::Blind { role }) }
}

impl Link {
    /// Connects, checks that the role sees what it must, and prepares.
    pub(super) async fn open(database: &Database, whose: &SessionFilter) -> Result<Self, MonitorError> {
        let (client, ending) = connect(database).await?;
        let failed = |source| MonitorError::Query { what: "pg_stat_activity", source };
        client.batch_execute(SETTINGS).await.map_err(failed)?;
        check_sight(&client, whose).await?;
        let facts = client.query_one(FACTS, &[]).await.map_err(failed)?;
        let version = counters::version(&client).await.map_err(failed)?;
        let server = ServerInfo {
            database: facts.get(0),
            started: facts.get(1),
            pid: facts.get(2),
            roles: roles(&client).await.map_err(failed)?,
            limits: ServerLimits {
                // Debian's builds say more.
                version: facts.get::<_, String>(3).split(' ').next().unwrap_or_default().to_owned(),
                max_connections: u32::try_from(facts.get::<_, i32>(4)).unwrap_or_default(),
                database: facts.get::<_, ServerText>(5).0,
            },
        };
        Ok(Self {
            pulse: client.prepare(pulse::PULSE).await.map_err(failed)?,
            rows: client.prepare(activity::ROWS).await.map_err(failed)?,
            counters: client.prepare(&counters::query(version)).await.map_err(failed)?,
            blockers: client.prepare(blocking::BLOCKERS).await.map_err(failed)?,
            root_details: client.prepare(blocking::ROOT_DETAILS).await.map_err(failed)?,
            client,
            ending,
            server,
        })
    }

    /// Reads the roles again: one was made meanwhile.
    pub(super) async fn read_roles(&mut self) -> Result<(), tokio_postgres::Error> {
        self.server.roles = roles(&self.client).await?;
        Ok(())
    }

    /// Says goodbye; gives what the connection died of before.
    pub(super) async fn close(self) -> Option<tokio_postgres::Error> {
        close(self.client, self.ending).await
    }
}

async fn roles(client: &Client) -> Result<HashMap<u32, String>, tokio_postgres::Error> {
    let rows = client.query(ROLES, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, ServerText>(1)?.0))).collect()
}

/// Saying goodbye takes less.
const GOODBYE: Duration = Duration::from_secs(1);

/// Connects with our name; the connection runs until its client or its ending is dropped.
pub(super) async fn connect(database: &Database) -> Result<(Client, Ending), MonitorError> {
    let mut database = database.clone();
    database.config_mut().application_name(APPLICATION_NAME);
    database.connect().await.map_err(MonitorError::Connect)
}

/// Says goodbye: a client that vanishes would be counted among the sessions that were lost. Gives what the connection
/// died of before.
pub(super) async fn close(client: Client, ending: Ending) -> Option<tokio_postgres::Error> {
    drop(client);
    tokio::time::timeout(GOODBYE, ending).await.ok()?.ok()?.err()
}

/// Reason why a poll failed.
pub(super) struct Trouble {
    pub(super) error: String,
    /// True if the connection is of no more use.
    pub(super) lost: bool,
}

/// Waits for an answer, not for ever.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(POLL_TIMEOUT, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let fatal = error.as_db_error().is_some_and(|it| matches!(it.severity(), "FATAL" | "PANIC"));
            let reason = error.as_db_error().map_or_else(|| error.to_string(), |it| it.message().to_owned());
            Err(Trouble { lost: fatal || error.is_closed() || error.as_db_error().is_none(), error: reason })
        }
        Err(_elapsed) => Err(Trouble { error: format!("no answer within {} s", POLL_TIMEOUT.as_secs()), lost: true }),
    }
}

/// True if the server runs on this machine, as far as its address says.
pub(super) fn is_local(database: &Database) -> bool {
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
    };
    let hosts = database.config().get_hosts();
    !hosts.is_empty() && hosts.iter().all(local)
}
