//! The gateway's tables: made, and brought up to date, from the files in `migrations/`.

use tokio_postgres::Client;

mod files {
    refinery::embed_migrations!("migrations");
}

/// Brings the database up to date: each file once, in the order of their numbers, each in a transaction. What was done
/// is written down in `refinery_schema_history`.
///
/// # Errors
/// When a statement fails, or the database has a history that is not this gateway's.
pub async fn migrate(client: &mut Client) -> Result<(), refinery::Error> {
    files::migrations::runner().run_async(client).await.map(drop)
}
