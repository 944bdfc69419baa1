//! Output and exit codes of `rbac-bench scenario …`.

use std::fs;

use clap::Parser;

use super::*;
use crate::scenario::overrides::USERS;

#[derive(Debug, Parser)]
struct TestCli {
    #[command(flatten)]
    scenario: ScenarioArgs,
}

fn run_with(arguments: &[&str], environment: &[Override]) -> Result<(CheckOutcome, String), ScenarioCommandError> {
    let cli = TestCli::try_parse_from(["scenario"].iter().chain(arguments)).unwrap();
    let mut out = Vec::new();
    let outcome = run(&cli.scenario, environment, &mut out)?;
    Ok((outcome, String::from_utf8(out).unwrap()))
}

fn output(arguments: &[&str]) -> (CheckOutcome, String) {
    run_with(arguments, &[]).unwrap()
}

/// Findings of `check` for `text` in a file, with the file's folder left out.
fn checked(text: &str, more: &[&str]) -> (CheckOutcome, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let (outcome, shown) = output(&[&["check", path], more].concat());
    (outcome, shown.replace(path, "mine.toml"))
}

fn collapse() -> &'static str {
    crate::scenario::builtin::find("collapse").unwrap().text
}

#[test]
fn the_list_has_each_built_in_with_its_title() {
    let (outcome, list) = output(&["list"]);
    assert_eq!(outcome, CheckOutcome::Fine);
    for (line, builtin) in list.lines().zip(BUILTINS) {
        assert!(line.starts_with(builtin.name) && line.ends_with(&builtin.title()), "{line}");
    }
    let (_, json) = output(&["list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["format"]["name"], "rbac-bench/scenario-list");
    assert_eq!(json["scenarios"][0]["name"], "issue-2318");
    assert_eq!(json["scenarios"][0]["default"], true);
    assert_eq!(json["scenarios"].as_array().map(Vec::len), Some(BUILTINS.len()));
}

#[test]
fn show_prints_the_file_as_it_is() {
    assert_eq!(output(&["show"]).1, DEFAULT.text);
    assert_eq!(output(&["show", "collapse"]).1, collapse());
}

#[test]
fn show_with_something_set_shows_it_set() {
    let table: toml::Table = output(&["show", "--users", "60"]).1.parse().unwrap();
    assert_eq!(table["load"]["users"].as_integer(), Some(60));
}

#[test]
fn show_resolved_has_what_was_set_and_what_was_left_out() {
    let environment = [USERS.by_environment("70"), DURATION.by_environment("9s")];
    let arguments = ["show", "collapse", "--resolved", "--users", "60", "--set", "gateway.pool.size=50"];
    let (_, text) = run_with(&arguments, &environment).unwrap();
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["load"]["users"].as_integer(), Some(60));
    assert_eq!(table["load"]["duration"].as_str(), Some("9s"));
    assert_eq!(table["load"]["seed"].as_integer(), Some(2318));
    assert_eq!(table["gateway"]["pool"]["size"].as_integer(), Some(50));
}

#[test]
fn check_says_fine_of_every_built_in() {
    for builtin in BUILTINS {
        assert_eq!(output(&["check", builtin.name]), (CheckOutcome::Fine, format!("{}: fine\n", builtin.name)));
    }
}

#[test]
fn check_lists_every_problem_with_its_place() {
    let text = collapse().replace("think_scale = 1.6", "think_scale = 0").replace("slow-search = {", "slow-serch = {");
    let (outcome, shown) = checked(&text, &["--set", "load.client_timeout=6s"]);
    assert_eq!(outcome, CheckOutcome::Refused);
    let place = |needle: &str| text.lines().position(|line| line.starts_with(needle)).unwrap() + 1;
    let expected = [
        format!(
            "mine.toml:{}:15: error: `load.think_scale` is 0: expected above 0, at most 1000",
            place("think_scale")
        ),
        "--set load.client_timeout=6s: warning: `load.client_timeout` is 6s, `gateway.pool.timeout` 6s: \
         no client ever sees the pool's error text"
            .to_owned(),
        format!(
            "mine.toml:{}:14: error: `backend.delays.slow-serch` is not a tool of the backend: expected one of \
             `get-system-time`, `convert-time`, `echo`, `slow-search`, `slow-report`",
            place("slow-serch")
        ),
        "  hint: did you mean `slow-search`?".to_owned(),
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn check_ends_well_when_there_are_only_warnings() {
    let (outcome, shown) = checked(collapse(), &["--set", "load.client_timeout=5s"]);
    assert_eq!(outcome, CheckOutcome::Fine);
    assert!(shown.contains(": warning: "), "{shown}");
}

#[test]
fn check_json_has_the_place_apart() {
    let (outcome, shown) = checked(&collapse().replace("\nusers = 4000", "\nusrs = 4000"), &["--json"]);
    assert_eq!(outcome, CheckOutcome::Refused);
    let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(json["format"]["name"], "rbac-bench/scenario-check");
    let problem = &json["problems"][0];
    assert_eq!(problem["severity"], "error");
    assert_eq!(problem["file"], "mine.toml");
    assert_eq!(problem["key"], "load.usrs");
    assert_eq!(problem["column"], 1);
    assert_eq!(problem["hint"], "did you mean `load.users`?");
    let (_, shown) = checked("name = \n", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(json["problems"][0]["key"], serde_json::Value::Null);
    assert_eq!(json["problems"][0]["line"], 1);
}

#[test]
fn a_file_that_is_not_there_is_an_error_and_no_finding() {
    let error = run_with(&["check", "gone.toml"], &[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot read scenario `gone.toml`");
    let error = run_with(&["show", "--resolved", "--set", "users"], &[]).unwrap_err();
    assert!(error.to_string().starts_with("`--set users` sets nothing"), "{error}");
}

#[test]
fn a_closed_pipe_is_an_error_of_its_own() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cli = TestCli::try_parse_from(["scenario", "list"]).unwrap();
    let error = run(&cli.scenario, &[], &mut Closed).unwrap_err();
    assert!(matches!(error, ScenarioCommandError::Output(it) if it.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn the_help_is_well_formed() {
    use clap::CommandFactory;
    TestCli::command().debug_assert();
}
