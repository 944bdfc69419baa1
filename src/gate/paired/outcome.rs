//! From what the pairs say to verdicts, and to what would settle those that are none.

use super::{PairedRule, PairsEnd, Trial};
use crate::gate::{GateReport, Paired, RatioEstimate, RuleOutcome, Verdict};
use crate::stats::paired::{PairedEvidence, PairedFinding, judge};
use crate::stats::power::{pairs_needed, scatter, smallest_ratio};
use crate::stats::signed_rank::MOST_PAIRS;

/// The verdicts with all that is to be known about them.
pub(super) fn report(trial: &Trial, ended: PairsEnd) -> GateReport {
    GateReport::of(judged(trial, ended, ReasonDetail::Explained))
}

/// The same verdict without the explanations, which take longer than the judging.
pub(super) fn verdict(trial: &Trial, ended: PairsEnd) -> Verdict {
    GateReport::of(judged(trial, ended, ReasonDetail::Bare)).verdict
}

/// Detail of a reason.
#[derive(Clone, Copy)]
enum ReasonDetail {
    Bare,
    Explained,
}

fn judged(trial: &Trial, ended: PairsEnd, detail: ReasonDetail) -> Vec<RuleOutcome> {
    let evidence = judge(&trial.worsenings(), trial.plan.alpha);
    let of_rule = |(index, rule)| {
        let judged = PairedEvaluation { trial, index, rule, ended };
        match (trial.fault(index), evidence.as_ref().and_then(|all| all.get(index))) {
            (Some((pair, fault)), _) => judged.none(format!("in pair {pair}, {fault}")),
            (None, None) => judged.none("no pair of windows was measured".to_owned()),
            (None, Some(evidence)) => match detail {
                ReasonDetail::Bare => judged.bare(evidence),
                ReasonDetail::Explained => judged.explained(evidence),
            },
        }
    };
    trial.rules.iter().enumerate().map(of_rule).collect()
}

/// One rule of a trial.
struct PairedEvaluation<'a> {
    trial: &'a Trial,
    index: usize,
    rule: &'a PairedRule,
    ended: PairsEnd,
}

impl PairedEvaluation<'_> {
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

    fn bare(&self, evidence: &PairedEvidence) -> RuleOutcome {
        RuleOutcome { verdict: self.verdict(evidence.finding), reason: None, ..self.none(String::new()) }
    }

    fn explained(&self, evidence: &PairedEvidence) -> RuleOutcome {
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
    fn verdict(&self, finding: PairedFinding) -> Verdict {
        match (finding, self.ended) {
            (PairedFinding::NoWorse, _) if self.trial.caveat(self.index).is_some() => Verdict::Inconclusive,
            (PairedFinding::Worse, _) => Verdict::Failed,
            (PairedFinding::Unclear, _) | (PairedFinding::NoWorse, PairsEnd::OutOfTime | PairsEnd::Interrupted) => {
                Verdict::Inconclusive
            }
            (PairedFinding::NoWorse, PairsEnd::AllPairs | PairsEnd::Settled) => Verdict::Passed,
        }
    }

    fn reason(&self, evidence: &PairedEvidence, verdict: Verdict) -> String {
        let ratio = self.rule.ratio(evidence.centre);
        let allowed = self.rule.allowed_ratio();
        let alpha = self.trial.plan.alpha * 100.0;
        let significant = evidence.p_adjusted <= self.trial.plan.alpha;
        match (evidence.finding, verdict) {
            (PairedFinding::Worse, _) => format!("worse: × {ratio:.2} is beyond × {allowed:.2}, and not by chance"),
            (PairedFinding::Unclear, _) => {
                format!("× {ratio:.2} is beyond × {allowed:.2}, but chance alone does that more often than {alpha} %")
            }
            (PairedFinding::NoWorse, Verdict::Passed) if significant => {
                format!("worse, and by so little that it is allowed: × {ratio:.2} is within × {allowed:.2}")
            }
            (PairedFinding::NoWorse, Verdict::Passed) => format!("not worse: × {ratio:.2} is within × {allowed:.2}"),
            (PairedFinding::NoWorse, _) if let Some((pair, caveat)) = self.trial.caveat(self.index) => {
                format!("inconclusive: pair {pair}, candidate: {caveat}")
            }
            (PairedFinding::NoWorse, _) => {
                let why = if self.ended == PairsEnd::Interrupted { "interrupted" } else { "the time was over" };
                format!("{why} after {} of {} pairs", evidence.pairs, self.trial.plan.pairs)
            }
        }
    }

    fn paired(&self, evidence: &PairedEvidence, verdict: Verdict) -> Paired {
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
        matches!(self.ended, PairsEnd::OutOfTime | PairsEnd::Interrupted)
    }

    /// Error rate that Holm's correction leaves to the first of several rules.
    fn alpha(&self) -> f64 {
        self.trial.plan.alpha / self.trial.rules.len() as f64
    }

    fn would_settle(&self, evidence: &PairedEvidence, scatter: Option<f64>) -> String {
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
