//! Denied bearers of good tokens: revoked tokens and disabled users.
//!
//! A replica keeps the list in memory and reads it again every second, on one connection of its own and outside the
//! workers: a request asks it without a query, as ContextForge asks its cache.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use crate::db::connection::config;
use crate::settings::Settings;

/// Time between two looks at the tables.
const REFRESH: Duration = Duration::from_secs(1);

const REVOKED: &str = "SELECT jti FROM token_revocations";
const DISABLED: &str = "SELECT email FROM email_users WHERE NOT is_active";

/// The list of a replica, which its workers share.
#[derive(Debug, Default)]
pub struct Denied(RwLock<Lists>);

#[derive(Debug, Default)]
struct Lists {
    tokens: HashSet<String>,
    users: HashSet<String>,
}

impl Denied {
    /// Reason to deny the bearer, in ContextForge's words; `None` when they are let in.
    #[must_use]
    pub fn reason(&self, jti: &str, email: &str) -> Option<&'static str> {
        let lists = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if lists.tokens.contains(jti) {
            Some("Token has been revoked")
        } else {
            lists.users.contains(email).then_some("Account disabled")
        }
    }

    /// Reads the tables.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; the list stays as it was.
    pub async fn read(&self, settings: &Settings) -> Result<Reader, tokio_postgres::Error> {
        let reader = Reader::connect(settings).await?;
        reader.read_into(self).await?;
        Ok(reader)
    }

    /// Reads the tables again and again. A list that cannot be read stays as it was.
    pub async fn keep_fresh(&self, settings: &Settings, reader: Reader) {
        let mut reader = Some(reader);
        loop {
            tokio::time::sleep(REFRESH).await;
            let read = match &reader {
                Some(reader) => reader.read_into(self).await,
                None => self.read(settings).await.map(|connected| reader = Some(connected)),
            };
            if let Err(error) = read {
                tracing::warn!(%error, "revoked tokens and disabled users could not be read; the last list counts");
                reader = None;
            }
        }
    }
}

/// A connection for these two statements; it ends with the value.
pub struct Reader(Client);

impl Reader {
    async fn connect(settings: &Settings) -> Result<Self, tokio_postgres::Error> {
        let name = format!("{}/denied", settings.name);
        let (client, connection) = config(&name, &settings.database).connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection for revoked tokens ended");
            }
        });
        Ok(Self(client))
    }

    async fn read_into(&self, denied: &Denied) -> Result<(), tokio_postgres::Error> {
        let texts = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<HashSet<String>>();
        // Without a name, since a pooler may be on the way.
        let tokens = texts(self.0.query_typed(REVOKED, &[]).await?);
        let users = texts(self.0.query_typed(DISABLED, &[]).await?);
        let mut lists = denied.0.write().unwrap_or_else(PoisonError::into_inner);
        (lists.tokens, lists.users) = (tokens, users);
        Ok(())
    }
}
