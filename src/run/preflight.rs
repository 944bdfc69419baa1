//! Preflight checks of a service's scenario, without loading anything: for `doctor`.

use std::path::{Path, PathBuf};

use super::access::Access;
use super::pooler::refuse_pooler;
use super::started::{Ports, answers};
use super::target_sessions::attributed;
use super::{RunError, RunOptions, secrets, with_causes};
use crate::monitor::sessions::Looker;
use crate::monitor::{MonitorError, SessionFilter, within_sight};
use crate::record::elsewhere_in_words;
use crate::scenario::service::{BaseUrl, ServiceCommand};
use crate::scenario::{ServiceScenario, VariantName};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    pub what: String,
    pub state: PreflightState,
    pub found: String,
    /// Advice, where there is any.
    pub cure: Option<String>,
}

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreflightState {
    Good,
    Bad,
    /// The check cannot tell.
    Inconclusive,
}

impl Preflight {
    fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), state: PreflightState::Good, found: found.into(), cure: None }
    }

    fn bad(what: impl Into<String>, found: impl Into<String>, cure: Option<String>) -> Self {
        Self { what: what.into(), state: PreflightState::Bad, found: found.into(), cure }
    }
}

/// Looks at everything that a run of the scenario would need, in the order in which it would.
pub async fn preflight(scenario: &ServiceScenario, options: &RunOptions) -> Vec<Preflight> {
    let mut seen = variables(scenario, options);
    seen.extend(scenario.variant_names().into_iter().filter_map(|name| command(scenario, name)));
    if seen.iter().any(|it| it.state == PreflightState::Bad && it.what == VARIABLE) {
        // Whatever else is missing comes of that.
        return seen;
    }
    match Access::open(scenario, options).await.map_err(RunError::from) {
        Ok(access) => {
            seen.push(database(&access).await);
            let reached = seen.last().is_some_and(|it| it.state == PreflightState::Good);
            for name in scenario.variant_names() {
                let targets = targets(scenario, name, &access).await;
                let answers = targets.iter().all(|it| it.state == PreflightState::Good);
                seen.extend(targets);
                // What a command is yet to start has no sessions, and one URL is as good as another for the same database.
                if reached && answers && scenario.database.expect_sessions && scenario.command(name).is_none() {
                    seen.push(sessions(scenario, name, &access).await);
                }
            }
        }
        Err(error) => {
            seen.push(Preflight::bad("scenario", with_causes(&error), error.hint()));
        }
    }
    seen
}

const VARIABLE: &str = "variable";

fn variables(scenario: &ServiceScenario, options: &RunOptions) -> Vec<Preflight> {
    let mut names = secrets::variables(scenario);
    let database = &scenario.database;
    let default = options.database_url.is_none() && database.url.is_none() && database.url_file.is_none();
    if default && database.url_env.is_none() {
        names.push(super::access::DATABASE_URL.to_owned());
    }
    names.sort();
    names.dedup();
    let seen = |name: String| {
        // Its value is nobody's business.
        let set = std::env::var_os(&name).is_some_and(|value| !value.is_empty());
        if set {
            return Preflight::good(VARIABLE, format!("{name} is set"));
        }
        Preflight::bad(VARIABLE, format!("{name} is not set"), Some(format!("export {name}=…")))
    };
    names.into_iter().map(seen).collect()
}

/// The command of a variant, if it has one.
fn command(scenario: &ServiceScenario, variant: VariantName) -> Option<Preflight> {
    let command = scenario.command(variant)?;
    let what = format!("command of {variant}");
    if !command.folder.is_dir() {
        let found = format!("the folder `{}` is not there", command.folder.display());
        return Some(Preflight::bad(what, found, Some("`folder` is relative to the scenario's file".to_owned())));
    }
    let program = command.words.first().map(String::as_str).unwrap_or_default();
    if let Some(path) = find(program, &command) {
        return Some(Preflight::good(what, path.display().to_string()));
    }
    let cure = "install it, or name it by its path from `folder`: ./.venv/bin/…".to_owned();
    Some(Preflight::bad(what, format!("there is no program `{program}`"), Some(cure)))
}

/// Path of a command's program, as its supervisor would find it.
fn find(program: &str, command: &ServiceCommand) -> Option<PathBuf> {
    let is_program = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file();
    if program.contains('/') {
        return Some(command.folder.join(program)).filter(|path| is_program(path));
    }
    let own = command.env.get("PATH").map(Into::into);
    let path = own.or_else(|| std::env::var_os("PATH"))?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| is_program(path))
}

async fn database(access: &Access) -> Preflight {
    let what = "database";
    if let Err(error) = refuse_pooler(&access.database).await {
        return Preflight::bad(what, error.to_string(), Some(error.hint()));
    }
    let connecting = async {
        let (whose, own_alone) = within_sight(&access.database, SessionFilter::everybody()).await?;
        Ok::<_, MonitorError>((Looker::connect(&access.database, &whose).await?, own_alone))
    };
    match connecting.await {
        Ok((looker, own_alone)) => {
            let seen = match own_alone {
                Some(role) => format!("of whose sessions role `{role}` sees its own"),
                None => "whose sessions can be seen".to_owned(),
            };
            let found = format!("PostgreSQL {} at {}, {seen}", looker.server().version, access.database.masked_url());
            looker.close().await;
            Preflight::good(what, found)
        }
        Err(error) => {
            let cure = match &error {
                MonitorError::Blind { role } => Some(format!("GRANT pg_monitor TO \"{role}\";")),
                _ => error.hint(),
            };
            Preflight::bad(what, with_causes(&error), cure)
        }
    }
}

/// Checks that the service has sessions among those that would be watched; otherwise tells where sessions are.
async fn sessions(scenario: &ServiceScenario, variant: VariantName, access: &Access) -> Preflight {
    let what = format!("sessions of {variant}");
    let whose =
        SessionFilter { applications: scenario.database.applications.clone(), users: scenario.database.users.clone() };
    let looked = async {
        let (whose, _) = within_sight(&access.database, whose).await?;
        let mut looker = Looker::connect(&access.database, &whose).await?;
        let look = looker.poll().await;
        looker.close().await;
        let groups = crate::monitor::elsewhere(&access.database, None).await?;
        Ok::<_, MonitorError>((look?.sessions.len(), groups))
    };
    let (count, groups) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return Preflight::bad(what, with_causes(&error), None),
    };
    if count > 0 {
        return Preflight::good(what, format!("{count} in `{}`", access.database.masked_url()));
    }
    let ports: Vec<u16> = scenario.urls(variant).iter().map(BaseUrl::port).collect();
    let elsewhere = elsewhere_in_words(&attributed(groups, &ports, &access.database.ports()));
    let found = if elsewhere.is_empty() { "none yet".to_owned() } else { format!("none; {elsewhere}") };
    Preflight {
        what,
        state: PreflightState::Inconclusive,
        found,
        cure: Some(
            "set `applications`, `users` and the database's URL under [database] to the service's; if it connects only \
             when asked, send one request and run `doctor` again; if its routes need no database, set \
             `expect_sessions = false`"
                .to_owned(),
        ),
    }
}

/// Checks that each URL of a variant answers; where a command starts it, nothing may yet.
async fn targets(scenario: &ServiceScenario, variant: VariantName, access: &Access) -> Vec<Preflight> {
    let urls = scenario.urls(variant);
    let what = format!("target of {variant}");
    if scenario.command(variant).is_some() {
        return match Ports::of(&urls, &access.guard).first_that_accepts().await {
            Some(url) => {
                let found = format!("something answers at `{url}`, where `command` is to start the service");
                vec![Preflight::bad(what, found, Some("stop it, or leave `command` out".to_owned()))]
            }
            None => vec![Preflight::good(what, "its port is free")],
        };
    }
    let mut seen = Vec::new();
    for url in urls {
        let path = scenario.target.health.as_deref();
        seen.push(match answers(&url, path, access).await {
            Ok(text_seen) => Preflight::good(what.clone(), text_seen),
            Err(text_seen) => {
                let cure = "start the service, or let `target.command` start it".to_owned();
                Preflight::bad(what.clone(), text_seen, Some(cure))
            }
        });
    }
    seen
}
