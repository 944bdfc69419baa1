//! Measures pairs of windows until a verdict stands, or the plan is at its end.
//!
//! Each window is a run of its own: a fresh PostgreSQL, fresh replicas, fresh pools, and a record like any other's. So
//! no arm inherits anything from the one before (no session, no warm cache, no row that was counted up), and every tool
//! that reads a run reads a window. (An external service keeps its database; where a command starts it, it is fresh.) What is judged, and when it stands, is decided by [`crate::gate::paired`].

mod record;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::compare::Side;
use crate::gate::paired::{Arm, Pair, PairsEnd, Trial, WindowFigures};
use crate::record::Outcome;
use crate::record::store::{RunFolder, read_samples};
use crate::run::progress::{Progress, Update};
use crate::run::{self, RunError, RunOptions};
use crate::scenario::{Experiment, VariantName};
use crate::units::Span;

pub use record::{PAIRED_FILE, PairedRecord, WindowRecord};

/// Arrangement of pairs: variants and durations.
#[derive(Clone, Debug)]
pub struct Arrangement {
    /// The variant that is held against.
    pub baseline: VariantName,
    /// The variant that is judged; the same one to calibrate.
    pub candidate: VariantName,
    /// Part of a window that is discarded, after the scenario's ramp.
    pub settle: Span,
    /// Part of a window that is measured.
    pub measured: Span,
    /// No pair is begun that would probably end later than this.
    pub max_duration: Option<Duration>,
    pub stopping: Stopping,
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// As soon as no pair to come can change the verdict.
    WhenSettled,
    AfterAll,
}

/// Pairs with a figure that is not to be used are measured again, so many in all; then one makes its rule inconclusive.
const SPARE_PAIRS: usize = 3;

/// Observer of the pairs while they are measured.
pub trait PairObserver: Send + Sync {
    /// A window begins.
    fn window(&self, pair: usize, planned: usize, arm: Arm, variant: VariantName);
    /// A pair has been measured; `fault` says why it is measured again.
    fn pair(&self, trial: &Trial, pair: &Pair, fault: Option<&str>);
}

/// Pairs that were measured.
#[derive(Debug)]
pub struct PairedRun {
    pub trial: Trial,
    /// Reason why there are no more.
    pub ended: PairsEnd,
    /// Folder of the windows.
    pub folder: PathBuf,
}

/// Measures pair after pair.
///
/// # Errors
/// As [`run::execute`]; the windows that were measured before stay on disk.
pub async fn measure(
    scenario: Experiment,
    trial: Trial,
    arrangement: &Arrangement,
    options: &RunOptions,
    watcher: &dyn PairObserver,
    stop: &CancellationToken,
) -> Result<PairedRun, RunError> {
    let name = run::folder_name(SystemTime::now(), &format!("{}-paired", scenario.name()));
    let folder = RunFolder::create(&options.out, &name)?;
    let options = RunOptions { out: folder.path().to_owned(), ..options.clone() };
    let record = PairedRecord::new(&scenario, &trial, arrangement);
    let mut measuring =
        Measuring { scenario, trial, arrangement, options: &options, watcher, stop, record, spare: SPARE_PAIRS };
    let measured = measuring.until_the_end(&folder).await;
    measuring.record.ended = measured.as_ref().ok().copied();
    let written = folder.write_document(PAIRED_FILE, &measuring.record);
    let ended = measured?;
    written?;
    Ok(PairedRun { trial: measuring.trial, ended, folder: folder.path().to_owned() })
}

struct Measuring<'a> {
    scenario: Experiment,
    trial: Trial,
    arrangement: &'a Arrangement,
    options: &'a RunOptions,
    watcher: &'a dyn PairObserver,
    stop: &'a CancellationToken,
    record: PairedRecord,
    /// Pairs that may still be measured again.
    spare: usize,
}

impl Measuring<'_> {
    async fn until_the_end(&mut self, folder: &RunFolder) -> Result<PairsEnd, RunError> {
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        loop {
            folder.write_document(PAIRED_FILE, &self.record)?;
            if let Some(ended) = self.ended(began.elapsed() + longest) {
                return Ok(ended);
            }
            let pair_began = Instant::now();
            let Some(pair) = self.pair().await? else { return Ok(PairsEnd::Interrupted) };
            longest = longest.max(pair_began.elapsed());
            self.take(pair);
        }
    }

    /// Reason to stop here; `None` to go on. `next_ends` is when the next pair would probably end.
    fn ended(&self, next_ends: Duration) -> Option<PairsEnd> {
        let may_settle = self.arrangement.stopping == Stopping::WhenSettled;
        if self.trial.is_complete() {
            Some(PairsEnd::AllPairs)
        } else if may_settle && !self.trial.pairs().is_empty() && self.trial.is_settled() {
            Some(PairsEnd::Settled)
        } else if self.arrangement.max_duration.is_some_and(|most| next_ends > most) {
            Some(PairsEnd::OutOfTime)
        } else if self.stop.is_cancelled() {
            Some(PairsEnd::Interrupted)
        } else {
            None
        }
    }

    fn take(&mut self, pair: Pair) {
        let again = pair.fault().filter(|_| self.spare > 0).map(str::to_owned);
        self.watcher.pair(&self.trial, &pair, again.as_deref());
        if let Some(fault) = again {
            self.spare -= 1;
            self.record.discarded.push(fault);
        } else {
            self.record.pairs.push(pair.clone());
            self.trial.push(pair);
        }
    }

    /// Both windows of the next pair; `None` when interrupted.
    async fn pair(&mut self) -> Result<Option<Pair>, RunError> {
        let number = self.trial.pairs().len();
        let [first, second] = Arm::in_drawn_order(rand::random());
        let Some(one) = self.window(number, first).await? else { return Ok(None) };
        let Some(other) = self.window(number, second).await? else { return Ok(None) };
        let (baseline, candidate) = if first == Arm::Baseline { (one, other) } else { (other, one) };
        Ok(Some(Pair { baseline, candidate }))
    }

    async fn window(&mut self, pair: usize, arm: Arm) -> Result<Option<WindowFigures>, RunError> {
        let variant = match arm {
            Arm::Baseline => self.arrangement.baseline,
            Arm::Candidate => self.arrangement.candidate,
        };
        self.watcher.window(pair + 1, self.trial.plan().pairs, arm, variant);
        let name = format!("pair-{:02}-{}-{}", pair + 1, arm.name(), variant.name());
        // Both arms of a pair get the same users with the same choices, and each pair others.
        let Arrangement { settle, measured, .. } = *self.arrangement;
        let scenario = self.scenario.window(variant, settle, measured, pair as u64);
        let measuring = run::execute_as(&name, scenario, self.options, Arc::new(Quiet), self.stop);
        let finished = Box::pin(measuring).await?;
        self.record.windows.push(WindowRecord::new(pair + 1, arm, variant, &finished.folder));
        if finished.record.outcome != Outcome::Finished {
            return Ok(None);
        }
        let mut samples = read_samples(&finished.folder)?;
        // Lines are in the order in which the threads handed them in.
        samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let side = Side::of(&finished.record, variant, &samples);
        Ok(side.map(|side| WindowFigures::of(self.trial.rules(), side, arm)))
    }
}

/// A window is too short to be watched.
struct Quiet;

impl Progress for Quiet {
    fn show(&self, _: &Update) {}
}
