//! `rbac-bench doctor`: can this machine run it?

use std::io::Write;

use serde::Serialize;

use super::by_url::scenario_or_url;
use super::discover_args::{DiscoverArgs, database_of};
use super::error::CliError;
use super::exit::Exit;
use super::scenario::OverrideArgs;
use super::service_args::ServiceArgs;
use crate::render::text::plain;
use crate::run::{Preflight, PreflightState, RunOptions, preflight};
use crate::scenario::builtin::DEFAULT;
use crate::scenario::overrides::Override;
use crate::scenario::{Experiment, Scenario, ServiceScenario, Workload};
use crate::testbed::binaries::{SearchPlaces, install_command, installed_server};
use crate::testbed::limits::{self, DescriptorError};
use crate::testbed::pgbouncer;
use crate::testbed::speed::{relative_speed, users as users_at};

/// Check this machine for missing requirements
///
/// Without a scenario: what the reference gateway needs. With one of a service of your own: its command, its variables,
/// its database and whether the role sees other sessions, its URLs; nothing is started or loaded.
///
/// Exits with 0 when the scenario can run here, with 1 when something is missing, with 3 when the service's sessions are not
/// seen where they would be watched.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench doctor
  rbac-bench doctor my-service.toml
  rbac-bench doctor http://127.0.0.1:8000      what its URL tells, and what is missing")]
pub struct DoctorArgs {
    /// A built-in scenario, the path of a file, or the URL of a service [default: the reference gateway's needs]
    #[arg(value_name = "SCENARIO|URL")]
    pub scenario: Option<String>,
    /// What the URL alone does not tell.
    #[command(flatten)]
    pub discover: DiscoverArgs,
    /// Overrides beside the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Address of an external service.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// A host other than this machine that may be asked, as its URL names it; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_remote: Vec<String>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    what: String,
    ok: bool,
    /// True if the evidence does not suffice; such a check is not `ok`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inconclusive: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
    /// The only built-in scenario that needs it; `None`: all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed_by: Option<&'static str>,
}

impl Check {
    fn of(what: &str, ok: bool, found: String, cure: Option<String>) -> Self {
        Self { what: what.to_owned(), ok, inconclusive: false, found, cure, needed_by: None }
    }
}

impl Check {
    fn word(&self) -> &'static str {
        match (self.ok, self.inconclusive) {
            (true, _) => "ok",
            (false, true) => "unsure",
            (false, false) => "missing",
        }
    }
}

#[derive(Serialize)]
struct Findings<'a> {
    format: crate::record::Format,
    ok: bool,
    checks: &'a [Check],
}

pub(super) fn run(args: &DoctorArgs, environment: &[Override], out: &mut dyn Write) -> Result<Exit, CliError> {
    let name = args.scenario.as_deref().unwrap_or(DEFAULT.name);
    let beside = (&args.overrides, environment);
    let mut experiment = scenario_or_url(name, &args.discover, &args.allow_remote, beside, args.json)?;
    let mut database_url = args.service.apply(&mut experiment)?;
    if database_url.is_none() {
        database_url = database_of(name, &args.discover)?;
    }
    let checks = match &experiment {
        Experiment::Gateway(scenario) => of_gateway(scenario),
        Experiment::Service(scenario) => {
            let allow_remote = args.allow_remote.clone();
            of_service(scenario, &RunOptions { allow_remote, database_url, ..RunOptions::default() })?
        }
        Experiment::Watched(_) => Vec::new(),
    };
    let ok = checks.iter().all(|check| check.ok || check.needed_by.is_some());
    if args.json {
        let format = crate::record::Format { name: "rbac-bench/doctor".to_owned(), version: 1 };
        out.write_all(crate::render::json::text(&Findings { format, ok, checks: &checks })?.as_bytes())?;
    } else {
        for check in &checks {
            let found = match check.needed_by {
                Some(scenario) => format!("{}, which only `{scenario}` needs", check.found),
                None => check.found.clone(),
            };
            writeln!(out, "{:<7} {:<18} {found}", check.word(), check.what)?;
            if let Some(cure) = &check.cure {
                writeln!(out, "        {:<18} {cure}", "")?;
            }
        }
    }
    let missing = checks.iter().any(|check| !check.ok && !check.inconclusive && check.needed_by.is_none());
    Ok(match (ok, missing) {
        (true, _) => Exit::Ok,
        (false, false) => Exit::Inconclusive,
        (false, true) => Exit::CouldNotMeasure,
    })
}

/// Checks for a scenario of the reference gateway.
fn of_gateway(scenario: &Scenario) -> Vec<Check> {
    let users = scenario.load.users.get();
    vec![server(), pgbouncer(), descriptors(users), cores(), speed(users), memory(scenario)]
}

/// Checks for a scenario of an external service.
fn of_service(scenario: &ServiceScenario, options: &RunOptions) -> Result<Vec<Check>, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let seen = runtime.block_on(preflight(scenario, options));
    let check = |it: Preflight| Check {
        inconclusive: it.state == PreflightState::Inconclusive,
        ..Check::of(&it.what, it.state == PreflightState::Good, plain(&it.found), it.cure)
    };
    let mut checks: Vec<Check> = seen.into_iter().map(check).collect();
    checks.extend([descriptors_of(scenario.pace().workload), cores()]);
    Ok(checks)
}

fn server() -> Check {
    let what = "PostgreSQL server";
    if let Some(server) = installed_server(&SearchPlaces::from_env()) {
        return Check::of(what, true, format!("{} in {}", server.version, server.dir.display()), None);
    }
    let found = "none installed; a run will try to download one".to_owned();
    Check::of(what, false, found, Some(install_command().to_owned()))
}

fn pgbouncer() -> Check {
    let what = "PgBouncer";
    let check = match pgbouncer::find(&SearchPlaces::from_env()) {
        Ok(found) => Check::of(what, true, format!("{} at {}", found.version, found.path.display()), None),
        Err(_) => Check::of(what, false, "none".to_owned(), Some(pgbouncer::install_command().to_owned())),
    };
    Check { needed_by: Some("issue-2318-pgbouncer"), ..check }
}

fn descriptors(users: u32) -> Check {
    enough_descriptors(limits::raise_descriptor_limit(users), &format!("{users} users"))
}

fn descriptors_of(workload: Workload) -> Check {
    match workload {
        Workload::Closed { users } => descriptors(users),
        Workload::Open { max_in_flight, .. } => enough_descriptors(
            limits::raise_for_requests(max_in_flight),
            &format!("{max_in_flight} requests in flight"),
        ),
    }
}

fn enough_descriptors(raised: Result<(), DescriptorError>, users: &str) -> Check {
    match raised {
        Ok(()) => Check::of("file descriptors", true, format!("enough for {users}"), None),
        Err(error) => Check::of("file descriptors", false, error.to_string(), Some(error.hint())),
    }
}

fn cores() -> Check {
    const WANTED: usize = 2;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cure = (cores < WANTED).then(|| "give the machine a second core, or fewer users: --users 1000".to_owned());
    Check::of("cores", cores >= WANTED, cores.to_string(), cure)
}

/// Less than this share of the wanted users is too few: the estimate is no better than that.
const ENOUGH: f64 = 0.8;

/// Users that this machine carries, estimated from its speed.
fn speed(users: u32) -> Check {
    let what = "speed";
    let Some(speed) = relative_speed() else {
        return Check::of(what, true, "unknown here".to_owned(), None);
    };
    let carried = users_at(speed);
    let ok = f64::from(carried) >= ENOUGH * f64::from(users);
    let found = format!("enough for about {carried} users ({users} wanted)");
    let cure = (!ok).then(|| format!("pass `--users {carried}`: with more, the machine is the limit"));
    // It is an estimate, and the machine may be busy just now.
    Check { inconclusive: !ok, ..Check::of(what, ok, found, cure) }
}

/// Memory of a PostgreSQL session of the testbed, measured with 765 of them: 1.2 GB.
const MB_PER_SESSION: u64 = 2;

fn memory(scenario: &Scenario) -> Check {
    let needed_mb = u64::from(scenario.gateway.pool_capacity()) * MB_PER_SESSION;
    let what = "memory";
    let available_kb = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    match available_kb.map(|kb| kb / 1024) {
        Some(mb) => Check::of(
            what,
            mb >= needed_mb,
            format!("{mb} MB available, at most {needed_mb} MB needed"),
            (mb < needed_mb).then(|| "a smaller pool: --set gateway.pool.size=5".to_owned()),
        ),
        None => Check::of(what, true, format!("unknown here; at most {needed_mb} MB needed"), None),
    }
}
