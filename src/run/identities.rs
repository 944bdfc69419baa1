//! Identities of a service's users: secrets from variables, rows from files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::access::error::AccessError;
use super::access::files::{read, read_secret, variable};
use crate::scenario::ServiceScenario;
use crate::scenario::service::{IdentitySource, ServiceRoute};
use crate::swarm::{Identity, LoginCredentials, LoginRequest};

/// Columns of one user.
type CsvRow = BTreeMap<String, String>;

/// Everybody who loads a service.
#[derive(Default)]
pub(super) struct Everybody {
    pub(super) credentials: Vec<LoginCredentials>,
    /// The names of the columns that somebody has.
    pub(super) columns: BTreeSet<String>,
    /// Secrets by which others could pose as them.
    pub(super) secrets: Vec<String>,
}

/// Everybody, from variables and tables.
pub(super) fn credentials(scenario: &ServiceScenario) -> Result<Everybody, AccessError> {
    let mut everybody = Everybody::default();
    for (index, source) in scenario.identity.iter().enumerate() {
        let place = format!("identity[{}]", index + 1);
        let rows = match &source.file {
            Some(file) => rows(&scenario.folder.join(file), source)?.into_iter().map(Some).collect(),
            None => vec![None],
        };
        for (number, row) in rows.into_iter().enumerate() {
            let who = if row.is_some() { format!("{place}, row {}", number + 1) } else { place.clone() };
            let row = row.unwrap_or_default();
            let open = open_columns(&row, source);
            for route in scenario.routes() {
                check_holes(scenario, route, &open, &who)?;
            }
            everybody.columns.extend(open.keys().cloned());
            let somebody = one(source, &who, &row, open)?;
            everybody.secrets.extend(secret_columns(source).filter_map(|name| row.get(name)).cloned());
            everybody.secrets.extend(somebody.secrets());
            everybody.credentials.push(somebody);
        }
    }
    if everybody.credentials.is_empty() {
        // Somebody has to ask.
        everybody.credentials.push(LoginCredentials::Known(Identity::of([])));
    }
    Ok(everybody)
}

/// The columns that hold secrets.
fn secret_columns(source: &IdentitySource) -> impl Iterator<Item = &str> {
    [&source.bearer_column, &source.password_column].into_iter().flatten().map(String::as_str)
}

/// The columns that hold no secret.
fn open_columns(row: &CsvRow, source: &IdentitySource) -> CsvRow {
    let open = row.iter().filter(|(name, _)| !secret_columns(source).any(|secret| secret == *name));
    open.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A path of a route in no journey has all its holes filled by its own parameters or by the user's columns.
fn check_holes(scenario: &ServiceScenario, route: &ServiceRoute, row: &CsvRow, who: &str) -> Result<(), AccessError> {
    let captured =
        |name: &str| scenario.is_step(route) && scenario.route.iter().any(|it| it.capture.contains_key(name));
    let open = |name: &&str| !route.params.contains_key(*name) && !row.contains_key(*name) && !captured(name);
    match route.route.params().into_iter().find(open) {
        Some(name) => Err(no_column(name, &format!("`{}`", route.route), who, row)),
        None => Ok(()),
    }
}

fn no_column(name: &str, needed_by: &str, who: &str, row: &CsvRow) -> AccessError {
    let there: Vec<String> = row.keys().map(|name| format!("`{name}`")).collect();
    AccessError::NoColumn {
        name: name.to_owned(),
        needed_by: needed_by.to_owned(),
        who: who.to_owned(),
        there: if there.is_empty() { "none".to_owned() } else { there.join(", ") },
    }
}

fn one(source: &IdentitySource, who: &str, row: &CsvRow, columns: CsvRow) -> Result<LoginCredentials, AccessError> {
    let known = |headers: Vec<(HeaderName, HeaderValue)>| {
        Ok(LoginCredentials::Known(Identity::of(headers).with_columns(columns.clone())))
    };
    let column = |name: &String| row.get(name).cloned().ok_or_else(|| no_column(name, "the identity", who, &columns));
    // The check has seen to it that one form is there, and whole.
    let password = match (&source.password_env, &source.password_column) {
        (Some(name), _) => Some(variable(name, "identity.password_env")?),
        (None, Some(name)) => Some(column(name)?),
        (None, None) => None,
    };
    let user = source.user.as_deref().map(|user| filled(user, &columns, who)).transpose()?;
    if let Some(login) = &source.login {
        let mut values = columns.clone();
        values.extend(user.map(|user| ("user".to_owned(), user)));
        values.extend(password.map(|password| ("password".to_owned(), password)));
        if let Some(name) = login.holes().into_iter().find(|name| !values.contains_key(name)) {
            return Err(no_column(&name, "its login", who, &columns));
        }
        let (who, login) = (who.to_owned(), login.clone());
        return Ok(LoginCredentials::Login(Box::new(LoginRequest { who, login, values, columns })));
    }
    let token = match (&source.bearer_env, &source.bearer_column) {
        (Some(name), _) => Some((variable(name, "identity.bearer_env")?, format!("the variable `{name}`"))),
        (None, Some(name)) => Some((column(name)?, format!("the column `{name}` of {who}"))),
        (None, None) => None,
    };
    if let Some((token, from)) = token {
        return known(vec![(AUTHORIZATION, header(&format!("Bearer {}", token.trim()), &from)?)]);
    }
    if let Some((user, password)) = user.zip(password) {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        return known(vec![(AUTHORIZATION, header(&format!("Basic {encoded}"), who)?)]);
    }
    let (Some(name), Some(variable_name)) = (&source.header, &source.value_env) else { return known(Vec::new()) };
    let from = format!("the variable `{variable_name}`");
    let value = header(variable(variable_name, "identity.value_env")?.trim(), &from)?;
    let name = HeaderName::from_bytes(name.as_bytes());
    known(vec![(name.map_err(|_refused| AccessError::Unsendable { from })?, value)])
}

fn header(text: &str, from: &str) -> Result<HeaderValue, AccessError> {
    HeaderValue::from_str(text).map_err(|_refused| AccessError::Unsendable { from: from.to_owned() })
}

/// A text with the row's values in its holes.
fn filled(text: &str, row: &CsvRow, who: &str) -> Result<String, AccessError> {
    let mut filled = text.to_owned();
    for (name, value) in row {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    let open = text.split('{').skip(1).filter_map(|piece| piece.split_once('}').map(|(name, _)| name));
    match open.into_iter().find(|name| !row.contains_key(*name)) {
        Some(name) => Err(no_column(name, "`user`", who, row)),
        None => Ok(filled),
    }
}

/// The rows of a table: lines of JSON, or CSV with a head.
fn rows(path: &Path, source: &IdentitySource) -> Result<Vec<CsvRow>, AccessError> {
    let secret = secret_columns(source).next().is_some();
    let text = if secret { read_secret(path)? } else { read(path)? };
    let lines =
        path.extension().is_some_and(|it| it.eq_ignore_ascii_case("ndjson") || it.eq_ignore_ascii_case("jsonl"));
    let rows = if lines { json_rows(&text) } else { csv_rows(&text) };
    match rows {
        Ok(rows) if rows.is_empty() => Err(AccessError::Values { path: path.to_owned() }),
        Ok(rows) => Ok(rows),
        Err(reason) => Err(AccessError::Table { path: path.to_owned(), reason }),
    }
}

fn csv_rows(text: &str) -> Result<Vec<CsvRow>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    let at = |error: csv::Error| match error.kind() {
        csv::ErrorKind::UnequalLengths { pos: Some(pos), expected_len, len } => {
            format!("line {} has {len} fields, the head {expected_len}", pos.line())
        }
        _ => "it is not CSV in UTF-8".to_owned(),
    };
    let head = reader.headers().map_err(at)?.clone();
    for record in reader.records() {
        let record = record.map_err(at)?;
        rows.push(head.iter().map(str::to_owned).zip(record.iter().map(str::to_owned)).collect());
    }
    Ok(rows)
}

fn json_rows(text: &str) -> Result<Vec<CsvRow>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(index, line): (usize, &str)| {
        let wrong = || format!("line {} is not a JSON object of strings, numbers and booleans", index + 1);
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).map_err(|_kind| wrong())?;
        let plain = |(name, value): (String, serde_json::Value)| match value {
            serde_json::Value::String(text) => Ok((name, text)),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Ok((name, value.to_string())),
            _ => Err(wrong()),
        };
        object.into_iter().map(plain).collect()
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn opened(files: &[(&str, &str, u32)], rest: &str) -> Result<Everybody, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(*mode)).unwrap();
        }
        let text = format!("name = \"x\"\n[target]\nurl = \"http://127.0.0.1:1\"\n{rest}");
        let scenario = ServiceScenario::from_text("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
        let scenario = ServiceScenario { folder: folder.path().to_owned(), ..scenario };
        let text_seen = |error: AccessError| error.to_string().replace(&folder.path().display().to_string(), "");
        credentials(&scenario).map_err(text_seen)
    }

    const LOGIN: &str = "[[route]]\nroute = \"GET /\"\n[[identity]]\nfile = \"users.csv\"\npassword_column = \"secret\"\n\
                         login = { route = \"POST /login\", json = { user = \"{name}\", password = \"{password}\" }, token = \"/t\" }\n";

    #[test]
    fn each_row_of_a_table_is_somebody_and_no_secret_is_shown() {
        let users = "name, secret, customer\nanna, s3cret-1, 7\nbert, s3cret-2, 8\n";
        let opened_all = opened(&[("users.csv", users, 0o600)], LOGIN).unwrap();
        let everybody = opened_all.credentials;
        assert_eq!(everybody.len(), 2);
        let LoginCredentials::Login(bert) = &everybody[1] else { panic!("{everybody:?}") };
        assert_eq!((bert.who.as_str(), &bert.values["password"]), ("identity[1], row 2", &"s3cret-2".to_owned()));
        assert!(["s3cret-1", "s3cret-2"].iter().all(|secret| opened_all.secrets.iter().any(|it| it == secret)));
        assert_eq!(bert.columns.keys().collect::<Vec<_>>(), ["customer", "name"]);
        assert!(!format!("{everybody:?}").contains("s3cret"), "{everybody:?}");
        let lines = "{\"token\": \"s3cret-1\", \"customer\": 7}\n\n{\"token\": \"s3cret-2\", \"customer\": 8}\n";
        let rest = "[[route]]\nroute = \"GET /customers/{customer}\"\n[[identity]]\nfile = \"users.ndjson\"\nbearer_column = \"token\"\n";
        let opened_all = opened(&[("users.ndjson", lines, 0o600)], rest).unwrap();
        assert_eq!(opened_all.credentials.len(), 2);
        assert!(["s3cret-1", "s3cret-2"].iter().all(|secret| opened_all.secrets.iter().any(|it| it == secret)));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_stated_with_its_place() {
        let users = |text: &str, mode: u32| opened(&[("users.csv", text, mode)], LOGIN).err().unwrap();
        assert!(users("name,secret\na,s3cret\n", 0o644).contains("world-readable"));
        assert!(users("name,secret\na\n", 0o600).contains("line 2 has 1 fields, the head 2"));
        assert!(users("name,secret\n", 0o600).contains("has no value"));
        assert_eq!(
            users("user,secret\na,s3cret\n", 0o600),
            "identity[1], row 1 has no `name`, which its login needs: its columns are `user`"
        );
        let rest = "[[route]]\nroute = \"GET /customers/{customer}\"\n[[identity]]\nfile = \"users.csv\"\n";
        assert_eq!(
            opened(&[("users.csv", "name\na\n", 0o644)], rest).err().unwrap(),
            "identity[1], row 1 has no `customer`, which `GET /customers/{customer}` needs: its columns are `name`"
        );
        let rest = rest.replace("csv", "ndjson");
        let lines = opened(&[("users.ndjson", "{\"customer\": 1}\n{\"customer\": [1]}\n", 0o644)], &rest);
        assert!(lines.err().unwrap().ends_with("line 2 is not a JSON object of strings, numbers and booleans"));
    }
}
