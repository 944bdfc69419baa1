//! The stack of a service, which advice is for: as its errors, its processes, its answers and its statements show it.

use super::advice::Stack;
use super::observations::Observations;
use crate::record::Software;
use crate::scenario::Experiment;

/// Libraries of error texts, and what uses them.
const LIBRARIES: [(&str, Stack); 10] = [
    ("SQLAlchemy", Stack::SqlAlchemy),
    ("Django", Stack::Django),
    ("HikariCP", Stack::HikariCp),
    ("node-postgres", Stack::NodePg),
    ("Knex", Stack::NodePg),
    ("Sequelize", Stack::NodePg),
    ("generic-pool", Stack::NodePg),
    ("Prisma", Stack::NodePg),
    ("deadpool", Stack::TokioPostgres),
    ("sqlx", Stack::TokioPostgres),
];

/// Words in a process's name, in `Server` and in `X-Powered-By`, and what they are signs of.
const WORDS: [(&str, Runtime); 16] = [
    ("uvicorn", Runtime::Python),
    ("hypercorn", Runtime::Python),
    ("daphne", Runtime::Python),
    ("gunicorn", Runtime::Python),
    ("waitress", Runtime::Python),
    ("uwsgi", Runtime::Python),
    ("granian", Runtime::Python),
    ("wsgiserver", Runtime::Python),
    ("werkzeug", Runtime::Python),
    ("python", Runtime::Python),
    ("node", Runtime::Node),
    ("express", Runtime::Node),
    ("next.js", Runtime::Node),
    ("bun", Runtime::Node),
    ("java", Runtime::Jvm),
    ("coyote", Runtime::Jvm),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    Python,
    Node,
    Jvm,
}

/// The stack; `None` where nothing shows it.
pub(super) fn of(seen: &Observations<'_>) -> Option<Stack> {
    if matches!(seen.case.record.scenario, Experiment::Gateway(_)) {
        return Some(Stack::SqlAlchemy);
    }
    let statements = seen.statements.iter().map(|it| it.statement.as_str());
    let scanned = seen.case.variant.scan.iter().flat_map(|scan| &scan.routes);
    let scanned = scanned.filter_map(|route| route.statement.as_deref());
    let statements: Vec<&str> = statements.chain(scanned).collect();
    let libraries: Vec<&str> = seen.texts.iter().map(|(_, library, _)| library).collect();
    by(&libraries, seen.case.variant.software.as_ref(), &statements)
}

fn by(libraries: &[&str], software: Option<&Software>, statements: &[&str]) -> Option<Stack> {
    if let Some((_, stack)) = LIBRARIES.iter().find(|(library, _)| libraries.contains(library)) {
        return Some(*stack);
    }
    let quotes = statements.iter().any(|it| quotes_all(it));
    match runtime(software?)? {
        // Prisma's and others' statements are no work for a client of `pg`.
        Runtime::Node => (!quotes).then_some(Stack::NodePg),
        Runtime::Jvm => Some(Stack::HikariCp),
        Runtime::Python if quotes => Some(Stack::Django),
        Runtime::Python => statements.iter().any(|it| qualifies(it)).then_some(Stack::SqlAlchemy),
    }
}

/// By the first of its traits that is a sign; a process is one of its own word, the headers may have more.
fn runtime(software: &Software) -> Option<Runtime> {
    let traits = [&software.process, &software.server, &software.powered_by];
    traits.into_iter().flatten().find_map(|text| {
        let text = text.to_lowercase();
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '.').collect();
        let known = |(word, _): &&(&str, Runtime)| {
            words.iter().any(|it| it.trim_end_matches(|c: char| c.is_numeric() || c == '.') == *word)
        };
        WORDS.iter().find(known).map(|(_, runtime)| *runtime)
    })
}

/// Django quotes each name: `SELECT "library_book"."id" FROM "library_book"`.
fn quotes_all(statement: &str) -> bool {
    statement.contains(" FROM \"") || statement.contains("UPDATE \"") || statement.contains("INTO \"")
}

/// SQLAlchemy puts the whole table's name before each column, and quotes neither: `SELECT orders.id FROM orders`.
fn qualifies(statement: &str) -> bool {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let tables = words.windows(2).filter(|pair| matches!(pair[0], "FROM" | "UPDATE" | "JOIN")).map(|pair| pair[1]);
    tables
        .map(|table| format!("{}.", table.trim_end_matches([',', ';'])))
        .any(|table| words.iter().any(|word| word.starts_with(&table)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn software(process: &str, server: &str, powered_by: &str) -> Software {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Software { process: some(process), server: some(server), powered_by: some(powered_by) }
    }

    #[test]
    fn a_stack_is_known_by_its_errors_then_by_its_process_and_its_answers() {
        const DJANGO: &str = "SELECT \"library_book\".\"id\" FROM \"library_book\" WHERE \"library_book\".\"id\" = ?";
        const ORM: &str = "SELECT orders.id, orders.town FROM orders WHERE orders.id = ?";
        for (seen, statement, expected) in [
            (software("uvicorn", "uvicorn", ""), ORM, Some(Stack::SqlAlchemy)),
            (software("uvicorn", "uvicorn", ""), "SELECT id, town FROM orders WHERE id = $1", None),
            (
                software("waitress-serve", "waitress", ""),
                "SELECT COUNT(*) AS \"__count\" FROM \"library_book\"",
                Some(Stack::Django),
            ),
            (software("node server.js", "", ""), "SELECT \"public\".\"User\".\"id\" FROM \"public\".\"User\"", None),
            (software("python3.11 app.py", "Werkzeug/3.0.1 Python/3.11.2", ""), ORM, Some(Stack::SqlAlchemy)),
            (software("waitress-serve", "waitress", ""), DJANGO, Some(Stack::Django)),
            (software("node tickets.js", "", "Express"), ORM, Some(Stack::NodePg)),
            (software("nginx", "nginx/1.22", "Express"), ORM, Some(Stack::NodePg)),
            (software("java", "", ""), ORM, Some(Stack::HikariCp)),
            (software("ledger", "", ""), ORM, None),
            (software("nginx", "nginx/1.22", ""), DJANGO, None),
            (software("nodelist", "", ""), ORM, None),
        ] {
            assert_eq!(by(&[], Some(&seen), &[statement]), expected, "{seen:?}");
        }
        assert_eq!(by(&["PostgreSQL", "HikariCP"], None, &[]), Some(Stack::HikariCp));
        assert_eq!(by(&[], None, &[DJANGO]), None);
    }
}
