//! From rules and a record to verdicts.

use std::collections::BTreeSet;
use std::fmt;

use super::hold;
use super::measure::{measure, measure_in};
use super::missing::Missing;
use super::pool_wait;
use super::quality::{QualityIssue, quality_issues};
use super::rule::{Limit, Metric, Op, Rule, RuleError, RuleFault};
use super::time_slice::TimeSlice;
use super::{GateReport, GateRule, RuleOutcome, Severity, Verdict, Windows};
use crate::compare::{Difference, Side, chance, differences};
use crate::record::{Outcome, RunRecord, Stamped};
use crate::scenario::{Experiment, VariantName};
use crate::units::Unit;

/// A rule that was asked, read.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedRule {
    /// The rule, its route by its full name.
    pub rule: Rule,
    /// Effect when it is broken.
    pub severity: Severity,
    /// Reason for the rule.
    pub because: Option<String>,
    /// Which variants it concerns; empty for all.
    pub variants: Vec<VariantName>,
    /// Windows of a learned limit.
    pub windows: Option<Windows>,
}

impl ParsedRule {
    /// Reads a rule of a scenario or of the command line.
    ///
    /// # Errors
    /// When it is no rule, or names a route that is none of `routes`.
    pub fn read(written: &GateRule, routes: &[String]) -> Result<Self, RuleError> {
        let rule = written.rule.parse::<Rule>()?.with_routes(routes)?;
        if let Some(windows) = written.windows {
            check_windows(&rule, windows)?;
        }
        Ok(Self {
            rule,
            severity: written.severity,
            because: written.because.clone(),
            variants: written.variants.clone(),
            windows: written.windows,
        })
    }

    /// True if it judges this variant.
    pub fn concerns(&self, variant: VariantName) -> bool {
        self.variants.is_empty() || self.variants.contains(&variant)
    }
}

/// Windows that could never break a rule would make it pass whatever happens.
fn check_windows(rule: &Rule, windows: Windows) -> Result<(), RuleError> {
    let allowed = if windows.judged.get() < Windows::NEEDED {
        "`windows.judged` is 1, and two windows are needed to break a rule"
    } else if windows.length.is_zero() {
        "`windows.length` is 0s: above 0 is needed"
    } else if rule.is_relative() {
        "`windows` go with a learned limit, not with `vs baseline`"
    } else if matches!(rule.op, Op::Equal | Op::Unequal) {
        "`windows` go with a limit that can be exceeded: `<`, `<=`, `>` or `>=`"
    } else {
        return Ok(());
    };
    Err(RuleError { text: rule.text.clone(), column: 1, fault: RuleFault::Windows { allowed }, meant: None })
}

/// The routes that a rule may name: those of the scenario's users, as the record spells them.
pub fn routes(experiment: &Experiment) -> Vec<String> {
    let names: BTreeSet<&str> = match experiment {
        Experiment::Gateway(scenario) => {
            let tasks = scenario.load.classes.values().flat_map(|class| class.tasks.keys());
            tasks.map(|task| task.label()).collect()
        }
        Experiment::Service(scenario) => scenario.routes().map(|route| route.route.name()).collect(),
        Experiment::Watched(_) => BTreeSet::new(),
    };
    names.into_iter().map(str::to_owned).collect()
}

/// A run that was read back.
#[derive(Clone, Copy, Debug)]
pub struct ReadBack<'a> {
    pub record: &'a RunRecord,
    /// Its samples, ascending in time.
    pub samples: &'a [Stamped],
    /// Lines of the samples that could not be read, the last one aside.
    pub unreadable: u64,
}

impl<'a> ReadBack<'a> {
    /// One of its variants; `None` when it does not have it.
    pub fn side(self, variant: VariantName) -> Option<Side<'a>> {
        Side::of(self.record, variant, self.samples).map(|side| Side { unreadable: self.unreadable, ..side })
    }
}

/// Baseline of `vs baseline`.
#[derive(Clone, Copy, Debug)]
pub struct Baseline<'a> {
    pub run: ReadBack<'a>,
    /// Which of its variants; `None` for the one of the same name, or its only one.
    pub variant: Option<VariantName>,
    /// True if it decides although it was measured under other conditions.
    pub trust: Trust,
}

/// Power of a baseline that was measured under other conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    #[default]
    Advisory,
    Full,
}

impl<'a> Baseline<'a> {
    fn side_for(&self, variant: VariantName) -> Option<Side<'a>> {
        let variants = &self.run.record.variants;
        let only = variants.keys().copied().next().filter(|_| variants.len() == 1);
        let same = variants.contains_key(&variant).then_some(variant);
        self.run.side(self.variant.or(same).or(only)?)
    }
}

/// Judges each rule on each of `variants` that it concerns.
pub fn judge(
    asked: &[ParsedRule],
    run: ReadBack<'_>,
    variants: &[VariantName],
    baseline: Option<Baseline<'_>>,
) -> GateReport {
    let mut outcomes = Vec::new();
    for variant in variants {
        let side = run.side(*variant);
        let quality_issues = side.map(quality_issues).unwrap_or_default();
        for asked in asked.iter().filter(|asked| asked.concerns(*variant)) {
            outcomes.push(match side {
                Some(side) => RuleEvaluation { asked, side, quality_issues: &quality_issues, baseline }.outcome(),
                None => not_measured(asked, run.record, *variant),
            });
        }
    }
    GateReport::of(outcomes)
}

/// Gives each rule the verdict that there is none, for a run that could not measure anything.
pub fn nothing_measured(asked: &[ParsedRule], variants: &[VariantName], reason: &str) -> GateReport {
    let each = |variant: &VariantName| {
        let concerned: Vec<&ParsedRule> = asked.iter().filter(|asked| asked.concerns(*variant)).collect();
        concerned.into_iter().map(|asked| inconclusive(asked, *variant, reason.to_owned())).collect::<Vec<_>>()
    };
    GateReport::of(variants.iter().flat_map(each).collect())
}

fn not_measured(asked: &ParsedRule, record: &RunRecord, variant: VariantName) -> RuleOutcome {
    let why = match &record.outcome {
        Outcome::Finished => "the run does not have it".to_owned(),
        Outcome::Running => "the run was killed before it ended, or goes on".to_owned(),
        Outcome::Interrupted => "the run was interrupted before it ended".to_owned(),
        Outcome::Failed { error } => format!("the run failed: {error}"),
    };
    inconclusive(asked, variant, format!("`{}` was not measured: {why}", variant.name()))
}

fn inconclusive(asked: &ParsedRule, variant: VariantName, reason: String) -> RuleOutcome {
    let limit = match asked.rule.limit {
        Limit::Absolute(limit) => Some(limit),
        Limit::Relative { .. } => None,
    };
    RuleOutcome {
        rule: asked.rule.text.clone(),
        variant: Some(variant),
        verdict: Verdict::Inconclusive,
        severity: asked.severity,
        measured: None,
        limit,
        unit: asked.rule.metric.unit(),
        reason: Some(reason),
        because: asked.because.clone(),
        paired: None,
    }
}

/// One rule on one variant.
struct RuleEvaluation<'a> {
    asked: &'a ParsedRule,
    side: Side<'a>,
    quality_issues: &'a [QualityIssue],
    baseline: Option<Baseline<'a>>,
}

impl RuleEvaluation<'_> {
    fn outcome(&self) -> RuleOutcome {
        let outcome = match (self.asked.windows, self.asked.rule.limit) {
            (Some(windows), Limit::Absolute(limit)) => self.by_windows(windows, limit),
            (_, Limit::Absolute(limit)) => self.absolute(limit),
            (_, Limit::Relative { change }) => self.relative(change),
        };
        doubted(outcome, &self.asked.rule, self.quality_issues)
    }

    fn none(&self, reason: &dyn fmt::Display) -> RuleOutcome {
        inconclusive(self.asked, self.side.variant, reason.to_string())
    }

    fn judged(&self, measured: f64, limit: f64) -> RuleOutcome {
        let holds = self.asked.rule.op.holds(measured, limit);
        RuleOutcome {
            verdict: if holds { Verdict::Passed } else { Verdict::Failed },
            measured: Some(measured),
            limit: Some(limit),
            reason: None,
            ..self.none(&"")
        }
    }

    fn absolute(&self, limit: f64) -> RuleOutcome {
        match self.asked.rule.metric {
            Metric::Hold => return self.hold(limit),
            Metric::PoolWait => return self.pool_wait(limit),
            _ => {}
        }
        match measure(&self.asked.rule, self.side) {
            Ok(measured) => self.judged(measured, limit),
            Err(missing) => self.none(&missing),
        }
    }

    fn hold(&self, limit: f64) -> RuleOutcome {
        match hold::measure(&self.asked.rule, self.side) {
            Ok(held) => {
                let (verdict, reason) = hold::judge(&self.asked.rule, self.side, held, limit);
                RuleOutcome { verdict, reason, ..self.judged(held.value, limit) }
            }
            Err(missing) => self.none(&missing),
        }
    }

    fn pool_wait(&self, limit: f64) -> RuleOutcome {
        match pool_wait::measure(&self.asked.rule, self.side) {
            Ok(bucket) => {
                let (verdict, reason) = pool_wait::judge(&self.asked.rule, bucket, limit);
                RuleOutcome { verdict, reason, measured: bucket.high_ms, ..self.judged(bucket.low_ms, limit) }
            }
            Err(missing) => self.none(&missing),
        }
    }

    /// A learned limit: broken when at least two of the first m windows exceed it. What is measured is the second-worst
    /// window, which is the one that decides.
    fn by_windows(&self, windows: Windows, limit: f64) -> RuleOutcome {
        let judged = windows.judged.get() as usize;
        let spans = windows_of(self.side, windows.length.secs());
        if spans.len() < judged {
            let reason = format!(
                "the steady phase has {} windows of {}, and the limit is for {judged}",
                spans.len(),
                windows.length
            );
            return self.none(&reason);
        }
        let rule = &self.asked.rule;
        let figures: Result<Vec<f64>, Missing> =
            spans.iter().take(judged).map(|span| measure_in(rule, self.side, *span)).collect();
        let mut figures = match figures {
            Ok(figures) => figures,
            Err(missing) => return self.none(&missing),
        };
        // The worst first.
        figures.sort_by(|a, b| if rule.op.is_upper_bound() { b.total_cmp(a) } else { a.total_cmp(b) });
        let broken = figures.iter().filter(|figure| !rule.op.holds(**figure, limit)).count();
        let deciding = figures.get(Windows::NEEDED as usize - 1).copied().unwrap_or(f64::NAN);
        let rate = windows.false_alarm_rate() * 100.0;
        let reason = format!(
            "{broken} of {judged} windows of {} exceed it, {} are needed to break it: {rate:.2} % of healthy runs do",
            windows.length,
            Windows::NEEDED,
        );
        RuleOutcome { reason: Some(reason), ..self.judged(deciding, limit) }
    }

    fn relative(&self, change: f64) -> RuleOutcome {
        let Some(baseline) = self.baseline else { return self.none(&"there is no baseline") };
        let Some(before) = baseline.side_for(self.side.variant) else {
            return self.none(&"the baseline has no variant of this name, and more than one");
        };
        let outcome = self.against(before, change);
        if self.quality_issues.iter().any(QualityIssue::is_no_work) {
            return outcome;
        }
        let conditions: Vec<Difference> =
            differences(before, self.side).into_iter().filter(|it| it.what.is_condition()).collect();
        advised(outcome, &conditions, baseline.trust)
    }

    fn against(&self, before: Side<'_>, change: f64) -> RuleOutcome {
        let figures = (measure(&self.asked.rule, self.side), measure(&self.asked.rule, before));
        let (after_figure, before_figure) = match figures {
            (Ok(after), Ok(before)) => (after, before),
            (Err(missing), _) => return self.none(&missing),
            (_, Err(missing)) => return self.none(&format!("in the baseline, {missing}")),
        };
        let rule = &self.asked.rule;
        if let Some(issue) = quality_issues(before).iter().find(|issue| issue.voids_baseline(rule)) {
            return self.none(&format!("in the baseline, {issue}"));
        }
        let limit = before_figure * (1.0 + change);
        // A share ends at 1: what no run can exceed decides nothing.
        if rule.metric.unit() == Unit::Ratio && rule.op.is_upper_bound() && limit >= 1.0 {
            let reason =
                format!("the limit would be {:.0} %, which no run can exceed: the baseline fails", limit * 100.0);
            return RuleOutcome {
                verdict: Verdict::Inconclusive,
                reason: Some(reason),
                ..self.judged(after_figure, 1.0)
            };
        }
        let judged = self.judged(after_figure, limit);
        let judged = match pool_wait::measure(rule, self.side) {
            // Its bucket begins below the limit.
            Ok(bucket) if judged.verdict == Verdict::Failed && rule.metric == Metric::PoolWait => {
                let (verdict, reason) = pool_wait::judge(rule, bucket, limit);
                RuleOutcome { verdict, reason, ..judged }
            }
            _ => judged,
        };
        self.beyond_chance(judged, before, [before_figure, after_figure])
    }

    /// A limit that is exceeded by less than two runs of the same differ by is not known to be exceeded.
    fn beyond_chance(&self, outcome: RuleOutcome, before: Side<'_>, figures: [f64; 2]) -> RuleOutcome {
        let rule = &self.asked.rule;
        let noise = chance(rule.metric.summary_key(rule.aggregate), before, self.side, figures);
        let [baseline, candidate] = figures;
        if outcome.verdict != Verdict::Failed || (candidate - baseline).abs() > noise {
            return outcome;
        }
        let reason = "it differs from the baseline by less than two single runs of the same do by chance: \
                      `gate --paired` would settle it";
        RuleOutcome { verdict: Verdict::Inconclusive, reason: Some(reason.to_owned()), ..outcome }
    }
}

/// More windows than this are of no use to anybody.
const MOST_WINDOWS: u32 = 100_000;

/// The steady phase cut into whole windows, from its start.
pub fn windows_of(side: Side<'_>, length_s: f64) -> Vec<TimeSlice> {
    let steady = TimeSlice::steady(side);
    // A steady phase of 30 s that ended a microsecond early still has three windows of 10 s.
    let fits = |window: &TimeSlice| window.to_s <= steady.to_s + 1e-3 * length_s;
    let window = |index: u32| {
        let from_s = steady.from_s + f64::from(index) * length_s;
        TimeSlice { from_s, to_s: from_s + length_s }
    };
    let most = if length_s > 0.0 { MOST_WINDOWS } else { 0 };
    (0..most).map(window).take_while(fits).collect()
}

/// A verdict that the instrument does not vouch for is none; what was measured stays to be read.
fn doubted(outcome: RuleOutcome, rule: &Rule, quality_issues: &[QualityIssue]) -> RuleOutcome {
    let overrules =
        |doubt: &&QualityIssue| doubt.concerns(rule) && (doubt.spares_failures() || outcome.verdict != Verdict::Failed);
    let Some(doubt) = quality_issues.iter().find(overrules) else { return outcome };
    if outcome.verdict == Verdict::Inconclusive && outcome.measured.is_none() && doubt.spares_failures() {
        // There was no figure to begin with; the doubt is the better reason.
        return RuleOutcome { reason: Some(doubt.to_string()), ..outcome };
    }
    RuleOutcome { verdict: Verdict::Inconclusive, reason: Some(doubt.to_string()), ..outcome }
}

/// A baseline measured under other conditions warns, unless it is trusted.
fn advised(outcome: RuleOutcome, differences: &[Difference], trust: Trust) -> RuleOutcome {
    let Some(first) = differences.first() else { return outcome };
    let what = first.key.as_ref().map_or_else(|| first.what.name().to_owned(), |key| format!("`{key}`"));
    let more = if differences.len() > 1 {
        format!(" (and {} more differences)", differences.len() - 1)
    } else {
        String::new()
    };
    let (severity, meaning) = match trust {
        Trust::Advisory => (Severity::Warn, "it can only warn, without `--trust-baseline`"),
        Trust::Full => (outcome.severity, "it is trusted, as asked for"),
    };
    let reported =
        format!("the baseline has another {what}, {} instead of {}{more}: {meaning}", first.baseline, first.candidate);
    let reason = outcome.reason.map_or_else(|| reported.clone(), |reason| format!("{reason}; {reported}"));
    RuleOutcome { severity, reason: Some(reason), ..outcome }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
