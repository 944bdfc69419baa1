//! `--dry-run` of `run` and `scan`: what would be sent, and nothing of it.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::Value;

use super::error::CliError;
use super::exit::Exit;
use super::output::say;
use crate::render::json;
use crate::render::text::plain;
use crate::run::dry::{DryDatabase, DryIdentity, DryRequest, DryRun, dry_run};
use crate::scenario::Experiment;

pub(super) struct DryRunOptions<'a> {
    /// Requests that are shown of each route.
    pub(super) samples: u32,
    /// Hosts that may be spoken to beside this machine.
    pub(super) allow_remote: &'a [String],
    /// True if a flag gives the database's URL.
    pub(super) database_given: bool,
    /// Plan in place of the scenario's `[load]`.
    pub(super) plan: Option<Value>,
    pub(super) json: bool,
}

/// Tells what would be sent.
pub(super) fn run(scenario: &Experiment, asked: &DryRunOptions<'_>, out: &mut dyn Write) -> Result<Exit, CliError> {
    let Experiment::Service(scenario) = scenario else {
        return Err(CliError::ServiceOnly { flag: "--dry-run" });
    };
    let mut dry_run_view = dry_run(scenario, asked.allow_remote, asked.samples as usize)?;
    if asked.database_given {
        dry_run_view.database = DryDatabase { by_flag: true, ..DryDatabase::default() };
    }
    if let Some(plan) = &asked.plan {
        dry_run_view.load = plan.clone();
    }
    let text = if asked.json { json::text(&dry_run_view)? } else { text(&dry_run_view) };
    say(out, &text)?;
    Ok(Exit::Ok)
}

/// Everything that would be sent, where to, and with which identity.
fn text(run: &DryRun) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(run, &mut out);
    out
}

fn write_text(run: &DryRun, out: &mut String) -> std::fmt::Result {
    writeln!(out, "{}: dry run. No request is sent, no connection opened.\n", plain(&run.scenario))?;
    for variant in &run.variants {
        writeln!(out, "{:9} to {}", plain(&variant.name), plain(&variant.urls.join(", ")))?;
        if !variant.command.is_empty() {
            writeln!(out, "          started by: {}", plain(&variant.command.join(" ")))?;
        }
        for host in &variant.refused {
            let host = plain(host);
            writeln!(
                out,
                "          `{host}` would be refused: it is another machine, and `--allow-remote {host}` is not given"
            )?;
        }
    }
    writeln!(out, "load      {}", plain(&settings(&run.load)))?;
    for identity in &run.identities {
        writeln!(out, "user      {}", plain(&user(identity)))?;
    }
    writeln!(out, "database  {}", plain(&database(run)))?;
    for route in &run.routes {
        writeln!(out, "\n{}  {}", plain(&route.route), format_args!("{:.1} %", route.share * 100.0))?;
        if route.opens_session {
            writeln!(
                out,
                "  once for each user before it: `initialize` and `notifications/initialized`, to the same URL"
            )?;
        }
        route.requests.iter().try_for_each(|request| write_request(request, out))?;
    }
    if !run.off.is_empty() {
        writeln!(out, "\nnot asked for:")?;
        run.off.iter().try_for_each(|off| writeln!(out, "  {}  {}", plain(&off.route), off.reason))?;
    }
    Ok(())
}

fn write_request(request: &DryRequest, out: &mut String) -> std::fmt::Result {
    writeln!(out, "  {} {}", request.method, plain(&request.url))?;
    for (name, value) in &request.headers {
        writeln!(out, "    {}: {}", plain(name), plain(value))?;
    }
    request.body.iter().try_for_each(|body| writeln!(out, "    {}", plain(body)))
}

/// `users 20 · duration 30s`.
fn settings(table: &Value) -> String {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("–")
        }
        other => other.to_string(),
    };
    let members = table.as_object().into_iter().flatten();
    members.map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(" · ")
}

fn user(identity: &DryIdentity) -> String {
    let settings = settings(&Value::Object(identity.settings.clone().into_iter().collect()));
    let unset: Vec<String> =
        identity.variables.iter().filter(|(_, set)| !**set).map(|(name, _)| format!("`{name}` is not set")).collect();
    if unset.is_empty() { settings } else { format!("{settings} ({})", unset.join(", ")) }
}

fn database(run: &DryRun) -> String {
    let database = &run.database;
    match (&database.variable, &database.file) {
        _ if database.by_flag => "by the URL that a flag or the environment gives".to_owned(),
        (Some(name), _) if database.set == Some(false) => {
            format!("by the URL in the variable {name}, which is not set")
        }
        (Some(name), _) => format!("by the URL in the variable {name}"),
        (None, Some(file)) => format!("by the URL in {file}"),
        (None, None) => "by the scenario's `database.url`".to_owned(),
    }
}
