//! Refusals in full words, and overrides beside the file.

use std::fs;

use super::super::overrides::{DURATION, USERS, VARIANT};
use super::*;
use crate::scenario::SessionScope;
use crate::units::Span;

const MINIMAL: &str = r#"name = "held"
title = "A test"
[load]
users = 50
ramp_up = "1s"
duration = "5s"
client_timeout = "9s"
[load.classes.all]
weight = 1
think_time = ["100ms", "1s"]
tasks = { "GET /tools" = 1, "POST /rpc tools/call slow-search" = 2 }
[gateway]
replicas = 1
workers = 2
pool = { size = 5, max_overflow = 2, timeout = "1s" }
[backend.delays]
slow-search = { min = "1s", max = "2s" }
"#;

/// The error, its causes and its hint, as the printer shows them.
fn shown(error: &ScenarioError) -> String {
    let mut lines = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        lines.push(format!("  caused by: {source}"));
        cause = source.source();
    }
    lines.extend(error.hint().map(|hint| format!("  hint: {hint}")));
    lines.join("\n")
}

fn sets(texts: &[&str]) -> Vec<Override> {
    texts.iter().map(|text| Override::from_set(text).unwrap()).collect()
}

fn refused(text: &str, overrides: &[Override]) -> String {
    shown(&Scenario::from_text("held.toml", text, overrides).expect_err(text))
}

fn check_table(cases: &[(&str, &str)], refusal: impl Fn(&str) -> String) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(case, expected)| (case, refusal(case), expected))
        .filter(|(_, seen, expected)| seen != *expected)
        .map(|(case, seen, _)| format!("({case:?}, {seen:?}),"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A change to [`MINIMAL`], `old → new`, and what is then reported.
const WRONG_LINES: &[(&str, &str)] = &[
    (
        "users = 50 → users = 0",
        "scenario `held.toml:4:9`: invalid value `0` for `load.users`: expected at least 1, at most 1000000",
    ),
    (
        "users = 50 → users = -5",
        "scenario `held.toml:4:9`: invalid value `-5` for `load.users`: expected at least 1, at most 1000000",
    ),
    (
        "users = 50 → users = 2000000",
        "scenario `held.toml:4:9`: invalid value `2000000` for `load.users`: expected at least 1, at most 1000000",
    ),
    (
        "users = 50 → users = \"many\"",
        "scenario `held.toml:4:9`: invalid value \"many\" for `load.users`: expected a whole number",
    ),
    (
        "users = 50 → users = 1.5",
        "scenario `held.toml:4:9`: invalid value `1.5` for `load.users`: expected a whole number",
    ),
    (
        "users = 50 → usrs = 50",
        "scenario `held.toml:4:1`: unknown key `load.usrs`: expected one of `users`, `ramp_up`, `settle`, `duration`, `client_timeout`, `think_scale`, `balance`, `seed`, `classes`\n  hint: did you mean `load.users`?",
    ),
    (
        "users = 50 → zzz = 50",
        "scenario `held.toml:4:1`: unknown key `load.zzz`: expected one of `users`, `ramp_up`, `settle`, `duration`, `client_timeout`, `think_scale`, `balance`, `seed`, `classes`",
    ),
    (
        "title = \"A test\" → users = 5",
        "scenario `held.toml:2:1`: unknown key `users`: expected one of `name`, `title`, `notes`, `reference`, `variants`, `load`, `identities`, `gateway`, `backend`, `database`, `pgbouncer`, `health`, `monitor`, `gate`\n  hint: did you mean `load.users`?",
    ),
    ("title = \"A test\" → ", "scenario `held.toml:1:1`: `title` is missing"),
    (
        "title = \"A test\" → title = 5",
        "scenario `held.toml:2:9`: invalid value `5` for `title`: expected a text in quotes",
    ),
    (
        "duration = \"5s\" → duration = 5",
        "scenario `held.toml:6:12`: invalid value `5` for `load.duration`: expected a duration in quotes, such as \"250ms\", \"6s\" or \"5m\"",
    ),
    (
        "duration = \"5s\" → duration = \"5\"",
        "scenario `held.toml:6:12`: `load.duration`: invalid duration `5`: expected a number with ms, s, m or h, such as `250ms`",
    ),
    (
        "duration = \"5s\" → duration = \"5 parsecs\"",
        "scenario `held.toml:6:12`: `load.duration`: invalid duration `5 parsecs`: expected a number with ms, s, m or h, such as `250ms`",
    ),
    (
        "duration = \"5s\" → duration = \"-5s\"",
        "scenario `held.toml:6:12`: `load.duration`: invalid duration `-5s`: expected a number with ms, s, m or h, such as `250ms`",
    ),
    ("duration = \"5s\" → duration = \"0s\"", "scenario `held.toml:6:12`: `load.duration` is 0s: above 0 is needed"),
    (
        "client_timeout = \"9s\" → client_timeout = \"0s\"",
        "scenario `held.toml:7:18`: `load.client_timeout` is 0s: above 0 is needed",
    ),
    (
        "ramp_up = \"1s\" → ramp_up = \"1s\"\nthink_scale = 0",
        "scenario `held.toml:6:15`: `load.think_scale` is 0: expected above 0, at most 1000",
    ),
    (
        "ramp_up = \"1s\" → ramp_up = \"1s\"\nthink_scale = nan",
        "scenario `held.toml:6:15`: `load.think_scale` is NaN: expected above 0, at most 1000",
    ),
    (
        "ramp_up = \"1s\" → ramp_up = \"1s\"\nthink_scale = \"big\"",
        "scenario `held.toml:6:15`: invalid value \"big\" for `load.think_scale`: expected a number",
    ),
    (
        "ramp_up = \"1s\" → ramp_up = \"1s\"\nseed = -1",
        "scenario `held.toml:6:8`: invalid value `-1` for `load.seed`: expected a whole number, 0 or more",
    ),
    (
        "ramp_up = \"1s\" → ramp_up = \"1s\"\nbalance = \"random\"",
        "scenario `held.toml:6:11`: unknown value `random` for `load.balance`: expected one of `least_conn`, `bound`",
    ),
    (
        "weight = 1 → weight = 0",
        "scenario `held.toml:9:10`: invalid value `0` for `load.classes.all.weight`: expected at least 1, at most 1000000",
    ),
    (
        "[\"100ms\", \"1s\"] → [\"2s\", \"1s\"]",
        "scenario `held.toml:10:14`: `load.classes.all.think_time` is 2s to 1s: the shorter one comes first",
    ),
    (
        "[\"100ms\", \"1s\"] → [\"2s\"]",
        "scenario `held.toml:10:14`: invalid value of length 1 for `load.classes.all.think_time`: expected a list of two",
    ),
    (
        "[\"100ms\", \"1s\"] → \"2s\"",
        "scenario `held.toml:10:14`: invalid value \"2s\" for `load.classes.all.think_time`: expected a list of two",
    ),
    (
        "[\"100ms\", \"1s\"] → [\"1s\", \"2 moons\"]",
        "scenario `held.toml:10:14`: `load.classes.all.think_time`: invalid duration `2 moons`: expected a number with ms, s, m or h, such as `250ms`",
    ),
    (
        "GET /tools → GET /tols",
        "scenario `held.toml:11:11`: unknown value `GET /tols` for `load.classes.all.tasks`: expected one of `GET /health`, `GET /ready`, `GET /tools`, `GET /servers`, `GET /admin/`, `GET /servers/{id}/sse`, `GET /metrics/prometheus`, `POST /rpc tools/list`, `POST /rpc ping`, `POST /rpc tools/call get-system-time`, `POST /rpc tools/call convert-time`, `POST /rpc tools/call echo`, `POST /rpc tools/call slow-search`, `POST /rpc tools/call slow-report`\n  hint: did you mean `GET /tools`?",
    ),
    (
        "slow-search\" = 2 → slow-serch\" = 2",
        "scenario `held.toml:11:29`: unknown value `POST /rpc tools/call slow-serch` for `load.classes.all.tasks`: expected one of `GET /health`, `GET /ready`, `GET /tools`, `GET /servers`, `GET /admin/`, `GET /servers/{id}/sse`, `GET /metrics/prometheus`, `POST /rpc tools/list`, `POST /rpc ping`, `POST /rpc tools/call get-system-time`, `POST /rpc tools/call convert-time`, `POST /rpc tools/call echo`, `POST /rpc tools/call slow-search`, `POST /rpc tools/call slow-report`\n  hint: did you mean `POST /rpc tools/call slow-search`?",
    ),
    (
        "{ \"GET /tools\" = 1, \"POST /rpc tools/call slow-search\" = 2 } → {}",
        "scenario `held.toml:11:9`: `load.classes.all.tasks` is empty: at least one route is needed, such as `GET /tools`",
    ),
    (
        "\"GET /tools\" = 1 → \"GET /tools\" = 0",
        "scenario `held.toml:11:26`: invalid value `0` for `load.classes.all.tasks.\"GET /tools\"`: expected at least 1, at most 1000000",
    ),
    (
        "[load.classes.all]\nweight = 1\nthink_time = [\"100ms\", \"1s\"]\ntasks = { \"GET /tools\" = 1, \"POST /rpc tools/call slow-search\" = 2 } → [load.classes]",
        "scenario `held.toml:8:1`: `load.classes` is empty: at least one class of users is needed",
    ),
    (
        "[load.classes.all]\nweight = 1\nthink_time = [\"100ms\", \"1s\"]\ntasks = { \"GET /tools\" = 1, \"POST /rpc tools/call slow-search\" = 2 } → ",
        "scenario `held.toml:3:1`: `load.classes` is missing",
    ),
    (
        "min = \"1s\" → min = \"3s\"",
        "scenario `held.toml:17:15`: `backend.delays.slow-search` has `min` 3s, `max` 2s: the longest delay is not below the shortest",
    ),
    (
        "slow-search = → slow-serch =",
        "scenario `held.toml:17:14`: `backend.delays.slow-serch` is not a tool of the backend: expected one of `get-system-time`, `convert-time`, `echo`, `slow-search`, `slow-report`\n  hint: did you mean `slow-search`?",
    ),
    ("size = 5, → ", "scenario `held.toml:15:8`: `gateway.pool.size` is missing"),
    (
        "size = 5 → sise = 5",
        "scenario `held.toml:15:10`: unknown key `gateway.pool.sise`: expected one of `size`, `max_overflow`, `timeout`\n  hint: did you mean `gateway.pool.size`?",
    ),
    (
        "workers = 2 → workers = 2\nusage_counter = { share = 1.5 }",
        "scenario `held.toml:15:27`: `gateway.usage_counter.share`: 1.5 is not a share: expected 0 to 1",
    ),
    (
        "workers = 2 → workers = 2\nusage_counter = { share = 0.5, rows = 0 }",
        "scenario `held.toml:15:39`: invalid value `0` for `gateway.usage_counter.rows`: expected at least 1, at most 1000000",
    ),
    (
        "workers = 2 → workers = 2\ncheckout = \"sync\"",
        "scenario `held.toml:15:12`: unknown value `sync` for `gateway.checkout`: expected one of `blocking`, `async`\n  hint: did you mean `async`?",
    ),
    (
        "workers = 2 → workers = 2000",
        "scenario `held.toml:12:1`: `gateway` asks for 1 replicas × 2000 workers × (5 + 2) = 14000 sessions: at most 8000, since each is a process of PostgreSQL",
    ),
    (
        "workers = 2 → workers = 1000000",
        "scenario `held.toml:12:1`: `gateway` asks for 1 replicas × 1000000 workers × (5 + 2) = 7000000 sessions: at most 8000, since each is a process of PostgreSQL",
    ),
    (
        "max_overflow = 2 → max_overflow = -2",
        "scenario `held.toml:15:35`: invalid value `-2` for `gateway.pool.max_overflow`: expected a whole number, 0 or more",
    ),
    (
        "title = \"A test\" → title = \"A test\"\nvariants = []",
        "scenario `held.toml:3:12`: `variants` is empty: at least one of `held`, `scoped` is needed",
    ),
    (
        "title = \"A test\" → title = \"A test\"\nvariants = [\"held\", \"held\"]",
        "scenario `held.toml:3:12`: `variants` names `held` twice: each variant runs once",
    ),
    (
        "title = \"A test\" → title = \"A test\"\nvariants = [\"helt\"]",
        "scenario `held.toml:3:12`: unknown value `helt` for `variants`: expected one of `held`, `across_backend`, \
         `across_hook`, `across_render`, `until_sent`, `begin_again`, `never_committed`, `leaked_on_cancel`, \
             `double_checkout`, `never_closed`, `session_per_layer`, `failed_kept`, `early_close`, `endpoint_shared`, \
             `scoped`\n  hint: did you mean `held`?",
    ),
    (
        "title = \"A test\" → title = \"A test\"\nreference = \"issue-23\"",
        "scenario `held.toml:3:13`: unknown value `issue-23` for `reference`: expected `issue-2318`\n  hint: did you mean `issue-2318`?",
    ),
    (
        "title = \"A test\" → title = \"A test\"\nnotes = \"a\"",
        "scenario `held.toml:3:9`: invalid value \"a\" for `notes`: expected a list",
    ),
    (
        "name = \"held\" → name = \"\"",
        "scenario `held.toml:1:8`: `name` is \"\": expected 1 to 64 of a-z, 0-9 and -, not starting with -, since it names a folder",
    ),
    (
        "name = \"held\" → name = \"../etc\"",
        "scenario `held.toml:1:8`: `name` is \"../etc\": expected 1 to 64 of a-z, 0-9 and -, not starting with -, since it names a folder",
    ),
    (
        "name = \"held\" → name = \"Held\"",
        "scenario `held.toml:1:8`: `name` is \"Held\": expected 1 to 64 of a-z, 0-9 and -, not starting with -, since it names a folder",
    ),
    (
        "[backend.delays] → [identities]\nplatform_admin = 0\ndatabase_admin = 0\nregular = 0\n[backend.delays]",
        "scenario `held.toml:16:1`: `identities` has only weights of 0: at least one above 0 is needed",
    ),
    (
        "[backend.delays] → [identities]\nregular = 1\n[backend.delays]",
        "scenario `held.toml:16:1`: `identities.platform_admin` is missing",
    ),
    (
        "[backend.delays] → [health]\ninterval = \"0s\"\ntimeout = \"0s\"\nretries = 3\n[backend.delays]",
        "scenario `held.toml:17:12`: `health.interval` is 0s: above 0 is needed (and 1 more)\n  hint: `rbac-bench scenario check` lists them all",
    ),
    (
        "[backend.delays] → [monitor]\ninterval = \"5ms\"\n[backend.delays]",
        "scenario `held.toml:17:12`: `monitor.interval` is 5ms: expected 10ms to 10s",
    ),
    (
        "[backend.delays] → [monitor]\ninterval = \"11s\"\n[backend.delays]",
        "scenario `held.toml:17:12`: `monitor.interval` is 11s: expected 10ms to 10s",
    ),
    (
        "[backend.delays] → [database]\nfixture_users = 0\n[backend.delays]",
        "scenario `held.toml:17:17`: invalid value `0` for `database.fixture_users`: expected at least 1, at most 1000000",
    ),
    (
        "[gateway] → [gatway]",
        "scenario `held.toml:12:2`: unknown key `gatway`: expected one of `name`, `title`, `notes`, `reference`, `variants`, `load`, `identities`, `gateway`, `backend`, `database`, `pgbouncer`, `health`, `monitor`, `gate`\n  hint: did you mean `gateway`?",
    ),
];

#[test]
fn a_wrong_line_is_refused_where_it_stands() {
    check_table(WRONG_LINES, |change| {
        let (old, new) = change.split_once(" → ").unwrap();
        assert!(MINIMAL.contains(old), "{change}");
        refused(&MINIMAL.replacen(old, new, 1), &[])
    });
}

#[test]
fn a_wrong_override_is_refused_by_its_own_name() {
    let cases = [
        (
            "load.users=0",
            "`--set load.users=0`: invalid value `0` for `load.users`: expected at least 1, at most 1000000",
        ),
        ("load.users=5O", "`--set load.users=5O`: invalid value \"5O\" for `load.users`: expected a whole number"),
        (
            "load.usrs=5",
            "`--set load.usrs=5`: unknown key `load.usrs`: expected one of `users`, `ramp_up`, `settle`, `duration`, `client_timeout`, `think_scale`, `balance`, `seed`, `classes`\n  hint: did you mean `load.users`?",
        ),
        (
            "users=5",
            "`--set users=5`: unknown key `users`: expected one of `name`, `title`, `notes`, `reference`, `variants`, `load`, `identities`, `gateway`, `backend`, `database`, `pgbouncer`, `health`, `monitor`, `gate`\n  hint: did you mean `load.users`?",
        ),
        (
            "load.duration=10",
            "`--set load.duration=10`: invalid value `10` for `load.duration`: expected a duration in quotes, such as \"250ms\", \"6s\" or \"5m\"",
        ),
        ("load=5", "`--set load=5`: invalid value `5` for `load`: expected a table"),
        ("load.users.x=5", "`--set load.users.x=5`: invalid value a table for `load.users`: expected a whole number"),
        (
            "gateway.pool.sise=50",
            "`--set gateway.pool.sise=50`: unknown key `gateway.pool.sise`: expected one of `size`, `max_overflow`, `timeout`\n  hint: did you mean `gateway.pool.size`?",
        ),
        (
            "load.classes.al.weight=5",
            "`--set load.classes.al.weight=5`: `load.classes.al.think_time` is missing\n  hint: did you mean `load.classes.all`?",
        ),
        (
            "backend.delays.slow-report.max=5s",
            "`--set backend.delays.slow-report.max=5s`: `backend.delays.slow-report.min` is missing",
        ),
        (
            "backend.delays.slow-serch={min=\"1s\",max=\"2s\"}",
            "`--set backend.delays.slow-serch={min=\"1s\",max=\"2s\"}`: `backend.delays.slow-serch` is not a tool of the backend: expected one of `get-system-time`, `convert-time`, `echo`, `slow-search`, `slow-report`\n  hint: did you mean `slow-search`?",
        ),
        (
            "load.think_scale=inf",
            "`--set load.think_scale=inf`: `load.think_scale` is inf: expected above 0, at most 1000",
        ),
        (
            "gateway.replicas=1000",
            "`--set gateway.replicas=1000`: `gateway` asks for 1000 replicas × 2 workers × (5 + 2) = 14000 sessions: at most 8000, since each is a process of PostgreSQL",
        ),
        ("load.classes={}", "`--set load.classes={}`: `load.classes` is empty: at least one class of users is needed"),
        (
            "load.classes.all.tasks.\"GET /tols\"=1",
            "`--set load.classes.all.tasks.\"GET /tols\"=1`: unknown value `GET /tols` for `load.classes.all.tasks`: expected one of `GET /health`, `GET /ready`, `GET /tools`, `GET /servers`, `GET /admin/`, `GET /servers/{id}/sse`, `GET /metrics/prometheus`, `POST /rpc tools/list`, `POST /rpc ping`, `POST /rpc tools/call get-system-time`, `POST /rpc tools/call convert-time`, `POST /rpc tools/call echo`, `POST /rpc tools/call slow-search`, `POST /rpc tools/call slow-report`\n  hint: did you mean `GET /tools`?",
        ),
        (
            "backend.delays.slow-search.min=5s",
            "`--set backend.delays.slow-search.min=5s`: `backend.delays.slow-search` has `min` 5s, `max` 2s: the longest delay is not below the shortest",
        ),
        (
            "gateway.usage_counter.share=2",
            "`--set gateway.usage_counter.share=2`: `gateway.usage_counter.share`: 2 is not a share: expected 0 to 1",
        ),
        (
            "monitor.role=Watcher; DROP",
            "`--set monitor.role=Watcher; DROP`: `monitor.role` is `Watcher; DROP`: expected lower-case letters, digits and `_`",
        ),
        ("monitor.interval=1ms", "`--set monitor.interval=1ms`: `monitor.interval` is 1ms: expected 10ms to 10s"),
        (
            "name=a b",
            "`--set name=a b`: `name` is \"a b\": expected 1 to 64 of a-z, 0-9 and -, not starting with -, since it names a folder",
        ),
    ];
    check_table(&cases, |set| refused(MINIMAL, &sets(&[set])));
}

#[test]
fn a_flag_and_a_variable_are_named_as_they_were_written() {
    let cases = [
        (
            USERS.by_flag("-5"),
            "`--users -5`: invalid value `-5` for `load.users`: expected at least 1, at most 1000000",
        ),
        (
            USERS.by_environment("x"),
            "`RBAC_BENCH_USERS=x`: invalid value \"x\" for `load.users`: expected a whole number",
        ),
        (
            VARIANT.by_flag("helt"),
            "`--variant helt`: unknown value `helt` for `variants`: expected one of `held`, `across_backend`, \
             `across_hook`, `across_render`, `until_sent`, `begin_again`, `never_committed`, `leaked_on_cancel`, \
             `double_checkout`, `never_closed`, `session_per_layer`, `failed_kept`, `early_close`, `endpoint_shared`, \
             `scoped`, `both`\n  hint: did you mean `held`?",
        ),
        (DURATION.by_flag("0s"), "`--duration 0s`: `load.duration` is 0s: above 0 is needed"),
    ];
    for (it, expected) in cases {
        assert_eq!(refused(MINIMAL, &[it]), expected);
    }
}

#[test]
fn an_override_is_not_blamed_for_what_the_file_says() {
    let crowded = MINIMAL.replace("workers = 2", "workers = 2000");
    let seen = refused(&crowded, &sets(&["gateway.checkout=async"]));
    assert!(seen.starts_with("scenario `held.toml:12:1`: `gateway` asks for"), "{seen}");
    let seen = refused(&crowded, &sets(&["gateway.replicas=2"]));
    assert!(seen.starts_with("`--set gateway.replicas=2`: `gateway` asks for"), "{seen}");
}

#[test]
fn a_text_that_is_no_scenario_is_refused_with_a_place() {
    let cases = [
        ("", "scenario `held.toml:1:1`: `name` is missing"),
        ("# nothing\n", "scenario `held.toml:1:1`: `name` is missing"),
        ("name = \"x", "scenario `held.toml:1:10`: invalid TOML: invalid basic string, expected `\"`"),
        ("name = \"x\"\nname = \"y\"\n", "scenario `held.toml:2:1`: invalid TOML: duplicate key"),
        ("[load\n", "scenario `held.toml:1:6`: invalid TOML: unclosed table, expected `]`"),
        ("{}", "scenario `held.toml:1:1`: invalid TOML: invalid key-value pair, expected key"),
        ("\u{feff}lol", "scenario `held.toml:1:5`: invalid TOML: key with no value, expected `=`"),
        (
            "name = \"x\"\ntitle = \"y\"\n\n[load]\nusers = 5 5\n",
            "scenario `held.toml:5:9`: invalid TOML: string values must be quoted, expected literal string",
        ),
    ];
    check_table(&cases, |text| refused(text, &[]));
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    for builtin in builtin::BUILTINS {
        let end = builtin.text.rfind("[backend").unwrap();
        for at in (0..end).filter(|at| builtin.text.is_char_boundary(*at)).step_by(7) {
            if let Err(error) = Scenario::from_text("cut.toml", &builtin.text[..at], &[]) {
                assert!(error.to_string().starts_with("scenario `cut.toml:"), "{at}: {error}");
            }
        }
        assert!(Scenario::from_text("cut.toml", &builtin.text[..end / 2], &[]).is_err());
    }
}

#[test]
fn what_is_no_file_of_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("latin1.toml"), b"name = \"x\"\ntitle = \"caf\xe9\"\n").unwrap();
    fs::write(path("long.toml"), vec![b'#'; 2 << 20]).unwrap();
    fs::create_dir(path("folder.toml")).unwrap();
    let refusal = |name: &str| {
        let error = resolve(&path(name)).expect_err(name);
        shown(&error).replace(&path(""), "")
    };
    assert_eq!(
        refusal("latin1.toml"),
        "cannot read scenario `latin1.toml:2:13`: expected UTF-8\n  caused by: invalid utf-8 sequence of 1 bytes from index 23"
    );
    assert_eq!(refusal("long.toml"), "cannot read scenario `long.toml`: longer than 1048576 bytes");
    assert_eq!(refusal("folder.toml"), "scenario `folder.toml` is a folder: a TOML file is needed");
    assert_eq!(
        refusal("gone.toml"),
        "cannot read scenario `gone.toml`\n  caused by: No such file or directory (os error 2)"
    );
}

#[test]
fn an_unknown_name_is_refused_with_the_built_ins_and_the_nearest() {
    assert_eq!(
        shown(&resolve("colapse").unwrap_err()),
        "`colapse` is neither a file nor a built-in scenario: expected a path, or one of `issue-2318`, `collapse`, `collapse-full`, \
         `issue-2318-pgbouncer`\n  hint: did you mean `collapse`?"
    );
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let users = |overrides: &[Override]| Scenario::from_text("t", MINIMAL, overrides).unwrap().load.users.get();
    let (flag, variable) = (USERS.by_flag("7"), USERS.by_environment("8"));
    assert_eq!(users(&[]), 50);
    assert_eq!(users(std::slice::from_ref(&variable)), 8);
    assert_eq!(users(&[flag.clone(), variable.clone()]), 7);
    assert_eq!(users(&[variable, flag]), 7);
    assert_eq!(users(&sets(&["load.users=1", "load.users=2"])), 2);
    let seed = |text: &str| Scenario::from_text("t", text, &[]).unwrap().load.seed;
    assert_eq!(seed(MINIMAL), 2318);
    assert_eq!(seed(&MINIMAL.replace("users = 50", "users = 50\nseed = 1")), 1);
}

#[test]
fn values_need_no_quotes_and_tables_that_are_not_there_are_made() {
    let overrides = sets(&[
        "load.duration=10s",
        "variants=scoped",
        "gateway.pool.size=50",
        "gateway.usage_counter.share=0.02",
        "backend.delays.slow-search.max=5s",
        "backend.delays.echo={min=\"1s\",max=\"1s\"}",
        "load.classes.all.tasks.\"GET /health\"=3",
    ]);
    let scenario = Scenario::from_text("t", MINIMAL, &overrides).unwrap();
    assert_eq!(scenario.load.duration, Span::from_secs(10));
    assert_eq!(scenario.variants, [SessionScope::Scoped]);
    assert_eq!(scenario.gateway.pool.size.get(), 50);
    assert_eq!(scenario.gateway.usage_counter.share.get().to_bits(), 0.02_f64.to_bits());
    assert_eq!(scenario.gateway.usage_counter.rows, Some(Count::of(1)), "a share makes a row");
    assert_eq!(scenario.backend.delays["slow-search"].max, Span::from_secs(5));
    assert_eq!(scenario.backend.delays["echo"].min, Span::from_secs(1));
    assert_eq!(scenario.load.classes["all"].tasks.len(), 3);
}

#[test]
fn variants_are_a_list_or_a_word() {
    for (text, expected) in [
        ("\"held\"", vec![SessionScope::Held]),
        ("\"both\"", vec![SessionScope::Held, SessionScope::Scoped]),
        ("[\"scoped\", \"held\"]", vec![SessionScope::Scoped, SessionScope::Held]),
    ] {
        let scenario = Scenario::from_text("t", &format!("variants = {text}\n{MINIMAL}"), &[]).unwrap();
        assert_eq!(scenario.variants, expected);
    }
}

fn value_at<'a>(table: &'a toml::Table, key: &KeyPath) -> &'a toml::Value {
    let (last, parents) = key.names().split_last().unwrap();
    &parents.iter().fold(table, |table, name| table[name].as_table().unwrap())[last]
}

/// A wrong value shows that the key is reached and refused by name; the same value changes nothing.
#[test]
fn every_key_of_a_built_in_can_be_set() {
    for builtin in builtin::BUILTINS {
        let scenario = Scenario::from_text(builtin.name, builtin.text, &[]).unwrap();
        let table = toml::Table::try_from(&scenario).unwrap();
        let keys = leaf_keys(&scenario);
        assert!(keys.len() > 50, "{}", keys.len());
        for key in keys {
            let same = Override::from_set(&format!("{key}={}", value_at(&table, &key))).unwrap();
            let again = Scenario::from_text(builtin.name, builtin.text, &[same]).unwrap();
            assert_eq!(again, scenario, "{key}");
            let wrong = Override::from_set(&format!("{key}=true")).unwrap();
            let error = Scenario::from_text(builtin.name, builtin.text, &[wrong]).unwrap_err().to_string();
            let named = error.starts_with(&format!("`--set {key}=true`: ")) && error.contains(&format!("`{key}`: "));
            assert!(named && error.contains(": expected "), "{error}");
        }
    }
}

#[test]
fn a_resolved_scenario_read_again_is_the_same() {
    for builtin in builtin::BUILTINS {
        let scenario = Scenario::from_text(builtin.name, builtin.text, &[]).unwrap();
        let text = toml::to_string_pretty(&scenario).unwrap();
        assert_eq!(Scenario::from_text("again", &text, &[]).unwrap(), scenario);
    }
}

#[test]
fn warnings_do_not_stop_a_run() {
    let text = MINIMAL.replace("client_timeout = \"9s\"", "client_timeout = \"1s\"");
    assert!(Scenario::from_text("held.toml", &text, &[]).is_ok());
    let shown: Vec<_> = problems("held.toml", &text, &[]).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "scenario `held.toml:7:18`: `load.client_timeout` is 1s, the longest backend delay 2s: with less than a \
             second to spare, calls fail for no fault of the gateway",
            "scenario `held.toml:7:18`: `load.client_timeout` is 1s, `gateway.pool.timeout` 1s: no client ever sees \
             the pool's error text",
        ]
    );
    let hanging = sets(&["health.timeout=10s"]);
    let shown: Vec<_> = problems("held.toml", MINIMAL, &hanging).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["`--set health.timeout=10s`: `health.timeout` is 10s, 3 × `health.interval` 3s: \
          a replica that hangs is called down late"]
    );
}

#[test]
fn a_pgbouncer_that_would_not_do_what_it_is_there_for_is_warned_of() {
    let small = sets(&[
        "pgbouncer.max_client_conn=3",
        "pgbouncer.idle_transaction_timeout=30s",
        "database.idle_in_transaction_session_timeout=30s",
    ]);
    let shown: Vec<_> = problems("held.toml", MINIMAL, &small).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "`--set pgbouncer.max_client_conn=3`: `pgbouncer.max_client_conn` is 3, the gateway may open 15 connections: \
             later ones are refused",
            "`--set pgbouncer.idle_transaction_timeout=30s`: `pgbouncer.idle_transaction_timeout` is 30s, \
             `database.idle_in_transaction_session_timeout` 30s: PostgreSQL ends those sessions before PgBouncer does",
        ]
    );
    let large = sets(&["pgbouncer.default_pool_size=9000"]);
    let error = Scenario::from_text("held.toml", MINIMAL, &large).unwrap_err().to_string();
    assert!(error.contains("asks for 9000 server connections: at most 8000"), "{error}");
    let capped = sets(&["pgbouncer.default_pool_size=9000", "pgbouncer.max_db_connections=700"]);
    assert!(Scenario::from_text("held.toml", MINIMAL, &capped).is_ok());
}
