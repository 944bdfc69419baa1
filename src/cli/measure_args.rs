//! The flags of a measurement: where its folder is made, which PostgreSQL is used, what may be loaded.

use std::path::PathBuf;

use crate::run::{DatabaseUrl, RunOptions};

#[derive(Clone, Debug, clap::Args)]
pub struct MeasureArgs {
    /// Folder in which the run's own folder is made
    #[arg(long, value_name = "DIR", default_value = "reports", env = "RBAC_BENCH_OUT")]
    pub out: PathBuf,
    /// Folder of the PostgreSQL binaries, instead of the one that is found
    #[arg(long, value_name = "DIR", env = "RBAC_BENCH_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
    /// A host other than this machine that may be loaded, as its URL names it; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_remote: Vec<String>,
}

impl MeasureArgs {
    pub(super) fn options(&self, database_url: Option<DatabaseUrl>) -> RunOptions {
        RunOptions {
            out: self.out.clone(),
            pg_bin: self.pg_bin.clone(),
            allow_remote: self.allow_remote.clone(),
            pgbouncer: None,
            database_url,
        }
    }
}
