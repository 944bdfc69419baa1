//! Client sessions of the server by database and application, whatever they are: asked where none of the filter
//! did.

use super::activity::ServerText;
use super::{APPLICATION_NAME, MonitorError, connection};
use crate::database::Database;

/// Groups that are given, those with the most sessions: enough to find a service among many.
const MOST_GROUPS: i64 = 200;

/// $1: our own name; $2: seconds, for sessions that ran a query in the last so many; null for all.
const ELSEWHERE: &str = "\
SELECT coalesce(datname::text, ''), coalesce(application_name, ''), coalesce(usename::text, ''), count(*)::int8,
       array_agg(coalesce(client_port, -1))
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name IS DISTINCT FROM $1
  AND ($2::float8 IS NULL OR query_start >= clock_timestamp() - make_interval(secs => $2))
GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT $3";

/// Client sessions of one database, application and role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    pub database: String,
    /// `application_name`; empty without one.
    pub application_name: String,
    /// The role; empty when the server does not say.
    pub user: String,
    /// Number of them.
    pub sessions: u32,
    /// Ports of the clients, as the server sees them; none of those over a Unix socket.
    pub client_ports: Vec<u16>,
}

/// The client sessions of the whole server, by database, application and role: those that ran a query within `within_s`
/// seconds, or all. Most sessions first.
///
/// # Errors
/// [`MonitorError`].
pub async fn elsewhere(database: impl Into<Database>, within_s: Option<f64>) -> Result<Vec<Elsewhere>, MonitorError> {
    let database = database.into();
    let reading = async {
        let (client, ending) = connection::connect(&database).await?;
        let read = client.query(ELSEWHERE, &[&APPLICATION_NAME, &within_s, &MOST_GROUPS]).await;
        connection::close(client, ending).await;
        read.map_err(|source| MonitorError::Query { what: "pg_stat_activity", source })
    };
    let rows =
        tokio::time::timeout(connection::POLL_TIMEOUT, reading).await.map_err(|_elapsed| MonitorError::Silent)??;
    Ok(rows.iter().map(group).collect())
}

fn group(row: &tokio_postgres::Row) -> Elsewhere {
    let ports: Vec<i32> = row.get(4);
    Elsewhere {
        database: row.get::<_, ServerText>(0).0,
        application_name: row.get::<_, ServerText>(1).0,
        user: row.get::<_, ServerText>(2).0,
        sessions: super::count(row, 3),
        client_ports: ports.into_iter().filter_map(|port| u16::try_from(port).ok()).collect(),
    }
}
