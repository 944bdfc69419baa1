//! The draft as a file that a newcomer can read: what to do first, then a scenario with its comments.

use std::fmt::{self, Write};

use toml_edit::{Array, InlineTable, Key, Value};

use super::body::as_toml;
use super::{BodyFormat, Draft, DraftLogin, DraftRoute, LoginBody, short};
use crate::render::text::plain;
use crate::scenario::error::Site;
use crate::scenario::service::todo::UNKNOWN_HOST;
use crate::scenario::service::{Scalar, Values};
use crate::scenario::source::problems;

/// Lines longer than this are broken up where TOML allows it.
const WIDE: usize = 100;

/// The most places that are listed at the head; `scenario check` names them all.
const MOST_PLACES: usize = 12;

/// A stream is read for so long, and left then.
const STREAM_READ_FOR: &str = "1s";

/// A place that is still to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its line in the file.
    pub line: usize,
    pub key: String,
}

/// The text of a scenario's file, and what is still to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    /// The places, in the file's order.
    pub gaps: Vec<Gap>,
}

/// Writes the draft. `file` is what the file will be called, for the commands in its head.
pub fn write(draft: &Draft, file: &str) -> Written {
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = write_body(draft, &mut body);
    let mut gaps = gaps(&body);
    let mut head = String::new();
    let _ = write_head(draft, file, &gaps, &mut head);
    let lines = head.lines().count();
    for gap in &mut gaps {
        gap.line += lines;
    }
    // Again, now that the head's length is known.
    let mut head = String::new();
    let _ = write_head(draft, file, &gaps, &mut head);
    Written { text: head + &body, gaps }
}

/// Gaps that `scenario check` will name.
fn gaps(body: &str) -> Vec<Gap> {
    let found = problems("draft", body, &[]).unwrap_or_default();
    let mut gaps: Vec<Gap> = found
        .into_iter()
        .filter(|located| located.problem.message.starts_with("is still TODO"))
        .filter_map(|located| match located.site {
            Site::Text { place, .. } => Some(Gap { line: place.line, key: located.problem.key.to_string() }),
            Site::Override(_) => None,
        })
        .collect();
    gaps.sort_by_key(|gap| gap.line);
    gaps
}

fn write_head(draft: &Draft, file: &str, gaps: &[Gap], out: &mut String) -> fmt::Result {
    let off = draft.routes.iter().filter(|route| route.changes_data).count();
    comment(out, &format!("A first scenario, made by `rbac-bench` from {}.", draft.origin))?;
    let routes = counted(draft.routes.len(), "route");
    let switched_off = match off {
        0 => String::new(),
        off => format!("; {off} of them may change data and wait until [load] says `allow_data_changes = true`"),
    };
    comment(out, &format!("{routes}{switched_off}."))?;
    comment(out, "")?;
    comment(out, "Before the first run:")?;
    let mut step = 1;
    if !gaps.is_empty() {
        comment(
            out,
            &format!("  {step}. Fill in {}: `rbac-bench scenario check {file}` names them.", what_is_todo(gaps)),
        )?;
        for gap in gaps.iter().take(MOST_PLACES) {
            comment(out, &format!("       line {:<4} {}", gap.line, gap.key))?;
        }
        if gaps.len() > MOST_PLACES {
            comment(out, &format!("       … and {} more", gaps.len() - MOST_PLACES))?;
        }
        step += 1;
    }
    comment(out, &format!("  {step}. Set the variables that are named below:"))?;
    comment(out, "       export DATABASE_URL=postgresql://user:password@127.0.0.1:5432/database")?;
    for identity in &draft.identities {
        comment(out, &format!("       export {}=…", identity.variable))?;
    }
    comment(out, &format!("  {}. rbac-bench scan {file}    each route alone: which one holds a session?", step + 1))?;
    comment(out, &format!("     rbac-bench run {file}     all of them together"))?;
    if !draft.notes.is_empty() {
        comment(out, "")?;
        comment(out, "Left out:")?;
        draft.notes.iter().try_for_each(|note| comment(out, &format!("  - {note}")))?;
    }
    comment(out, "")?;
    comment(out, "docs/SERVICE.md has every key; any of them can also be set beside the file: --set load.users=50")?;
    out.push('\n');
    Ok(())
}

fn what_is_todo(gaps: &[Gap]) -> String {
    format!("the {} where TODO stands", counted(gaps.len(), "place"))
}

pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn comment(out: &mut String, text: &str) -> fmt::Result {
    let text = plain(text);
    writeln!(out, "#{}{}", if text.is_empty() { "" } else { " " }, text.trim_end())
}

fn setting(out: &mut String, key: &str, value: impl Into<Value>) -> fmt::Result {
    writeln!(out, "{} = {}", Key::new(key).display_repr(), value.into())
}

fn write_body(draft: &Draft, out: &mut String) -> fmt::Result {
    setting(out, "name", draft.name.as_str())?;
    if !draft.title.is_empty() {
        setting(out, "title", short(&draft.title))?;
    }
    writeln!(out, "# pool_capacity = 30         # sessions that the service's pools may open, all together")?;
    write_target(draft, out)?;
    writeln!(out, "\n[database]")?;
    writeln!(out, "url_env = \"DATABASE_URL\"   # a role that sees the service's sessions: its own does")?;
    writeln!(out, "\n[load]")?;
    writeln!(out, "users = 20")?;
    writeln!(out, "duration = \"30s\"")?;
    writeln!(out, "# allow_data_changes = true         # also asks for the routes with `changes_data = true`")?;
    for identity in &draft.identities {
        out.push('\n');
        identity.comments.iter().try_for_each(|it| comment(out, it))?;
        writeln!(out, "[[identity]]")?;
        for (key, value) in &identity.settings {
            setting(out, key, value.as_str())?;
        }
        if let Some(login) = &identity.login {
            write_login(login, out)?;
        }
    }
    draft.routes.iter().try_for_each(|route| write_route(route, out))
}

fn write_login(login: &DraftLogin, out: &mut String) -> fmt::Result {
    let (key, body) = match &login.body {
        LoginBody::Form(fields) => ("form", texts(fields).map(Value::from)),
        LoginBody::Json(value) => ("json", as_toml(value)),
    };
    writeln!(out, "login.route = {}", Value::from(format!("POST {}", login.path)))?;
    if let Some(body) = body {
        writeln!(out, "login.{key} = {body}")?;
    }
    writeln!(out, "login.token = {}", Value::from(login.token.as_str()))
}

fn write_target(draft: &Draft, out: &mut String) -> fmt::Result {
    writeln!(out, "\n[target]")?;
    draft.target_comments.iter().try_for_each(|it| comment(out, it))?;
    if let Some(url) = &draft.target {
        setting(out, "url", url.to_string())?;
    } else {
        writeln!(out, "# TODO: where the service is, such as \"http://127.0.0.1:8000\"")?;
        setting(out, "url", format!("http://{UNKNOWN_HOST}"))?;
    }
    match &draft.health {
        Some(path) => setting(out, "health", path.as_str()),
        None => writeln!(out, "# health = \"/health\"         # answers 200 to 299 while the service is well"),
    }
}

fn write_route(route: &DraftRoute, out: &mut String) -> fmt::Result {
    out.push('\n');
    route.comments.iter().try_for_each(|it| comment(out, it))?;
    writeln!(out, "[[route]]")?;
    setting(out, "route", route.route.as_str())?;
    if route.weight > 1 {
        setting(out, "weight", i64::from(route.weight))?;
    }
    let headers = with_content_type(route);
    let tables = [
        ("params", table(route.params.iter().map(|(name, values)| (name.as_str(), values_as_toml(values))))),
        ("query", texts(&route.query)),
        ("headers", texts(&headers)),
    ];
    let body = match &route.body {
        Some(BodyFormat::Json(value)) => as_toml(value),
        Some(BodyFormat::Text { .. }) | None => None,
    };
    let wide = |key: &str, value: &Value| format!("{key} = {value}").chars().count() > WIDE;
    // What is too wide for a line becomes a table, and tables come last.
    let tables = tables.into_iter().filter_map(|(key, table)| Some((key, Value::from(table?))));
    let (later, now): (Vec<_>, Vec<_>) = tables
        .chain(body.map(|body| ("json", body)))
        .partition(|(key, value)| value.is_inline_table() && wide(key, value));
    now.into_iter().try_for_each(|(key, value)| setting(out, key, value))?;
    if let Some(BodyFormat::Text { text, .. }) = &route.body {
        setting(out, "text", text.as_str())?;
    }
    if !route.expect.is_empty() {
        setting(out, "expect", route.expect.iter().map(|it| i64::from(*it)).collect::<Array>())?;
    }
    if route.streams {
        setting(out, "read_for", STREAM_READ_FOR)?;
    }
    if route.changes_data {
        setting(out, "changes_data", true)?;
    }
    for (key, value) in later {
        writeln!(out, "[route.{key}]")?;
        let inner = value.as_inline_table().into_iter().flat_map(InlineTable::iter);
        for (name, value) in inner {
            setting(out, name, value.clone())?;
        }
    }
    Ok(())
}

fn with_content_type(route: &DraftRoute) -> Vec<(String, String)> {
    let mut headers = route.headers.clone();
    if let Some(BodyFormat::Text { content_type, .. }) = &route.body {
        headers.push(("Content-Type".to_owned(), content_type.clone()));
    }
    headers
}

fn texts(pairs: &[(String, String)]) -> Option<InlineTable> {
    table(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().into())))
}

/// `None` when there is nothing in it.
fn table<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Option<InlineTable> {
    let table: InlineTable = entries.collect();
    (!table.is_empty()).then_some(table)
}

fn values_as_toml(values: &Values) -> Value {
    match values {
        Values::List(list) => list.iter().map(scalar).collect::<Array>().into(),
        Values::Range { from, to } => InlineTable::from_iter([("from", *from), ("to", *to)]).into(),
        Values::File { file } => InlineTable::from_iter([("file", file.display().to_string())]).into(),
    }
}

fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Number(number) => (*number).into(),
        Scalar::Text(text) => text.as_str().into(),
    }
}
