//! The scenario as a whole: values that are fine one by one and are invalid together.
//!
//! Pure. What is refused by a single value's type has been refused before ([`source`](super::source)); here an error
//! stops the run, and a warning says that the figures would mislead.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::gate::GateRule;
use super::key::{KeyPath, nearest};
use super::route::Tool;
use super::{
    Backend, Delay, Gateway, Health, Identities, Load, MonitorConfig, PgBouncer, Scenario, SessionScope, UserClass,
    VariantName,
};
use crate::units::Span;

/// Severity of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemSeverity {
    /// The scenario cannot be run.
    Error,
    /// It can, but the figures would mislead.
    Warning,
}

/// One thing that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    pub severity: ProblemSeverity,
    /// The key that would have to change.
    pub key: KeyPath,
    /// Predicate, to be read after the key: `is 0: expected a value above 0`.
    pub message: String,
    pub meant: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.key, self.message)
    }
}

/// Sessions that a private PostgreSQL on one machine can be asked for: each is a process of its own.
pub const MOST_SESSIONS: u64 = 8000;

/// Think times may be stretched so far and no further: more is a typing error, and would overflow timers.
const MOST_THINK_SCALE: f64 = 1000.0;

const LONGEST_NAME: usize = 64;

/// The shortest and the longest time between two looks at the database.
const MONITOR_INTERVALS: [Span; 2] = [Span::from_millis(10), Span::from_secs(10)];

/// Everything that is wrong with `scenario`, in the order of its keys.
#[must_use]
pub fn check(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Problems::default();
    check_name(&scenario.name, &mut found);
    check_variants(scenario, &mut found);
    check_load(&scenario.load, &mut found);
    check_client_timeout(scenario, &mut found);
    check_identities(&scenario.identities, &mut found);
    check_gateway(&scenario.gateway, &mut found);
    check_also(&scenario.gateway.also, &mut found);
    check_backend(&scenario.backend, &mut found);
    if let Some(pgbouncer) = &scenario.pgbouncer {
        check_pgbouncer(pgbouncer, scenario, &mut found);
    }
    check_health(&scenario.health, &mut found);
    check_monitor(&scenario.monitor, &mut found);
    check_gate(&scenario.gate, &SessionScope::ALL.map(SessionScope::name), &mut found);
    found.0
}

#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn error(&mut self, key: &[&str], message: impl Into<String>) {
        self.push(ProblemSeverity::Error, key, message.into());
    }

    pub(super) fn warning(&mut self, key: &[&str], message: impl Into<String>) {
        self.push(ProblemSeverity::Warning, key, message.into());
    }

    fn push(&mut self, severity: ProblemSeverity, key: &[&str], message: String) {
        self.0.push(Problem { severity, key: KeyPath::of(key.iter().copied()), message, meant: None });
    }

    /// Sets the probable meaning of the last of them.
    pub(super) fn meant_last(&mut self, meant: Option<&str>) {
        if let Some(last) = self.0.last_mut() {
            last.meant = meant.map(str::to_owned);
        }
    }

    pub(super) fn refuse_zero(&mut self, key: &[&str], span: Span) {
        if span.is_zero() {
            self.error(key, "is 0s: above 0 is needed");
        }
    }
}

/// Checks each rule's variants.
pub(super) fn check_gate(rules: &[GateRule], variants: &[&str], found: &mut Problems) {
    for (index, rule) in rules.iter().enumerate() {
        let unknown = rule.variants.iter().map(VariantName::name).find(|name| !variants.contains(name));
        if let Some(name) = unknown {
            let allowed = variants.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let key = format!("[{}]", index + 1);
            found.error(&["gate", &key, "variants"], format!("says `{name}`: expected one of {allowed}"));
            let meant = nearest(name, variants.iter().copied()).map(str::to_owned);
            found.0.last_mut().expect("it has just been pushed").meant = meant;
        }
    }
}

/// The name becomes the name of a folder.
pub(super) fn check_name(name: &str, found: &mut Problems) {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with('-') || !name.chars().all(allowed) {
        let form = format!("1 to {LONGEST_NAME} of a-z, 0-9 and -, not starting with -, since it names a folder");
        found.error(&["name"], format!("is {name:?}: expected {form}"));
    }
}

fn check_variants(scenario: &Scenario, found: &mut Problems) {
    if scenario.variants.is_empty() {
        found.error(&["variants"], "is empty: at least one of `held`, `scoped` is needed");
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = scenario.variants.iter().find(|variant| !seen.insert(**variant)) {
        found.error(&["variants"], format!("names `{}` twice: each variant runs once", twice.name()));
    }
}

fn check_load(load: &Load, found: &mut Problems) {
    found.refuse_zero(&["load", "duration"], load.duration);
    found.refuse_zero(&["load", "client_timeout"], load.client_timeout);
    if !(load.think_scale > 0.0 && load.think_scale <= MOST_THINK_SCALE) {
        let message = format!("is {}: expected above 0, at most {MOST_THINK_SCALE}", load.think_scale);
        found.error(&["load", "think_scale"], message);
    }
    if load.classes.is_empty() {
        found.error(&["load", "classes"], "is empty: at least one class of users is needed");
    }
    for (name, class) in &load.classes {
        check_class(name, class, found);
    }
}

fn check_class(name: &str, class: &UserClass, found: &mut Problems) {
    let key = |last: &'static str| ["load", "classes", name, last];
    let [shortest, longest] = class.think_time;
    if longest < shortest {
        found.error(&key("think_time"), format!("is {shortest} to {longest}: the shorter one comes first"));
    }
    if class.tasks.is_empty() {
        found.error(&key("tasks"), "is empty: at least one route is needed, such as `GET /tools`");
    }
}

fn check_client_timeout(scenario: &Scenario, found: &mut Problems) {
    const KEY: [&str; 2] = ["load", "client_timeout"];
    let client = scenario.load.client_timeout;
    let pool = scenario.gateway.pool.timeout;
    if client.is_zero() {
        return;
    }
    if let Some(slowest) = scenario.backend.delays.values().map(|delay| delay.max).max()
        && client.duration() <= slowest.duration() + std::time::Duration::from_secs(1)
    {
        let message = format!(
            "is {client}, the longest backend delay {slowest}: with less than a second to spare, \
             calls fail for no fault of the gateway"
        );
        found.warning(&KEY, message);
    }
    if client <= pool {
        let message = format!("is {client}, `gateway.pool.timeout` {pool}: no client ever sees the pool's error text");
        found.warning(&KEY, message);
    }
}

fn check_identities(identities: &Identities, found: &mut Problems) {
    let weights = [identities.platform_admin, identities.database_admin, identities.regular];
    if weights.iter().all(|weight| *weight == 0) {
        found.error(&["identities"], "has only weights of 0: at least one above 0 is needed");
    }
    if weights.iter().any(|weight| *weight > crate::units::Count::MAX) {
        found.error(&["identities"], format!("has a weight above {}", crate::units::Count::MAX));
    }
}

fn check_gateway(gateway: &Gateway, found: &mut Problems) {
    let (replicas, workers) = (gateway.replicas.get(), gateway.workers.get());
    let (size, overflow) = (gateway.pool.size.get(), gateway.pool.max_overflow);
    let workers_in_all = u64::from(replicas) * u64::from(workers);
    let sessions = workers_in_all.saturating_mul(u64::from(size) + u64::from(overflow));
    if sessions > MOST_SESSIONS {
        let sum = format!("{replicas} replicas × {workers} workers × ({size} + {overflow}) = {sessions} sessions");
        let message = format!("asks for {sum}: at most {MOST_SESSIONS}, since each is a process of PostgreSQL");
        found.error(&["gateway"], message);
    }
}

fn check_also(also: &[SessionScope], found: &mut Problems) {
    if let Some(alone) = also.iter().find(|scope| !scope.stands_beside_others()) {
        let beside: Vec<_> = SessionScope::ALL.into_iter().filter(|it| it.stands_beside_others()).collect();
        let allowed = beside.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ");
        let message = format!("names `{}`, which is a variant of its own: expected one of {allowed}", alone.name());
        found.error(&["gateway", "also"], message);
    }
}

fn check_backend(backend: &Backend, found: &mut Problems) {
    for (name, delay) in &backend.delays {
        check_tool(name, found);
        check_delay(name, *delay, found);
    }
}

fn check_tool(name: &str, found: &mut Problems) {
    let names = Tool::ALL.map(Tool::name);
    if !names.contains(&name) {
        let allowed = names.map(|name| format!("`{name}`")).join(", ");
        found.error(&["backend", "delays", name], format!("is not a tool of the backend: expected one of {allowed}"));
        let meant = nearest(name, names).map(str::to_owned);
        found.0.last_mut().expect("it has just been pushed").meant = meant;
    }
}

fn check_delay(name: &str, delay: Delay, found: &mut Problems) {
    if delay.max < delay.min {
        let message =
            format!("has `min` {}, `max` {}: the longest delay is not below the shortest", delay.min, delay.max);
        found.error(&["backend", "delays", name], message);
    }
}

fn check_pgbouncer(pgbouncer: &PgBouncer, scenario: &Scenario, found: &mut Problems) {
    let servers = u64::from(pgbouncer.server_connections());
    if servers > MOST_SESSIONS {
        let message = format!("asks for {servers} server connections: at most {MOST_SESSIONS}");
        found.error(&["pgbouncer"], message);
    }
    // Each replica has a connection beside its pools.
    let clients = scenario.gateway.pool_capacity().saturating_add(scenario.gateway.replicas.get());
    let limit = pgbouncer.max_client_conn.get();
    if limit < clients {
        let message = format!("is {limit}, the gateway may open {clients} connections: later ones are refused");
        found.warning(&["pgbouncer", "max_client_conn"], message);
    }
    let (pooler, server) = (pgbouncer.idle_transaction_timeout, scenario.database.idle_in_transaction_session_timeout);
    if !pooler.is_zero() && !server.is_zero() && server <= pooler {
        let message = format!(
            "is {pooler}, `database.idle_in_transaction_session_timeout` {server}: PostgreSQL ends those sessions before \
             PgBouncer does"
        );
        found.warning(&["pgbouncer", "idle_transaction_timeout"], message);
    }
}

pub(super) fn check_health(health: &Health, found: &mut Problems) {
    found.refuse_zero(&["health", "interval"], health.interval);
    found.refuse_zero(&["health", "timeout"], health.timeout);
    // A timeout of a few intervals is usual; beyond this, the timeout alone decides when a replica is down.
    let all_intervals = health.interval.duration().saturating_mul(health.retries.get());
    if !health.interval.is_zero() && health.timeout.duration() > all_intervals {
        let intervals = format!("{} × `health.interval` {}", health.retries.get(), Span::from(all_intervals));
        let message = format!("is {}, {intervals}: a replica that hangs is called down late", health.timeout);
        found.warning(&["health", "timeout"], message);
    }
}

pub(super) fn check_monitor(monitor: &MonitorConfig, found: &mut Problems) {
    let [shortest, longest] = MONITOR_INTERVALS;
    for (key, interval) in [("interval", monitor.interval), ("pulse", monitor.pulse)] {
        if !(shortest..=longest).contains(&interval) {
            found.error(&["monitor", key], format!("is {interval}: expected {shortest} to {longest}"));
        }
    }
    // What PostgreSQL takes for a name without quotes.
    let plain = |role: &str| {
        let letters = role.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'));
        letters && (1..=63).contains(&role.len()) && !role.starts_with(|first: char| first.is_ascii_digit())
    };
    if let Some(role) = monitor.role.as_deref().filter(|role| !plain(role)) {
        found.error(&["monitor", "role"], format!("is `{role}`: expected lower-case letters, digits and `_`"));
    }
}
