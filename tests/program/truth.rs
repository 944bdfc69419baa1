//! Diagnoses of runs, beside the reference gateway's own figures.

use serde_json::Value;

use crate::program::{Place, json};

/// A variant that was run and diagnosed.
pub(crate) struct Diagnosed {
    pub(crate) place: Place,
    pub(crate) findings: Vec<Value>,
    /// Its record.
    variant: Value,
    samples: Vec<Value>,
}

impl Diagnosed {
    /// Runs one variant of a scenario, and diagnoses it.
    pub(crate) fn of(scenario: &str, variant: &str, settings: &[&str]) -> Self {
        let place = Place::new();
        let mut arguments = vec!["run", scenario, "--variant", variant, "--json"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        json(&place.output(&arguments));
        let folder = place.run_folder().display().to_string();
        let document = json(&place.output(&["diagnose", &folder, "--variant", variant, "--json"]));
        assert_eq!(document["format"]["name"], "rbac-bench/diagnosis");
        let read = |file: &str| std::fs::read_to_string(place.run_folder().join(file)).expect("a run folder");
        let record: Value = serde_json::from_str(&read("record.json")).expect("JSON");
        let line = |line: &str| serde_json::from_str(line).expect("JSON");
        Self {
            findings: document["findings"].as_array().expect("a list").clone(),
            variant: record["variants"][variant].clone(),
            samples: read("samples.ndjson").lines().map(line).collect(),
            place,
        }
    }

    /// Session seconds idle in transaction over the steady phase, as the gateway itself counts them once a second.
    fn truth_s(&self) -> f64 {
        let second = |key: &str| self.variant["phases"][key].as_f64().expect("seconds");
        let (from_s, to_s) = (second("steady_from_s"), second("steady_to_s"));
        let points: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|it| it["kind"] == "pools")
            .filter_map(|it| Some((it["at_s"].as_f64()?, it["held_s"].as_f64()?)))
            .filter(|(at_s, _)| (from_s..=to_s).contains(at_s))
            .collect();
        let [(first_s, before_s), .., (last_s, after_s)] = points[..] else { panic!("too few gauges: {points:?}") };
        // What the first and the last second lack was held as what lies between.
        (after_s - before_s) / (last_s - first_s) * (to_s - from_s)
    }

    /// Asserts that what is reported to be held is within 15 % of what the gateway says that it held.
    #[track_caller]
    pub(crate) fn assert_holds_the_truth(&self) {
        let routes = self.variant["routes"].as_array().expect("a list");
        let printed = self.findings.iter().filter(|it| it["kind"] == "held_session").map(|finding| {
            let route = routes.iter().find(|it| it["route"] == finding["route"]).expect("it was asked for");
            let requests = route["requests"].as_f64().expect("a count");
            requests * finding["held_s_per_request"]["value"].as_f64().expect("seconds")
        });
        let (said_s, truth_s) = (printed.sum::<f64>(), self.truth_s());
        assert!((said_s / truth_s - 1.0).abs() < 0.15, "printed {said_s} s, true {truth_s} s: {:#?}", self.findings);
    }
}
