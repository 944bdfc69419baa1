//! `rbac-bench report`: one HTML file from run folders.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::causes::with_culprits;
use super::diagnose;
use super::error::CliError;
use super::exit::Exit;
use crate::gate::{GateReport, ParsedRule, ReadBack, judge, routes};
use crate::record::store::{SamplesRead, StoreError, for_each_sample, read_record};
use crate::record::timeline::Timeline;
use crate::record::{RunRecord, Sample, Stamped};
use crate::render::diagnosis::Diagnosed;
use crate::render::html;
use crate::scenario::VariantName;
use crate::texts::PatternCounts;

/// Name of the report in the folder of its run, when no other is given.
const REPORT_FILE: &str = "report.html";

/// Write a self-contained HTML report
///
/// Reads nothing but the run folders, also those of runs that were killed, and fetches nothing: the file can be mailed,
/// attached and read in ten years.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench report reports/2026-11-23T10-12-04-issue-2318
  rbac-bench report reports/2026-… -o incident.html --open
  rbac-bench report reports/2026-*-nightly -o trend.html      more than two runs: a trend")]
pub struct ReportArgs {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// Output file [default: report.html in the run's folder; in the current folder for several runs]
    #[arg(short, long, value_name = "FILE.html")]
    pub output: Option<PathBuf>,
    /// Open it in the browser
    #[arg(long)]
    pub open: bool,
}

/// Writes the file, and its path to `out`.
pub(super) fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let path = match (&args.output, args.runs.as_slice()) {
        (Some(path), _) => path.clone(),
        (None, [run]) => run.join(REPORT_FILE),
        (None, _) => PathBuf::from(REPORT_FILE),
    };
    write(&args.runs, &path)?;
    writeln!(out, "{}", path.display())?;
    out.flush()?;
    if args.open { open(&path) } else { Ok(Exit::Ok) }
}

/// Writes the report of one run into its folder; gives its path.
pub(super) fn write_beside(folder: &Path) -> Result<PathBuf, CliError> {
    let path = folder.join(REPORT_FILE);
    write(&[folder.to_owned()], &path)?;
    Ok(path)
}

/// Opens a file with what the desktop opens such files with.
pub(super) fn open(path: &Path) -> Result<Exit, CliError> {
    open::that_detached(path).map_err(|source| CliError::Open { path: path.to_owned(), source })?;
    Ok(Exit::Ok)
}

fn write(folders: &[PathBuf], path: &Path) -> Result<(), CliError> {
    let read = folders
        .iter()
        .map(|folder| RunOnDisk::read(folder, folders.len() <= DIAGNOSED))
        .collect::<Result<Vec<_>, _>>()
        .map_err(CliError::Record)?;
    let runs: Vec<html::ReportedRun<'_>> = read.iter().map(RunOnDisk::as_run).collect();
    let page = crate::redact::of_process().redact_known(html::page(&runs));
    fs::write(path, page).map_err(|source| CliError::Write { path: path.to_owned(), source })
}

/// More runs than this are a trend, which has no findings of each.
const DIAGNOSED: usize = 2;

/// A run folder, its samples reduced.
struct RunOnDisk {
    name: String,
    record: RunRecord,
    timeline: Timeline,
    samples: Option<SamplesRead>,
    diagnosed: Vec<Diagnosed>,
    /// The scenario's own rules, judged; `None` when it has none.
    gate: Option<GateReport>,
}

impl RunOnDisk {
    fn read(folder: &Path, diagnosed: bool) -> Result<Self, StoreError> {
        let record = read_record(folder)?;
        let replicas = record.scenario.pool_pages();
        let asked = asked(&record);
        let mut timeline = Timeline::default();
        let mut kept = Vec::new();
        let take = |sample: Stamped| {
            timeline.take(replicas, &sample);
            // Rules read gauges and counters; a diagnosis reads all.
            if diagnosed {
                kept.push(sample);
            } else if !asked.is_empty() {
                kept.extend(without_texts(sample));
            }
        };
        let samples = match for_each_sample(folder, take) {
            Ok(read) => Some(read),
            Err(StoreError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        kept.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let diagnosed =
            if diagnosed { diagnose::all(&record, &kept, &PatternCounts::default(), None, None) } else { Vec::new() };
        let gate = (!asked.is_empty()).then(|| {
            let variants: Vec<VariantName> = record.variants.keys().copied().collect();
            let unreadable = samples.map_or(0, |read| read.unreadable);
            let report = judge(&asked, ReadBack { record: &record, samples: &kept, unreadable }, &variants, None);
            with_culprits(report, &diagnosed)
        });
        Ok(Self { name: name(folder), record, timeline, samples, diagnosed, gate })
    }

    fn as_run(&self) -> html::ReportedRun<'_> {
        html::ReportedRun {
            name: &self.name,
            record: &self.record,
            timeline: &self.timeline,
            samples: self.samples,
            diagnosed: &self.diagnosed,
            gate: self.gate.as_ref(),
        }
    }
}

/// The rules of a run's scenario. One that cannot be read was refused before the run, unless another program wrote it.
fn asked(record: &RunRecord) -> Vec<ParsedRule> {
    let routes = routes(&record.scenario);
    let read =
        |rule| ParsedRule::read(rule, &routes).inspect_err(|error| tracing::warn!("a rule is left out: {error}")).ok();
    // Those against a baseline are for runs that have one, as at the end of a run.
    record.scenario.gate().iter().filter_map(read).filter(|asked| !asked.rule.is_relative()).collect()
}

/// A sample as rules need it: statements and routes would fill the memory.
fn without_texts(mut stamped: Stamped) -> Option<Stamped> {
    match &mut stamped.sample {
        Sample::Breakdown(_)
        | Sample::Episode(_)
        | Sample::Transaction(_)
        | Sample::Blocking(_)
        | Sample::PgBouncer(_) => return None,
        Sample::Load(load) => {
            load.in_flight.clear();
            load.present.clear();
        }
        Sample::Pools(pools) => pools.errors.clear(),
        Sample::Activity(_) | Sample::Health(_) | Sample::Event(_) | Sample::Pulse(_) | Sample::Counters(_) => {}
    }
    Some(stamped)
}

/// The folder's own name: where it lay is nobody's business.
fn name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
}
