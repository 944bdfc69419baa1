//! `rbac-bench doctor`: can this machine run it?

use std::io::Write;

use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use crate::scenario::Scenario;
use crate::scenario::builtin::DEFAULT;
use crate::testbed::binaries::{SearchPlaces, install_command, installed_server};
use crate::testbed::{limits, pgbouncer};

/// Can this machine run it? What is missing, and the command that installs it
///
/// Exits with 0 when the default scenario can run here, with 1 when something is missing.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    what: &'static str,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
    /// The only built-in scenario that needs it; `None`: all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed_by: Option<&'static str>,
}

impl Check {
    fn of(what: &'static str, ok: bool, found: String, cure: Option<String>) -> Self {
        Self { what, ok, found, cure, needed_by: None }
    }
}

#[derive(Serialize)]
struct Findings<'a> {
    format: crate::record::Format,
    ok: bool,
    checks: &'a [Check],
}

pub(super) fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let scenario = Scenario::from_text(DEFAULT.name, DEFAULT.text, &[])?;
    let checks = [server(), pgbouncer(), descriptors(&scenario), cores(), memory(&scenario)];
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
            writeln!(out, "{} {:<18} {found}", if check.ok { "ok     " } else { "missing" }, check.what)?;
            if let Some(cure) = &check.cure {
                writeln!(out, "        {:<18} {cure}", "")?;
            }
        }
    }
    Ok(if ok { Exit::Ok } else { Exit::CouldNotMeasure })
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

fn descriptors(scenario: &Scenario) -> Check {
    let users = scenario.load.users.get();
    match limits::raise_descriptor_limit(users) {
        Ok(()) => Check::of("file descriptors", true, format!("enough for {users} users"), None),
        Err(error) => Check::of("file descriptors", false, error.to_string(), Some(error.hint())),
    }
}

fn cores() -> Check {
    const WANTED: usize = 2;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cure = (cores < WANTED).then(|| "give the machine a second core, or fewer users: --users 1000".to_owned());
    Check::of("cores", cores >= WANTED, cores.to_string(), cure)
}

/// What a PostgreSQL session of the testbed takes, measured with 765 of them: 1.2 GB.
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
