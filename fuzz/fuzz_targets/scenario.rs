//! Any text is a scenario, or is refused at a place in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rbac_bench::scenario::Experiment;
use rbac_bench::scenario::error::{ScenarioError, Site};
use rbac_bench::scenario::source::problems;

fuzz_target!(|text: &str| {
    let read = Experiment::from_text("fuzz.toml", text, &[]);
    if let Err(error) = &read {
        let _ = (error.to_string(), error.hint());
        match error {
            ScenarioError::Syntax { site, .. } => in_bounds(site, text),
            ScenarioError::Key(fault) => in_bounds(&fault.site, text),
            ScenarioError::Refused { problems } => problems.iter().for_each(|it| in_bounds(&it.site, text)),
            _ => {}
        }
    }
    assert_eq!(problems("fuzz.toml", text, &[]).is_err(), read.is_err() && !matches!(read, Err(ScenarioError::Refused { .. })));
});

fn in_bounds(site: &Site, text: &str) {
    if let Site::Text { place, .. } = site {
        let line = text.split('\n').nth(place.line - 1).expect("a line of the text");
        assert!(place.column <= line.chars().count() + 1);
    }
}
