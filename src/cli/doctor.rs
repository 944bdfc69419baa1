//! `rbac-bench doctor`: can this machine run it?

use std::io::Write;

use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use crate::scenario::Scenario;
use crate::scenario::builtin::DEFAULT;
use crate::testbed::binaries::{SearchPlaces, install_command, installed_server};
use crate::testbed::limits;

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
}

#[derive(Serialize)]
struct Findings<'a> {
    format: crate::record::Format,
    ok: bool,
    checks: &'a [Check],
}

pub(super) fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let scenario = Scenario::from_text(DEFAULT.name, DEFAULT.text, &[])?;
    let checks = [server(), descriptors(&scenario), cores(), memory(&scenario)];
    let ok = checks.iter().all(|check| check.ok);
    if args.json {
        let format = crate::record::Format { name: "rbac-bench/doctor".to_owned(), version: 1 };
        out.write_all(crate::render::json::text(&Findings { format, ok, checks: &checks })?.as_bytes())?;
    } else {
        for check in &checks {
            writeln!(out, "{} {:<18} {}", if check.ok { "ok     " } else { "missing" }, check.what, check.found)?;
            if let Some(cure) = &check.cure {
                writeln!(out, "        {:<18} {cure}", "")?;
            }
        }
    }
    Ok(if ok { Exit::Ok } else { Exit::CouldNotMeasure })
}

fn server() -> Check {
    let what = "PostgreSQL server";
    match installed_server(&SearchPlaces::from_env()) {
        Some(server) => {
            Check { what, ok: true, found: format!("{} in {}", server.version, server.dir.display()), cure: None }
        }
        None => Check {
            what,
            ok: false,
            found: "none installed; a run will try to download one".to_owned(),
            cure: Some(install_command().to_owned()),
        },
    }
}

fn descriptors(scenario: &Scenario) -> Check {
    let users = scenario.load.users.get();
    match limits::raise_descriptor_limit(users) {
        Ok(()) => Check { what: "file descriptors", ok: true, found: format!("enough for {users} users"), cure: None },
        Err(error) => Check { what: "file descriptors", ok: false, found: error.to_string(), cure: Some(error.hint()) },
    }
}

fn cores() -> Check {
    const WANTED: usize = 2;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cure = (cores < WANTED).then(|| "give the machine a second core, or fewer users: --users 1000".to_owned());
    Check { what: "cores", ok: cores >= WANTED, found: cores.to_string(), cure }
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
        Some(mb) => Check {
            what,
            ok: mb >= needed_mb,
            found: format!("{mb} MB available, at most {needed_mb} MB needed"),
            cure: (mb < needed_mb).then(|| "a smaller pool: --set gateway.pool.size=5".to_owned()),
        },
        None => Check { what, ok: true, found: format!("unknown here; at most {needed_mb} MB needed"), cure: None },
    }
}
