//! Dry run: what a run or a scan would do, and nothing of it: no request is sent, no connection opened, no name looked up.
//! Only the files of values are read, since what stands in them would be sent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::RunError;
use super::access::{DATABASE_URL, files};
use super::remote_guard::RemoteGuard;
use crate::record::Format;
use crate::scenario::ServiceScenario;
use crate::scenario::service::{BaseUrl, IdentitySource, ServiceRoute};
use crate::swarm::sketch::sketch;

/// More of a body says no more.
const LONGEST_BODY: usize = 500;

/// Plan of a dry run.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// Name and version of this form.
    pub format: Format,
    pub scenario: String,
    /// Each variant, in the order in which they would be run.
    pub variants: Vec<DryVariant>,
    /// The scenario's `[load]`, with its defaults; the plan of a scan.
    pub load: Value,
    pub identities: Vec<DryIdentity>,
    /// Source of the database's URL.
    pub database: DryDatabase,
    /// The routes that would be asked for.
    pub routes: Vec<DryRoute>,
    /// The routes that would not.
    pub off: Vec<DryOff>,
}

/// Targets of a variant's load.
#[derive(Clone, Debug, Serialize)]
pub struct DryVariant {
    pub name: String,
    pub urls: Vec<String>,
    /// Hosts that would be refused, since nobody has allowed them.
    pub refused: Vec<String>,
    /// The command that would start it; empty when it runs already.
    pub command: Vec<String>,
}

/// Identity of a user. The secret is not read.
#[derive(Clone, Debug, Serialize)]
pub struct DryIdentity {
    /// The keys of the scenario.
    pub settings: BTreeMap<String, Value>,
    /// The variables that it names, and whether each is set.
    pub variables: BTreeMap<String, bool>,
}

/// Source of the database's URL; from the scenario itself, when from nowhere else.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DryDatabase {
    /// True if a flag or the environment gives it.
    pub by_flag: bool,
    pub variable: Option<String>,
    pub set: Option<bool>,
    pub file: Option<String>,
}

/// A route that would be asked for.
#[derive(Clone, Debug, Serialize)]
pub struct DryRoute {
    pub route: String,
    /// Its share of the requests by the weights, 0–1.
    pub share: f64,
    /// True if each user opens an MCP session for it first, by two requests to the same URL.
    pub opens_session: bool,
    /// Some of its requests.
    pub requests: Vec<DryRequest>,
}

/// A request, without the user's own header.
#[derive(Clone, Debug, Serialize)]
pub struct DryRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// The beginning of the body.
    pub body: Option<String>,
}

/// A route that would not be asked for.
#[derive(Clone, Debug, Serialize)]
pub struct DryOff {
    pub route: String,
    pub reason: &'static str,
}

/// Plans a dry run with `samples` requests of each route. `allowed` are the hosts that may be contacted beside this
/// machine.
///
/// # Errors
/// When a file of values cannot be read, or a header cannot be sent.
pub fn dry_run(scenario: &ServiceScenario, allowed: &[String], samples: usize) -> Result<DryRun, RunError> {
    let files = files(scenario)?;
    let guard = RemoteGuard::allowing(allowed);
    let variants: Vec<DryVariant> = scenario
        .variant_names()
        .into_iter()
        .map(|name| {
            let urls = scenario.urls(name);
            let metrics = scenario.target.metrics.as_ref().and_then(|metrics| metrics.url.as_ref());
            let hosts: BTreeSet<&str> = urls.iter().chain(metrics).map(BaseUrl::host).collect();
            let refused = hosts.into_iter().filter(|host| !guard.would_admit(host));
            DryVariant {
                name: name.to_string(),
                refused: refused.map(str::to_owned).collect(),
                urls: urls.iter().map(ToString::to_string).collect(),
                command: scenario.command(name).map(|command| command.words).unwrap_or_default(),
            }
        })
        .collect();
    let base = scenario.variant_names().into_iter().flat_map(|name| scenario.urls(name)).next();
    let shares = scenario.shares();
    let total: f64 = shares.iter().map(|(_, weight)| weight).sum();
    let known = scenario.filled_by_users();
    let route = |route: &ServiceRoute| {
        let sketches = match &base {
            Some(base) => sketch(route, &files, &known, base.url(), scenario.load.seed, samples)?,
            None => Vec::new(),
        };
        let requests = sketches.into_iter().map(|it| DryRequest {
            method: it.method,
            url: it.url,
            headers: it.headers,
            body: it.body.map(|body| beginning(&body)),
        });
        let own = shares.iter().filter(|(name, _)| *name == route.route.name()).map(|(_, weight)| weight);
        let share = own.sum::<f64>() / total;
        let (name, opens_session) = (route.route.name().to_owned(), route.mcp.is_some());
        Ok::<_, RunError>(DryRoute { route: name, share, opens_session, requests: requests.collect() })
    };
    let asked: Vec<&ServiceRoute> = scenario.routes().collect();
    let off = scenario.route.iter().filter(|route| !asked.contains(route));
    Ok(DryRun {
        format: Format { name: "rbac-bench/dry-run".to_owned(), version: 1 },
        scenario: scenario.name.clone(),
        variants,
        load: serde_json::to_value(&scenario.load).unwrap_or_default(),
        identities: scenario.identity.iter().map(identity).collect(),
        database: database(scenario),
        routes: scenario.routes().map(route).collect::<Result<_, _>>()?,
        off: off
            .map(|route| DryOff {
                route: route.route.name().to_owned(),
                reason: if route.changes_data == Some(true) {
                    "changes data: `allow_data_changes = true` under [load] asks for it"
                } else {
                    "is a step of journeys that change data alone: `allow_data_changes = true` under [load] begins them"
                },
            })
            .collect(),
    })
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// By its keys: those that end with `_env` name variables.
fn identity(source: &IdentitySource) -> DryIdentity {
    let written = serde_json::to_value(source).unwrap_or_default();
    let settings: BTreeMap<String, Value> = written.as_object().cloned().unwrap_or_default().into_iter().collect();
    let variables = settings.iter().filter(|(key, _)| key.ends_with("_env")).filter_map(|(_, value)| value.as_str());
    let variables = variables.map(|name| (name.to_owned(), is_set(name))).collect();
    DryIdentity { settings, variables }
}

fn database(scenario: &ServiceScenario) -> DryDatabase {
    let access = &scenario.database;
    let file = access.url_file.as_ref().map(|file| scenario.folder.join(file).display().to_string());
    let given = access.url.is_some() || file.is_some();
    let variable = (!given).then(|| access.url_env.clone().unwrap_or_else(|| DATABASE_URL.to_owned()));
    DryDatabase { by_flag: false, set: variable.as_deref().map(is_set), variable, file }
}

fn beginning(body: &str) -> String {
    match body.char_indices().nth(LONGEST_BODY) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body.to_owned(),
    }
}
