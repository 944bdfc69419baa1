//! Idle time by the last statement: what the reader can look for in their code.

use std::collections::BTreeMap;

use crate::record::{BreakdownSample, HoldGroup, Sample, Stamped};
use crate::scenario::VariantName;

/// Longer statements are cut: `PostgreSQL` itself keeps 1023 bytes.
const LONGEST: usize = 1_100;

/// Idle sessions with one last statement, over all breakdowns under load.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StatementHold {
    pub(super) statement: String,
    /// The application that has most of them.
    pub(super) application_name: Option<String>,
    /// Session seconds idle in transaction; in records that have none, sessions summed over breakdowns a second apart.
    pub(super) idle_s: f64,
    /// Of all idle sessions in the breakdowns, 0–1.
    pub(super) share: f64,
    /// The oldest of its transactions ever seen.
    pub(super) oldest_s: f64,
    /// (time, sessions) of each breakdown.
    pub(super) series: Vec<(f64, f64)>,
    /// Its idle time by route, as far as the application names one.
    pub(super) routes: BTreeMap<String, f64>,
}

/// The breakdowns from `from_s` to `to_s`.
pub(super) fn breakdowns(samples: &[Stamped], from_s: f64, to_s: f64, of: VariantName) -> Vec<(f64, &BreakdownSample)> {
    let wanted = |stamped: &&Stamped| stamped.variant == of && (from_s..=to_s).contains(&stamped.at_s);
    let taken = samples.iter().filter(wanted).filter_map(|stamped| match &stamped.sample {
        Sample::Breakdown(breakdown) => Some((stamped.at_s, breakdown)),
        _ => None,
    });
    taken.collect()
}

/// The route that an application names for these sessions, in a comment or as its own name; where the load has the same
/// one, by the load's name.
pub(super) fn named_route(group: &HoldGroup, of_load: &[String]) -> Option<String> {
    let route = commented_route(&group.statement).or_else(|| route_name(&group.application_name))?;
    Some(known_route(&route, of_load).unwrap_or(route))
}

/// An `application_name` that is a route: `GET /tools`.
fn route_name(name: &str) -> Option<String> {
    let methods = ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "];
    methods.iter().any(|method| name.starts_with(method)).then(|| name.to_owned())
}

/// Idle sessions by normalised statement, most first, of the groups that count; `of_load` are the routes of the load.
pub(super) fn by_statement(
    breakdowns: &[(f64, &BreakdownSample)],
    of_load: &[String],
    counts: impl Fn(&HoldGroup) -> bool,
) -> Vec<StatementHold> {
    let mut holds = BTreeMap::<String, StatementHold>::new();
    let mut applications = BTreeMap::<(String, String), f64>::new();
    let mut total = 0.0;
    for (index, (_, breakdown)) in breakdowns.iter().enumerate() {
        for group in breakdown.groups.iter().filter(|group| counts(group)) {
            let statement = normalise(&group.statement);
            let hold = holds.entry(statement.clone()).or_insert_with(|| StatementHold {
                series: breakdowns.iter().map(|(at_s, _)| (*at_s, 0.0)).collect(),
                ..StatementHold::default()
            });
            hold.series[index].1 += f64::from(group.sessions);
            let idle_s = idle_s(group);
            hold.idle_s += idle_s;
            hold.oldest_s = hold.oldest_s.max(group.oldest_s);
            if let Some(route) = named_route(group, of_load) {
                *hold.routes.entry(route).or_default() += idle_s;
            }
            total += idle_s;
            let application = application(&group.application_name).to_owned();
            *applications.entry((statement, application)).or_default() += idle_s;
        }
    }
    let mut holds: Vec<StatementHold> = holds
        .into_iter()
        .map(|(statement, hold)| StatementHold {
            application_name: main_application(&applications, &statement, hold.idle_s),
            share: if total > 0.0 { hold.idle_s / total } else { 0.0 },
            statement,
            ..hold
        })
        .collect();
    holds.sort_by(|a, b| b.idle_s.total_cmp(&a.idle_s));
    holds
}

/// `gw-1/worker-2` is of the application `gw-1`; a route's name, as in `GET /tools`, is whole.
fn application(name: &str) -> &str {
    if name.contains(' ') { name } else { name.split('/').next().unwrap_or(name) }
}

/// Session seconds of a group since the breakdown before it.
pub(super) fn idle_s(group: &HoldGroup) -> f64 {
    group.idle_s.unwrap_or_else(|| f64::from(group.sessions))
}

/// The application that has more than half of a statement's sessions.
fn main_application(seconds: &BTreeMap<(String, String), f64>, statement: &str, idle_s: f64) -> Option<String> {
    let mine = seconds.iter().filter(|((it, name), _)| it == statement && !name.is_empty());
    let (key, most_s) = mine.max_by(|a, b| a.1.total_cmp(b.1))?;
    (2.0 * most_s > idle_s).then(|| key.1.clone())
}

/// A statement without what differs between two executions: comments, literals, white space.
///
/// One pass over at most 1100 bytes; whatever is no SQL comes out as something that is no SQL either.
pub fn normalise(statement: &str) -> String {
    let mut chars = statement[..floor(statement, LONGEST)].chars().peekable();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                skip_past(&mut chars, '\'');
                plain.push('?');
            }
            '-' if chars.peek() == Some(&'-') => {
                skip_past(&mut chars, '\n');
                plain.push(' ');
            }
            '/' if chars.peek() == Some(&'*') => {
                skip_comment(&mut chars);
                plain.push(' ');
            }
            c if c.is_ascii_digit() && !plain.ends_with(is_word) => {
                while chars.next_if(|c| c.is_ascii_digit() || *c == '.').is_some() {}
                plain.push('?');
            }
            c if c.is_whitespace() || c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    let mut words: String = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    while words.contains("?, ?") {
        words = words.replace("?, ?", "?");
    }
    words.trim_end_matches(';').to_owned()
}

/// A digit behind one of these belongs to a name or a parameter.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c == '"'
}

fn floor(text: &str, longest: usize) -> usize {
    (0..=longest.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn skip_past(chars: &mut impl Iterator<Item = char>, end: char) {
    for c in chars.by_ref() {
        if c == end {
            return;
        }
    }
}

fn skip_comment(chars: &mut impl Iterator<Item = char>) {
    let mut last = ' ';
    chars.next();
    for c in chars.by_ref() {
        if last == '*' && c == '/' {
            return;
        }
        last = c;
    }
}

/// The route that a statement's sqlcommenter comment names: `/*route='%2Ftools',framework='flask'*/`, or Rails'
/// controller and action.
pub(super) fn commented_route(statement: &str) -> Option<String> {
    let statement = &statement[..floor(statement, LONGEST)];
    let comment = |start: usize| {
        let rest = &statement[start + 2..];
        // One that the server has cut may end within a value, which would then name a route that does not exist.
        match rest.find("*/") {
            Some(end) => &rest[..end],
            None => rest.rsplit_once(',').map_or("", |(whole, _cut)| whole),
        }
    };
    statement.match_indices("/*").take(8).find_map(|(start, _)| {
        let tags: BTreeMap<&str, String> = comment(start)
            .split(',')
            .filter_map(|tag| tag.split_once('=').or_else(|| tag.split_once(':')))
            .map(|(name, value)| (name.trim(), decoded(value.trim().trim_matches('\''))))
            .collect();
        let rails = || Some(format!("{}#{}", tags.get("controller")?, tags.get("action")?));
        tags.get("route").or_else(|| tags.get("http.route")).cloned().or_else(rails)
    })
}

/// URL encoding, as the sqlcommenter specification asks for.
fn decoded(value: &str) -> String {
    percent_encoding::percent_decode_str(value).decode_utf8_lossy().replace("\\'", "'")
}

/// The route of the load that an application's own name for it means: `/tools` for `GET /tools`.
pub(super) fn known_route(named: &str, routes: &[String]) -> Option<String> {
    let path =
        |route: &str| route.split_once(' ').map_or(route, |(_, path)| path).trim_matches(['^', '$', '/']).to_owned();
    let exact = routes.iter().find(|route| *route == named);
    let mut same = routes.iter().filter(|route| path(route) == path(named));
    exact.or_else(|| same.next().filter(|_| same.next().is_none())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::HoldGroup;
    use proptest::prelude::*;

    #[test]
    fn statements_that_differ_in_their_values_are_one() {
        for (statement, normal) in [
            ("SELECT  *\n FROM tools WHERE id = 'a''b' AND x = 1.5", "SELECT * FROM tools WHERE id = ?? AND x = ?"),
            ("SELECT 1", "SELECT ?"),
            ("SELECT a1, t2.c FROM t2 WHERE id IN (1, 2, 3);", "SELECT a1, t2.c FROM t2 WHERE id IN (?)"),
            ("SELECT $1 -- why\nFROM x /* route='a' */", "SELECT $1 FROM x"),
            ("/*route='x'*/ SELECT 'unterminated", "SELECT ?"),
            ("", ""),
        ] {
            assert_eq!(normalise(statement), normal, "{statement}");
        }
    }

    #[test]
    fn a_route_is_read_from_a_comment_as_each_emitter_writes_it() {
        for (statement, route) in [
            ("/*route='%2Fpolls%201000'*/ SELECT 1", Some("/polls 1000")),
            ("SELECT 1 /*controller='tools',action='index',framework='rails'*/", Some("tools#index")),
            ("SELECT 1 /*application:Gw,controller:tools,action:call*/", Some("tools#call")),
            ("SELECT 1 /*db_driver='psycopg2',http.route='/tools',x='", Some("/tools")),
            ("SELECT 1 /*db_driver='psycopg2',http.route='/to", None),
            ("SELECT 1 /* a plain comment */", None),
            ("SELECT '/*'", None),
        ] {
            assert_eq!(commented_route(statement).as_deref(), route, "{statement}");
        }
    }

    #[test]
    fn a_name_means_a_route_only_when_one_route_fits() {
        let routes = ["GET /tools", "POST /tools", "GET /servers"].map(str::to_owned);
        assert_eq!(known_route("/servers", &routes).as_deref(), Some("GET /servers"));
        assert_eq!(known_route("^servers/$", &routes).as_deref(), Some("GET /servers"));
        assert_eq!(known_route("POST /tools", &routes).as_deref(), Some("POST /tools"));
        assert_eq!(known_route("/tools", &routes), None, "GET or POST?");
    }

    #[test]
    fn one_statement_of_two_applications_is_one_hold() {
        let group = |name: &str, sessions| HoldGroup {
            statement: "SELECT 1".to_owned(),
            application_name: name.to_owned(),
            sessions,
            oldest_s: f64::from(sessions),
            idle_s: None,
            earlier: false,
        };
        let empty = BreakdownSample::default();
        let full = BreakdownSample {
            groups: vec![group("gw-1/worker-1", 2), group("gw-1/worker-2", 1), group("gw-2", 1)],
            left_out_s: None,
        };
        let holds = by_statement(&[(0.0, &empty), (1.0, &full), (2.0, &empty), (3.0, &full)], &[], |_| true);
        assert_eq!(holds.len(), 1);
        assert_eq!(holds[0].series, [(0.0, 0.0), (1.0, 4.0), (2.0, 0.0), (3.0, 4.0)]);
        assert!((holds[0].idle_s - 8.0).abs() < f64::EPSILON);
        assert_eq!(holds[0].application_name.as_deref(), Some("gw-1"));
    }

    proptest! {
        #[test]
        fn no_statement_makes_it_panic_or_grow(statement in any::<String>()) {
            prop_assert!(normalise(&statement).len() <= statement.len().max(1));
            let _ = commented_route(&statement);
        }
    }
}
