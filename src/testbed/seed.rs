//! The data set: tables, roles, teams, users, loaded into the private cluster before the gateway starts.

use std::collections::HashMap;

use gateway_under_test::auth::{self, TeamScope, password};
use gateway_under_test::db::migrate;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use reqwest::header::HeaderValue;
use tokio_postgres::Client;

use super::database::Database;
use super::names::DATABASE;
use crate::scenario::{Identities, Scenario};

const DATA: &str = include_str!("../../fixtures/rbac/data.sql");

/// The platform administrator of the fixture.
pub(super) const PLATFORM_ADMIN: &str = "admin@example.com";

/// A regular user that every fixture has: the owner of the first team.
const DEMO_USER: &str = "user-1@example.com";

/// Database administrators in the fixture.
const DATABASE_ADMINS: u32 = 20;

/// Long enough for the longest run.
const TOKEN_LIFETIME_S: u64 = 24 * 3600;

#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("cannot load the data set")]
    Database(#[from] tokio_postgres::Error),
    #[error("cannot make the gateway's tables")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "the database `{database}` has tables that are not this gateway's, such as `{table}`: give it an empty one"
    )]
    SomebodyElses {
        database: String,
        /// One of the tables.
        table: String,
    },
    #[error("cannot hash the password of the data set: {0}")]
    Password(String),
    #[error("cannot sign a token")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Callers of the gateway.
#[derive(Debug)]
pub(super) struct Callers {
    /// An `Authorization` header for each user of the load.
    pub(super) authorizations: Vec<HeaderValue>,
    /// A token of a regular user, for demonstrations.
    pub(super) user_token: String,
    /// True if the data were loaded now; they may have been there before.
    pub(super) loaded: bool,
}

/// Table in which the history of the migrations is kept.
const HISTORY: &str = "refinery_schema_history";

/// A hash that no password has.
const NO_PASSWORD: &str = "!unusable";

/// Makes the tables, loads the data set where there is none, and signs the tokens. Every user's password is `password`.
pub(super) async fn seed(
    database: &Database,
    scenario: &Scenario,
    jwt_secret: &str,
    password: Option<&str>,
) -> Result<Callers, SeedError> {
    let (mut client, connection) = database.config().connect(tokio_postgres::NoTls).await?;
    // It ends with the client, a few lines below.
    let connection = tokio::spawn(connection);
    if let Some(table) = somebody_elses_table(&client).await? {
        return Err(SeedError::SomebodyElses { database: database.masked_url(), table });
    }
    migrate(&mut client).await.map_err(|error| SeedError::Migration(error.into()))?;
    let loaded = client.query("SELECT FROM email_users LIMIT 1", &[]).await?.is_empty();
    if loaded {
        let hash = password.map_or(Ok(NO_PASSWORD.to_owned()), password::hash).map_err(SeedError::Password)?;
        client.batch_execute(&data_set(scenario, &hash)).await?;
    }
    if let Some(role) = &scenario.monitor.role {
        make_role(&client, role).await?;
    }
    if scenario.pgbouncer.is_some() {
        set_limits(&client, scenario).await?;
    }
    let teams = client.query("SELECT user_email, team_id FROM email_team_members WHERE is_active", &[]).await?;
    let teams: HashMap<String, String> = teams.iter().map(|row| (row.get(0), row.get(1))).collect();
    drop(client);
    // How the connection ended is nobody's concern: everything was answered.
    let _ended = connection.await;
    let users = 0..scenario.load.users.get();
    let authorizations =
        users.map(|user| authorization(user, scenario, &teams, jwt_secret)).collect::<Result<_, _>>()?;
    let user_token = token(jwt_secret, DEMO_USER, "demo-user", &teams_of(DEMO_USER, &teams))?;
    Ok(Callers { authorizations, user_token, loaded })
}

/// The limits of sessions, which a gateway that connects directly asks for itself: a pooler refuses or forgets them.
async fn set_limits(client: &Client, scenario: &Scenario) -> Result<(), tokio_postgres::Error> {
    let limits = &scenario.database;
    for (name, limit) in [
        ("statement_timeout", limits.statement_timeout),
        ("idle_in_transaction_session_timeout", limits.idle_in_transaction_session_timeout),
    ] {
        let ms = limit.duration().as_millis();
        client.batch_execute(&format!("ALTER DATABASE {DATABASE} SET {name} = {ms}")).await?;
    }
    Ok(())
}

/// A role that may log in and nothing else; its name has been checked.
async fn make_role(client: &Client, role: &str) -> Result<(), SeedError> {
    let known = client.query("SELECT FROM pg_roles WHERE rolname = $1", &[&role]).await?;
    if known.is_empty() {
        client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await?;
    }
    Ok(())
}

/// A table in a database that this gateway has never seen: nothing is put beside other people's data.
async fn somebody_elses_table(client: &Client) -> Result<Option<String>, SeedError> {
    let tables = "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') \
                  AND relnamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY (current_schemas(false))) \
                  ORDER BY relname";
    let tables: Vec<String> = client.query(tables, &[]).await?.iter().map(|row| row.get(0)).collect();
    if tables.iter().any(|table| table == HISTORY) { Ok(None) } else { Ok(tables.into_iter().next()) }
}

fn data_set(scenario: &Scenario, password_hash: &str) -> String {
    let counters = scenario.gateway.usage_counter.rows.map_or(0, crate::units::Count::get);
    let prefixes: Vec<String> = scenario.gateway.tool_prefixes.iter().map(ToString::to_string).collect();
    DATA.replace("{{tool_prefixes}}", &format!("{{{}}}", prefixes.join(",")))
        .replace("{{users}}", &scenario.database.fixture_users.get().to_string())
        .replace("{{counter_rows}}", &counters.to_string())
        .replace("{{password_hash}}", password_hash)
}

fn authorization(
    user: u32,
    scenario: &Scenario,
    teams: &HashMap<String, String>,
    jwt_secret: &str,
) -> Result<HeaderValue, SeedError> {
    let email = email_of(user, &scenario.identities, scenario.database.fixture_users.get());
    let token = token(jwt_secret, &email, &format!("load-{user}"), &teams_of(&email, teams))?;
    let mut header =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| SeedError::Token(error.into()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// A token of the platform administrator.
pub(super) fn admin_token(jwt_secret: &str) -> Result<String, SeedError> {
    token(jwt_secret, PLATFORM_ADMIN, "demo-admin", &TeamScope::Unrestricted)
}

/// In the fixture, anyone who is in no team is an administrator.
fn teams_of(email: &str, teams: &HashMap<String, String>) -> TeamScope {
    teams.get(email).map_or(TeamScope::Unrestricted, |team| TeamScope::Teams(vec![team.clone()]))
}

fn token(jwt_secret: &str, email: &str, jti: &str, teams: &TeamScope) -> Result<String, SeedError> {
    auth::issue_token(jwt_secret, email, jti, teams, TOKEN_LIFETIME_S).map_err(|error| SeedError::Token(error.into()))
}

/// The e-mail of a user of the load: a kind drawn by weight, the same for the same user in every run.
fn email_of(user: u32, identities: &Identities, fixture_users: u32) -> String {
    let total = (identities.platform_admin + identities.database_admin + identities.regular).max(1);
    let drawn = SmallRng::seed_from_u64(u64::from(user)).random_range(0..total);
    if drawn < identities.platform_admin {
        PLATFORM_ADMIN.to_owned()
    } else if drawn < identities.platform_admin + identities.database_admin {
        format!("dbadmin-{}@example.com", user % DATABASE_ADMINS + 1)
    } else {
        format!("user-{}@example.com", user % fixture_users + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_in_the_requested_proportions() {
        for (platform_admin, database_admin, regular) in [(3, 1, 6), (1, 1, 5), (3, 1, 16), (0, 0, 1), (2, 3, 9)] {
            let identities = Identities { platform_admin, database_admin, regular };
            let total = f64::from(platform_admin + database_admin + regular);
            let emails: Vec<String> = (0..4000).map(|user| email_of(user, &identities, 4000)).collect();
            for (prefix, weight) in [("admin@", platform_admin), ("dbadmin-", database_admin), ("user-", regular)] {
                let share = emails.iter().filter(|email| email.starts_with(prefix)).count() as f64 / 4000.0;
                let wanted = f64::from(weight) / total;
                assert!((share - wanted).abs() < 0.03, "{prefix} {share} for {wanted} of {identities:?}");
            }
        }
    }
}
