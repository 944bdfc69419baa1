//! The secrets that are known: what a service that was started here must not have in its log.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;
use tokio_postgres::Config;

use crate::redact::passwords_of_urls;
use crate::scenario::ServiceScenario;
use crate::scenario::service::is_secret_name;

/// Length from which a text that is called a secret is one, whatever else the scenario says.
const SURE_SECRET: usize = 12;

/// Secrets, which are never shown.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of the environment: variables that the scenario names, and those whose names say so; and the database's
    /// password; and the users' own.
    pub(super) fn of(scenario: &ServiceScenario, database: &Config, users: Vec<String>) -> Self {
        let named = named_variables(scenario);
        // Of a URL the password is secret, and not the rest of it.
        let value = |(name, value): (String, String)| match named.iter().find(|it| it.name == name) {
            Some(it) if it.is_url => passwords_of_urls(&value),
            Some(_) => vec![value],
            None if is_secret_name(&name) => vec![value],
            None => Vec::new(),
        };
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let of_environment = variables.flat_map(value);
        let password = database.get_password().map(|it| String::from_utf8_lossy(it).into_owned());
        let all = of_environment.chain(password).chain(users).map(|it| it.trim().to_owned());
        let public = serde_json::to_string(scenario).unwrap_or_default();
        // A password such as `shop` of a service that is called so everywhere would redact its routes, and hide nothing.
        let is_secret = |it: &String| !it.is_empty() && (it.len() >= SURE_SECRET || !public.contains(it.as_str()));
        let distinct: BTreeSet<String> = all.filter(is_secret).collect();
        Self(distinct.into_iter().collect())
    }

    pub(super) fn known(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// A variable that a scenario names.
struct Named {
    name: String,
    /// True if it holds a URL.
    is_url: bool,
}

/// The names of the variables that a scenario names.
pub(super) fn variables(scenario: &ServiceScenario) -> Vec<String> {
    named_variables(scenario).into_iter().map(|it| it.name).collect()
}

fn named_variables(scenario: &ServiceScenario) -> Vec<Named> {
    let mut named = Vec::new();
    if let Ok(document) = serde_json::to_value(scenario) {
        collect_variables(&document, &mut named);
    }
    named
}

/// The names of variables in a scenario: its keys that end in `_env`.
fn collect_variables(value: &Value, names: &mut Vec<Named>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(name) if key.ends_with("_env") => {
                        names.push(Named { name: name.clone(), is_url: key == "url_env" });
                    }
                    _ => collect_variables(value, names),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect_variables(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_that_a_scenario_names_is_found() {
        let text = r#"
            name = "x"
            [target]
            url = "http://127.0.0.1:1"
            [database]
            url_env = "A_URL"
            [[identity]]
            user = "me"
            password_env = "MINE"
            [[route]]
            route = "GET /"
        "#;
        let scenario = ServiceScenario::from_text("x.toml", text, &[]).unwrap_or_else(|error| panic!("{error}"));
        let mut names = variables(&scenario);
        names.sort();
        assert_eq!(names, ["A_URL", "MINE"]);
    }
}
