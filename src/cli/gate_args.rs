//! The flags of `rbac-bench gate`, and where its verdicts go.

use std::io::Write;
use std::path::PathBuf;

use super::ci::{self, Announcement};
use super::discover_args::DiscoverArgs;
use super::error::CliError;
use super::exit::Exit;
use super::measure_args::MeasureArgs;
use super::output::output_width;
use super::pairs::PairedArgs;
use super::scenario::OverrideArgs;
use super::service_args::ServiceArgs;
use crate::render::gate::{GateView, json, markdown, table};
use crate::render::json::text as text_of;
use crate::units::Span;

/// Judge a run, or run a scenario and judge it
///
/// A rule on `hold.seconds` is judged by a scan, all others by a load.
///
/// Rules come from --rule, and otherwise from the scenario's `[[gate]]` tables; with --baseline there are rules against
/// that run beside them. Each variant is judged by each rule that concerns it; --variant picks one. A figure that is
/// missing, or that the instrument does not vouch for, makes a rule inconclusive and never passes it.
///
/// With --paired, baseline and candidate are measured in turn, in pairs of windows, and judged by an exact test: a gate
/// that does not flap. `rbac-bench calibrate` says what it sees on this machine.
///
/// Exits with 0 when the rules hold, 99 when one of severity `error` is broken, 3 when it is inconclusive, 2 when a rule
/// is invalid (before any load).
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "\
Examples:
  rbac-bench gate reports/2026-11-23T23-59-21-issue-2318 --variant scoped --rule 'idle_in_transaction.max<60'
  rbac-bench gate issue-2318 --variant scoped --rule 'pool_timeouts==0' --rule 'latency.p95<2s for tools/call'
  rbac-bench gate mine.toml --junit gate.xml
  rbac-bench gate http://127.0.0.1:8000 --rule 'hold.seconds for GET /orders/{order_id}<50ms'
  rbac-bench gate reports/after --baseline reports/before --rule 'idle_in_transaction.mean<=+10% vs baseline'
  rbac-bench gate issue-2318 --paired --baseline scoped --candidate early_close --max-duration 15m
  rbac-bench gate --learn reports/monday reports/tuesday --variant scoped -o limits.toml

Rules: metric[.aggregate] op value [for ROUTE] [vs baseline]; docs/GATE.md lists the metrics.")]
pub struct GateArgs {
    /// Folder of a run, a built-in scenario, the path of a scenario file, or the URL of a service; with --learn, folders of healthy runs to
    /// derive limits from
    #[arg(value_name = "RUN|SCENARIO|URL", required = true)]
    pub subjects: Vec<String>,
    /// Rule that replaces the scenario's rules; may be repeated
    #[arg(long = "rule", value_name = "RULE", allow_hyphen_values = true)]
    pub rules: Vec<String>,
    /// Folder of the run that `vs baseline` means; with --paired a variant [default: the scenario's last]
    #[arg(long, value_name = "RUN|VARIANT")]
    pub baseline: Option<String>,
    /// The baseline's variant, where it is another than the judged one
    #[arg(long, value_name = "V", requires = "baseline")]
    pub baseline_variant: Option<String>,
    /// Let a baseline fail the gate although it was measured under other conditions
    #[arg(long, requires = "baseline")]
    pub trust_baseline: bool,
    /// Run the scenario of a recorded run again, and judge that
    #[arg(long)]
    pub rerun: bool,
    /// With --rerun, start the command that the record names
    #[arg(long, requires = "rerun")]
    pub yes: bool,
    /// Write the verdict as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write JSON; the same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// How the verdict is written
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: GateFormat,
    /// Derive limits from healthy runs instead of judging one
    #[arg(long, conflicts_with_all = ["rules", "baseline", "junit", "rerun", "json", "format"])]
    pub learn: bool,
    /// Length of the windows from which limits are learned
    #[arg(long, value_name = "D", default_value = "5s", requires = "learn")]
    pub window: Span,
    /// Where learned limits are written, as `[[gate]]` tables for a scenario; otherwise to standard output
    #[arg(short, long = "output", value_name = "FILE", requires = "learn")]
    pub output: Option<PathBuf>,
    /// Pairs of windows instead of one run.
    #[command(flatten)]
    pub paired: PairedArgs,
    /// What the URL alone does not tell.
    #[command(flatten)]
    pub discover: DiscoverArgs,
    /// Overrides beside the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Address of an external service.
    #[command(flatten)]
    pub service: ServiceArgs,
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Format of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GateFormat {
    /// For a terminal.
    Table,
    /// For a script.
    Json,
    /// For a merge request.
    Markdown,
}

impl GateArgs {
    /// Writes the verdict everywhere where it is wanted, and gives its exit code.
    pub(super) fn publish(&self, view: GateView<'_>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let format = if self.json { GateFormat::Json } else { self.format };
        let text = match format {
            GateFormat::Table => table(view, output_width()),
            GateFormat::Json => text_of(&json(view))?,
            GateFormat::Markdown => markdown(view),
        };
        let announcement = Announcement { text: &text, annotate_out: format == GateFormat::Table };
        ci::tell(view, self.junit.as_deref(), announcement, out)
    }
}
