//! `rbac-bench scan`: which route holds a session.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::by_url::scenario_or_url;
use super::discover_args::{DiscoverArgs, database_of};
use super::error::CliError;
use super::exit::Exit;
use super::output::{output_width, say};
use super::scenario::OverrideArgs;
use super::service_args::ServiceArgs;
use super::signals::Signals;
use super::{diagnose, dry, progress, subject};
use crate::record::Outcome;
use crate::record::ScanRecord;
use crate::record::scan::ScanPlan;
use crate::render::diagnosis::{Advice, Diagnosed};
use crate::render::{json, scan as render};
use crate::run::{Finished, RunOptions, ScanSettings, scan};
use crate::scenario::Experiment;
use crate::scenario::overrides::Override;
use crate::texts::PatternCounts;
use crate::units::Span;

/// Find the routes that hold database sessions
///
/// Asks for every route of a service's scenario alone, a few users at a time, in random order and several rounds with
/// rests between them, and polls the sessions a hundred times a second; then for all together, each switched on and off
/// by itself. At the end it hangs up on a few requests of each route. The result names the routes that hold a session in a
/// transaction across slow work, and those that leave one behind. docs/SCAN.md says how exact it is.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "\
Examples:
  rbac-bench scan http://127.0.0.1:8000                routes, ids and login are found out
  rbac-bench scan http://127.0.0.1:8000 --user ada --password-env ADA_PASSWORD
  rbac-bench scan my-service.toml
  rbac-bench scan http://127.0.0.1:8000 --quick        only plain cases, in seconds
  rbac-bench scan my-service.toml --rate 500           harm at 500 requests a second
  rbac-bench scan my-service.toml --requests 200 --rounds 5 --json
  rbac-bench gate reports/…-scan --rule 'hold.seconds for GET /reports/{id} < 50ms'

Exit codes: 0 success · 1 measurement failed · 2 invalid input · 3 inconclusive · 129/130/143 interrupted")]
pub struct ScanArgs {
    /// The URL of a service, or the path of its scenario
    #[arg(value_name = "URL|SCENARIO")]
    pub scenario: String,
    /// What the URL alone does not tell.
    #[command(flatten)]
    pub discover: DiscoverArgs,
    /// Concurrent users per route
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub users: u32,
    /// Requests per route while one route is asked at a time, all rounds together
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests: u32,
    /// Rounds; every route has one turn in each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Longest time for which one route is asked in one round; requests in flight finish
    #[arg(long, alias = "seconds", value_name = "D", default_value = "8s")]
    pub max_turn: Span,
    /// Duration of the concurrent phase; 0s skips it
    #[arg(long, alias = "company", value_name = "D", default_value = "20s", value_parser = concurrent)]
    pub concurrent: Span,
    /// Run a short isolation phase only: takes seconds, finds clear cases only
    #[arg(long, conflicts_with_all = ["requests", "rounds", "concurrent"])]
    pub quick: bool,
    /// Skip the requests whose clients leave before the answer
    #[arg(long)]
    pub no_hang_up: bool,
    /// Assumed traffic (requests/s) for pool forecasts, instead of the scenario's load
    #[arg(long, value_name = "RPS", allow_negative_numbers = true, value_parser = rate)]
    pub rate: Option<f64>,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 2318)]
    pub seed: u64,
    /// Which variants to scan; all by default
    #[arg(long, value_name = "V", help_heading = "Scenario")]
    pub variant: Option<String>,
    /// Address of the service.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Set any key of the scenario file, such as target.url=http://127.0.0.1:9000; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Scenario")]
    pub set: Vec<String>,
    /// Folder in which the run's own folder is made
    #[arg(long, value_name = "DIR", default_value = "reports", env = "RBAC_BENCH_OUT")]
    pub out: PathBuf,
    /// A host other than this machine that may be loaded, as its URL names it; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_remote: Vec<String>,
    /// Print what would be sent, with N requests of each route (default 2), and send nothing
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "2", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub dry_run: Option<u32>,
    /// Advice in code for all stacks, not only for the service's own
    #[arg(long)]
    pub all_advice: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|it| it.is_finite() && *it > 0.0);
    rate.ok_or_else(|| format!("invalid rate `{text}`: expected requests a second, above 0"))
}

/// Batches of each route in a quick scan, and the longest that they may take.
const QUICK_BATCHES: u32 = 4;
const QUICK_TURN_S: f64 = 2.0;

/// Each poll of the sessions is kept until the end.
const LONGEST_COMPANY: Span = Span::from_secs(600);

fn concurrent(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: crate::units::SpanError| error.to_string())?;
    if span > LONGEST_COMPANY {
        return Err(format!("{span} is too long: expected at most {LONGEST_COMPANY}"));
    }
    Ok(span)
}

impl ScanArgs {
    /// Four batches of each route, for two seconds at most.
    fn quick_plan(&self) -> ScanPlan {
        let seconds = self.max_turn.secs().min(QUICK_TURN_S);
        let requests = QUICK_BATCHES * self.users;
        ScanPlan { users: self.users, rounds: 1, requests, seconds, concurrent_s: 0.0, seed: self.seed, hang_up: false }
    }

    fn settings(&self) -> ScanSettings {
        if self.quick {
            return ScanSettings { plan: self.quick_plan(), rate: self.rate };
        }
        let plan = ScanPlan {
            users: self.users,
            rounds: self.rounds,
            requests: self.requests,
            seconds: self.max_turn.secs(),
            concurrent_s: self.concurrent.secs(),
            seed: self.seed,
            hang_up: !self.no_hang_up,
        };
        ScanSettings { plan, rate: self.rate }
    }
}

/// Scans, and writes table or JSON to `out`.
pub(super) fn run(
    args: &ScanArgs,
    environment: &[Override],
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let overrides = OverrideArgs { variant: args.variant.clone(), set: args.set.clone(), ..OverrideArgs::default() };
    let beside = (&overrides, environment);
    let mut scenario = scenario_or_url(&args.scenario, &args.discover, &args.allow_remote, beside, quiet)?;
    if !matches!(scenario, Experiment::Service(_)) {
        return Err(CliError::NotScanned { name: scenario.name().to_owned() });
    }
    let mut database_url = args.service.apply(&mut scenario)?;
    if database_url.is_none() {
        database_url = database_of(&args.scenario, &args.discover)?;
    }
    if let Some(samples) = args.dry_run {
        let given = database_url.is_some();
        let allow_remote = &args.allow_remote;
        let plan = Some(serde_json::to_value(args.settings().plan)?);
        let asked = dry::DryRunOptions { samples, allow_remote, database_given: given, plan, json: args.json };
        return dry::run(&scenario, &asked, out);
    }
    let options = RunOptions {
        out: args.out.clone(),
        pg_bin: None,
        allow_remote: args.allow_remote.clone(),
        database_url,
        pgbouncer: None,
    };
    let (finished, interrupted) = measure(scenario, args.settings(), &options, quiet)?;
    if args.json {
        say(out, &json::text(&render::json(&finished.record, &finished.folder))?)?;
    } else {
        let advice = Advice::of(args.all_advice);
        say(out, &render::text(&finished.record, &finished.folder, &found(&finished), advice, output_width()))?;
    }
    match interrupted {
        Some(exit) => Ok(exit),
        None => exit_of(&finished),
    }
}

/// The findings, as `diagnose` has them.
fn found(finished: &Finished) -> Vec<Diagnosed> {
    match subject::read(finished.folder.clone()) {
        Ok(run) => diagnose::all(&run.record, &run.samples, &PatternCounts::default(), None, None),
        Err(error) => {
            tracing::warn!("no diagnosis: {error}");
            Vec::new()
        }
    }
}

/// Scans with progress on stderr and signals taken. The exit code is the signal's, when there was one.
pub(super) fn measure(
    scenario: Experiment,
    settings: ScanSettings,
    options: &RunOptions,
    quiet: bool,
) -> Result<(Finished, Option<Exit>), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Start)?;
    runtime.block_on(async {
        let signals = Signals::take().map_err(CliError::Start)?;
        let progress = progress::for_terminal(quiet, &scenario);
        let finished = scan(scenario, settings, options, Arc::clone(&progress), signals.token()).await;
        drop(progress);
        Ok((finished?, signals.exit()))
    })
}

/// A scan that can tell of no route has reported nothing.
fn exit_of(finished: &Finished) -> Result<Exit, CliError> {
    let record = &finished.record;
    let empty = record.variants.iter().find(|(_, variant)| variant.summary.requests == 0);
    if let Some((variant, _)) = empty.filter(|_| record.outcome == Outcome::Finished) {
        return Err(CliError::NothingMeasured { variant: *variant });
    }
    let unknown = record.variants.values().flat_map(|it| &it.scan).all(ScanRecord::is_inconclusive);
    let unseen = record.variants.values().any(|variant| record.not_observed(variant).is_some());
    Ok(if unknown || unseen { Exit::Inconclusive } else { Exit::Ok })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        scan: ScanArgs,
    }

    #[test]
    fn a_gate_scans_as_scan_does_without_flags() {
        let args = Alone::parse_from(["scan", "shop.toml"]).scan;
        assert_eq!(args.settings(), ScanSettings::default());
    }
}
