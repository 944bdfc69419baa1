//! `rbac-bench gateway`: the reference gateway alone.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::load::load_gateway_scenario;
use super::scenario::OverrideArgs;
use super::signals::Signals;
use crate::record::Format;
use crate::run::{RunError, check_host};
use crate::scenario::Scenario;
use crate::scenario::builtin::DEFAULT;
use crate::scenario::overrides::Override;
use crate::testbed::database::OwnDatabase;
use crate::testbed::{DatabaseSource, ServedGateway, TestbedError};

/// Serve the reference gateway alone: its read routes, JSON-RPC and MCP
///
/// Starts a private PostgreSQL, the slow backend and one replica, prints its URL and a token, and serves until Ctrl-C.
/// Everything is removed then, except the data in a database of your own.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench gateway
  rbac-bench gateway --variant across_backend --port 8080 --set gateway.workers=1
  rbac-bench gateway --database-url postgresql://me:secret@127.0.0.1/empty --set database.fixture_users=100
  JWT_SECRET=my-key rbac-bench gateway --jwt-secret-env JWT_SECRET --set 'gateway.tool_prefixes=[\"fast-time-\"]'
  rbac-bench gateway --json")]
pub struct GatewayArgs {
    /// The scenario whose gateway is served
    #[arg(value_name = "SCENARIO", default_value = DEFAULT.name)]
    pub scenario: String,
    /// Overrides beside the file; the first variant is served.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Port on 127.0.0.1; 0 lets the system choose
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Folder of the PostgreSQL binaries, instead of the one that is found
    #[arg(long, value_name = "DIR", env = "RBAC_BENCH_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
    /// A database of your own instead of a private one: empty, or filled by this command before; it is left as it is
    /// then. Tables and data stay
    #[arg(
        long,
        value_name = "URL",
        env = "RBAC_BENCH_DATABASE_URL",
        hide_env_values = true,
        conflicts_with = "pg_bin"
    )]
    pub database_url: Option<String>,
    /// A host other than this machine whose database may be filled, as its URL names it; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_remote: Vec<String>,
    /// Environment variable that holds the key tokens are signed with (HS256), instead of a random one: tokens that
    /// another program signs with it are accepted
    #[arg(long, value_name = "NAME")]
    pub jwt_secret_env: Option<String>,
    /// Say where it serves as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Output of `--json` once it serves.
#[derive(Serialize)]
struct Serving {
    format: Format,
    url: String,
    database_url: String,
    token: String,
    user_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    pid: u32,
}

pub(super) fn run(args: &GatewayArgs, environment: &[Override], out: &mut dyn Write) -> Result<Exit, CliError> {
    let mut scenario = load_gateway_scenario(&args.scenario, &args.overrides, environment, "gateway")?;
    scenario.gateway.replicas = crate::units::Count::of(1);
    let jwt_secret = args.jwt_secret_env.as_deref().map(jwt_secret).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Start)?;
    runtime.block_on(async {
        let signals = Signals::take().map_err(CliError::Start)?;
        let starting = async {
            let database = database(args, &scenario).await?;
            Ok::<_, CliError>(ServedGateway::start(&scenario, args.port, database, jwt_secret).await?)
        };
        let Some(running) = signals.token().run_until_cancelled(starting).await else {
            return Ok(signals.exit().unwrap_or(Exit::Ok));
        };
        let mut running = running?;
        let written = say(args, &running, out);
        let died = match written {
            Ok(()) => signals.token().run_until_cancelled(running.testbed.died()).await,
            Err(_) => None,
        };
        let stopped = running.stop().await;
        written?;
        match died {
            Some(error) => Err(error.into()),
            None => stopped.map(|()| Exit::Ok).map_err(CliError::from),
        }
    })
}

/// The key in the variable `name`.
fn jwt_secret(name: &str) -> Result<String, CliError> {
    match std::env::var(name) {
        Ok(secret) if !secret.is_empty() => Ok(secret),
        _ => Err(CliError::NoJwtSecret { variable: name.to_owned() }),
    }
}

async fn database(args: &GatewayArgs, scenario: &Scenario) -> Result<DatabaseSource, CliError> {
    let Some(url) = &args.database_url else {
        return Ok(DatabaseSource::private(args.pg_bin.as_deref(), scenario).await?);
    };
    let own: OwnDatabase = url.parse().map_err(TestbedError::from)?;
    check_host(own.database(), &args.allow_remote).await.map_err(RunError::from)?;
    Ok(DatabaseSource::Own(Box::new(own)))
}

fn say(args: &GatewayArgs, running: &ServedGateway, out: &mut dyn Write) -> Result<(), CliError> {
    let serving = Serving {
        format: Format { name: "rbac-bench/gateway".to_owned(), version: 1 },
        url: running.testbed.replica_urls().into_iter().next().unwrap_or_default(),
        database_url: running.testbed.database_url(),
        token: running.admin_token.clone(),
        user_token: running.user_token.clone(),
        password: running.password.clone(),
        pid: std::process::id(),
    };
    if args.json {
        serde_json::to_writer(&mut *out, &serving)?;
        writeln!(out)?;
    } else {
        let Serving { url, database_url, token, user_token, password, .. } = serving;
        writeln!(out, "serving {} on {url}", running.scope.name())?;
        writeln!(out, "database {database_url}")?;
        writeln!(
            out,
            "\n# A regular user's token: its permission check reads the user's roles, so that it shows the mistake."
        )?;
        writeln!(out, "TOKEN={user_token}")?;
        writeln!(out, "# The platform administrator's, whose check needs no query:\n# {token}")?;
        writeln!(out, "curl -H \"Authorization: Bearer $TOKEN\" {url}/tools")?;
        writeln!(out, "MCP clients: {url}/mcp, with the same header; the routes: {url}/openapi.json")?;
        if let Some(password) = password {
            writeln!(out, "\n# or log in, as anybody in the data: admin@example.com, user-1@example.com, …")?;
            let body = format!(r#"{{"email":"user-1@example.com","password":"{password}"}}"#);
            writeln!(out, "curl -H 'Content-Type: application/json' -d '{body}' {url}/auth/email/login")?;
        }
        writeln!(out, "\nCtrl-C stops it.")?;
    }
    out.flush()?;
    Ok(())
}
