//! The data set: tables, roles, teams, users, loaded into the private cluster before the gateway starts.

use std::collections::HashMap;

use gateway_under_test::auth;
use reqwest::header::HeaderValue;

use crate::scenario::{Identities, Scenario};

const SCHEMA: &str = include_str!("../../fixtures/rbac/schema.sql");
const DATA: &str = include_str!("../../fixtures/rbac/data.sql");

/// The platform administrator of the fixture.
pub(super) const PLATFORM_ADMIN: &str = "admin@example.com";

/// Database administrators in the fixture.
const DATABASE_ADMINS: u32 = 20;

/// Long enough for the longest run.
const TOKEN_LIFETIME_S: u64 = 24 * 3600;

/// Why the data set could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database could not be reached, or refused the data.
    #[error("cannot load the data set")]
    Database(#[from] tokio_postgres::Error),
    /// A token could not be signed.
    #[error("cannot sign a token")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Loads the data set, and gives an `Authorization` header for each user of the load.
pub(super) async fn seed(
    database: &tokio_postgres::Config,
    scenario: &Scenario,
    jwt_secret: &str,
) -> Result<Vec<HeaderValue>, SeedError> {
    let (client, connection) = database.connect(tokio_postgres::NoTls).await?;
    // It ends with the client, a few lines below.
    let connection = tokio::spawn(connection);
    let counters = scenario.gateway.usage_counter.rows.map_or(0, crate::units::Count::get);
    let data = DATA
        .replace("{{users}}", &scenario.database.fixture_users.get().to_string())
        .replace("{{counter_rows}}", &counters.to_string());
    client.batch_execute(SCHEMA).await?;
    client.batch_execute(&data).await?;
    let teams = client.query("SELECT user_email, team_id FROM email_team_members WHERE is_active", &[]).await?;
    let teams: HashMap<String, String> = teams.iter().map(|row| (row.get(0), row.get(1))).collect();
    drop(client);
    // How the connection ended is nobody's concern: everything was answered.
    let _ended = connection.await;
    (0..scenario.load.users.get()).map(|user| authorization(user, scenario, &teams, jwt_secret)).collect()
}

fn authorization(
    user: u32,
    scenario: &Scenario,
    teams: &HashMap<String, String>,
    jwt_secret: &str,
) -> Result<HeaderValue, SeedError> {
    let email = email_of(user, &scenario.identities, scenario.database.fixture_users.get());
    let team = teams.get(&email).cloned();
    let token = auth::issue_token(jwt_secret, &email, &format!("load-{user}"), team.as_slice(), TOKEN_LIFETIME_S)
        .map_err(|error| SeedError::Token(error.into()))?;
    let mut header =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| SeedError::Token(error.into()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// A token of the platform administrator.
pub(super) fn admin_token(jwt_secret: &str) -> Result<String, SeedError> {
    auth::issue_token(jwt_secret, PLATFORM_ADMIN, "demo-admin", &[], TOKEN_LIFETIME_S)
        .map_err(|error| SeedError::Token(error.into()))
}

/// The e-mail of a user of the load. Kinds are dealt like cards, so that any run of users holds them in proportion.
fn email_of(user: u32, identities: &Identities, fixture_users: u32) -> String {
    let total = (identities.platform_admin + identities.database_admin + identities.regular).max(1);
    // A multiplier coprime to most totals spreads each kind over the round instead of bunching it.
    let card = user.wrapping_mul(7) % total;
    if card < identities.platform_admin {
        PLATFORM_ADMIN.to_owned()
    } else if card < identities.platform_admin + identities.database_admin {
        format!("dbadmin-{}@example.com", user % DATABASE_ADMINS + 1)
    } else {
        format!("user-{}@example.com", user % fixture_users + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_in_the_proportions_that_were_asked_for() {
        let identities = Identities { platform_admin: 3, database_admin: 1, regular: 6 };
        let emails: Vec<String> = (0..1000).map(|user| email_of(user, &identities, 4000)).collect();
        let count = |prefix: &str| emails.iter().filter(|email| email.starts_with(prefix)).count();
        assert_eq!([count("admin@"), count("dbadmin-"), count("user-")], [300, 100, 600]);
    }
}
