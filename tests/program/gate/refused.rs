//! Rules that are invalid, refused before any load.

use std::path::Path;

use super::{new_folder, read, small_without_rules, write};
use crate::program::{Place, SMALL, text};

#[test]
fn a_wrong_rule_is_refused_before_any_load() {
    let place = Place::new();
    for (rule, printed) in [
        ("idle_in_transactoin.max<60", "did you mean `idle_in_transaction`?"),
        ("idle_in_transaction.p99<60", "has no `.p99`"),
        ("latency.p95<1s for tools/cal", "did you mean `tools/call`?"),
        ("latency.p95<=+10% vs baseline", "needs a baseline"),
    ] {
        let output = place.output(&["gate", SMALL, "--variant", "scoped", "--rule", rule]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(printed) && output.stdout.is_empty(), "{stderr}");
    }
    let file = place.tmp().join("no_rules_left.toml");
    write(&file, small_without_rules() + "[[gate]]\nrule = \"latency.p95<=+10% vs baseline\"\n");
    for command in [&["run", "--gate"][..], &["gate"]] {
        let output = place.output(&[command, &[&file.display().to_string()]].concat());
        let stderr = text(&output.stderr);
        assert!(stderr.contains("is left out: it needs a baseline") && stderr.contains("no rule given"), "{stderr}");
        assert_eq!(output.status.code(), Some(2), "nothing is left to judge by");
    }
    let file = place.tmp().join("scoped_only.toml");
    let rule = "[[gate]]\nrule = \"pool_timeouts==0\"\nvariants = [\"scoped\"]\n";
    write(&file, small_without_rules() + rule);
    let output = place.output(&["run", &file.display().to_string(), "--variant", "held", "--gate"]);
    assert_eq!(output.status.code(), Some(2), "no rule concerns `held`: {}", text(&output.stderr));
    assert!(!place.reports().exists(), "nothing was run");
    assert_eq!(place.output(&["gate", "nowhere"]).status.code(), Some(2));
}

#[test]
fn a_wrong_rule_in_a_scenario_is_refused_by_run_and_by_the_check() {
    let place = Place::new();
    let folder = new_folder();
    let file = folder.path().join("mine.toml");
    write(&file, read(Path::new(SMALL)).replace("pool_timeouts==0", "pool_timeout==0"));
    let file = file.to_str().expect("a temporary folder has a plain name");
    for arguments in [&["run", file][..], &["run", file, "--gate"], &["gate", file]] {
        let output = place.output(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("did you mean `pool_timeouts`?"), "{}", text(&output.stderr));
    }
    let check = place.output(&["scenario", "check", file]);
    assert_eq!(check.status.code(), Some(2));
    assert!(text(&check.stdout).contains("unknown metric `pool_timeout`"), "{}", text(&check.stdout));
}
