//! Every flag, variable and key that holds an address: another machine is not spoken to without permission.

use std::fs;

use crate::program::{Place, SMALL, text};

/// An address that no machine has (RFC 5737 keeps it for documentation).
const ELSEWHERE: &str = "192.0.2.1";

/// Holder of the address, the arguments, and the variables.
type Asked = (String, Vec<String>, Vec<(&'static str, String)>);

/// A scenario of a service with one address changed.
fn service(target: &str, metrics: &str, database: &str, rest: &str) -> String {
    format!(
        "name = \"shop\"\n[target]\nurl = \"http://{target}:9\"\n{metrics}\n[database]\nurl = \"postgresql://app@{database}:9/shop\"\n\
         [load]\nusers = 1\nmax_rate = 1\n[[route]]\nroute = \"GET /\"\n{rest}"
    )
}

#[test]
fn no_address_of_another_machine_is_spoken_to_without_permission() {
    let place = Place::new();
    let here = "127.0.0.1";
    let keys = [
        ("target.url", service(ELSEWHERE, "", here, "")),
        (
            "target.metrics.url",
            service(here, &format!("metrics = {{ url = \"http://{ELSEWHERE}/metrics\", pending = \"x\" }}"), here, ""),
        ),
        ("database.url", service(here, "", ELSEWHERE, "")),
        ("variants.a.url", service(here, "", here, &format!("[variants.a]\nurl = \"http://{ELSEWHERE}\"\n"))),
        ("pgbouncer.url_env", service(here, "", here, "[pgbouncer]\nurl_env = \"POOLER\"\n")),
        (
            "database.url_env",
            service(here, "", here, "").replace("url = \"postgresql://app@127.0.0.1:9/shop\"", "url_env = \"SHOP\""),
        ),
        ("a name", service("shop.example", "", here, "")),
        ("a name below one of this machine", service("localhost.example", "", here, "")),
    ];
    let fine = place.tmp().join("fine.toml");
    fs::write(&fine, service(here, "", here, "")).expect("a scenario");
    let fine = fine.display().to_string();
    let url = format!("http://{ELSEWHERE}:9");
    let database = format!("postgresql://app@{ELSEWHERE}/shop");
    let document = format!("http://{ELSEWHERE}/openapi.json");
    let mut asked: Vec<Asked> = Vec::new();
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (index, (key, scenario)) in keys.iter().enumerate() {
        let path = place.tmp().join(format!("{index}.toml"));
        fs::write(&path, scenario).expect("a scenario");
        let variables =
            vec![("POOLER", format!("postgresql://me@{ELSEWHERE}:6432/pgbouncer")), ("SHOP", database.clone())];
        for command in ["run", "scan", "gate", "doctor"] {
            let arguments =
                words(&[command, &path.display().to_string(), "--set", "gate=[{ rule = \"failure_rate<1%\" }]"]);
            asked.push(((*key).to_owned(), arguments, variables.clone()));
        }
    }
    for (what, arguments) in [
        ("--target", words(&["run", &fine, "--target", &url])),
        ("--target", words(&["scan", &fine, "--target", &url])),
        ("--database-url", words(&["run", &fine, "--database-url", &database])),
        ("--pgbouncer-url", words(&["run", &fine, "--pgbouncer-url", &database])),
        ("--pgbouncer-url of the gateway", words(&["run", SMALL, "--pgbouncer-url", &database])),
        ("--database-url of the gateway", words(&["gateway", SMALL, "--database-url", &database])),
        ("--openapi", words(&["init", "--openapi", &document])),
    ] {
        asked.push((what.to_owned(), arguments, Vec::new()));
    }
    asked.push((
        "RBAC_BENCH_DATABASE_URL".to_owned(),
        words(&["run", &fine]),
        vec![("RBAC_BENCH_DATABASE_URL", database.clone())],
    ));
    asked.push((
        "RBAC_BENCH_PGBOUNCER_URL".to_owned(),
        words(&["run", SMALL]),
        vec![("RBAC_BENCH_PGBOUNCER_URL", database)],
    ));
    for (what, arguments, variables) in asked {
        let mut program = place.program();
        for (name, value) in &variables {
            program.env(name, value);
        }
        let output = program.args(&arguments).output().expect("the program starts");
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{what}, {arguments:?}: {printed}");
        assert!(printed.contains("is another machine"), "{what}, {arguments:?}: {printed}");
        assert!(!place.reports().exists(), "{what}: something was begun");
    }
}
