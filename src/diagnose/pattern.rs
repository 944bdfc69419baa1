//! Which mistake it is: the hold patterns of `docs/HOLD-PATTERNS.md`, by what can be seen of them from outside.
//!
//! A fingerprint is what distinguishes one pattern from another in `pg_stat_activity` and in the load. Several look the
//! same from there; then the answer is `None`, with what they have in common in words.

use serde::Serialize;

/// A way to hold a session, by its number in `docs/HOLD-PATTERNS.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum HoldPattern {
    /// The request's dependency holds it from the check to the response's end.
    H1,
    /// The handler holds it across its call of another service.
    H2,
    /// The same across a plugin's hook.
    H3,
    /// The same while a page is rendered.
    H4,
    /// Until a stream is sent.
    H5,
    /// Released, and silently begun again.
    H6,
    /// A read that nobody commits, in a session that is kept.
    H7,
    /// Cleanup skipped when the client left.
    H8,
    /// Two sessions for one request.
    H10,
    H11,
    /// A session for each layer.
    H12,
    /// A wait for the pool stops the event loop.
    H13,
    /// Waiters for one row stand behind an idle holder.
    H14,
    /// An error was swallowed, and nobody rolled back.
    H21,
}

impl HoldPattern {
    /// Clause about it, to be put behind the route.
    pub(super) fn does(self) -> &'static str {
        match self {
            Self::H1 => "holds its session from the permission check until the response is done",
            Self::H2 => "holds its session across the backend call",
            Self::H3 => "holds its session across a plugin's hook",
            Self::H4 => "holds its session while the page is rendered",
            Self::H5 => "holds its session until its stream is sent",
            Self::H6 => "begins a session again after it was released, and keeps it across slow work",
            Self::H7 => "reads without a commit in a session that is kept",
            Self::H8 => "leaves its session open when the client goes away",
            Self::H10 => "holds two sessions at once",
            Self::H11 => "never closes its session",
            Self::H12 => "holds a session for each layer",
            Self::H13 => "waits for the pool on the event loop",
            Self::H14 => "holds a row that others wait for",
            Self::H21 => "keeps its session after a statement failed",
        }
    }
}

/// Observable traits of a hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint<'a> {
    pub(super) route: &'a str,
    /// Sessions held per request in flight.
    pub(super) coefficient: f64,
    /// Sessions that run a statement per request in flight; `None` when nobody knows.
    pub(super) active: Option<f64>,
    /// Last statements of its idle sessions, most first, normalised, with their shares of it.
    pub(super) statements: &'a [(String, f64)],
    /// Share of the idle sessions that are `idle in transaction (aborted)`.
    pub(super) aborted: f64,
}

/// A pattern, or none that stands out; how sure (0–1); and the fingerprint in words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Match {
    pub(super) pattern: Option<HoldPattern>,
    pub(super) sure: f64,
    pub(super) why: String,
}

fn matched(pattern: HoldPattern, sure: f64, why: impl Into<String>) -> Match {
    Match { pattern: Some(pattern), sure, why: why.into() }
}

/// Tables and columns of statements that ask who somebody is, or whether they may do something: whole names, since
/// `chat_sessions` is no `sessions`.
const CHECKS: [&str; 21] = [
    "user_roles",
    "users_roles",
    "user_role",
    "role_permissions",
    "roles_permissions",
    "permission",
    "permissions",
    "user_permissions",
    "has_permission",
    "is_admin",
    "email_users",
    "auth_user",
    "auth_permission",
    "auth_user_groups",
    "auth_group_permissions",
    "django_session",
    "sessions",
    "access_tokens",
    "oauth_access_tokens",
    "casbin",
    "casbin_rule",
];

/// Last parts of a stream's path. `events` is not among them: a concert's path has them, too.
const STREAMS: [&str; 6] = ["sse", "stream", "event-stream", "ws", "websocket", "subscribe"];

/// Statements of ContextForge and of the reference gateway that only one pattern ends with: what a plugin is asked
/// about, and the relation that is loaded behind the handler's back.
const KNOWN: [(&str, HoldPattern); 2] = [
    ("annotations, headers from tools", HoldPattern::H3),
    ("from gateways where id = (select gateway_id", HoldPattern::H6),
];

/// The pattern of a route that holds.
pub(super) fn of_holder(seen: &Fingerprint<'_>) -> Match {
    let last = seen.statements.first().map(|(statement, _)| statement.to_lowercase()).unwrap_or_default();
    let distinct = seen.statements.iter().filter(|(_, share)| *share >= 0.1).count();
    if seen.aborted >= 0.5 {
        return matched(HoldPattern::H21, 0.95, "the sessions are idle in an aborted transaction");
    }
    if seen.coefficient >= 2.6 && distinct >= 3 {
        let why =
            format!("{:.1} sessions for each request in flight, with {distinct} last statements", seen.coefficient);
        return matched(HoldPattern::H12, 0.9, why);
    }
    if seen.coefficient >= TWO {
        let why = format!("{:.1} sessions for each request in flight", seen.coefficient);
        return matched(HoldPattern::H10, if distinct == 2 { 0.9 } else { 0.6 }, why);
    }
    if let Some(active) = seen.active.filter(|active| *active >= BESIDE && seen.coefficient + active >= TWO) {
        let why = format!(
            "for each request in flight, {:.1} sessions are idle in transaction and {active:.1} run a statement at the same \
             time",
            seen.coefficient
        );
        return matched(HoldPattern::H10, 0.7, why);
    }
    by_last_statement(seen.route, &last)
}

/// From so many sessions for each request in flight on there are two at once.
const TWO: f64 = 1.5;

/// So many of them run a statement while another one is idle.
const BESIDE: f64 = 0.4;

fn by_last_statement(route: &str, last: &str) -> Match {
    let lower = route.to_lowercase();
    let parts: Vec<&str> = lower.split(['/', ' ']).collect();
    let has = |names: &[&str]| parts.iter().any(|part| names.contains(part));
    if parts.last().is_some_and(|last| STREAMS.contains(last)) {
        return matched(HoldPattern::H5, 0.8, "the route is a stream, and its sessions are as old as it");
    }
    if let Some((_, pattern)) = KNOWN.iter().find(|(text, _)| last.contains(text)) {
        return matched(*pattern, 0.8, "the last statement is one that only this pattern ends with");
    }
    if last.split(|c: char| !c.is_alphanumeric() && c != '_').any(|name| CHECKS.contains(&name)) {
        return matched(
            HoldPattern::H1,
            0.85,
            "the last statement is a permission check, which the request's own session made",
        );
    }
    if last.is_empty() {
        return Match { pattern: None, sure: 0.3, why: "no last statement was seen".to_owned() };
    }
    if has(&["admin", "page"]) && lower.starts_with("get ")
        || parts.iter().any(|part| part.rsplit_once('.').is_some_and(|(_, end)| end == "html"))
    {
        return matched(HoldPattern::H4, 0.6, "a page whose last statement is the page's own read");
    }
    if has(&["call", "invoke"]) {
        return matched(HoldPattern::H2, 0.7, "a call whose last statement is the handler's own read");
    }
    let why = "the last statement is the handler's own read; whether a service, a plugin or a page is waited for does \
               not show from outside";
    Match { pattern: None, sure: 0.3, why: why.to_owned() }
}

/// Observable traits of sessions that no request holds any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeakPrint<'a> {
    /// The last statement of most of them, normalised.
    pub(super) statement: &'a str,
    /// True if they become more.
    pub(super) grows: bool,
    /// True if most of them end all the same.
    pub(super) ends: bool,
    /// True if clients gave requests up.
    pub(super) given_up: bool,
}

/// The pattern of leaked sessions.
pub(super) fn of_leak(seen: &LeakPrint<'_>) -> Match {
    let probe = seen.statement.eq_ignore_ascii_case("select ?") || seen.statement.eq_ignore_ascii_case("select");
    if seen.ends && !probe {
        let why = "they end, when another request takes the connection or nobody refers to it any more".to_owned();
        return Match { pattern: None, sure: 0.3, why };
    }
    match (probe, seen.grows, seen.given_up) {
        (true, false, _) => {
            matched(HoldPattern::H7, 0.85, "the last statement is a probe, and they do not become more")
        }
        (true, true, _) => matched(HoldPattern::H7, 0.6, "the last statement is a probe"),
        (false, true, true) => matched(HoldPattern::H8, 0.7, "they become more, and clients gave requests up"),
        (false, true, false) => matched(HoldPattern::H11, 0.7, "they become more, and no client gave up"),
        (false, false, _) => Match {
            pattern: None,
            sure: 0.3,
            why: "they do not become more, and their last statement is not a probe".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(route: &str, coefficient: f64, statements: &[&str], aborted: f64) -> Option<HoldPattern> {
        let share = 1.0 / statements.len().max(1) as f64;
        let statements: Vec<_> = statements.iter().map(|it| ((*it).to_owned(), share)).collect();
        of_holder(&Fingerprint { route, coefficient, active: None, statements: &statements, aborted }).pattern
    }

    /// Held while another session runs a statement.
    fn beside(route: &str, coefficient: f64, active: f64) -> Option<HoldPattern> {
        let statements = [("SELECT a FROM b".to_owned(), 1.0)];
        let active = Some(active);
        of_holder(&Fingerprint { route, coefficient, active, statements: &statements, aborted: 0.0 }).pattern
    }

    #[test]
    fn a_request_whose_own_statement_runs_has_one_session() {
        assert_eq!(beside("GET /reports", 0.6, 0.4), None, "one after the other");
        assert_eq!(beside("GET /reports", 1.4, 0.2), None);
    }

    #[test]
    fn each_fingerprint_of_the_catalogue_is_reported() {
        const CALL: &str = "POST /rpc tools/call";
        const CHECK: &str = "SELECT roles.id FROM user_roles JOIN roles ON roles.id = role_id";
        const TOOL: &str = "SELECT id, name, url, auth_type, auth_value FROM tools WHERE original_name = $1";
        let plugin = ["SELECT id, name, annotations, headers FROM tools WHERE original_name = $1"];
        let lazy = ["SELECT id, name, slug, url FROM gateways WHERE id = (SELECT gateway_id FROM tools WHERE id = $1)"];
        for (found, expected) in [
            (pattern(CALL, 0.9, &[CHECK], 0.0), HoldPattern::H1),
            (pattern(CALL, 0.9, &[TOOL], 0.0), HoldPattern::H2),
            (pattern(CALL, 0.9, &plugin, 0.0), HoldPattern::H3),
            (pattern("GET /admin/", 0.9, &["SELECT id FROM servers"], 0.0), HoldPattern::H4),
            (pattern("GET /servers/{id}/sse", 0.9, &["SELECT id FROM servers"], 0.0), HoldPattern::H5),
            (pattern(CALL, 0.9, &lazy, 0.0), HoldPattern::H6),
            (pattern(CALL, 1.9, &[CHECK, TOOL], 0.0), HoldPattern::H10),
            (beside(CALL, 0.9, 0.9), HoldPattern::H10),
            (pattern(CALL, 3.8, &[CHECK, TOOL, "SELECT a", "SELECT b"], 0.0), HoldPattern::H12),
            (pattern(CALL, 0.9, &["INSERT INTO permission_audit_log"], 1.0), HoldPattern::H21),
        ] {
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn what_cannot_be_determined_from_outside_has_no_pattern() {
        assert_eq!(pattern("POST /orders", 0.9, &["SELECT id FROM orders"], 0.0), None);
        assert_eq!(pattern("GET /events/{id}/price", 0.9, &["SELECT cents FROM events"], 0.0), None);
        assert_eq!(pattern("POST /orders", 0.9, &[], 0.0), None);
    }

    #[test]
    fn a_name_that_only_looks_like_another_is_not_taken_for_it() {
        const READ: &str = "SELECT id, total FROM orders WHERE id = ?";
        for (route, statement) in [
            ("POST /orders", "SELECT id FROM chat_sessions WHERE id = ?"),
            ("POST /orders", "SELECT id FROM training_sessions_2024"),
            ("POST /orders", "SELECT permission_slip_id FROM school_trips"),
            ("POST /orders", "SELECT id FROM is_administered"),
            ("POST /orders", "INSERT INTO email_users_archive VALUES (?)"),
            ("GET /events", READ),
            ("GET /events/{id}", READ),
            ("GET /streams", READ),
            ("GET /downstream", READ),
            ("GET /news", READ),
            ("POST /callbacks", READ),
            ("POST /webhooks/callback", READ),
            ("GET /invoices", READ),
            ("POST /invoked", READ),
            ("GET /administrators", READ),
            ("GET /pages/{id}", READ),
            ("POST /admin/import", READ),
            ("GET /html", READ),
        ] {
            assert_eq!(pattern(route, 0.9, &[statement], 0.0), None, "{route}, {statement}");
        }
    }

    #[test]
    fn a_name_is_reported_whatever_stands_around_it() {
        for (route, statement, expected) in [
            ("POST /orders", "SELECT \"auth_user\".\"id\" FROM \"auth_user\"", HoldPattern::H1),
            ("POST /orders", "select 1 from app.user_roles where user_id=?", HoldPattern::H1),
            ("GET /chat/{id}/stream", "SELECT id FROM chats", HoldPattern::H5),
            ("GET /ws", "SELECT id FROM chats", HoldPattern::H5),
            ("GET /report.html", "SELECT id FROM reports", HoldPattern::H4),
            ("POST /tools/{id}/invoke", "SELECT id FROM tools", HoldPattern::H2),
        ] {
            assert_eq!(pattern(route, 0.9, &[statement], 0.0), Some(expected), "{route}, {statement}");
        }
    }

    #[test]
    fn leaks_are_reported_by_their_statement_and_their_growth() {
        let leak = |statement, grows, given_up| of_leak(&LeakPrint { statement, grows, ends: false, given_up }).pattern;
        assert_eq!(leak("SELECT ?", false, false), Some(HoldPattern::H7));
        assert_eq!(leak("SELECT id FROM tools", true, true), Some(HoldPattern::H8));
        assert_eq!(leak("SELECT id FROM user_roles", true, false), Some(HoldPattern::H11));
        assert_eq!(leak("SELECT id FROM tools", false, false), None);
        let statement = "SELECT id FROM user_roles";
        let ends = of_leak(&LeakPrint { statement, grows: true, ends: true, given_up: false });
        assert_eq!(ends.pattern, None, "what ends is no session that nobody closes");
    }
}
