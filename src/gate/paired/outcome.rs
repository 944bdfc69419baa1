//! From what the pairs say to verdicts, and to what would settle those that are none.

use super::{Ended, PairedRule, Trial};
use crate::gate::{GateReport, Paired, RatioEstimate, RuleOutcome, Verdict};
use crate::stats::paired::{Evidence, Finding, judge};
use crate::stats::power::{pairs_needed, scatter, smallest_ratio};
use crate::stats::signed_rank::MOST_PAIRS;

/// The verdicts with all that is to be known about them.
pub(super) fn report(trial: &Trial, ended: Ended) -> GateReport {
    GateReport::of(judged(trial, ended, Detail::Explained))
}

/// The same verdict without the explanations, which take longer than the judging.
pub(super) fn verdict(trial: &Trial, ended: Ended) -> Verdict {
    GateReport::of(judged(trial, ended, Detail::Bare)).verdict
}

/// How much is said of a verdict.
#[derive(Clone, Copy)]
enum Detail {
    Bare,
    Explained,
}

fn judged(trial: &Trial, ended: Ended, detail: Detail) -> Vec<RuleOutcome> {
    let evidence = judge(&trial.worsenings(), trial.plan.alpha);
    let of_rule = |(index, rule)| {
        let judged = Judged { trial, index, rule, ended };
        match (trial.fault(index), evidence.as_ref().and_then(|all| all.get(index))) {
            (Some((pair, fault)), _) => judged.none(format!("in pair {pair}, {fault}")),
            (None, None) => judged.none("no pair of windows was measured".to_owned()),
            (None, Some(evidence)) => match detail {
                Detail::Bare => judged.bare(evidence),
                Detail::Explained => judged.explained(evidence),
            },
        }
    };
    trial.rules.iter().enumerate().map(of_rule).collect()
}

/// One rule of a trial.
struct Judged<'a> {
    trial: &'a Trial,
    index: usize,
    rule: &'a PairedRule,
    ended: Ended,
}

impl Judged<'_> {
    fn none(&self, reason: String) -> RuleOutcome {
        let asked = self.rule.asked();
        RuleOutcome {
            rule: asked.rule.text.clone(),
            variant: None,
            verdict: Verdict::Inconclusive,
            severity: asked.severity,
            measured: None,
            limit: None,
            unit: asked.rule.metric.unit(),
            reason: Some(reason),
            because: asked.because.clone(),
            paired: None,
        }
    }

    fn bare(&self, evidence: &Evidence) -> RuleOutcome {
        RuleOutcome { verdict: self.verdict(evidence.finding), reason: None, ..self.none(String::new()) }
    }

    fn explained(&self, evidence: &Evidence) -> RuleOutcome {
        let bare = self.bare(evidence);
        let verdict = bare.verdict;
        let [baseline, candidate] = self.medians();
        RuleOutcome {
            measured: candidate,
            limit: baseline.map(|it| it * self.rule.allowed_ratio()),
            paired: Some(self.paired(evidence, verdict)),
            reason: Some(self.reason(evidence, verdict)),
            ..bare
        }
    }

    /// Passing needs every pair, and a candidate that did its work; what has failed on fewer, has.
    fn verdict(&self, finding: Finding) -> Verdict {
        match (finding, self.ended) {
            (Finding::NoWorse, _) if self.trial.caveat(self.index).is_some() => Verdict::Inconclusive,
            (Finding::Worse, _) => Verdict::Failed,
            (Finding::Unclear, _) | (Finding::NoWorse, Ended::OutOfTime | Ended::Interrupted) => Verdict::Inconclusive,
            (Finding::NoWorse, Ended::AllPairs | Ended::Settled) => Verdict::Passed,
        }
    }

    fn reason(&self, evidence: &Evidence, verdict: Verdict) -> String {
        let ratio = self.rule.ratio(evidence.centre);
        let allowed = self.rule.allowed_ratio();
        let alpha = self.trial.plan.alpha * 100.0;
        let significant = evidence.p_adjusted <= self.trial.plan.alpha;
        match (evidence.finding, verdict) {
            (Finding::Worse, _) => format!("worse: × {ratio:.2} is beyond × {allowed:.2}, and not by chance"),
            (Finding::Unclear, _) => {
                format!("× {ratio:.2} is beyond × {allowed:.2}, but chance alone does that more often than {alpha} %")
            }
            (Finding::NoWorse, Verdict::Passed) if significant => {
                format!("worse, and by so little that it is allowed: × {ratio:.2} is within × {allowed:.2}")
            }
            (Finding::NoWorse, Verdict::Passed) => format!("not worse: × {ratio:.2} is within × {allowed:.2}"),
            (Finding::NoWorse, _) if let Some((pair, caveat)) = self.trial.caveat(self.index) => {
                format!("inconclusive: pair {pair}, candidate: {caveat}")
            }
            (Finding::NoWorse, _) => {
                let why = if self.ended == Ended::Interrupted { "interrupted" } else { "the time was over" };
                format!("{why} after {} of {} pairs", evidence.pairs, self.trial.plan.pairs)
            }
        }
    }

    fn paired(&self, evidence: &Evidence, verdict: Verdict) -> Paired {
        let ends = evidence.interval.map(|it| [self.rule.ratio(it.low), self.rule.ratio(it.high)]);
        let ratio = RatioEstimate {
            value: self.rule.ratio(evidence.centre),
            low: ends.map(|[one, other]| one.min(other)),
            high: ends.map(|[one, other]| one.max(other)),
        };
        let scatter = scatter(&self.trial.worsenings()[self.index].differences);
        // A gate that was settled early had all its pairs to see by: the rest could not have changed anything.
        let pairs = if self.is_cut_short() { evidence.pairs } else { self.trial.plan.pairs };
        let smallest = scatter.and_then(|it| smallest_ratio(pairs, it, self.rule.margin(), self.alpha()));
        let unsettled = verdict == Verdict::Inconclusive;
        Paired {
            p_value: Some(evidence.p_adjusted),
            ratio: Some(ratio),
            pairs: evidence.pairs,
            smallest_effect: smallest.map(|it| self.rule.ratio(it.ln())),
            would_settle: unsettled.then(|| self.would_settle(evidence, scatter)),
        }
    }

    fn is_cut_short(&self) -> bool {
        matches!(self.ended, Ended::OutOfTime | Ended::Interrupted)
    }

    /// What Holm leaves to the first of several rules.
    fn alpha(&self) -> f64 {
        self.trial.plan.alpha / self.trial.rules.len() as f64
    }

    fn would_settle(&self, evidence: &Evidence, scatter: Option<f64>) -> String {
        let planned = self.trial.plan.pairs;
        if self.is_cut_short() && evidence.pairs < planned {
            return format!("the other {} pairs (a longer `--max-duration`)", planned - evidence.pairs);
        }
        let ratio = evidence.centre.exp();
        let needed = scatter.and_then(|it| pairs_needed(ratio, it, self.rule.margin(), self.alpha()));
        match needed.map(|it| it.max(planned + 2)) {
            Some(pairs) if pairs <= MOST_PAIRS => format!(
                "{pairs} pairs (`--pairs {pairs}`), if it is really × {:.2}: four times of five",
                self.rule.ratio(evidence.centre)
            ),
            _ => format!("a quieter machine or longer windows (`--measured`): {MOST_PAIRS} pairs would not do"),
        }
    }

    /// Medians of the baseline's and the candidate's figures.
    fn medians(&self) -> [Option<f64>; 2] {
        let of = |arm: fn(&super::Pair) -> &super::WindowFigures| {
            let figures = self.trial.pairs.iter().filter_map(|pair| Some(arm(pair).reading(self.index).ok()?.value));
            median(figures.collect())
        };
        [of(|pair| &pair.baseline), of(|pair| &pair.candidate)]
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}
