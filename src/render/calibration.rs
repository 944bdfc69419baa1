//! A calibration as a text and as JSON.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::text::plain;
use crate::gate::paired::PairPlan;
use crate::gate::paired::calibration::{Calibration, ErrorRate};
use crate::record::Format;
use crate::scenario::VariantName;

/// A calibration, and what a reader has to know beside it.
#[derive(Clone, Copy, Debug)]
pub struct CalibrationView<'a> {
    pub calibration: &'a Calibration,
    pub scenario: &'a str,
    /// The variant in both arms.
    pub variant: VariantName,
    /// Pairs and α of a trial.
    pub plan: PairPlan,
    /// Folders of the windows, one for each trial.
    pub folders: &'a [PathBuf],
}

/// `calibrate --json`.
#[derive(Debug, Serialize)]
pub struct CalibrationJson<'a> {
    format: Format,
    scenario: &'a str,
    variant: VariantName,
    plan: PairPlan,
    #[serde(flatten)]
    calibration: &'a Calibration,
    folders: &'a [PathBuf],
}

/// The calibration as JSON.
#[must_use]
pub fn json(shown: CalibrationView<'_>) -> CalibrationJson<'_> {
    let format = Format { name: "rbac-bench/calibration".to_owned(), version: 1 };
    let CalibrationView { calibration, scenario, variant, plan, folders } = shown;
    CalibrationJson { format, scenario, variant, plan, calibration, folders }
}

/// Columns of prose where the terminal does not say.
const WIDTH: usize = 108;

/// The calibration in a few lines.
#[must_use]
pub fn table(shown: CalibrationView<'_>, width: Option<usize>) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = rates(&mut text, shown, width).and_then(|()| noise(&mut text, shown));
    text
}

fn rates(text: &mut String, shown: CalibrationView<'_>, width: Option<usize>) -> std::fmt::Result {
    let CalibrationView { calibration, scenario, variant, plan, .. } = shown;
    let (scenario, variant, pairs) = (plain(scenario), variant.name(), plan.pairs);
    writeln!(text, "calibration  {scenario} · `{variant}` in both arms · {pairs} pairs · α {}\n", percent(plan.alpha))?;
    let measured = calibration.measured.as_ref().map_or_else(|| "–  no trial came to a verdict".to_owned(), rate);
    writeln!(text, " false alarms, as measured       {measured}")?;
    if calibration.inconclusive > 0 {
        writeln!(text, "   inconclusive beside them      {}", calibration.inconclusive)?;
    }
    let drawn = calibration.drawn.as_ref().map_or_else(|| "–  no pair was sound".to_owned(), rate);
    writeln!(text, " false alarms, signs by chance   {drawn}")?;
    let drawn_how = format!(
        "{pairs} of the {} measured pairs drawn with replacement, baseline and candidate swapped at random: what the size of \
         the differences here does to the rules. Its interval is about the drawing alone.",
        calibration.sound_pairs
    );
    let options = textwrap::Options::new(width.unwrap_or(WIDTH)).initial_indent("   ").subsequent_indent("   ");
    writeln!(text, "{}", textwrap::fill(&drawn_how, options))
}

fn noise(text: &mut String, shown: CalibrationView<'_>) -> std::fmt::Result {
    writeln!(
        text,
        "\n noise of a pair, and the smallest effect that {} pairs see four times of five",
        shown.plan.pairs
    )?;
    for rule in &shown.calibration.rules {
        let scatter = rule.scatter.map_or_else(|| "–".to_owned(), |it| format!("±{}", percent(it.exp_m1())));
        let smallest = rule.smallest_effect.map_or_else(|| "–".to_owned(), |it| format!("× {it:.2}"));
        writeln!(text, "   {:<46} {scatter:>8}   {smallest:>8}", plain(&rule.rule))?;
    }
    writeln!(text)?;
    shown.folders.iter().try_for_each(|it| writeln!(text, "record  {}", plain(&it.display().to_string())))
}

fn rate(rate: &ErrorRate) -> String {
    let (low, high) = (percent(rate.low), percent(rate.high));
    format!("{} of {}: {} ({low} to {high} at 95 %)", rate.hits, rate.trials, percent(rate.value()))
}

/// `0.78 %`, `12 %`.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.2} %") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::paired::calibration::RuleNoise;

    fn calibration() -> Calibration {
        Calibration {
            measured: Some(ErrorRate { hits: 0, trials: 3, low: 0.0, high: 0.7076 }),
            inconclusive: 1,
            drawn: Some(ErrorRate { hits: 120, trials: 20_000, low: 0.005, high: 0.007_2 }),
            rules: vec![
                RuleNoise {
                    rule: "latency.p95<=+10% vs baseline".into(),
                    scatter: Some(0.08),
                    smallest_effect: Some(1.21),
                },
                RuleNoise { rule: "throughput>=-10% vs baseline".into(), scatter: None, smallest_effect: None },
            ],
            sound_pairs: 30,
        }
    }

    fn shown(calibration: &Calibration) -> CalibrationView<'_> {
        let plan = PairPlan { pairs: 10, alpha: 0.01 };
        CalibrationView { calibration, scenario: "small", variant: VariantName::SCOPED, plan, folders: &[] }
    }

    #[test]
    fn a_rate_is_written_with_its_interval_and_with_what_it_is_about() {
        let text = table(shown(&calibration()), None);
        assert!(text.contains("0 of 3: 0 % (0 % to 71 % at 95 %)"), "{text}");
        assert!(text.contains("120 of 20000: 0.60 % (0.50 % to 0.72 % at 95 %)"), "{text}");
        assert!(text.contains("about the drawing alone"), "{text}");
        assert!(text.contains("× 1.21"), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let nothing = Calibration { measured: None, inconclusive: 0, drawn: None, rules: vec![], sound_pairs: 0 };
        let text = table(shown(&nothing), None);
        assert!(text.contains("–  no trial came to a verdict") && text.contains("–  no pair was sound"), "{text}");
    }

    #[test]
    fn json_has_a_format_and_the_rates() {
        let value = serde_json::to_value(json(shown(&calibration()))).unwrap();
        assert_eq!(value["format"]["name"], "rbac-bench/calibration");
        assert_eq!(value["measured"]["trials"], 3);
        assert_eq!(value["rules"][1]["smallest_effect"], serde_json::Value::Null);
    }
}
