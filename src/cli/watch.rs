//! `rbac-bench watch`: a database in trouble, live.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ColorChoice;

use super::Command;
use super::discover_args::database_given;
use super::error::CliError;
use super::exit::Exit;
use super::output::output_width;
use super::signals::Signals;
use crate::monitor::sessions::{Looker, PollEvent};
use crate::monitor::{GaugeName, GaugeNames, MonitorError, SessionFilter, read_pools};
use crate::record::{Sample, SessionsElsewhere, elsewhere_in_words};
use crate::render::text::{plain, shell_word};
use crate::run::sessions_of;
use crate::scenario::service::{BaseUrl, GaugeNameError};
use crate::testbed::TestbedError;
use crate::testbed::database::OwnDatabase;
use crate::units::Span;
use crate::watch::document::WatchJson;
use crate::watch::lines::{LineKind, WatchLines, page};
use crate::watch::live::{ExitReason, WatchError, WatchPlan, watch};
use crate::watch::screen::Screen;
use crate::watch::{WatchModel, WatchTarget};

/// The shortest time between two polls: a shorter one would load the server for nothing that an eye could see.
const SHORTEST: Duration = Duration::from_millis(100);

/// Sessions are counted so many times as often as they are polled one by one, but not more often than this.
const COUNTS_PER_LOOK: u32 = 10;
const COUNTS_SHORTEST: Duration = Duration::from_millis(50);

/// Watch the sessions and transactions of a database, live
///
/// For an incident in progress: states over time, the oldest transactions with their last statement, who holds them by
/// statement and by application, who is in whose way, and the pools of an application that publishes gauges. It only
/// reads: it ends no session. The role must see other sessions: `GRANT pg_monitor TO …`.
///
/// In a terminal it fills the screen (`?` lists the keys); without one it writes a line each interval.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench watch --database-url postgresql://me:secret@db.example/app
  RBAC_BENCH_DATABASE_URL=postgresql://… rbac-bench watch
  DATABASE_URL=postgresql://… rbac-bench watch http://127.0.0.1:8000      the sessions of that service
  rbac-bench watch --application 'shop*' --user app
  rbac-bench watch --once --json | jq '.transactions[0]'
  rbac-bench watch --record reports/incident --duration 5m
  rbac-bench diagnose reports/incident
  rbac-bench gate reports/incident --rule 'idle_in_transaction.max<5'
  rbac-bench watch --metrics-url http://127.0.0.1:9100/metrics \\
    --gauge checked_out=hikaricp_connections_active --gauge pending=hikaricp_connections_pending

Exit codes: 0 success · 1 measurement failed · 2 invalid input · 129 the terminal is gone · 130/143 interrupted")]
pub struct WatchArgs {
    /// The URL of a service: its sessions alone are watched
    #[arg(value_name = "URL", conflicts_with_all = ["application", "user"])]
    pub service: Option<BaseUrl>,
    /// The database; its password is never shown. Otherwise `DATABASE_URL`, or `PGHOST` and its like
    #[arg(long, value_name = "URL", env = "RBAC_BENCH_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Only sessions with this `application_name`, or that begin so where it ends with `*`; may be repeated
    #[arg(long, value_name = "NAME")]
    pub application: Vec<String>,
    /// Only sessions of this role; may be repeated
    #[arg(long, value_name = "ROLE")]
    pub user: Vec<String>,
    /// A page of gauges in Prometheus' text format, one for each pool or process; may be repeated
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    pub metrics_url: Vec<reqwest::Url>,
    /// Name of a gauge on the page: `checked_out`, `pending` or `timeouts`, and `name` or `name{label="value"}`;
    /// otherwise as the reference gateway calls it
    #[arg(long, value_name = "WHAT=METRIC", value_parser = parse_gauge, requires = "metrics_url")]
    pub gauge: Vec<(WatchedGauge, GaugeName)>,
    /// Time between two polls of the sessions; they are counted ten times as often
    #[arg(long, value_name = "D", default_value = "1s", value_parser = parse_interval)]
    pub interval: Span,
    /// End after this long
    #[arg(long, value_name = "D")]
    pub duration: Option<Span>,
    /// Poll once, write what was seen, and end
    #[arg(long, conflicts_with_all = ["duration", "record"])]
    pub once: bool,
    /// Write JSON instead: one document with `--once`, otherwise one in a line each interval
    #[arg(long)]
    pub json: bool,
    /// Keep a run record in this new folder, for `diagnose`, `report` and `gate`
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// A gauge that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchedGauge {
    CheckedOut,
    Pending,
    /// Checkouts that have given up.
    Timeouts,
}

impl WatchArgs {
    fn fills_the_screen(&self) -> bool {
        // Whether the terminal can be written to in lines only.
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        std::io::stdout().is_terminal() && !self.json && !self.once && !is_dumb
    }
}

/// True if a command takes the whole terminal.
pub(super) fn fills_the_screen(command: &Command) -> bool {
    matches!(command, Command::Watch(args) if args.fills_the_screen())
}

pub(super) fn run(args: &WatchArgs, color: ColorChoice, out: &mut dyn Write) -> Result<Exit, CliError> {
    let database = OwnDatabase::to_watch(&database_url(args)?).map_err(TestbedError::from)?;
    let whose = match &args.service {
        Some(service) => whose_sessions(service, &database)?,
        None => SessionFilter { applications: args.application.clone(), users: args.user.clone() },
    };
    let plan = plan(args, &database, whose);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(CliError::Start)?;
    runtime.block_on(async {
        let signals = Signals::take().map_err(CliError::Start)?;
        if args.once {
            let Some(seen) = signals.token().run_until_cancelled(look_once(&plan)).await else {
                return Ok(signals.exit().unwrap_or(Exit::Ok));
            };
            return tell_once(args, &seen.map_err(WatchError::from)?, out);
        }
        // A terminal that has gone is none any more.
        let on_screen = args.fills_the_screen();
        let watched = if on_screen {
            let mut screen = Screen::take(use_color(color)).map_err(WatchError::from)?;
            Box::pin(watch(plan, &mut screen, true, signals.token())).await
        } else {
            let kind = if args.json { LineKind::Document } else { LineKind::Line };
            let mut lines = WatchLines { out, interval: args.interval.duration(), kind };
            Box::pin(watch(plan, &mut lines, false, signals.token())).await
        };
        let (ended, folder) = watched?;
        if let Some(folder) = folder {
            let folder = folder.display().to_string();
            let line =
                format!("record  {}\nnext    rbac-bench diagnose {}\n", plain(&folder), shell_word(&plain(&folder)));
            // With stderr gone there is nobody to tell.
            let _nobody = std::io::stderr().write_all(line.as_bytes());
        }
        Ok(match ended {
            // Without a time to end at, Ctrl-C is how one ends it.
            ExitReason::Stopped if args.duration.is_some() || signals.exit() != Some(Exit::Interrupted) => {
                signals.exit().unwrap_or(Exit::Ok)
            }
            ExitReason::ReaderGone if on_screen => Exit::HungUp,
            _ => Exit::Ok,
        })
    })
}

/// The database that was given, by a flag or by a variable.
fn database_url(args: &WatchArgs) -> Result<String, CliError> {
    let variable = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    if let Some(url) = args.database_url.clone().or_else(variable) {
        return Ok(url);
    }
    Ok(database_given(args.service.as_ref())?.text().to_owned())
}

/// The sessions of a service, by the processes that listen at its port.
fn whose_sessions(service: &BaseUrl, database: &OwnDatabase) -> Result<SessionFilter, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let found = runtime.block_on(sessions_of(service, database.database()))?;
    let is_own = |it: &&SessionsElsewhere| it.process.is_some() && it.database == database.name();
    let own: Vec<&SessionsElsewhere> = found.iter().filter(is_own).collect();
    if own.is_empty() {
        let service = service.to_string();
        let elsewhere = elsewhere_in_words(&found);
        return Err(CliError::NoSessions { service, database: database.name().to_owned(), elsewhere });
    }
    if own.iter().any(|it| it.application_name.is_empty()) {
        tracing::warn!("the service's sessions have no application name: all of its role are watched");
    }
    let is_elsewhere = |it: &&SessionsElsewhere| it.process.is_some() && it.database != database.name();
    for it in found.iter().filter(is_elsewhere) {
        tracing::warn!("it also has sessions in the database `{}`, which are not watched", plain(&it.database));
    }
    let mut applications: BTreeSet<String> = own.iter().map(|it| it.application_name.clone()).collect();
    let users: BTreeSet<String> = own.iter().map(|it| it.user.clone()).collect();
    // No filter names sessions without a name.
    if applications.contains("") {
        applications.clear();
    }
    Ok(SessionFilter { applications: applications.into_iter().collect(), users: users.into_iter().collect() })
}

fn plan(args: &WatchArgs, database: &OwnDatabase, whose: SessionFilter) -> WatchPlan {
    let mut gauge_names = GaugeNames::default();
    for (gauge, name) in &args.gauge {
        match gauge {
            WatchedGauge::CheckedOut => gauge_names.checked_out = Some(name.clone()),
            WatchedGauge::Pending => gauge_names.pending = Some(name.clone()),
            WatchedGauge::Timeouts => gauge_names.timeouts = Some(name.clone()),
        }
    }
    let interval = args.interval.duration();
    let counts_interval = (interval / COUNTS_PER_LOOK).max(COUNTS_SHORTEST);
    WatchPlan {
        database: database.database().clone(),
        target: WatchTarget {
            url: database.masked_url(),
            pools: args.metrics_url.iter().map(masked).collect(),
            interval_s: interval.as_secs_f64(),
            counts_interval_s: counts_interval.as_secs_f64(),
            started_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        },
        whose,
        metrics: args.metrics_url.iter().map(ToString::to_string).collect(),
        gauge_names,
        interval,
        counts_interval,
        duration: args.duration.map(Span::duration),
        record: args.record.clone(),
    }
}

async fn look_once(plan: &WatchPlan) -> Result<WatchModel, MonitorError> {
    let mut poller = Looker::connect(&plan.database, &plan.whose).await?;
    let (poll, pools) = tokio::join!(poller.poll(), read_pools(&plan.metrics, &plan.gauge_names));
    let mut model = WatchModel::new(plan.target.clone(), poller.server().clone());
    for pool in pools? {
        model.take(0.0, &Sample::Pools(pool));
    }
    model.see(0.0, PollEvent::Poll(poll?));
    poller.close().await;
    Ok(model)
}

fn tell_once(args: &WatchArgs, seen: &WatchModel, out: &mut dyn Write) -> Result<Exit, CliError> {
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &WatchJson::of(seen))?;
        writeln!(out)?;
    } else {
        out.write_all(page(seen, output_width()).as_bytes())?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// A URL without credentials and without its query, which may hold a token.
fn masked(url: &reqwest::Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// True if the screen takes colours.
fn use_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
    }
}

fn parse_interval(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: crate::units::SpanError| error.to_string())?;
    if span.duration() < SHORTEST { Err("at least 100ms are allowed".to_owned()) } else { Ok(span) }
}

fn parse_url(text: &str) -> Result<reqwest::Url, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // The text is not repeated by us: it may hold a password.
        Ok(_) => Err("it must begin with `http://` or `https://`".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_gauge(text: &str) -> Result<(WatchedGauge, GaugeName), String> {
    let (what, name) = text.split_once('=').ok_or("it reads `checked_out=METRIC`")?;
    let gauge = match what.trim() {
        "checked_out" => WatchedGauge::CheckedOut,
        "pending" => WatchedGauge::Pending,
        "timeouts" => WatchedGauge::Timeouts,
        other => return Err(format!("`{other}` is none of `checked_out`, `pending`, `timeouts`")),
    };
    Ok((gauge, name.parse().map_err(|error: GaugeNameError| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_read_and_nonsense_is_refused() {
        let (gauge, name) = parse_gauge("pending=pool_waiting{pool=\"a\"}").unwrap();
        assert_eq!((gauge, name.name.as_str()), (WatchedGauge::Pending, "pool_waiting"));
        for text in ["", "pending", "size=x", "pending=", "pending=a b"] {
            assert!(parse_gauge(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_of_a_page_of_gauges_are_not_shown() {
        let url = parse_url("http://me:secret@gw-1:9100/metrics?token=secret").unwrap();
        assert_eq!(masked(&url), "http://gw-1:9100/metrics");
        assert!(parse_url("file:///etc/passwd").is_err() && parse_url("nothing").is_err());
    }

    #[test]
    fn an_interval_that_only_loads_the_server_is_refused() {
        assert!(parse_interval("10ms").is_err() && parse_interval("soon").is_err());
        assert_eq!(parse_interval("2s").unwrap().duration(), Duration::from_secs(2));
    }
}
