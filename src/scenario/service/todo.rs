//! Gaps of a scenario: the places that `init` could not fill in.

use super::ServiceScenario;
use crate::scenario::check::Problems;
use crate::scenario::key::KeyPath;

/// A text that begins so is no value: it says what belongs there.
pub const MARK: &str = "TODO:";

/// The host of a target that nobody has named yet. No name under `invalid` means anything (RFC 6761).
pub const UNKNOWN_HOST: &str = "todo.invalid";

/// Names every place that is still to be filled in. Routes that are not asked for may wait until they are.
pub(super) fn check_todo(scenario: &ServiceScenario, found: &mut Problems) {
    let Ok(written) = toml::Table::try_from(scenario) else { return };
    for (name, value) in &written {
        let key = KeyPath::of([name.as_str()]);
        match value {
            toml::Value::Array(routes) if name == "route" => {
                let asked = scenario
                    .route
                    .iter()
                    .map(|route| scenario.load.allow_data_changes || route.changes_data != Some(true));
                for (index, (route, _)) in routes.iter().zip(asked).enumerate().filter(|(_, (_, asked))| *asked) {
                    collect(&key.item(index), route, found);
                }
            }
            // Words for people are no settings.
            _ if ["title", "notes", "gate"].contains(&name.as_str()) => {}
            _ => collect(&key, value, found),
        }
    }
}

fn collect(key: &KeyPath, value: &toml::Value, found: &mut Problems) {
    match value {
        toml::Value::String(text) if is_todo(text) => {
            let names: Vec<&str> = key.names().iter().map(String::as_str).collect();
            found.error(&names, format!("is still TODO: {}", what_is_missing(&names)));
        }
        toml::Value::Table(table) => table.iter().for_each(|(name, inner)| collect(&key.child(name), inner, found)),
        // A list of plain values is one setting; one of tables has places of its own.
        toml::Value::Array(list) => match list.iter().find(|it| it.as_str().is_some_and(is_todo)) {
            Some(todo) => collect(key, todo, found),
            None => list.iter().enumerate().for_each(|(index, inner)| collect(&key.item(index), inner, found)),
        },
        _ => {}
    }
}

fn is_todo(text: &str) -> bool {
    let host = text.split_once("://").map(|(_, rest)| rest.split(['/', ':']).next().unwrap_or_default());
    text.trim_start().starts_with(MARK) || host.is_some_and(|host| host.eq_ignore_ascii_case(UNKNOWN_HOST))
}

fn what_is_missing(names: &[&str]) -> &'static str {
    match names {
        ["target" | "variants", ..] => "say where the service is, such as \"http://127.0.0.1:8000\"",
        ["identity", ..] => "say who the users are",
        ["route", _, "params", ..] => "give values, such as [1, 2], { from = 1, to = 100 } or { file = \"ids.txt\" }",
        ["route", _, "json" | "text", ..] => "give what the body holds",
        _ => "give a value",
    }
}
